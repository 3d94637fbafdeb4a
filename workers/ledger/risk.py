"""May this request be accepted, and on what terms: pure checks, in the order in which they answer.

A refusal is a value, never an exception: a reason from the one list, and a sentence in the words of the public API
("product", "size"), parts of which clients look for.
"""

from functools import lru_cache
from typing import NamedTuple

import msgspec

from shared.errors import InvalidInput, RejectReason
from shared.instrument import (
    MONEY_MAX,
    REASON_LENGTH_MAX,
    Instrument,
    collar_price,
    decimal_of,
    make_instrument,
    money_text,
    price_text,
    quantity_text,
)
from shared.messages import Conditions, OrderRequest
from workers.ledger.holds import buy_hold, spendable, with_fee

BASIS = 10_000
ID_LENGTH_MAX = 128
ACCOUNT_MAX = 2**53 - 1
"""Accounts fit a JSON number of any language."""


class Limits(msgspec.Struct, frozen=True):
    """What one account may do: open orders, and the value of one order in whole units of the quote currency.

    And of which instruments nobody may have new orders, since what their books do cannot be settled.
    """

    max_open_orders: int = 10_000
    max_notional: str = "100000000"
    set_aside: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        if decimal_of(self.max_notional, "max_notional") <= 0:
            raise InvalidInput(f"max_notional {self.max_notional} must be above 0")

    def notional(self, scale: int) -> int:
        """The largest value of an order, in smallest units of a currency with ``scale`` decimals."""
        return _scaled(self.max_notional, scale)


@lru_cache(maxsize=64)
def _scaled(amount: str, scale: int) -> int:
    return min(MONEY_MAX, int(decimal_of(amount, "max_notional").scaleb(scale)))


class Refusal(NamedTuple):
    """Why not."""

    reason: RejectReason
    message: str


class Terms(NamedTuple):
    """What an accepted order holds, and the bounds its book keeps to (see ``Place``)."""

    hold: int
    price: int
    quantity: int
    funds: int


INSUFFICIENT_FUNDS = Refusal(RejectReason.INSUFFICIENT_FUNDS, "Insufficient funds")
PRODUCT_NOT_FOUND = Refusal(RejectReason.UNKNOWN_INSTRUMENT, "Product not found")
ORDER_NOT_FOUND = Refusal(RejectReason.UNKNOWN_ORDER, "order not found")
ORDER_DONE = Refusal(RejectReason.ORDER_DONE, "Order already done")


def check_sender(account: int, shard: int, shards: int) -> Refusal | None:
    """Whether the account may send requests here."""
    if not 0 < account <= ACCOUNT_MAX:
        return invalid(f"account {_shown(account)} is not a user's account")
    if account % shards != shard:
        return invalid(f"account {account} belongs to shard {account % shards}, this is shard {shard}")
    return None


def check_ids(request_id: str, client_id: str = "") -> Refusal | None:
    """Whether the ids of an order or transfer can be remembered."""
    if not request_id and not client_id:
        return invalid("request id is missing")
    if len(client_id) > ID_LENGTH_MAX or len(request_id) > ID_LENGTH_MAX:
        name = "client_oid" if len(client_id) > ID_LENGTH_MAX else "request id"
        return invalid(f"{name} is longer than {ID_LENGTH_MAX} characters")
    return None


def check_reason(reason: str) -> Refusal | None:
    """Whether a kill switch may say this to whom it hits."""
    if len(reason) > REASON_LENGTH_MAX:
        return invalid(f"reason is longer than {REASON_LENGTH_MAX} characters")
    return None


def _shown(number: int) -> str:
    return str(number) if abs(number) < 10**30 else "with more than 30 digits"


def blocked_trading(account: int, reason: str) -> Refusal:
    """The account (0: everyone) is blocked; ``reason`` may be empty."""
    why = f": {reason}" if reason else ""
    if account:
        return Refusal(RejectReason.BLOCKED, f"trading is blocked for this account{why}")
    return Refusal(RejectReason.BLOCKED, f"trading is halted for everyone, under maintenance{why}")


def too_much_money(most: int, owned: int, currency: str, scale: int) -> Refusal:
    """A deposit would leave the account with more than it may bring itself to."""
    return Refusal(
        RejectReason.LIMIT_EXCEEDED,
        f"amount is too large: deposits go up to a balance of {money_text(most, scale)} {currency}, "
        f"and yours is {money_text(owned, scale)}",
    )


def invalid(message: str) -> Refusal:
    """The request makes no sense as it is."""
    return Refusal(RejectReason.INVALID_ORDER, message)


def check_settled(symbol: str, limits: Limits) -> Refusal | None:
    """Whether what the instrument's book does is settled."""
    if symbol in limits.set_aside:
        return Refusal(
            RejectReason.HALTED, f"trading of {symbol} is halted: what its book has done cannot be settled just now"
        )
    return None


# --- the order itself ----------------------------------------------------------------------------


def check_order(request: OrderRequest, instrument: Instrument, open_orders: int, limits: Limits) -> Refusal | None:
    """Everything about a new order but its funds."""
    if limits.set_aside and (refusal := check_settled(instrument.symbol, limits)):
        return refusal
    if instrument.mode != "online" and (refusal := _check_mode(request, instrument)):
        return refusal
    if refusal := _check_shape(request) or _check_kind(request, instrument) or check_size(request.quantity, instrument):
        return refusal
    if request.order_type == "limit":
        notional = request.price * request.quantity * instrument.tick_value
    else:
        notional = request.funds
    if (most := limits.notional(instrument.quote_scale)) < notional:
        return too_large(notional, most, instrument)
    if open_orders >= limits.max_open_orders:
        return Refusal(
            RejectReason.TOO_MANY_OPEN_ORDERS,
            f"too many open orders: at most {limits.max_open_orders}; cancel some first",
        )
    return None


def too_large(notional: int, most: int, instrument: Instrument) -> Refusal:
    """The order's value is above the limit."""
    value, limit = (money_text(one, instrument.quote_scale) for one in (notional, most))
    return Refusal(
        RejectReason.NOTIONAL_TOO_LARGE, f"order value {value} {instrument.quote} is too large: at most {limit}"
    )


def _check_mode(request: OrderRequest, instrument: Instrument) -> Refusal | None:
    symbol, mode = instrument.symbol, instrument.mode
    if mode == "halted":
        why = instrument.mode_reason or "no orders for now"
        return Refusal(RejectReason.HALTED, f"{symbol} is halted, under maintenance: {why}")
    if mode == "delisted":
        return Refusal(RejectReason.HALTED, f"{symbol} is delisted: no more orders")
    if mode == "cancel-only":
        return Refusal(RejectReason.CANCEL_ONLY, "Cancel only mode")
    if request.conditions is not None and request.conditions.stop:
        return None  # it may go to sleep wherever orders come in at all
    if mode == "post-only" and not request.post_only:
        return Refusal(RejectReason.POST_ONLY_MODE, "Post only mode: only limit orders with post_only")
    if mode == "limit-only" and request.order_type != "limit":
        return Refusal(RejectReason.LIMIT_ONLY_MODE, "Limit only mode: no market orders")
    if mode == "auction" and _acts_at_once(request):
        return Refusal(
            RejectReason.AUCTION_MODE, "Auction mode: only limit orders that can wait, without IOC, FOK and min_size"
        )
    return None


def _acts_at_once(request: OrderRequest) -> bool:
    if request.order_type == "market" or request.time_in_force in ("IOC", "FOK"):
        return True
    return request.conditions is not None and request.conditions.min_quantity > 0


def _check_shape(request: OrderRequest) -> Refusal | None:
    """What holds for any order."""
    price, size, funds = request.price, request.quantity, request.funds
    if not (0 <= price <= MONEY_MAX and 0 <= size <= MONEY_MAX and 0 <= funds <= MONEY_MAX):
        return _out_of_range({"price": price, "size": size, "funds": funds})
    if request.time_in_force == "GTT" and (request.conditions is None or not request.conditions.expires):
        return invalid("time_in_force GTT needs cancel_after, the time at which the order is to end")
    if request.post_only and request.order_type == "market":
        return invalid("post_only does not go with a market order")
    if request.post_only and request.time_in_force in ("IOC", "FOK"):
        return invalid(f"post_only does not go with time_in_force {request.time_in_force}")
    return None


def _out_of_range(numbers: dict[str, int]) -> Refusal:
    name, value = next(one for one in numbers.items() if not 0 <= one[1] <= MONEY_MAX)
    return invalid(f"{name} must not be negative" if value < 0 else f"{name} is too large")


def _check_kind(request: OrderRequest, instrument: Instrument) -> Refusal | None:
    """What holds for limit or for market orders."""
    if request.order_type == "market":
        if request.price:
            return invalid("price does not go with a market order")
        if not request.quantity and not request.funds:
            return invalid("a market order needs size or funds")
        if request.quantity and request.funds:
            return invalid("a market order has size or funds, not both")
        return None
    if request.funds:
        return invalid("funds go with market orders only")
    if not request.quantity:
        return invalid("size is too small: a limit order needs a size above 0")
    if not request.price:
        return invalid("price too small: a limit order needs a price above 0")
    if request.price > instrument.max_price:
        return invalid(f"price is too large: at most {price_text(instrument, instrument.max_price)}")
    return None


def check_size(quantity: int, instrument: Instrument) -> Refusal | None:
    """Whether an order may have this size, if any."""
    if not quantity:
        return None
    if quantity < instrument.min_quantity:
        least = quantity_text(instrument, instrument.min_quantity)
        shown = quantity_text(instrument, quantity)
        return Refusal(RejectReason.QUANTITY_TOO_SMALL, f"size is too small: {shown} is below the minimum {least}")
    if quantity > instrument.max_quantity:
        most = quantity_text(instrument, instrument.max_quantity)
        return Refusal(RejectReason.QUANTITY_TOO_LARGE, f"size is too large: at most {most}")
    return None


# --- its funds -------------------------------------------------------------------------------------


def terms_of(
    request: OrderRequest, instrument: Instrument, available: int, last_price: int, limits: Limits
) -> Terms | Refusal:
    """What a checked order holds of ``available`` (quote for a buy, base for a sell). ``last_price`` 0: none yet.

    A stop holds from the start what it may need when it triggers, and is bounded by where it triggers.
    """
    if request.order_type == "limit":
        if request.side == "buy":
            rate = max(instrument.maker_fee, instrument.taker_fee)
            hold = buy_hold(instrument, request.price, request.quantity, rate)
        else:
            hold = request.quantity * instrument.lot_value
        return INSUFFICIENT_FUNDS if hold > available else Terms(hold, request.price, request.quantity, 0)
    reference, is_stop = last_price, request.conditions is not None and bool(request.conditions.stop)
    if is_stop:
        assert request.conditions is not None
        reference = stands_at(request.conditions, last_price)
    if request.side == "sell":
        return _market_sell(request, instrument, available, reference, limits)
    if request.funds:
        return _market_buy_by_funds(request, instrument, available, reference)
    if is_stop:
        return _stop_buy(request, instrument, available, reference, limits)
    return _market_buy(request, instrument, available, reference, limits)


def stands_at(conditions: Conditions, last_price: int) -> int:
    """Where a stop would trigger if the price turned against it now; 0 if it trails and nobody has traded yet."""
    if conditions.stop_price or not last_price:
        return conditions.stop_price
    distance = conditions.trail or -(-last_price * conditions.trail_bps // BASIS)
    return max(1, last_price - distance) if conditions.stop == "loss" else last_price + distance


def _market_buy_by_funds(
    request: OrderRequest, instrument: Instrument, available: int, last_price: int
) -> Terms | Refusal:
    if request.funds > available:
        return INSUFFICIENT_FUNDS
    funds = spendable(request.funds, instrument.taker_fee)
    if funds < instrument.tick_value:
        return Refusal(
            RejectReason.QUANTITY_TOO_SMALL, "size is too small: funds do not buy one lot at the lowest price"
        )
    return Terms(request.funds, collar_price(instrument, "buy", last_price), 0, funds)


def _market_buy(
    request: OrderRequest, instrument: Instrument, available: int, last_price: int, limits: Limits
) -> Terms | Refusal:
    """Holds up to what the quantity costs at the collar; before the first trade, all there is (up to the limit)."""
    quantity, rate, most = request.quantity, instrument.taker_fee, limits.notional(instrument.quote_scale)
    notional = last_price * quantity * instrument.tick_value
    if notional > most:
        return too_large(notional, most, instrument)
    if with_fee(notional, rate) > available:
        return INSUFFICIENT_FUNDS
    bound = collar_price(instrument, "buy", last_price)
    hold = min(available, buy_hold(instrument, bound, quantity, rate) if bound else with_fee(most, rate))
    funds = spendable(hold, rate)
    return Terms(hold, bound, quantity, funds) if funds else INSUFFICIENT_FUNDS


def _stop_buy(
    request: OrderRequest, instrument: Instrument, available: int, reference: int, limits: Limits
) -> Terms | Refusal:
    """A market buy by size that sleeps: its bound is all that bounds it, so that it can be amended like a limit."""
    if not reference:
        return Refusal(
            RejectReason.NO_REFERENCE_PRICE, f"{instrument.symbol} has no last trade to trail from: use funds, or wait"
        )
    notional, most = reference * request.quantity * instrument.tick_value, limits.notional(instrument.quote_scale)
    if notional > most:
        return too_large(notional, most, instrument)
    bound = collar_price(instrument, "buy", reference)
    hold = buy_hold(instrument, bound, request.quantity, max(instrument.maker_fee, instrument.taker_fee))
    return INSUFFICIENT_FUNDS if hold > available else Terms(hold, bound, request.quantity, 0)


def _market_sell(
    request: OrderRequest, instrument: Instrument, available: int, last_price: int, limits: Limits
) -> Terms | Refusal:
    """By size: holds it. By funds: holds the lots that surely bring the funds at the collar, or all there are."""
    bound = collar_price(instrument, "sell", last_price)
    if request.quantity:
        notional, most = last_price * request.quantity * instrument.tick_value, limits.notional(instrument.quote_scale)
        if notional > most:
            return too_large(notional, most, instrument)
        hold = request.quantity * instrument.lot_value
        return INSUFFICIENT_FUNDS if hold > available else Terms(hold, bound, request.quantity, 0)
    lots = min(available // instrument.lot_value, instrument.max_quantity)
    if bound:
        lots = min(lots, -(-request.funds // (bound * instrument.tick_value)))
    return Terms(lots * instrument.lot_value, bound, lots, request.funds) if lots else INSUFFICIENT_FUNDS


# --- instruments -----------------------------------------------------------------------------------


def check_instrument(wanted: Instrument, known: Instrument | None, scales: dict[str, int]) -> Refusal | None:
    """Whether an instrument is sound, and agrees with what its shard already follows."""
    try:
        sound = make_instrument(
            wanted.symbol, wanted.tick, wanted.lot, base_scale=wanted.base_scale, quote_scale=wanted.quote_scale,
            mode=wanted.mode, maker_fee=wanted.maker_fee, taker_fee=wanted.taker_fee,
            min_quantity=wanted.min_quantity, max_quantity=wanted.max_quantity, max_price=wanted.max_price,
            collar=wanted.collar, price_collar=wanted.price_collar, mode_reason=wanted.mode_reason,
        )  # fmt: skip
    except InvalidInput as error:
        return invalid(str(error))
    for name in Instrument.__struct_fields__:
        if getattr(wanted, name) != (right := getattr(sound, name)):
            return invalid(f"{wanted.symbol}: {name} must be {right}")
    for currency, scale in ((wanted.base, wanted.base_scale), (wanted.quote, wanted.quote_scale)):
        if (before := scales.get(currency, scale)) != scale:
            return Refusal(
                RejectReason.CURRENCY_SCALE,
                f"{wanted.symbol}: {currency} has {before} decimals here, not {scale}; use {before}",
            )
    if known is not None:
        for name, old, new in (("tick", known.tick, wanted.tick), ("lot", known.lot, wanted.lot)):
            if old != new:
                return invalid(f"{wanted.symbol}: {name} is {old} and cannot become {new}; list a new symbol instead")
    return None
