"""Who is on a book without resting, and what would change that: deadlines, sleeping stops, lists of orders.

As simple as naive_book.py, and as much apart from the engine.
"""

import heapq
from collections.abc import Container
from operator import attrgetter

import msgspec

from shared.messages import ListKind
from workers.audit.naive_book import KnownOrder

BASIS = 10_000


class Deadlines:
    """When orders expire: a heap, in which those that are done already are passed over."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, int]] = []

    def add(self, order: KnownOrder) -> None:
        """An order that has been taken up."""
        conditions = order.terms.conditions
        if conditions is not None and conditions.expires:
            heapq.heappush(self._heap, (conditions.expires, order.order_id))

    def is_due(self, now: int) -> bool:
        """Whether somebody's time may have come."""
        return bool(self._heap) and self._heap[0][0] <= now

    def due(self, now: int, living: Container[int]) -> list[int]:
        """Who has expired, the earliest first. They are not found again."""
        found = []
        while self.is_due(now):
            _, order_id = heapq.heappop(self._heap)
            if order_id in living:
                found.append(order_id)
        return found


# --- stops ---------------------------------------------------------------------------------------


class Sleeper(msgspec.Struct):
    """A stop that sleeps since sequence ``age`` and stands at ``stop_price`` (ticks; 0: nowhere yet).

    ``told`` is where it stood at its last event (-1: that was before the audit's first entry), ``woken_at`` the price
    of the trade that made it due.
    """

    order: KnownOrder
    age: int
    stop_price: int
    told: int = -1
    is_due: bool = False
    woken_at: int = 0

    @property
    def is_loss(self) -> bool:
        """Whether it triggers at or below its stop price, and not at or above."""
        conditions = self.order.terms.conditions
        return conditions is not None and conditions.stop == "loss"

    @property
    def trails(self) -> bool:
        """Whether its stop price follows the trades."""
        conditions = self.order.terms.conditions
        return conditions is not None and bool(conditions.trail or conditions.trail_bps)

    def follow(self, price: int) -> None:
        """A trade: a trailing stop comes nearer if the price went away from it, by whole ticks rounded away."""
        conditions = self.order.terms.conditions
        assert conditions is not None
        away = conditions.trail or (price * conditions.trail_bps + BASIS - 1) // BASIS
        if self.is_loss:
            self.stop_price = max(self.stop_price, price - away)
        elif not self.stop_price or price + away < self.stop_price:
            self.stop_price = price + away

    def holds(self, price: int) -> bool:
        """Whether a last trade at ``price`` triggers it."""
        if not (self.stop_price and price):
            return False
        return price <= self.stop_price if self.is_loss else price >= self.stop_price


class Sleepers:
    """The stops that sleep. Heaps by stop price, in which a stop that left or moved is passed over."""

    def __init__(self) -> None:
        self.by_id: dict[int, Sleeper] = {}
        self.trailing: dict[int, Sleeper] = {}
        self._losses: list[tuple[int, int]] = []
        self._entries: list[tuple[int, int]] = []

    def add(self, sleeper: Sleeper) -> None:
        """A stop falls asleep, or stands elsewhere by an amend."""
        order_id = sleeper.order.order_id
        self.by_id[order_id] = sleeper
        if sleeper.trails:
            self.trailing[order_id] = sleeper
        elif sleeper.is_loss:
            heapq.heappush(self._losses, (-sleeper.stop_price, order_id))
        else:
            heapq.heappush(self._entries, (sleeper.stop_price, order_id))

    def remove(self, order_id: int) -> None:
        """It sleeps no longer, if it did."""
        self.by_id.pop(order_id, None)
        self.trailing.pop(order_id, None)

    def follow(self, price: int) -> None:
        """A trade."""
        for sleeper in self.trailing.values():
            sleeper.follow(price)

    def due(self, last_price: int) -> list[int]:
        """Whom the last trade triggers, the oldest first. They are not found again."""
        found = [one for one in self.trailing.values() if not one.is_due and one.holds(last_price)]
        for heap, reached in ((self._losses, -last_price), (self._entries, last_price)):
            while heap and heap[0][0] <= reached:
                standing, order_id = heapq.heappop(heap)
                sleeper = self.by_id.get(order_id)
                if sleeper is not None and not sleeper.is_due and sleeper.stop_price == abs(standing):
                    found.append(sleeper)
                    sleeper.is_due = True
        for sleeper in found:
            sleeper.is_due, sleeper.woken_at = True, last_price
        return [one.order.order_id for one in sorted(found, key=attrgetter("age"))]


# --- lists ---------------------------------------------------------------------------------------


class KnownList(msgspec.Struct):
    """A list of orders: ``legs`` wait for ``parent`` (0: none any more), or cancel each other when they do not wait.

    ``is_due``: within an entry, the parent's fill has called the legs. ``shrunk``: self-trade prevention took some of
    the parent, so that it will never be filled whole.
    """

    parent: int
    legs: list[int]
    waits: bool
    first_fill: bool = False
    is_due: bool = False
    shrunk: bool = False


class KnownLists:
    """The lists that are not over, and the orders of lists that are not live."""

    def __init__(self) -> None:
        self.of_order: dict[int, KnownList] = {}
        self.waiting: set[int] = set()
        self.owed: dict[int, int] = {}
        """Within an entry: who has to be canceled -> on whose account."""
        self.early: dict[int, list[int]] = {}
        """Within an entry: who was canceled before the trigger of one of these, which has to follow at once."""

    def add(self, kind: ListKind, ids: list[int], first_fill: bool) -> None:
        """A list that was taken up."""
        found = KnownList(0, list(ids), False) if kind == "oco" else KnownList(ids[0], ids[1:], True, first_fill)
        self.waiting.update(ids)
        self.restore(found)

    def restore(self, found: KnownList) -> None:
        """A list as it is."""
        self.of_order.update(dict.fromkeys([*filter(None, [found.parent]), *found.legs], found))

    def rivals(self, order_id: int) -> list[int]:
        """Whom a fill, the trigger or the end of an order cancels."""
        found = self.of_order.get(order_id)
        return [leg for leg in found.legs if leg != order_id] if found is not None and order_id in found.legs else []

    def go_live(self, order_id: int) -> None:
        """An order waits no longer. With the first of its legs, nothing ties a parent any more."""
        self.waiting.discard(order_id)
        found = self.of_order.get(order_id)
        if found is not None and found.parent != order_id:
            self.of_order.pop(found.parent, None)
            found.parent, found.waits, found.is_due = 0, False, False
            self._end(found)

    def leave(self, order_id: int) -> None:
        """An order is done."""
        self.waiting.discard(order_id)
        self.owed.pop(order_id, None)
        found = self.of_order.pop(order_id, None)
        if found is None:
            return
        if found.parent == order_id:
            found.parent = 0
        else:
            found.legs.remove(order_id)
        self._end(found)

    def _end(self, found: KnownList) -> None:
        """One leg alone is bound to nobody, unless it waits."""
        if len(found.legs) < 1 or (len(found.legs) == 1 and not found.waits):
            for order_id in (found.parent, *found.legs):
                self.of_order.pop(order_id, None)
