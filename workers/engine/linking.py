"""What happens to the other orders of a list when one of them is filled, triggers or ends."""

from shared.errors import RejectReason
from shared.messages import BookEvent, Change, Done, Match
from workers.engine.ending import end
from workers.engine.lists import OrderList
from workers.engine.state import BookState


def follow(book: BookState, events: list[BookEvent], start: int) -> int:
    """Do to the lists what ``events`` from ``start`` on mean to them; where the next ones will begin.

    Called after every single trade, so that no two legs that cancel each other are ever filled. It may see an event
    twice, and does nothing the second time.
    """
    of_order = book.lists.of_order
    while start < len(events):
        event = events[start]
        start += 1
        kind = event.__class__
        if kind is Match:
            for order_id in (event.maker_order_id, event.taker_order_id):  # type: ignore[union-attr]  # a Match
                if order_id in of_order:
                    filled(book, of_order[order_id], order_id, events)
        elif kind is Change and event.reason == "stp":  # type: ignore[union-attr]  # a Change
            book.lists.shrink(event.order_id)  # type: ignore[union-attr]  # a Change
        elif kind is Done and event.order_id in of_order:  # type: ignore[union-attr]  # a Done
            ended(book, event, events)  # type: ignore[arg-type]  # a Done
    return start


def filled(book: BookState, found: OrderList, order_id: int, events: list[BookEvent]) -> None:
    """A fill, not of all perhaps."""
    if found.parent == order_id:
        if found.first_fill:
            make_due(book, found)
    else:
        cancel_rivals(book, found, order_id, events)


def ended(book: BookState, event: Done, events: list[BookEvent]) -> None:
    """The end of a parent makes its children live, or cancels them; the end of a leg cancels the others.

    One that self-trade prevention made smaller has not brought all that its children may be paid with: it cancels them.
    """
    order_id = event.order_id
    found = book.lists.of_order[order_id]
    if found.parent != order_id:
        cancel_rivals(book, found, order_id, events)
    elif event.reason == "filled" and not found.shrunk:
        make_due(book, found)
    elif not found.due:
        for leg in list(found.legs):
            cancel_leg(book, leg, events)
    book.lists.leave(order_id)


def make_due(book: BookState, found: OrderList) -> None:
    """The legs go live behind the order that trades now."""
    if not found.due:
        found.due = True
        book.queue += found.legs


def cancel_rivals(book: BookState, found: OrderList, order_id: int, events: list[BookEvent]) -> None:
    """Cancel the other legs."""
    for leg in found.rivals(order_id):  # a copy: each leaves the list
        cancel_leg(book, leg, events)


def cancel_leg(book: BookState, leg: int, events: list[BookEvent]) -> None:
    """Cancel one leg. It leaves the list at once, so that its own end does not come back upon the others."""
    event = end(book, leg, RejectReason.LINKED_ORDER)
    if event is not None:
        events.append(event)
    book.lists.leave(leg)
