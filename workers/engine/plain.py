"""What most commands are, each in one piece: a plain limit order in mode online, and the cancel of a resting order.

The rules are those of placing.py, matching.py and decisions.py, and what changes is what the primitives of
``BookState`` would change. What is not plain goes that way, perhaps from the middle on (``go_on``).
tests/engine/test_plain.py holds both ways to be one.
"""

from collections.abc import Callable
from typing import Any

from shared.messages import BookEvent, Cancel, Done, Match, Open, Place, Received, Side
from workers.engine import decisions, placing
from workers.engine.accounts import RECENT_MAX
from workers.engine.levels import COMPACT_AT, BookSide, RestingOrder
from workers.engine.matching import make_taker, sweep
from workers.engine.state import BookState


def cancel(book: BookState, command: Cancel) -> list[BookEvent]:
    """``decisions.cancel`` of an order that rests."""
    order = book.orders.pop(command.order_id, None)
    if order is None:
        return decisions.cancel(book, command)
    side, price, remaining, hidden = order.side, order.price, order.remaining, order.hidden
    book.sequence = sequence = book.sequence + 1
    done = Done(sequence, order.order_id, order.account, side, "canceled", price, remaining + hidden, None)
    own = book.bids if side == "buy" else book.asks
    level = own.levels[price]
    level.quantity = quantity = level.quantity - remaining
    order.remaining = 0
    if order.conditions is not None:
        level.hidden -= hidden
        book.deadlines.drop(order.order_id)
    if quantity:
        level.dead = dead = level.dead + 1
        if dead > COMPACT_AT and 2 * dead > len(level.queue):
            level.compact()
    else:
        own.close(level)
    return [done]


def place(book: BookState, order: Place) -> list[BookEvent]:
    """``placing.place`` of a plain limit order."""
    order_id, price, quantity = order.order_id, order.price, order.quantity
    if (
        order.conditions is not None
        or order.order_type != "limit"
        or order.time_in_force != "GTC"
        or price <= 0
        or quantity <= 0
        or order.funds
        or order_id in book.orders
        or (book.extras and book.is_waiting(order_id))
        or not book.is_online
    ):
        return placing.place(book, order)
    account, side = order.account, order.side
    post_only, stp = order.post_only, order.stp
    maker_fee, taker_fee = order.maker_fee, order.taker_fee
    sequence = book.sequence + 1
    first = Received(
        sequence, order_id, account, side, "limit", price, quantity, 0, "GTC", post_only, stp, maker_fee, taker_fee,
        order.client_id, None,
    )  # fmt: skip
    if side == "buy":
        own, against, limit = book.bids, book.asks, -price
    else:
        own, against, limit = book.asks, book.bids, price
    keys = against.keys
    if keys and keys[-1] >= limit:
        return trade(book, order, first, against, limit)
    resting = RestingOrder(
        order_id, account, side, price, quantity, maker_fee, quantity, taker_fee, stp, post_only, 0, None
    )
    level = own.levels.get(price) or own.open(price)
    level.queue.append(resting)
    level.quantity += quantity
    book.orders[order_id] = resting
    recent = book.accounts.recent
    recent.append(resting)
    if len(recent) >= RECENT_MAX:
        book.accounts.sort(len(book.orders))
    book.sequence = sequence = sequence + 1
    return [first, Open(sequence, order_id, account, side, price, quantity, 0)]


def trade(book: BookState, order: Place, first: Received, against: BookSide, limit: int) -> list[BookEvent]:
    """``placing.take`` of a plain limit order, as long as it meets plain orders of others; then it rests or is done."""
    assert book.instrument is not None
    if order.post_only or book.extras or book.instrument.price_collar:
        return placing.place(book, order)
    order_id, account, remaining, taker_fee = order.order_id, order.account, order.quantity, order.taker_fee
    keys, levels, sign = against.keys, against.levels, against.sign
    orders, side = book.orders, MAKER_SIDES[sign]
    sequence, trade_id, price = first.sequence, book.trade_id, book.last_price
    events: list[BookEvent] = [first]
    append = events.append
    while keys:
        key = keys[-1]
        if key < limit:
            break
        level = levels[sign * key]
        maker = level.queue[level.head]
        if not maker.remaining:
            maker = level.front()
        maker_id, maker_account, quantity = maker.order_id, maker.account, maker.remaining
        if maker_account == account or maker.conditions is not None:
            break
        traded = quantity if quantity < remaining else remaining
        sequence += 1
        trade_id += 1
        price = level.price
        append(
            Match(
                sequence, trade_id, maker_id, order_id, maker_account, account, side, price, traded, maker.maker_fee,
                taker_fee, False,
            )
        )  # fmt: skip
        remaining -= traded
        maker.remaining = quantity - traded
        level.quantity = left = level.quantity - traded
        if traded == quantity:
            sequence += 1
            append(Done(sequence, maker_id, maker_account, side, "filled", price, 0, None))
            del orders[maker_id]
            if not left:
                against.close(level)
            else:
                level.head += 1
                level.dead = dead = level.dead + 1
                if dead > COMPACT_AT and 2 * dead > len(level.queue):
                    level.compact()
        if not remaining:
            append(Done(sequence + 1, order_id, account, order.side, "filled", order.price, 0, None))
            sequence += 1
            break
    book.sequence, book.trade_id, book.last_price = sequence, trade_id, price
    if remaining:
        go_on(book, order, against, limit, remaining, events)
    return events


def go_on(
    book: BookState, order: Place, against: BookSide, limit: int, remaining: int, events: list[BookEvent]
) -> None:
    """What becomes of the rest: it rests, or trades on with somebody who is not plain."""
    if not against.keys or against.keys[-1] < limit:
        events.append(placing.leave(book, order, remaining, order.quantity))
        return
    taker = make_taker(book, order, against, limit)
    taker.remaining = remaining
    sweep(book, taker, events)
    placing.finish(book, taker, limit, events)


MAKER_SIDES: dict[int, Side] = {1: "buy", -1: "sell"}
"""By the sign of the side of the book."""

DECISIONS: dict[type, Callable[[BookState, Any], list[BookEvent]]] = {
    **decisions.DECISIONS,
    Place: place,
    Cancel: cancel,
}
"""``decisions.DECISIONS`` with the plain ones first."""
