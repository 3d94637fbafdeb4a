"""What only some orders ask for: stop, trail, end, shown part, smallest fill. From JSON to ``Conditions``. Pure.

Each refusal names the field, what does not go with it, and what to send instead.
"""

from shared.instants import SECOND_NS, iso
from shared.instrument import Instrument, steps
from shared.messages import Conditions, OrderRequest, StopDirection
from workers.gateway.errors import bad_request
from workers.gateway.forms.json_input import (
    amount_field,
    choice_field,
    decimal_field,
    is_given,
    text_field,
    whole_field,
)
from workers.gateway.forms.times import instant_ns

BASIS = 10_000
"""Basis points in a whole."""
PARTS_MAX = 1_000
"""Parts in which an iceberg may be shown."""
SPANS_S = {"min": 60, "hour": 3_600, "day": 86_400}
_STOPS = ("stop", "stop_price", "trail_price", "trail_bps")
_FIELDS = frozenset({*_STOPS, "cancel_after", "display_size", "min_size"})
_NOTHING = Conditions()


def read_conditions(
    fields: dict[str, object], instrument: Instrument, order: OrderRequest, now_ns: int
) -> Conditions | None:
    """What ``order`` asks for besides price and size; None if nothing. Raises ``ApiError`` 400."""
    if order.time_in_force != "GTT" and _FIELDS.isdisjoint(fields):
        return None
    stop = _stop(fields, order)
    found = Conditions(
        stop,
        stop_price(fields, instrument),
        _price(fields, instrument, "trail_price"),
        whole_field(fields, "trail_bps", BASIS),
        _expires(fields, order, bool(stop), now_ns),
        _display(fields, instrument, order),
        _minimum(fields, instrument, order),
    )
    return found if found != _NOTHING else None


def stop_price(fields: dict[str, object], instrument: Instrument) -> int:
    """``stop_price`` in ticks; 0 if absent. Raises ``ApiError`` 400."""
    return _price(fields, instrument, "stop_price")


def _price(fields: dict[str, object], instrument: Instrument, name: str) -> int:
    return amount_field(fields, name, lambda text: steps(text, instrument.tick, name, instrument.max_price))


def _size(fields: dict[str, object], instrument: Instrument, name: str) -> int:
    return amount_field(fields, name, lambda text: steps(text, instrument.lot, name, instrument.max_quantity))


# --- stops -----------------------------------------------------------------------------------------


def _stop(fields: dict[str, object], order: OrderRequest) -> StopDirection:
    """The direction of a stop, given or by its side; "" if the order is none."""
    for name in _STOPS[1:]:
        if fields.get(name) == "":
            raise bad_request(
                f'{name} is "": send where the stop triggers, or leave it out for an order without a stop'
            )
    follows: StopDirection = "loss" if order.side == "sell" else "entry"
    if not any(is_given(fields, name) for name in _STOPS):
        return ""
    stop = choice_field(fields, "stop", ("loss", "entry"), follows)
    trails = [name for name in ("trail_price", "trail_bps") if is_given(fields, name)]
    if not trails and not is_given(fields, "stop_price"):
        raise bad_request(f'stop "{stop}" says nothing without a price: send stop_price, trail_price or trail_bps')
    if order.post_only:
        raise bad_request("post_only true does not go with a stop, which may have to take: leave post_only out")
    if trails:
        _check_trail(fields, order, trails, stop, follows)
    return stop  # type: ignore[return-value]  # choice_field answers one of the choices


def _check_trail(fields: dict[str, object], order: OrderRequest, trails: list[str], stop: str, follows: str) -> None:
    if len(trails) == 2:
        raise bad_request("trail_price and trail_bps are one distance in two units: send only one of them")
    (name,) = trails
    if is_given(fields, "stop_price"):
        raise bad_request(
            f"stop_price {decimal_field(fields, 'stop_price')[:40]} does not go with {name}: a trailing stop's price "
            "follows the trades; send only one of them"
        )
    if order.order_type != "market":
        raise bad_request(
            f"{name} does not go with type limit: a trailing stop becomes a market order; send type market and no price"
        )
    if stop != follows:
        raise bad_request(
            f'stop "{stop}" is the wrong side of the price for a trailing {order.side}, which follows it with '
            f'stop "{follows}": send that, or leave stop out'
        )


# --- the end ---------------------------------------------------------------------------------------


def _expires(fields: dict[str, object], order: OrderRequest, is_stop: bool, now_ns: int) -> int:
    """When the order ends (ns); 0 if it does not by itself."""
    text = text_field(fields, "cancel_after")
    if order.time_in_force != "GTT":
        if text:
            raise bad_request(
                f'cancel_after "{text[:40]}" does not go with time_in_force {order.time_in_force}: '
                "send time_in_force GTT with it, or leave it out"
            )
        return 0
    if order.order_type == "market" and not is_stop:
        raise bad_request("time_in_force GTT does not go with a market order, which never waits: send IOC, or a stop")
    if not text:
        raise bad_request(
            "cancel_after is missing: time_in_force GTT needs min, hour, day, or an instant as in 2030-01-31T12:00:00Z"
        )
    if text in SPANS_S:
        return now_ns + SPANS_S[text] * SECOND_NS
    if not text[0].isdigit():
        raise bad_request(
            f'cancel_after "{text[:40]}" is not one of min, hour, day, nor an instant as in 2030-01-31T12:00:00Z'
        )
    return instant_ns(text, "cancel_after")


def check_expiry(order: OrderRequest, now_ns: int) -> None:
    """An order must not have ended already. Raises ``ApiError`` 400."""
    expires = order.conditions.expires if order.conditions is not None else 0
    if 0 < expires <= now_ns:
        raise bad_request(
            f"cancel_after {iso(expires)} is not in the future: it is {iso(now_ns)} here; send a later time"
        )


# --- sizes -----------------------------------------------------------------------------------------


def _display(fields: dict[str, object], instrument: Instrument, order: OrderRequest) -> int:
    """Lots that an iceberg shows; 0: all."""
    shown, text = _size(fields, instrument, "display_size"), decimal_field(fields, "display_size")
    if not shown:
        return 0
    if order.order_type == "market":
        raise bad_request(f"display_size {text} does not go with type market, which never rests: leave it out")
    if order.time_in_force in ("IOC", "FOK"):
        raise bad_request(
            f"display_size {text} does not go with time_in_force {order.time_in_force}, which never rests: "
            "leave it out, or send GTC or GTT"
        )
    if shown > order.quantity:
        size = decimal_field(fields, "size")
        raise bad_request(f"display_size {text} is too large: it is the part of size {size} that shows; send less")
    if order.quantity > PARTS_MAX * shown:
        raise bad_request(
            f"display_size {text} is too small: an order of size {decimal_field(fields, 'size')} shows at least a "
            f"{PARTS_MAX}th of it; send more"
        )
    return shown


def _minimum(fields: dict[str, object], instrument: Instrument, order: OrderRequest) -> int:
    """Lots that have to fill at once; 0: it may be less."""
    least, text = _size(fields, instrument, "min_size"), decimal_field(fields, "min_size")
    if not least:
        return 0
    if order.post_only:
        raise bad_request(
            f"min_size {text} does not go with post_only true: what must fill at once has to take; leave one out"
        )
    if not order.quantity:
        raise bad_request(f"min_size {text} does not go with funds: send size, or leave min_size out")
    if least > order.quantity:
        raise bad_request(
            f"min_size {text} is too large: the order's size is {decimal_field(fields, 'size')}; send less"
        )
    return least
