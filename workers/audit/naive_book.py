"""A book so simple that it is obviously right: who is next at the best price. Shares no code with the engine."""

from bisect import bisect_left, insort
from collections import OrderedDict
from collections.abc import Iterator

import msgspec

from shared.messages import Activate, Place, Received, Side

OTHER: dict[Side, Side] = {"buy": "sell", "sell": "buy"}

Terms = Received | Activate | Place
"""What an order asks for, however the book has told of it."""


class KnownOrder(msgspec.Struct, gc=False):
    """An order that the book has taken up and that is not done.

    ``price`` is what it is now (of a market order its bound, 0: any), ``left`` the lots that are not filled, hidden
    ones included. While it ``rests``, ``shown`` is how many of them can be traded with now.
    """

    terms: Terms
    order_id: int
    account: int
    side: Side
    price: int
    left: int
    maker_fee: int
    shown: int = 0
    rests: bool = False


class NaiveSide:
    """The resting orders of one side, per price in order of arrival."""

    def __init__(self, side: Side) -> None:
        self._sign = 1 if side == "buy" else -1
        self._levels: dict[int, OrderedDict[int, KnownOrder]] = {}
        self._ranks: list[int] = []  # sign * price of each level in ascending order: the best is last

    def append(self, order: KnownOrder) -> None:
        """To the back of its level."""
        level = self._levels.get(order.price)
        if level is None:
            level = self._levels[order.price] = OrderedDict()
            insort(self._ranks, self._sign * order.price)
        level[order.order_id] = order
        order.rests = True

    def remove(self, order: KnownOrder) -> None:
        """Out of its level."""
        level = self._levels[order.price]
        del level[order.order_id]
        if not level:
            del self._levels[order.price]
            del self._ranks[bisect_left(self._ranks, self._sign * order.price)]
        order.rests = False

    def best(self) -> int:
        """Best price, 0 if nobody rests."""
        return self._sign * self._ranks[-1] if self._ranks else 0

    def front(self) -> KnownOrder | None:
        """Who trades next."""
        return next(iter(self._levels[self.best()].values())) if self._ranks else None

    def meets(self, price: int) -> bool:
        """Whether the best of this side would trade with an order of the other side at ``price`` (0: at any)."""
        return bool(self._ranks) and (not price or self._ranks[-1] >= self._sign * price)

    def __iter__(self) -> Iterator[KnownOrder]:
        """All orders in priority order."""
        for rank in reversed(self._ranks):
            yield from self._levels[self._sign * rank].values()
