"""What a command sets off besides what it asked for: expiry before it; children and stops behind it."""

import msgspec

from shared.errors import RejectReason
from shared.instrument import Instrument, collar_price
from shared.messages import BookEvent
from workers.engine.ending import end
from workers.engine.linking import cancel_rivals, follow
from workers.engine.placing import enter, fall_asleep
from workers.engine.refusal import refused_by_mode
from workers.engine.state import BookState
from workers.engine.stops import SleepingOrder


def expire(book: BookState) -> list[BookEvent]:
    """Remove what has expired, the earliest first, before anything can meet it."""
    events: list[BookEvent] = []
    if not book.deadlines.heap or book.deadlines.heap[0][0] > book.time:
        return events
    followed = 0
    for order_id in book.deadlines.due(book.time):
        event = end(book, order_id, RejectReason.EXPIRED)
        if event is not None:  # else its list has canceled it just now
            events.append(event)
        if book.lists.of_order:
            followed = follow(book, events, followed)
    return events


def settle(book: BookState, events: list[BookEvent]) -> None:
    """Let in, one by one, who is due: children whose parent is filled, and stops whose condition holds.

    Each is a taker of its own: after it the lists and the last price are looked at again, and whom they make due comes
    behind those who were before. Children come before stops, an older stop before a younger one.
    """
    followed = done = 0
    queue = book.queue
    while True:
        if book.lists.of_order:
            followed = follow(book, events, followed)
        wake_stops(book)
        if done == len(queue):
            queue.clear()
            return
        let_in(book, queue[done], events)
        done += 1


def wake_stops(book: BookState) -> None:
    """Put those in the queue whose condition holds by the last trade.

    Only while the instrument is online; otherwise they sleep on, and are looked at when it is again.
    """
    if book.stops.orders and book.last_price and book.instrument is not None and book.instrument.mode == "online":
        woken = book.stops.elect(book.last_price)
        for order_id in woken:
            bound_anew(book.stops.orders[order_id], book.instrument, book.last_price)
        book.queue += woken


def bound_anew(sleeping: SleepingOrder, instrument: Instrument, last_price: int) -> None:
    """A trailing stop goes at most the collar away from the trade that wakes it, wherever it was placed.

    Its first bound holds, too: what its ledger holds, and lets others count on, is reckoned by it. So the bound only
    ever gets better for its owner: a buy costs no more than is held, a sell brings no less than was promised.
    """
    if sleeping.trails():
        order, price = sleeping.order, collar_price(instrument, sleeping.order.side, last_price)
        if order.price:
            price = min(order.price, price) if order.side == "buy" else max(order.price, price)
        sleeping.order = msgspec.structs.replace(order, price=price)


def let_in(book: BookState, order_id: int, events: list[BookEvent]) -> None:
    """A due order enters, unless it was canceled since."""
    assert book.instrument is not None
    sleeping = book.stops.orders.get(order_id)
    pending = book.lists.pending.get(order_id)
    if sleeping is not None:
        book.wake(sleeping)
        if order_id in book.lists.of_order:
            cancel_rivals(book, book.lists.of_order[order_id], order_id, events)
        events += enter(book, sleeping.order)
    elif pending is not None:
        book.arrive(order_id)
        if pending.conditions is not None and pending.conditions.stop:
            events.append(fall_asleep(book, pending))
        else:
            events += enter(book, pending, refused_by_mode(book.instrument.mode, pending))
