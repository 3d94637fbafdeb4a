"""The stops that sleep off the book, and which of them a price wakes.

Fixed ones lie sorted by stop price, so that looking for those a trade wakes costs O(log n). A trailing one has its own
best price to remember, so each trade looks at every trailing one.
"""

from bisect import bisect_left, insort
from operator import attrgetter
from typing import Self

import msgspec

from shared.messages import Place

_BASIS = 10_000


class SleepingOrder(msgspec.Struct, array_like=True, gc=False):
    """A stop, placed at sequence ``age``. ``stop_price`` (ticks) is where it stands now, 0: nowhere yet.

    Also its row in a snapshot: fields may only be added at the end, with a default.
    """

    order: Place
    age: int
    stop_price: int

    @classmethod
    def placed(cls, order: Place, age: int, last_price: int) -> Self:
        """An order that has just been taken up; a trailing one starts from the last trade."""
        assert order.conditions is not None
        sleeping = cls(order, age, order.conditions.stop_price)
        if sleeping.trails() and last_price:
            sleeping.follow(last_price)
        return sleeping

    def trails(self) -> bool:
        """Whether the stop price follows the trades."""
        assert self.order.conditions is not None
        return bool(self.order.conditions.trail or self.order.conditions.trail_bps)

    def follow(self, price: int) -> None:
        """A trade at ``price``: keep the distance if that is for the better.

        A distance in basis points is one of the best price, rounded up to a whole tick: never nearer than asked for.
        Since it grows with the price, keeping the best stop price is the same as keeping the best price.
        """
        terms = self.order.conditions
        assert terms is not None
        distance = terms.trail or -(-price * terms.trail_bps // _BASIS)
        if terms.stop == "loss":
            self.stop_price = max(self.stop_price, price - distance)
        else:
            reached = price + distance
            self.stop_price = min(self.stop_price, reached) if self.stop_price else reached

    def holds(self, last_price: int) -> bool:
        """Whether the condition of a stop that stands somewhere holds."""
        if not self.stop_price:
            return False
        assert self.order.conditions is not None
        is_loss = self.order.conditions.stop == "loss"
        return last_price <= self.stop_price if is_loss else last_price >= self.stop_price


class Stops:
    """All sleeping stops of a book."""

    __slots__ = ("_entries", "_losses", "orders", "trailing")

    def __init__(self) -> None:
        self.orders: dict[int, SleepingOrder] = {}
        self.trailing: dict[int, SleepingOrder] = {}
        self._losses: list[tuple[int, int, int]] = []
        self._entries: list[tuple[int, int, int]] = []

    def add(self, sleeping: SleepingOrder) -> None:
        """Put a stop to sleep."""
        order_id = sleeping.order.order_id
        self.orders[order_id] = sleeping
        if sleeping.trails():
            self.trailing[order_id] = sleeping
        else:
            insort(self._row(sleeping), (sleeping.stop_price, sleeping.age, order_id))

    def remove(self, sleeping: SleepingOrder) -> None:
        """It sleeps no longer."""
        del self.orders[sleeping.order.order_id]
        self._forget(sleeping)

    def replace(self, sleeping: SleepingOrder, amended: SleepingOrder) -> None:
        """The same stop with other terms, in its place by age."""
        self._forget(sleeping)
        self.add(amended)

    def _forget(self, sleeping: SleepingOrder) -> None:
        order_id = sleeping.order.order_id
        if self.trailing.pop(order_id, None) is None:
            row, key = self._row(sleeping), (sleeping.stop_price, sleeping.age, order_id)
            at = bisect_left(row, key)
            if at < len(row) and row[at] == key:
                del row[at]

    def follow(self, price: int) -> None:
        """A trade: the trailing ones follow."""
        for sleeping in self.trailing.values():
            sleeping.follow(price)

    def elect(self, last_price: int) -> list[int]:
        """The stops whose condition holds, oldest first. They are not found again, but sleep until ``remove``."""
        losses, entries = self._losses, self._entries
        from_loss, to_entry = bisect_left(losses, (last_price,)), bisect_left(entries, (last_price + 1,))
        chosen = [self.orders[order_id] for _, _, order_id in (*losses[from_loss:], *entries[:to_entry])]
        del losses[from_loss:], entries[:to_entry]
        if self.trailing:
            followed = [sleeping for sleeping in self.trailing.values() if sleeping.holds(last_price)]
            for sleeping in followed:
                del self.trailing[sleeping.order.order_id]
            chosen += followed
        chosen.sort(key=attrgetter("age"))
        return [sleeping.order.order_id for sleeping in chosen]

    def _row(self, sleeping: SleepingOrder) -> list[tuple[int, int, int]]:
        assert sleeping.order.conditions is not None
        return self._losses if sleeping.order.conditions.stop == "loss" else self._entries
