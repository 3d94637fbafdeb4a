"""A new order, from its arrival to where it rests or ends.

It goes through these stages: ``refusal`` (refusal.py), then ``enter``; ``take`` if it meets somebody (the look ahead of
post-only, FOK and minimum quantity, ``sweep`` in matching.py), then ``finish`` and ``leave``: it rests, or why it may
not. A stop only falls asleep; it enters when it triggers (aftermath.py).
"""

import msgspec

from shared.errors import CorruptState, RejectReason
from shared.messages import Activate, BookEvent, Done, DoneReason, ListPlaced, Open, Place, PlaceList, Received
from workers.engine.ending import own_price
from workers.engine.levels import RestingOrder
from workers.engine.matching import ANY_PRICE, Taker, fillable, make_taker, show, sweep
from workers.engine.refusal import malformed, refusal
from workers.engine.state import BookState
from workers.engine.stops import SleepingOrder

_MILLION = 1_000_000


def place(book: BookState, order: Place) -> list[BookEvent]:
    """Take up an order. Raises ``CorruptState`` if its id is known already: then the sender has lost count."""
    if order.order_id in book.orders or (book.extras and book.is_waiting(order.order_id)):
        raise CorruptState(f"order {order.order_id} is placed again while it rests; compare its shard's log with ours")
    online = book.instrument is not None and book.instrument.mode == "online"
    cause = malformed(book, order) if online else refusal(book, order)
    if cause is not None:
        return [done(book, order, "rejected", order.quantity, cause)]
    if order.conditions is not None and order.conditions.stop:
        return [fall_asleep(book, order)]
    return enter(book, order)


def place_list(book: BookState, command: PlaceList) -> list[BookEvent]:
    """Take up all orders of a list, or none. Those that are live at once enter behind this command (aftermath.py).

    Raises ``CorruptState`` for a list without orders, or with one that is known already.
    """
    orders = command.orders
    if not orders or any(order.order_id in book.orders or book.is_waiting(order.order_id) for order in orders):
        raise CorruptState("a list is empty, or has an order that was placed before; compare its shard's log with ours")
    causes = list_refusals(book, command)
    if any(causes):
        return [
            done(book, order, "rejected", order.quantity, cause or RejectReason.LIST_REFUSED)
            for order, cause in zip(orders, causes, strict=True)
        ]
    book.take_list(command.kind, orders, command.first_fill)
    book.queue += [order.order_id for order in (orders if command.kind == "oco" else orders[:1])]
    return [ListPlaced(command.account, command.kind, orders, command.first_fill)]


def list_refusals(book: BookState, command: PlaceList) -> list[RejectReason | None]:
    """Why the book does not take up each order of a list. Of one that waits, only what holds in any mode."""
    kind, orders = command.kind, command.orders
    legs = orders if kind == "oco" else orders[1:]
    fits = len(legs) == (1 if kind == "oto" else 2) and len({leg.side for leg in legs}) == 1
    fits = fits and len({order.order_id for order in orders}) == len(orders)
    if not fits or any(order.account != command.account for order in orders):
        return [RejectReason.INVALID_ORDER] * len(orders)
    causes = [refusal(book, order) for order in orders]
    if kind != "oco" and book.instrument is not None:
        causes[1:] = [malformed(book, leg) for leg in legs]
    return causes


def fall_asleep(book: BookState, order: Place) -> Activate:
    """A stop is taken up, and sleeps off the book. If its condition holds already, it triggers behind this command."""
    book.sequence += 1
    order = msgspec.structs.replace(order, time=book.time)
    sleeping = SleepingOrder.placed(order, book.sequence, book.last_price)
    book.sleep(sleeping)
    return Activate(
        book.sequence, order.order_id, order.account, order.side, order.order_type, order.price, order.quantity,
        order.funds, order.time_in_force, order.post_only, order.stp, order.maker_fee, order.taker_fee,
        order.client_id, order.conditions, sleeping.stop_price,
    )  # fmt: skip


def enter(book: BookState, order: Place, refused: RejectReason | None = None) -> list[BookEvent]:
    """An order comes to the book. One that waited in it may be ``refused`` by then."""
    book.sequence += 1
    conditions = order.conditions
    first = Received(
        book.sequence, order.order_id, order.account, order.side, order.order_type, order.price, order.quantity,
        order.funds, order.time_in_force, order.post_only, order.stp, order.maker_fee, order.taker_fee,
        order.client_id, conditions,
    )  # fmt: skip
    if refused is not None:
        return [first, done(book, order, "canceled", order.quantity, refused)]
    against = book.asks if order.side == "buy" else book.bids
    limit = against.sign * order.price if order.price else ANY_PRICE
    if against.keys and against.keys[-1] >= limit:
        return take(book, order, first, make_taker(book, order, against, limit))
    if order.time_in_force == "FOK":
        return [first, done(book, order, "canceled", order.quantity, RejectReason.FILL_OR_KILL)]
    if conditions is not None and conditions.min_quantity:
        return [first, done(book, order, "canceled", order.quantity, RejectReason.MINIMUM_QUANTITY)]
    return [first, leave(book, order, order.quantity, order.quantity)]


# --- trade, then rest or be done ----------------------------------------------------------------


def take(book: BookState, order: Place, first: Received, taker: Taker) -> list[BookEvent]:
    """An order that met somebody: unless its own terms forbid it, it trades; then it leaves."""
    assert book.instrument is not None
    events: list[BookEvent] = [first]
    if book.instrument.mode == "auction":
        events.append(leave(book, order, order.quantity, order.quantity))
        return events
    if order.post_only:
        events.append(done(book, order, "rejected", order.quantity, RejectReason.POST_ONLY))
        return events
    least = order.conditions.min_quantity if order.conditions is not None else 0
    limit = taker.limit
    if book.instrument.price_collar:
        hold_to_collar(book, taker)
    if order.time_in_force == "FOK" and not fillable(book, taker, taker.remaining):
        taker.stopped = RejectReason.FILL_OR_KILL
    elif least and not fillable(book, taker, least):
        taker.stopped = RejectReason.MINIMUM_QUANTITY
    else:
        sweep(book, taker, events)
    finish(book, taker, limit, events)
    return events


def hold_to_collar(book: BookState, taker: Taker) -> None:
    """Keep an order from trading at prices worse for it than the collar."""
    assert book.instrument is not None
    width, reference = book.instrument.price_collar, book.reference
    if reference < 0:
        reference = book.last_price
    if width and reference:
        taker.limit = max(taker.limit, taker.against.sign * reference - reference * width // _MILLION)


def finish(book: BookState, taker: Taker, limit: int, events: list[BookEvent]) -> None:
    """What becomes of an order that has traded as far as it could. ``limit`` is its own, whatever the collar."""
    order, remaining, keys = taker.order, taker.lots_left(), taker.against.keys
    if taker.complete():
        events.append(done(book, order, "filled", remaining))
        return
    if taker.stopped is None and keys and taker.limit > keys[-1] >= limit:
        taker.stopped = RejectReason.PRICE_COLLAR
    if taker.stopped is not None:
        events.append(done(book, order, "canceled", remaining, taker.stopped))
    else:
        events.append(leave(book, order, remaining, taker.total))


def leave(book: BookState, order: Place, remaining: int, total: int) -> Open | Done:
    """What becomes of an order that finds nobody (more) to trade with: it rests if it may."""
    if order.order_type == "market":
        return done(book, order, "canceled", remaining, RejectReason.NO_LIQUIDITY)
    if order.time_in_force == "IOC":
        return done(book, order, "canceled", remaining, RejectReason.IMMEDIATE_OR_CANCEL)
    resting = RestingOrder(
        order.order_id, order.account, order.side, order.price, remaining, order.maker_fee, total, order.taker_fee,
        order.stp, order.post_only, 0, order.conditions,
    )  # fmt: skip
    book.sequence += 1
    if order.conditions is None:
        book.rest(resting)
        return Open(book.sequence, order.order_id, order.account, order.side, order.price, remaining)
    resting = show(resting, remaining)
    book.rest(resting)
    return Open(
        book.sequence, order.order_id, order.account, order.side, order.price, resting.remaining, resting.hidden
    )


def done(
    book: BookState, order: Place, reason: DoneReason, remaining: int = 0, cause: RejectReason | None = None
) -> Done:
    """The end of an order that does not rest."""
    book.sequence += 1
    return Done(book.sequence, order.order_id, order.account, order.side, reason, own_price(order), remaining, cause)


# --- an order that rested comes again -------------------------------------------------------------


def crosses(book: BookState, order: RestingOrder, price: int) -> bool:
    """Whether an order would meet somebody at ``price``."""
    against = book.asks if order.side == "buy" else book.bids
    return bool(against.keys) and against.keys[-1] >= against.sign * price


def enter_again(book: BookState, order: RestingOrder, price: int, left: int, events: list[BookEvent]) -> None:
    """An amended order, off the book, comes with ``left`` lots at ``price``: it trades if it crosses, and rests."""
    assert book.instrument is not None
    again = Place(
        order.order_id, order.account, book.time, order.side, "limit", price, left, 0, "GTC", order.post_only,
        order.stp, order.maker_fee, order.taker_fee, "", order.conditions,
    )  # fmt: skip
    filled = order.quantity - order.left()
    if book.instrument.mode == "auction" or not crosses(book, order, price):
        events.append(leave(book, again, left, filled + left))
        return
    against = book.asks if order.side == "buy" else book.bids
    taker = make_taker(book, again, against, against.sign * price, filled)
    limit = taker.limit
    hold_to_collar(book, taker)
    sweep(book, taker, events)
    finish(book, taker, limit, events)
