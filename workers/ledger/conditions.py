"""Whether what an order asks for besides price and size goes together; the book refuses the same, without words."""

from shared.instrument import MONEY_MAX, Instrument, price_text
from shared.messages import Conditions, OrderRequest
from workers.ledger.risk import BASIS, Refusal, invalid

PARTS_MAX = 1_000
"""Parts in which an iceberg may be shown."""
_WORDS = {
    "stop_price": "stop_price",
    "trail": "trail_price",
    "trail_bps": "trail_bps",
    "expires": "cancel_after",
    "display_quantity": "display_size",
    "min_quantity": "min_size",
}
"""The public API's words for the numbers of ``Conditions``."""


def check_conditions(request: OrderRequest, instrument: Instrument, now: int, last_price: int) -> Refusal | None:
    """Everything about the conditions of an order that is sound otherwise.

    ``now`` in ns. ``last_price`` in ticks; 0: none yet, or the order waits for another and that price does not matter.
    """
    conditions = request.conditions
    assert conditions is not None
    for name, word in _WORDS.items():
        value = getattr(conditions, name)
        if not 0 <= value <= MONEY_MAX:
            return invalid(f"{word} must not be negative" if value < 0 else f"{word} is too large")
    return (
        _check_stop(request, conditions, instrument)
        or _check_side(request, conditions, instrument, last_price)
        or _check_expiry(request, conditions, now)
        or _check_display(request, conditions)
        or _check_minimum(request, conditions)
    )


def _check_stop(request: OrderRequest, conditions: Conditions, instrument: Instrument) -> Refusal | None:
    trails = conditions.trail or conditions.trail_bps
    if not conditions.stop:
        if conditions.stop_price or trails:
            return invalid(f"{'stop_price' if conditions.stop_price else 'a trail'} goes with stop loss or entry only")
        return None
    if request.post_only:
        return invalid("post_only does not go with a stop")
    if trails:
        return _check_trail(request, conditions, instrument)
    if not conditions.stop_price:
        return invalid("stop_price too small: a stop needs a stop_price above 0, or a trail")
    if conditions.stop_price > instrument.max_price:
        return invalid(f"stop_price is too large: at most {price_text(instrument, instrument.max_price)}")
    return None


def _check_side(request: OrderRequest, conditions: Conditions, instrument: Instrument, last: int) -> Refusal | None:
    """A stop has to sleep by the last trade that the shard knows; one that meanwhile would not, its book lets in."""
    stop, price = conditions.stop, conditions.stop_price
    if not (stop and price and last) or (last > price if stop == "loss" else last < price):
        return None
    where, other = ("below", "entry") if stop == "loss" else ("above", "loss")
    return invalid(
        f"stop_price {price_text(instrument, price)} is on the wrong side: a {request.side} with stop {stop} waits "
        f"{where} the last trade, {price_text(instrument, last)}; send a stop_price {where} it, or stop {other}"
    )


def _check_trail(request: OrderRequest, conditions: Conditions, instrument: Instrument) -> Refusal | None:
    follows = "loss" if request.side == "sell" else "entry"
    if conditions.stop_price:
        return invalid("stop_price does not go with a trail: the stop price follows the trades")
    if conditions.trail and conditions.trail_bps:
        return invalid("a trailing stop has trail_price or trail_bps, not both")
    if conditions.trail > instrument.max_price:
        return invalid(f"trail_price is too large: at most {price_text(instrument, instrument.max_price)}")
    if conditions.trail_bps > BASIS:
        return invalid(f"trail_bps is too large: at most {BASIS}")
    if request.order_type != "market":
        return invalid("a trailing stop is a market order: leave the price out")
    if conditions.stop != follows:
        return invalid(f"a trailing {request.side} has stop {follows}")
    return None


def _check_expiry(request: OrderRequest, conditions: Conditions, now: int) -> Refusal | None:
    if not conditions.expires:
        return None
    if request.time_in_force != "GTT":
        return invalid("cancel_after goes with time_in_force GTT only")
    if request.order_type == "market" and not conditions.stop:
        return invalid("cancel_after does not go with a market order, which never waits")
    return invalid("cancel_after must be in the future") if conditions.expires <= now else None


def _check_display(request: OrderRequest, conditions: Conditions) -> Refusal | None:
    shown = conditions.display_quantity
    if not shown:
        return None
    if request.order_type != "limit":
        return invalid("display_size goes with limit orders only")
    if request.time_in_force in ("IOC", "FOK"):
        return invalid(f"display_size does not go with time_in_force {request.time_in_force}")
    if shown > request.quantity:
        return invalid("display_size is too large: at most the size")
    return (
        invalid(f"display_size is too small: at least a {PARTS_MAX}th")
        if request.quantity > PARTS_MAX * shown
        else None
    )


def _check_minimum(request: OrderRequest, conditions: Conditions) -> Refusal | None:
    if not conditions.min_quantity:
        return None
    if request.post_only:
        return invalid("min_size does not go with post_only")
    if not request.quantity:
        return invalid("min_size goes with a size only, not with funds")
    return invalid("min_size is too large: at most the size") if conditions.min_quantity > request.quantity else None
