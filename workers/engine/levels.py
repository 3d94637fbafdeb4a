"""One side of the book: its price levels, best first to reach, each a queue in order of arrival.

Who comes and goes is up to ``BookState.rest`` and ``remove``, which do it in place: a call less is 4% of a command.

An order that left stays in its queue as a tombstone (``remaining == 0``) until tombstones are half of it, so that a
cancel deep in a long queue, and a queue eaten from the front, both cost O(1) amortised.
"""

from bisect import bisect_left, insort
from collections.abc import Iterator

import msgspec

from shared.messages import Conditions, SelfTradePrevention, Side

COMPACT_AT = 32
"""A queue with fewer tombstones is left alone."""
STRETCH = 2048
"""Orders of a queue that are looked at in one go: about 0.1 ms."""


_SPARE_MAX = 1024
"""Levels kept to be used again."""


class RestingOrder(msgspec.Struct, array_like=True, gc=False):
    """An order on the book. ``price`` in ticks, ``remaining`` in lots (0: it has left), fees in ppm.

    ``quantity`` is its total, without what self-trade prevention took: what is filled is ``quantity`` less what
    remains. Of an iceberg, ``remaining`` is what it shows and ``hidden`` the rest.

    Also its row in a snapshot: fields may only be added at the end, with a default.
    """

    order_id: int
    account: int
    side: Side
    price: int
    remaining: int
    maker_fee: int = 0
    quantity: int = 0
    taker_fee: int = 0
    stp: SelfTradePrevention = "dc"
    post_only: bool = False
    hidden: int = 0
    conditions: Conditions | None = None

    def left(self) -> int:
        """Lots that are not filled, shown or not."""
        return self.remaining + self.hidden


class Level:
    """All orders at one price. ``quantity`` is the total of the living, ``dead`` the number of tombstones.

    ``hidden`` is what icebergs have here beyond what they show. Nobody lives before ``head``. ``swept`` is how far the
    present round of ``compact`` has come.

    Not a Struct, whose fields cost 50 ns to set, not 5; it costs more to make, so ``BookSide`` keeps some to use again.
    """

    __slots__ = ("dead", "head", "hidden", "price", "quantity", "queue", "swept")

    def __init__(self) -> None:
        self.queue: list[RestingOrder] = []
        self.price = self.quantity = self.hidden = self.head = self.dead = self.swept = 0

    def living(self) -> Iterator[RestingOrder]:
        """The orders in priority order."""
        return (order for order in self.queue if order.remaining)

    def count(self) -> int:
        """How many orders live here."""
        return len(self.queue) - self.dead

    def front(self) -> RestingOrder:
        """The order that trades next."""
        queue, head = self.queue, self.head
        while not queue[head].remaining:
            head += 1
        self.head = head
        return queue[head]

    def compact(self) -> None:
        """Forget the tombstones before ``head``, and among the next ``STRETCH`` orders if there are still too many.

        A long queue takes many calls: all 50,000 orders of a level at once were a pause of 3 ms.
        """
        self._drop_front()
        if 2 * self.dead <= len(self.queue):
            return
        start = self.swept
        stretch = self.queue[start : start + STRETCH]
        living = [order for order in stretch if order.remaining]
        self.queue[start : start + STRETCH] = living
        gone = len(stretch) - len(living)
        self.dead -= gone
        self.head = max(min(self.head, start), self.head - gone)
        self.swept = start + len(living) if start + len(living) < len(self.queue) else 0

    def _drop_front(self) -> None:
        """A queue eaten from the front is all that most levels are, and needs no look at each order."""
        head = self.head
        del self.queue[:head]
        self.dead -= head
        self.swept = max(0, self.swept - head)
        self.head = 0


class BookSide:
    """Bids (``sign`` +1) or asks (-1).

    ``keys`` holds ``sign * price`` in ascending order, so the best price is last on either side, where a list grows
    and shrinks for free, and "at least as good as" is ``>=`` on either side.
    """

    __slots__ = ("keys", "levels", "sign", "spare")

    def __init__(self, sign: int) -> None:
        self.sign = sign
        self.keys: list[int] = []
        self.levels: dict[int, Level] = {}
        self.spare: list[Level] = []

    def best(self) -> int:
        """The best price; 0 if nobody rests here."""
        return self.sign * self.keys[-1] if self.keys else 0

    def open(self, price: int) -> Level:
        """An empty level at a price that has none."""
        level = self.spare.pop() if self.spare else Level()
        level.price = price
        self.levels[price] = level
        insort(self.keys, self.sign * price)
        return level

    def close(self, level: Level) -> None:
        """Take away a level whose last order has left."""
        price = level.price
        del self.levels[price]
        keys, key = self.keys, self.sign * price
        if keys[-1] == key:
            keys.pop()
        else:
            del keys[bisect_left(keys, key)]
        if len(self.spare) < _SPARE_MAX:
            level.queue.clear()
            level.hidden = level.head = level.dead = level.swept = 0
            self.spare.append(level)

    def reduce(self, order: RestingOrder, remaining: int) -> None:
        """Set what an order shows, more than 0; it keeps its place."""
        self.levels[order.price].quantity += remaining - order.remaining
        order.remaining = remaining

    def hide(self, order: RestingOrder, hidden: int) -> None:
        """Set what an order hides."""
        self.levels[order.price].hidden += hidden - order.hidden
        order.hidden = hidden

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
