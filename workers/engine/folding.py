"""How a recorded event changes the state: through the primitives, deciding nothing.

An arriving order is known to a fold from its ``received`` until its ``open`` or ``done`` in the same entry.
"""

from collections.abc import Callable
from typing import Any

from shared.errors import CorruptState
from shared.messages import (
    AllCanceled,
    BookEvent,
    CancelRefused,
    Change,
    Configured,
    Done,
    Match,
    Open,
    Received,
)
from workers.engine.levels import RestingOrder
from workers.engine.state import BookState

UNSEQUENCED = frozenset({CancelRefused, AllCanceled, Configured})


def fold(book: BookState, event: BookEvent) -> None:
    """Do to the state what the event says. Raises ``CorruptState`` if it does not follow on it."""
    kind = event.__class__
    if kind not in UNSEQUENCED:
        sequence = event.sequence  # type: ignore[union-attr]  # the others have one
        if sequence != book.sequence + 1:
            raise CorruptState(
                f"book event {sequence} ({kind.__name__}) follows on {book.sequence}: the log has a hole; "
                "load an older snapshot"
            )
        book.sequence = sequence
    FOLDS[kind](book, event)


def fold_received(book: BookState, event: Received) -> None:
    """Keep the order at hand until its ``open`` or ``done``."""
    book.arriving = event


def fold_open(book: BookState, event: Open) -> None:
    """Rest what is left of the arriving order."""
    order = book.arriving
    if order is None or order.order_id != event.order_id:
        raise CorruptState(f"book event {event.sequence} opens order {event.order_id}, which was not received")
    book.arriving = None
    book.rest(RestingOrder(event.order_id, event.account, event.side, event.price, event.remaining, order.maker_fee))


def fold_match(book: BookState, event: Match) -> None:
    """Fill the maker; a taker's own events say what remains of it."""
    maker = book.orders.get(event.maker_order_id)
    if maker is None or maker.remaining < event.quantity:
        raise CorruptState(
            f"book event {event.sequence} fills {event.quantity} lots of order {event.maker_order_id}, "
            "which does not rest with as many"
        )
    book.fill(maker, event.quantity, event.trade_id)


def fold_change(book: BookState, event: Change) -> None:
    """Reduce a resting order; an arriving one's ``open`` or ``done`` says what remains."""
    order = book.orders.get(event.order_id)
    if order is not None:
        book.reduce(order, event.new_quantity)


def fold_done(book: BookState, event: Done) -> None:
    """Remove a resting order, unless its last fill has; or see the arriving one off."""
    order = book.orders.get(event.order_id)
    if order is not None:
        book.remove(order)
    elif book.arriving is not None and book.arriving.order_id == event.order_id:
        book.arriving = None


def fold_configured(book: BookState, event: Configured) -> None:
    """Follow these rules from here on."""
    book.configure(event.instrument)


def fold_nothing(book: BookState, event: BookEvent) -> None:
    """An answer that changes nothing."""


FOLDS: dict[type, Callable[[BookState, Any], None]] = {
    Received: fold_received,
    Open: fold_open,
    Match: fold_match,
    Change: fold_change,
    Done: fold_done,
    Configured: fold_configured,
    CancelRefused: fold_nothing,
    AllCanceled: fold_nothing,
}
