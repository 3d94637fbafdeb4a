"""How an order is canceled, wherever the book has it."""

from shared.errors import RejectReason
from shared.messages import Done, Place
from workers.engine.levels import RestingOrder
from workers.engine.state import BookState


def own_price(order: Place) -> int:
    """The price a public event shows for an order that does not rest: a market order has none."""
    return order.price if order.order_type == "limit" else 0


def cancel_resting(book: BookState, order: RestingOrder, cause: RejectReason | None = None) -> Done:
    """Take a resting order off the book; no ``cause`` if its owner asked for it."""
    book.sequence += 1
    event = Done(
        book.sequence, order.order_id, order.account, order.side, "canceled", order.price,
        order.remaining + order.hidden, cause,
    )  # fmt: skip
    book.remove(order)
    return event


def end(book: BookState, order_id: int, cause: RejectReason | None = None) -> Done | None:
    """Cancel an order that rests, sleeps or waits; None if the book does not have it."""
    order = book.orders.get(order_id)
    if order is not None:
        return cancel_resting(book, order, cause)
    sleeping = book.stops.orders.get(order_id)
    if sleeping is not None:
        placed = sleeping.order
        book.wake(sleeping)
    else:
        pending = book.lists.pending.get(order_id)
        if pending is None:
            return None
        placed = pending
        book.drop_pending(order_id)
    book.sequence += 1
    return Done(
        book.sequence, placed.order_id, placed.account, placed.side, "canceled", own_price(placed), placed.quantity,
        cause,
    )  # fmt: skip
