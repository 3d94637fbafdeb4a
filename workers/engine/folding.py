"""How a recorded event changes the state: through the primitives, deciding nothing.

An arriving order is known to a fold from its ``received`` (or the ``change`` that takes it off the book) until its
``open`` or ``done`` in the same entry.
"""

from collections.abc import Callable
from typing import Any

import msgspec

from shared.errors import CorruptState
from shared.messages import (
    Activate,
    AllCanceled,
    AmendRefused,
    BookEvent,
    CancelRefused,
    Change,
    Configured,
    Done,
    ListPlaced,
    Match,
    Open,
    Place,
    Received,
    Ticked,
)
from workers.engine.levels import RestingOrder
from workers.engine.state import BookState
from workers.engine.stops import SleepingOrder

UNSEQUENCED = frozenset({CancelRefused, AmendRefused, ListPlaced, AllCanceled, Configured, Ticked})


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
    """Keep the order at hand until its ``open`` or ``done``. A stop wakes by it."""
    if book.extras:
        sleeping = book.stops.orders.get(event.order_id)
        if sleeping is not None:
            book.wake(sleeping)
        elif event.order_id in book.lists.pending:
            book.arrive(event.order_id)
    book.arriving = event
    book.prevented = 0


def fold_activate(book: BookState, event: Activate) -> None:
    """Put the stop to sleep."""
    if event.order_id in book.lists.pending:
        book.arrive(event.order_id)
    order = Place(
        event.order_id, event.account, book.time, event.side, event.order_type, event.price, event.quantity,
        event.funds, event.time_in_force, event.post_only, event.stp, event.maker_fee, event.taker_fee,
        event.client_id, event.conditions,
    )  # fmt: skip
    book.sleep(SleepingOrder(order, event.sequence, event.stop_price))


def fold_open(book: BookState, event: Open) -> None:
    """Rest what is left of the arriving order, or the next part of the iceberg that was used up."""
    if book.refreshing and event.order_id in book.refreshing:
        order = book.refreshing.pop(event.order_id)
        order.remaining, order.hidden = event.remaining, event.hidden
    else:
        came = book.arriving
        if came is None or came.order_id != event.order_id:
            raise CorruptState(f"book event {event.sequence} opens order {event.order_id}, which was not received")
        order = RestingOrder(
            event.order_id, event.account, event.side, event.price, event.remaining, came.maker_fee,
            came.quantity - book.prevented, came.taker_fee, came.stp, came.post_only, event.hidden, came.conditions,
        )  # fmt: skip
        book.arriving = None
    book.rest(order)


def fold_match(book: BookState, event: Match) -> None:
    """Fill the maker; a taker's own events say what remains of it, unless it rested, too (an auction)."""
    maker = book.orders.get(event.maker_order_id)
    if maker is None or maker.remaining < event.quantity:
        raise CorruptState(
            f"book event {event.sequence} fills {event.quantity} lots of order {event.maker_order_id}, "
            "which does not rest with as many"
        )
    book.fill(maker, event.quantity, event.trade_id, event.price)
    if maker.hidden and not maker.remaining:
        book.refreshing[maker.order_id] = msgspec.structs.replace(maker)
    if event.auction:
        taker = book.orders.get(event.taker_order_id)
        if taker is None or taker.remaining < event.quantity:
            raise CorruptState(f"book event {event.sequence} fills order {event.taker_order_id}, which does not rest")
        book.fill(taker, event.quantity, event.trade_id, event.price)
        if taker.hidden and not taker.remaining:
            book.refreshing[taker.order_id] = msgspec.structs.replace(taker)


def fold_change(book: BookState, event: Change) -> None:
    """Reduce a resting order, or take it off the book to come again; give a stop other terms.

    An arriving one's ``open`` or ``done`` says what remains.
    """
    order = book.orders.get(event.order_id)
    sleeping = book.stops.orders.get(event.order_id)
    if event.reason == "stp":
        book.lists.shrink(event.order_id)
    if order is not None:
        moves = event.reason == "amend" and (event.price != event.old_price or event.new_quantity > event.old_quantity)
        if moves:
            book.remove(order)
            book.arriving, book.prevented = msgspec.structs.replace(order), event.old_quantity - event.new_quantity
        else:
            book.reduce(order, event.new_quantity)
    elif sleeping is not None:
        book.amend_stop(sleeping, event.price, event.new_quantity, event.stop_price)
    elif book.arriving is not None and book.arriving.order_id == event.order_id:
        book.prevented += event.old_quantity - event.new_quantity


def fold_done(book: BookState, event: Done) -> None:
    """Remove a resting order, unless its last fill has; or see the arriving one off."""
    order = book.orders.get(event.order_id)
    if book.extras:
        if event.order_id in book.lists.pending:
            book.drop_pending(event.order_id)
        book.lists.leave(event.order_id)
    if order is not None:
        book.remove(order)
    elif event.order_id in book.stops.orders:
        book.wake(book.stops.orders[event.order_id])
    elif book.arriving is not None and book.arriving.order_id == event.order_id:
        book.arriving = None


def fold_list_placed(book: BookState, event: ListPlaced) -> None:
    """Take up the orders of the list."""
    book.take_list(event.kind, event.orders, event.first_fill)


def fold_configured(book: BookState, event: Configured) -> None:
    """Follow these rules from here on."""
    book.configure(event.instrument)


def fold_nothing(book: BookState, event: BookEvent) -> None:
    """An answer that changes nothing."""


FOLDS: dict[type, Callable[[BookState, Any], None]] = {
    Received: fold_received,
    Activate: fold_activate,
    Open: fold_open,
    Match: fold_match,
    Change: fold_change,
    Done: fold_done,
    ListPlaced: fold_list_placed,
    Configured: fold_configured,
    CancelRefused: fold_nothing,
    AllCanceled: fold_nothing,
    AmendRefused: fold_nothing,
    Ticked: fold_nothing,
}
