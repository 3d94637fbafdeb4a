"""What came of an amend: whether it ended its order, or why it failed, in a sentence. Pure."""

from shared.errors import RejectReason
from shared.instrument import Instrument, price_text, quantity_text
from shared.messages import AmendFailed, AmendRequest, Closed
from workers.gateway.errors import ApiError, bad_request, order_already_done
from workers.gateway.known_orders import KnownOrder, Standing

_MODES = {
    RejectReason.HALTED: "is halted, under maintenance: amend the order when it trades again, or cancel it",
    RejectReason.CANCEL_ONLY: "is in Cancel only mode: cancel the order, or wait",
    RejectReason.POST_ONLY_MODE: "is in Post only mode: only orders with post_only are amended; cancel it, or wait",
}


def has_ended(request: AmendRequest, known: KnownOrder, event: Closed) -> bool:
    """Whether the amend itself has ended its order: the size asked for was what was filled."""
    return event.reason == "canceled" and event.cause is None and 0 < request.quantity == known.order.filled


def amend_failure(
    event: AmendFailed, request: AmendRequest, known: KnownOrder, standing: Standing, instrument: Instrument
) -> ApiError:
    """The book's refusal as an answer. ``known`` and ``standing`` are the order as it stands now."""
    reason, order = event.reason, known.order
    if reason is RejectReason.UNKNOWN_ORDER:
        return order_already_done()
    if reason in _MODES:
        return bad_request(f"{instrument.symbol} {_MODES[reason]}")
    if reason is RejectReason.QUANTITY_TOO_SMALL:
        size, filled = (quantity_text(instrument, lots) for lots in (request.quantity, order.filled))
        return bad_request(
            f"size is too small: {size} is below what is filled of the order already, {filled}; send at least that"
        )
    if reason is RejectReason.POST_ONLY:
        price = price_text(instrument, request.price)
        return bad_request(f"price {price} would take, and the order is post_only: send a price that rests")
    if reason is RejectReason.EXPIRED:
        return order_already_done()
    return bad_request(_malformed(request, known, standing, instrument))


def _malformed(request: AmendRequest, known: KnownOrder, standing: Standing, instrument: Instrument) -> str:
    """What the book could mean by invalid."""
    if standing.status == "pending":
        return "an order that waits behind another cannot be amended; cancel it instead"
    if request.stop_price and standing.status != "active":
        return f"stop_price {price_text(instrument, request.stop_price)} comes too late: the stop has triggered already"
    conditions = known.order.conditions
    if conditions is None or not (conditions.display_quantity or conditions.min_quantity):
        return "the order waited behind another when the amend came; send it again"
    size = quantity_text(instrument, request.quantity or known.order.quantity)
    return f"size {size} does not go with the order's display_size or min_size: it shows at least a 1000th of its size"
