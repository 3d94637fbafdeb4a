"""What the book decides: one short function per command, each from a state to events.

A new order goes through these stages: ``refusal`` (mode, shape), then ``take`` if it meets somebody (the look ahead of
post-only and FOK, ``sweep`` in matching.py), then ``leave`` (it rests, or why it may not). A decision changes the state
only through the primitives of ``BookState``; a refusal is an event, never an exception.
"""

from collections.abc import Callable
from operator import attrgetter
from typing import Any

from shared.errors import CorruptState, RejectReason
from shared.messages import (
    AllCanceled,
    BookEvent,
    Cancel,
    CancelAll,
    CancelRefused,
    Configure,
    Configured,
    Done,
    DoneReason,
    Open,
    Place,
    Received,
)
from workers.engine.levels import RestingOrder
from workers.engine.matching import ANY_PRICE, Taker, cancel_resting, fillable, make_taker, own_price, sweep
from workers.engine.state import BookState

LIMIT_LASTS = ("GTC", "IOC", "FOK")
POST_ONLY_LASTS = ("GTC",)
"""The times in force an order may have: with post-only, one that can rest."""

# --- place: refuse, or receive -----------------------------------------------------------------


def place(book: BookState, order: Place) -> list[BookEvent]:
    """Take up an order. Raises ``CorruptState`` if its id rests already: then the sender has lost count."""
    if order.order_id in book.orders:
        raise CorruptState(f"order {order.order_id} is placed again while it rests; compare its shard's log with ours")
    cause = refusal(book, order)
    if cause is not None:
        return [done(book, order, "rejected", order.quantity, cause)]
    book.sequence += 1
    first = Received(
        book.sequence, order.order_id, order.account, order.side, order.order_type, order.price, order.quantity,
        order.funds, order.time_in_force, order.post_only, order.stp, order.maker_fee, order.taker_fee,
        order.client_id,
    )  # fmt: skip
    against = book.asks if order.side == "buy" else book.bids
    limit = against.sign * order.price if order.price else ANY_PRICE
    if against.keys and against.keys[-1] >= limit:
        return take(book, order, first, make_taker(book, order, against, limit))
    if order.time_in_force == "FOK":
        return [first, done(book, order, "canceled", order.quantity, RejectReason.FILL_OR_KILL)]
    return [first, leave(book, order, order.quantity)]


def refusal(book: BookState, order: Place) -> RejectReason | None:
    """Why the book does not take the order up, if so."""
    if book.instrument is None:
        return RejectReason.UNKNOWN_INSTRUMENT
    mode = book.instrument.mode
    if mode != "online":
        cause = refused_by_mode(mode, order)
        if cause is not None:
            return cause
    if order.order_type == "limit":
        lasting = POST_ONLY_LASTS if order.post_only else LIMIT_LASTS
        valid = order.price > 0 and order.quantity > 0 and not order.funds and order.time_in_force in lasting
    else:
        valid = order.price >= 0 and order.quantity >= 0 and order.funds >= 0 and bool(order.quantity or order.funds)
        valid = valid and not order.post_only and order.time_in_force in LIMIT_LASTS
    return None if valid else RejectReason.INVALID_ORDER


def refused_by_mode(mode: str, order: Place) -> RejectReason | None:
    """Which orders a mode other than online keeps out."""
    if mode == "post-only":
        return None if order.post_only else RejectReason.POST_ONLY_MODE
    if mode == "limit-only":
        return None if order.order_type == "limit" else RejectReason.LIMIT_ONLY_MODE
    return RejectReason.CANCEL_ONLY if mode == "cancel-only" else RejectReason.HALTED


# --- trade, then rest or be done ----------------------------------------------------------------


def take(book: BookState, order: Place, first: Received, taker: Taker) -> list[BookEvent]:
    """An order that met somebody: unless post-only or FOK forbid it, it trades; then it leaves."""
    events: list[BookEvent] = [first]
    if order.post_only:
        events.append(done(book, order, "rejected", order.quantity, RejectReason.POST_ONLY))
        return events
    if order.time_in_force == "FOK" and not fillable(taker):
        taker.stopped = RejectReason.FILL_OR_KILL
    else:
        sweep(book, taker, events)
    remaining = taker.lots_left()
    if taker.complete():
        events.append(done(book, order, "filled", remaining))
    elif taker.stopped is not None:
        events.append(done(book, order, "canceled", remaining, taker.stopped))
    else:
        events.append(leave(book, order, remaining))
    return events


def leave(book: BookState, order: Place, remaining: int) -> Open | Done:
    """What becomes of an order that finds nobody (more) to trade with: it rests if it may."""
    if order.order_type == "market":
        return done(book, order, "canceled", remaining, RejectReason.NO_LIQUIDITY)
    if order.time_in_force == "IOC":
        return done(book, order, "canceled", remaining, RejectReason.IMMEDIATE_OR_CANCEL)
    book.rest(RestingOrder(order.order_id, order.account, order.side, order.price, remaining, order.maker_fee))
    book.sequence += 1
    return Open(book.sequence, order.order_id, order.account, order.side, order.price, remaining)


def done(
    book: BookState, order: Place, reason: DoneReason, remaining: int = 0, cause: RejectReason | None = None
) -> Done:
    """The end of an order that does not rest."""
    book.sequence += 1
    return Done(book.sequence, order.order_id, order.account, order.side, reason, own_price(order), remaining, cause)


# --- the other commands ------------------------------------------------------------------------


def cancel(book: BookState, command: Cancel) -> list[BookEvent]:
    """Cancel one resting order."""
    order = book.orders.get(command.order_id)
    if order is None:
        return [CancelRefused(command.order_id, command.account, command.request_id)]
    return [cancel_resting(book, order)]


def cancel_all(book: BookState, command: CancelAll) -> list[BookEvent]:
    """Cancel the resting orders of an account, or of everyone, in the order of their ids."""
    chosen = [order for order in book.orders_of(command.account) if command.side in ("", order.side)]
    chosen.sort(key=attrgetter("order_id"))
    events: list[BookEvent] = [cancel_resting(book, order) for order in chosen]
    events.append(AllCanceled(command.account, len(chosen), command.request_id))
    return events


def configure(book: BookState, command: Configure) -> list[BookEvent]:
    """Follow new rules and a new mode. Resting orders stay."""
    book.configure(command.instrument)
    return [Configured(command.instrument)]


DECISIONS: dict[type, Callable[[BookState, Any], list[BookEvent]]] = {
    Place: place,
    Cancel: cancel,
    CancelAll: cancel_all,
    Configure: configure,
}
