"""What the book decides: one function per command, each from a state to events.

A decision changes the state only through the primitives of ``BookState``; a refusal is an event, never an exception.
"""

from collections.abc import Callable
from typing import Any

from shared.messages import (
    AllCanceled,
    Amend,
    BookEvent,
    Cancel,
    CancelAll,
    CancelRefused,
    Configure,
    Configured,
    Place,
    PlaceList,
    Tick,
    Ticked,
)
from workers.engine.amend import amend
from workers.engine.auction import uncross
from workers.engine.ending import cancel_resting, end
from workers.engine.placing import place, place_list
from workers.engine.state import BookState


def cancel(book: BookState, command: Cancel) -> list[BookEvent]:
    """Cancel one order, wherever it is."""
    order = book.orders.get(command.order_id)
    if order is not None:
        return [cancel_resting(book, order)]
    event = end(book, command.order_id)
    return [event or CancelRefused(command.order_id, command.account, command.request_id)]


def cancel_all(book: BookState, command: CancelAll) -> list[BookEvent]:
    """Cancel the orders of an account, or of everyone, in the order of their ids; those that sleep, too."""
    events: list[BookEvent] = []
    for order_id in sorted(book.ids_of(command.account, command.side)):
        event = end(book, order_id)
        assert event is not None
        events.append(event)
    events.append(AllCanceled(command.account, len(events), command.request_id))
    return events


def configure(book: BookState, command: Configure) -> list[BookEvent]:
    """Follow new rules and a new mode. Resting orders stay; leaving an auction ends it, whatever mode comes."""
    collected = book.instrument is not None and book.instrument.mode == "auction"
    book.configure(command.instrument)
    events: list[BookEvent] = [Configured(command.instrument)]
    if collected and command.instrument.mode != "auction":
        uncross(book, events)
    return events


def tick(_: BookState, command: Tick) -> list[BookEvent]:
    """The time has come to the book, nothing more."""
    return [Ticked(command.time)]


DECISIONS: dict[type, Callable[[BookState, Any], list[BookEvent]]] = {
    Place: place,
    PlaceList: place_list,
    Amend: amend,
    Cancel: cancel,
    CancelAll: cancel_all,
    Configure: configure,
    Tick: tick,
}
