"""What a command sets off besides what it asked for: expiry before it, triggered stops behind it."""

from shared.errors import RejectReason
from shared.messages import BookEvent, Done
from workers.engine.matching import cancel_resting, own_price
from workers.engine.placing import enter
from workers.engine.state import BookState


def expire(book: BookState) -> list[BookEvent]:
    """Remove what has expired, the earliest first, before anything can meet it."""
    events: list[BookEvent] = []
    for order_id in book.deadlines.due(book.time):
        event = end(book, order_id, RejectReason.EXPIRED)
        assert event is not None, f"order {order_id} expired after it had left"
        events.append(event)
    return events


def end(book: BookState, order_id: int, cause: RejectReason | None = None) -> Done | None:
    """Cancel an order wherever it is; None if the book does not have it. No ``cause`` if its owner asked for it."""
    order = book.orders.get(order_id)
    if order is not None:
        return cancel_resting(book, order, cause)
    sleeping = book.stops.orders.get(order_id)
    if sleeping is None:
        return None
    book.wake(sleeping)
    book.sequence += 1
    placed = sleeping.order
    return Done(
        book.sequence, placed.order_id, placed.account, placed.side, "canceled", own_price(placed), placed.quantity,
        cause,
    )  # fmt: skip


def settle(book: BookState, events: list[BookEvent]) -> None:
    """Let the stops enter whose condition holds by the last trade, until none does.

    Each is a taker of its own: after it, the last price is looked at again, and whom it wakes comes behind those woken
    before. Only while the instrument is online; otherwise they sleep on, and are looked at when it is again.
    """
    assert book.instrument is not None
    if book.instrument.mode != "online" or not book.last_price:
        return
    queue = book.stops.elect(book.last_price)
    for order_id in queue:
        sleeping = book.stops.orders[order_id]
        book.wake(sleeping)
        events.extend(enter(book, sleeping.order))
        queue.extend(book.stops.elect(book.last_price))
