"""May this order be amended that way, and what does it have to hold until its book has answered."""

import msgspec

from shared.errors import RejectReason
from shared.instrument import MONEY_MAX, Instrument, collar_price, price_text
from shared.messages import Amend, AmendRequest, AmendRequested
from workers.ledger.holds import brings, reachable, still_needed
from workers.ledger.orders import AskedAmend, OpenOrder
from workers.ledger.risk import (
    INSUFFICIENT_FUNDS,
    Limits,
    Refusal,
    check_settled,
    check_size,
    invalid,
    stands_at,
    too_large,
)

UNDER_WAY_MAX = 8
"""Amends of an order that its book has not answered: what they can lead to has to be looked at with each fill."""


def check_amend(
    request: AmendRequest, order: OpenOrder, instrument: Instrument, last_price: int, limits: Limits
) -> Refusal | None:
    """What is wrong with it whatever the book has done meanwhile; the book has the last word."""
    if limits.set_aside and (refusal := check_settled(instrument.symbol, limits)):
        return refusal
    numbers = {"price": request.price, "size": request.quantity, "stop_price": request.stop_price}
    for name, value in numbers.items():
        if not 0 <= value <= MONEY_MAX:
            return invalid(f"{name} must not be negative" if value < 0 else f"{name} is too large")
    if not any(numbers.values()):
        return invalid("an amend needs a price, a size or a stop_price")
    for name in ("price", "stop_price"):
        if numbers[name] > instrument.max_price:
            return invalid(f"{name} is too large: at most {price_text(instrument, instrument.max_price)}")
    refusal = _check_kind(request, order) or check_size(request.quantity, instrument)
    if refusal is None and len(order.amends) >= UNDER_WAY_MAX:
        return Refusal(RejectReason.LIMIT_EXCEEDED, f"too many amends of the order under way: at most {UNDER_WAY_MAX}")
    return refusal or _check_value(request, order, instrument, last_price, limits)


def _check_kind(request: AmendRequest, order: OpenOrder) -> Refusal | None:
    conditions = order.conditions
    is_stop = conditions is not None and bool(conditions.stop)
    if order.order_type == "market":
        if not is_stop:
            return invalid("a market order cannot be amended")
        if request.price:
            return invalid("price does not go with a market order")
        if request.quantity and order.specified_funds:
            return invalid("size does not go with an order by funds")
    if request.stop_price and (conditions is None or not conditions.stop):
        return invalid("stop_price goes with a stop only")
    if request.stop_price and conditions is not None and not conditions.stop_price:
        return invalid("stop_price does not go with a trailing stop")
    if request.quantity and conditions is not None and request.quantity < conditions.min_quantity:
        return invalid("size is too small: at least min_size")
    return None


def _check_value(
    request: AmendRequest, order: OpenOrder, instrument: Instrument, last_price: int, limits: Limits
) -> Refusal | None:
    """As for a new order; less of one at its old price is never too much, wherever a trailing one stands by now."""
    if not request.price and not request.stop_price and request.quantity <= order.quantity:
        return None
    price = request.price or order.price
    if order.order_type == "market":
        assert order.conditions is not None
        price = request.stop_price or stands_at(order.conditions, last_price)
    notional = price * (request.quantity or order.quantity) * instrument.tick_value
    most = limits.notional(instrument.quote_scale)
    return too_large(notional, most, instrument) if notional > most else None


def amend_terms(
    request: AmendRequest,
    order: OpenOrder,
    rival: OpenOrder | None,
    due: int,
    instrument: Instrument,
    available: int,
    now: int,
) -> tuple[AmendRequested, Amend] | Refusal:
    """A checked amend for the log and for the book. Holds more first, so that the book may do it at any moment.

    ``due`` is what the orders that wait behind this one count on: it must go on bringing that.
    """
    if order.due or (rival is not None and rival.due):
        return invalid("an order that waits behind another cannot be amended; cancel it instead")
    price = request.price
    if order.order_type == "market" and request.stop_price:
        price = collar_price(instrument, order.side, request.stop_price)
    asked = AskedAmend(request.request_id, price, request.quantity, request.stop_price)
    after = msgspec.structs.replace(order, amends=(*order.amends, asked))
    if due and least_brought(after, instrument) < due:
        return invalid("the orders that wait behind it count on more than it would bring; cancel the list instead")
    hold = still_needed(after, instrument) - order.hold
    if rival is not None:
        hold = max(still_needed(after, instrument), still_needed(rival, instrument)) - order.hold - rival.hold
    if hold > available:
        return INSUFFICIENT_FUNDS
    requested = AmendRequested(
        request.request_id, order.account, order.order_id, order.instrument, order.side, hold, price, request.quantity,
        request.stop_price,
    )  # fmt: skip
    command = Amend(order.order_id, order.account, now, price, request.quantity, request.stop_price, request.request_id)
    return requested, command


def least_brought(order: OpenOrder, instrument: Instrument) -> int:
    """What the rest of an order brings at least, whichever of its amends on their way the book will do."""
    rate = max(order.maker_fee, order.taker_fee)
    return min(
        brings(order.side, instrument, price, max(0, total - order.filled), rate, order.fee_rest)
        for price, total in reachable(order, order.filled + order.remaining)
    )
