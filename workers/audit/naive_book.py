"""A book so simple that it is obviously right: who is next at the best price. Shares no code with the engine."""

import heapq
from collections import OrderedDict
from collections.abc import Iterator

import msgspec

from shared.messages import Received, Side


class KnownOrder(msgspec.Struct):
    """An order that the book has received and that is not done. ``remaining`` in lots.

    ``terms`` is None for an order that rested already where the audit began.
    """

    order_id: int
    account: int
    side: Side
    price: int
    remaining: int
    maker_fee: int
    terms: Received | None = None
    rests: bool = False


class NaiveSide:
    """The resting orders of one side, per price in order of arrival."""

    def __init__(self, side: Side) -> None:
        self._sign = -1 if side == "buy" else 1
        self._levels: dict[int, OrderedDict[int, KnownOrder]] = {}
        self._prices: list[int] = []  # a heap of sign * price; prices whose level is gone are dropped when met

    def append(self, order: KnownOrder) -> None:
        """To the back of its level."""
        level = self._levels.get(order.price)
        if level is None:
            level = self._levels[order.price] = OrderedDict()
            heapq.heappush(self._prices, self._sign * order.price)
        level[order.order_id] = order
        order.rests = True

    def remove(self, order: KnownOrder) -> None:
        """Out of its level."""
        level = self._levels[order.price]
        del level[order.order_id]
        if not level:
            del self._levels[order.price]
        order.rests = False

    def best(self) -> int:
        """Best price, 0 if nobody rests."""
        prices, sign = self._prices, self._sign
        while prices:
            price = sign * prices[0]
            if price in self._levels:
                return price
            heapq.heappop(prices)
        return 0

    def front(self) -> KnownOrder | None:
        """Who trades next."""
        price = self.best()
        return next(iter(self._levels[price].values())) if price else None

    def __iter__(self) -> Iterator[KnownOrder]:
        """All orders in priority order."""
        for price in sorted(self._levels, key=lambda price: self._sign * price):
            yield from self._levels[price].values()
