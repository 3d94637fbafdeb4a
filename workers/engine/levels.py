"""One side of the book: its price levels, best first to reach, each a queue in order of arrival.

A removed order stays in its queue as a tombstone (``remaining == 0``) until it comes to the front or outnumbers the
living, so that a cancel deep in a long queue, and a queue eaten from the front, both cost O(1) amortised.
"""

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Iterator

import msgspec

from shared.messages import Side

_COMPACT_AT = 32
"""Tombstones a queue may hold beyond the number of its living orders."""


class RestingOrder(msgspec.Struct, array_like=True, gc=False):
    """An order on the book. ``price`` in ticks, ``remaining`` in lots (0: it has left), ``maker_fee`` in ppm.

    Also its row in a snapshot: fields may only be added at the end, with a default.
    """

    order_id: int
    account: int
    side: Side
    price: int
    remaining: int
    maker_fee: int = 0


class Level(msgspec.Struct, gc=False):
    """All orders at one price. ``quantity`` and ``count`` are totals of the living."""

    price: int
    queue: deque[RestingOrder]
    quantity: int = 0
    count: int = 0

    def living(self) -> Iterator[RestingOrder]:
        """The orders in priority order."""
        return (order for order in self.queue if order.remaining)


class BookSide:
    """Bids (``sign`` +1) or asks (-1).

    ``keys`` holds ``sign * price`` in ascending order, so the best price is last on either side, where a list grows
    and shrinks for free, and "at least as good as" is ``>=`` on either side.
    """

    __slots__ = ("keys", "levels", "sign")

    def __init__(self, sign: int) -> None:
        self.sign = sign
        self.keys: list[int] = []
        self.levels: dict[int, Level] = {}

    def best(self) -> int:
        """The best price; 0 if nobody rests here."""
        return self.sign * self.keys[-1] if self.keys else 0

    def front(self) -> RestingOrder:
        """The order that trades next. The side must not be empty."""
        queue = self.levels[self.sign * self.keys[-1]].queue
        while not queue[0].remaining:
            queue.popleft()
        return queue[0]

    def add(self, order: RestingOrder) -> None:
        """Put an order at the back of its level."""
        price = order.price
        level = self.levels.get(price)
        if level is None:
            level = self.levels[price] = Level(price, deque())
            insort(self.keys, self.sign * price)
        level.queue.append(order)
        level.quantity += order.remaining
        level.count += 1

    def reduce(self, order: RestingOrder, remaining: int) -> None:
        """Set what remains of an order; it keeps its place, and with 0 it leaves."""
        level = self.levels[order.price]
        level.quantity += remaining - order.remaining
        order.remaining = remaining
        if remaining:
            return
        level.count -= 1
        if not level.count:
            self._drop(order.price)
        elif len(level.queue) > 2 * level.count + _COMPACT_AT:
            level.queue = deque(level.living())

    def _drop(self, price: int) -> None:
        del self.levels[price]
        keys, key = self.keys, self.sign * price
        if keys[-1] == key:
            keys.pop()
        else:
            del keys[bisect_left(keys, key)]

    def ranked(self, limit: int | None = None) -> Iterator[Level]:
        """Levels from the best on; with ``limit`` (a key) only those at least as good."""
        for key in reversed(self.keys):
            if limit is not None and key < limit:
                return
            yield self.levels[self.sign * key]

    def living(self) -> Iterator[RestingOrder]:
        """All orders in priority order: price, then arrival."""
        for level in self.ranked():
            yield from level.living()
