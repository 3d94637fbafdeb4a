"""How an arriving order trades: look ahead, trade by trade, self-trade prevention.

Changes the state only through the primitives of ``BookState``. Every change of state has its event.
"""

from collections.abc import Iterator

import msgspec

from shared.errors import RejectReason
from shared.messages import (
    BookEvent,
    Change,
    Done,
    Match,
    Open,
    Place,
)
from workers.engine.ending import cancel_resting, own_price
from workers.engine.levels import BookSide, Level, RestingOrder
from workers.engine.linking import follow
from workers.engine.lists import Lists
from workers.engine.state import BookState

UNLIMITED = 1 << 62
"""Lots that an order by funds alone may take: above any quantity (``QUANTITY_MAX``)."""
ANY_PRICE = -(1 << 62)
"""The key (``sign * price``) below every price."""


class Taker(msgspec.Struct, gc=False):
    """An arriving order while it trades. ``limit`` is a key of the side it takes from.

    ``remaining`` in lots, ``funds`` in quote units. ``by_funds``: it aims at funds (spent by a buy, brought in by a
    sell); a quantity beside them only bounds it. Otherwise it aims at its quantity, and funds beside it bound it.
    ``total`` is the order's quantity, what was filled earlier included and what self-trade prevention took not.
    ``stopped`` says why it may not go on.
    """

    order: Place
    against: BookSide
    limit: int
    tick_value: int
    remaining: int
    funds: int
    by_funds: bool
    total: int
    stopped: RejectReason | None = None

    def affordable(self, price: int) -> int:
        """Lots it may still take at ``price``; funds make whole lots only."""
        if not self.order.funds:
            return self.remaining
        return min(self.remaining, self.funds // (price * self.tick_value))

    def complete(self) -> bool:
        """Whether it has got exactly what it aimed at."""
        return not (self.funds if self.by_funds else self.remaining)

    def lots_left(self) -> int:
        """What a public event shows as remaining; an order by funds alone has no lots."""
        return self.remaining if self.order.quantity else 0


def make_taker(book: BookState, order: Place, against: BookSide, limit: int, filled: int = 0) -> Taker:
    """An order that is about to trade; ``filled`` lots of it were before."""
    assert book.instrument is not None
    by_funds = bool(order.funds) and (order.side == "sell" or not order.quantity)
    tick_value = book.instrument.tick_value
    return Taker(
        order, against, limit, tick_value, order.quantity or UNLIMITED, order.funds, by_funds, order.quantity + filled
    )


# --- trade -------------------------------------------------------------------------------------


def fillable(book: BookState, taker: Taker, wanted: int) -> bool:
    """Whether an order would get ``wanted`` lots, or all that its funds aim at, at once.

    What self-trade prevention removes does not count: meeting an order of its own account before it is full fails it,
    except with ``co``, which only takes that order away. What icebergs hide at a price counts behind what is shown
    there; of two legs that cancel each other the first that is met counts. One by funds is full when they do not make
    one more lot at the price reached.
    """
    order, against = taker.order, taker.against
    if not taker.by_funds and sum(level.quantity + level.hidden for level in against.ranked(taker.limit)) < wanted:
        return False
    remaining, funds = wanted, taker.funds
    gone: set[int] = set()
    for level in against.ranked(taker.limit):
        cost = level.price * taker.tick_value if order.funds else 0
        for maker, available in parts(level, book.lists, gone):
            if maker.account == order.account:
                if order.stp == "co":
                    continue
                return False
            quantity = min(available, remaining, funds // cost if cost else remaining)
            remaining -= quantity
            funds -= quantity * cost
            if cost and funds < cost:
                return remaining != wanted if taker.by_funds else not remaining
            if not remaining:
                return not taker.by_funds
    return False


def parts(level: Level, lists: Lists, gone: set[int]) -> Iterator[tuple[RestingOrder, int]]:
    """What a level has to give: all that is shown, in priority order, then what is hidden.

    ``gone`` grows by the orders that the fills so far would cancel.
    """
    for maker in level.living():
        if maker.order_id in gone:
            continue
        if maker.order_id in lists.of_order:
            gone.update(lists.of_order[maker.order_id].rivals(maker.order_id))
        yield maker, maker.remaining
    if level.hidden:
        for maker in level.living():
            if maker.hidden and maker.order_id not in gone:
                yield maker, maker.hidden


def sweep(book: BookState, taker: Taker, events: list[BookEvent]) -> None:
    """Trade with the best resting orders, each at its own price, until one of the two has no more to give."""
    order, against, limit = taker.order, taker.against, taker.limit
    keys, levels, sign = against.keys, against.levels, against.sign
    linked, followed = book.lists.of_order, len(events)
    while taker.remaining and keys and keys[-1] >= limit:
        maker = levels[sign * keys[-1]].front()
        wanted = taker.affordable(maker.price) if order.funds else taker.remaining
        if not wanted:
            return
        if maker.account == order.account:
            prevent_self_trade(book, taker, maker, events)
            if linked:
                followed = follow(book, events, followed)
            if taker.stopped is not None:
                return
            continue
        quantity = min(wanted, maker.remaining)
        taker.remaining -= quantity
        if order.funds:
            taker.funds -= quantity * maker.price * taker.tick_value
        trade(book, order, maker, quantity, events)
        if linked:
            followed = follow(book, events, followed)


def trade(book: BookState, order: Place, maker: RestingOrder, quantity: int, events: list[BookEvent]) -> None:
    """One trade at the maker's price, and the maker's end if that was all of it."""
    trade_id = book.trade_id + 1
    book.sequence += 1
    events.append(
        Match(
            book.sequence, trade_id, maker.order_id, order.order_id, maker.account, order.account, maker.side,
            maker.price, quantity, maker.maker_fee, order.taker_fee,
        )
    )  # fmt: skip
    book.fill(maker, quantity, trade_id, maker.price)
    if not maker.remaining:
        used_up(book, maker, events)


def used_up(book: BookState, order: RestingOrder, events: list[BookEvent]) -> None:
    """All that a resting order showed is filled: its end, or the next part of an iceberg."""
    book.sequence += 1
    if order.hidden:
        events.append(refresh(book, order))
    else:
        events.append(Done(book.sequence, order.order_id, order.account, order.side, "filled", order.price))


def refresh(book: BookState, used_up: RestingOrder) -> Open:
    """The next part of an iceberg goes to the back of its level."""
    order = show(used_up, used_up.hidden)
    book.rest(order)
    return Open(book.sequence, order.order_id, order.account, order.side, order.price, order.remaining, order.hidden)


def show(order: RestingOrder, left: int) -> RestingOrder:
    """An order that is to rest with ``left`` lots, of which an iceberg shows no more than it wants to."""
    shown = left
    if order.conditions is not None and order.conditions.display_quantity:
        shown = min(left, order.conditions.display_quantity)
    return msgspec.structs.replace(order, remaining=shown, hidden=left - shown)


# --- self-trade prevention: the taker's flag decides --------------------------------------------


def prevent_self_trade(book: BookState, taker: Taker, maker: RestingOrder, events: list[BookEvent]) -> None:
    """Two orders of one account have met. ``co`` cancels the resting one, ``cn`` the arriving one, ``cb`` both."""
    stp = taker.order.stp
    if stp == "dc":
        decrement_and_cancel(book, taker, maker, events)
        return
    if stp != "cn":
        events.append(cancel_resting(book, maker, RejectReason.SELF_TRADE))
    if stp != "co":
        taker.stopped = RejectReason.SELF_TRADE


def decrement_and_cancel(book: BookState, taker: Taker, maker: RestingOrder, events: list[BookEvent]) -> None:
    """Cancel the smaller, take its quantity off the larger; equal ones cancel each other."""
    wanted = taker.affordable(maker.price) if taker.by_funds else taker.remaining
    old = maker.left()
    if old <= wanted:
        events.append(cancel_resting(book, maker, RejectReason.SELF_TRADE))
        if old < wanted:
            events.append(decrement(book, taker, old, maker.price))
            return
    else:
        book.sequence += 1
        new = old - wanted
        book.reduce(maker, new)
        event = Change(book.sequence, maker.order_id, maker.account, maker.side, maker.price, old, new)
        event.hidden = maker.hidden
        events.append(event)
    taker.stopped = RejectReason.SELF_TRADE


def decrement(book: BookState, taker: Taker, quantity: int, price: int) -> Change:
    """Take ``quantity`` at ``price`` off what an arriving order aims at; what only bounds it stays."""
    order, funds, lots = taker.order, taker.funds, taker.lots_left()
    book.sequence += 1
    change = Change(book.sequence, order.order_id, order.account, order.side, own_price(order), lots, lots)
    if taker.by_funds:
        taker.funds -= quantity * price * taker.tick_value
        change.old_funds, change.new_funds = funds, taker.funds
    else:
        taker.remaining -= quantity
        taker.total -= quantity
        change.new_quantity = taker.remaining
    return change
