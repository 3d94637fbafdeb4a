"""What a book is, and the few ways in which it changes.

Laws:

1. Only the primitives below change who rests, sleeps or waits where. Deciding (decisions.py and what it calls) and
   folding recorded events (folding.py) both go through them, so they cannot come to differ.
2. ``sequence`` counts the public events, without a gap; ``trade_id`` counts the trades.
3. Two books with the same ``dump()`` decide alike. Nothing else is remembered between two commands.
"""

from collections.abc import Iterable, Iterator

import msgspec

from shared.instrument import Instrument
from shared.messages import ListKind, Place, Received, Side
from workers.engine.accounts import RECENT_MAX, Accounts
from workers.engine.expiry import Deadlines
from workers.engine.levels import COMPACT_AT, BookSide, RestingOrder
from workers.engine.lists import Lists, OrderList
from workers.engine.stops import SleepingOrder, Stops


class BookState:
    """The state of one instrument's book. Prices in ticks, quantities in lots, time in ns; 0 means none yet."""

    def __init__(self) -> None:
        self.instrument: Instrument | None = None
        self.is_online = False
        self.sequence = 0
        self.trade_id = 0
        self.time = 0
        self.last_price = 0
        self.bids = BookSide(1)
        self.asks = BookSide(-1)
        self.orders: dict[int, RestingOrder] = {}
        self.accounts = Accounts()
        self.stops = Stops()
        self.lists = Lists()
        self.deadlines = Deadlines()
        self.queue: list[int] = []
        """While deciding: the orders that enter behind the command. Empty between two commands."""
        self.extras = False
        """Whether there may be stops, lists or deadlines, which every command has to look after."""
        self.reference = -1
        """While deciding among extras: the last price before the command, which the price collar is around."""
        self.arriving: Received | RestingOrder | None = None
        """While folding: the order that came, or was amended, and does not rest yet. None between two commands."""
        self.prevented = 0
        """While folding: lots that self-trade prevention took from the arriving order."""
        self.refreshing: dict[int, RestingOrder] = {}
        """While folding: icebergs whose shown part was used up, until they open again. Empty between two commands."""

    # --- primitives ----------------------------------------------------------------------------

    def configure(self, instrument: Instrument) -> None:
        """Follow these rules and this mode from here on."""
        self.instrument = instrument
        self.is_online = instrument.mode == "online"

    def rest(self, order: RestingOrder) -> None:
        """Put an order at the back of its price level."""
        side = self.bids if order.side == "buy" else self.asks
        price = order.price
        level = side.levels.get(price) or side.open(price)
        level.queue.append(order)
        level.quantity += order.remaining
        order_id = order.order_id
        self.orders[order_id] = order
        recent = self.accounts.recent
        recent.append(order)
        if len(recent) >= RECENT_MAX:
            self.accounts.sort(len(self.orders))
        if order.conditions is not None:
            level.hidden += order.hidden
            if order.conditions.expires:
                self.extras = True
                self.deadlines.add(order_id, order.conditions.expires)

    def fill(self, order: RestingOrder, quantity: int, trade_id: int, price: int) -> None:
        """A trade took ``quantity`` of what a resting order shows, which leaves the book if that was all it showed."""
        self.trade_id = trade_id
        self.last_price = price
        if self.extras and self.stops.trailing:
            self.stops.follow(price)
        left = order.remaining - quantity
        if left:
            side = self.bids if order.side == "buy" else self.asks
            side.levels[order.price].quantity -= quantity
            order.remaining = left
        else:
            self.remove(order)

    def reduce(self, order: RestingOrder, left: int) -> None:
        """Set what is left of a resting order, above 0, without a trade: it keeps its place, and hides less first."""
        side = self.bids if order.side == "buy" else self.asks
        order.quantity += left - order.left()
        if order.hidden:
            side.hide(order, max(0, left - order.remaining))
        side.reduce(order, left - order.hidden)

    def remove(self, order: RestingOrder) -> None:
        """Take a resting order off the book: a tombstone stays, unless it was the last of its level."""
        side = self.bids if order.side == "buy" else self.asks
        price = order.price
        level = side.levels[price]
        level.quantity = quantity = level.quantity - order.remaining
        order.remaining = 0
        if order.conditions is not None:
            level.hidden -= order.hidden
            self.deadlines.drop(order.order_id)
        if quantity:
            level.dead = dead = level.dead + 1
            if dead > COMPACT_AT and 2 * dead > len(level.queue):
                level.compact()
        else:
            side.close(level)
        del self.orders[order.order_id]

    def sleep(self, sleeping: SleepingOrder) -> None:
        """Put a stop to sleep."""
        self.extras = True
        self.stops.add(sleeping)
        order = sleeping.order
        if order.conditions is not None and order.conditions.expires:
            self.deadlines.add(order.order_id, order.conditions.expires)

    def wake(self, sleeping: SleepingOrder) -> None:
        """A stop sleeps no longer: it has triggered, or is done."""
        self.stops.remove(sleeping)
        self.deadlines.drop(sleeping.order.order_id)

    def amend_stop(self, sleeping: SleepingOrder, price: int, quantity: int, stop_price: int) -> None:
        """Give a sleeping stop other terms; it keeps its age. A trailing one's stop price stays its own."""
        conditions = sleeping.order.conditions
        assert conditions is not None
        if not sleeping.trails():
            conditions = msgspec.structs.replace(conditions, stop_price=stop_price)
        order = msgspec.structs.replace(sleeping.order, price=price, quantity=quantity, conditions=conditions)
        self.stops.replace(sleeping, SleepingOrder(order, sleeping.age, stop_price))

    def take_list(self, kind: ListKind, orders: list[Place], first_fill: bool) -> None:
        """Take up the orders of a list; all are pending until each arrives."""
        self.extras = True
        self.lists.add(kind, [order.order_id for order in orders], first_fill)
        for order in orders:
            self.wait(msgspec.structs.replace(order, time=self.time))

    def restore_list(self, found: OrderList) -> None:
        """A list as it was dumped."""
        self.extras = True
        self.lists.restore(found)

    def wait(self, order: Place) -> None:
        """An order of a list is pending."""
        self.extras = True
        self.lists.pending[order.order_id] = order
        if order.conditions is not None and order.conditions.expires:
            self.deadlines.add(order.order_id, order.conditions.expires)

    def arrive(self, order_id: int) -> None:
        """A pending order of a list goes live."""
        self.lists.arrive(order_id)
        self.deadlines.drop(order_id)

    def drop_pending(self, order_id: int) -> None:
        """A pending order of a list is done; what that means to the list comes after (``Lists.leave``)."""
        del self.lists.pending[order_id]
        self.deadlines.drop(order_id)

    # --- views ---------------------------------------------------------------------------------

    def side(self, side: str) -> BookSide:
        """The resting buys or the resting sells."""
        return self.bids if side == "buy" else self.asks

    def best(self, side: Side) -> int:
        """The best price of a side, 0 if it is empty."""
        return self.side(side).best()

    def find(self, order_id: int) -> RestingOrder | None:
        """The resting order with this id."""
        return self.orders.get(order_id)

    def sleeping(self) -> Iterator[SleepingOrder]:
        """The stops that sleep, oldest first. Do not change the book while iterating."""
        return iter(self.stops.orders.values())

    def pending(self) -> Iterator[Place]:
        """The orders of lists that are not live yet. Do not change the book while iterating."""
        return iter(self.lists.pending.values())

    def next_expiry(self) -> int:
        """The instant (ns) at which the next order expires, 0 if none does. A ``Tick`` then removes it."""
        return self.deadlines.next()

    def resting(self, side: Side) -> Iterator[RestingOrder]:
        """The resting orders of a side in priority order. Do not change the book while iterating."""
        return self.side(side).living()

    def levels(self, side: Side, depth: int = 0) -> list[tuple[int, int, int]]:
        """(price, shown quantity, number of orders) of the best ``depth`` levels (0: all), best first."""
        found = []
        for level in self.side(side).ranked():
            found.append((level.price, level.quantity, level.count()))
            if len(found) == depth:
                break
        return found

    def is_waiting(self, order_id: int) -> bool:
        """Whether the book has the order without its resting."""
        return order_id in self.stops.orders or order_id in self.lists.pending

    def orders_of(self, account: int) -> Iterable[RestingOrder]:
        """The resting orders of an account (0: of everyone), in no order that may matter."""
        return self.accounts.of(account) if account else self.orders.values()

    def ids_of(self, account: int, side: str) -> list[int]:
        """All that an account (0: everyone) has here of a side ("": of both), resting or not, in no order."""
        found = [order.order_id for order in self.orders_of(account) if side in ("", order.side)]
        waiting = [*(sleeping.order for sleeping in self.stops.orders.values()), *self.lists.pending.values()]
        found += [one.order_id for one in waiting if account in (0, one.account) and side in ("", one.side)]
        return found
