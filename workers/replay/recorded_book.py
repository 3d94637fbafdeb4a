"""The book as a recording tells it: which orders rest, in order of time priority, and whether they cross."""

import heapq
from typing import NamedTuple

from shared.messages import Side


class RecordedOrder(NamedTuple):
    """A resting order of the recording."""

    side: Side
    price: int
    quantity: int


class RecordedBook:
    """Resting orders by id; among those of one price the earlier ones have priority."""

    def __init__(self) -> None:
        self.orders: dict[int, RecordedOrder] = {}
        self._levels: dict[Side, dict[int, int]] = {"buy": {}, "sell": {}}
        self._heaps: dict[Side, list[int]] = {"buy": [], "sell": []}

    def put(self, order: int, side: Side, price: int, quantity: int) -> None:
        """An order comes or becomes this; it keeps its priority if it only got smaller."""
        new = RecordedOrder(side, price, quantity)
        old = self.orders.get(order)
        if old is not None and old[:2] == new[:2] and quantity <= old.quantity:
            self.orders[order] = new
            return
        self.remove(order)
        self.orders[order] = new
        level = self._levels[side]
        if price not in level:
            heapq.heappush(self._heaps[side], -price if side == "buy" else price)
        level[price] = level.get(price, 0) + 1

    def reduce(self, order: int, quantity: int) -> None:
        """An order got smaller, and goes if nothing is left."""
        old = self.orders.get(order)
        if old is None:
            return
        if quantity < old.quantity:
            self.orders[order] = old._replace(quantity=old.quantity - quantity)
        else:
            self.remove(order)

    def remove(self, order: int) -> None:
        """An order goes, if it is there."""
        old = self.orders.pop(order, None)
        if old is None:
            return
        level = self._levels[old.side]
        level[old.price] -= 1
        if not level[old.price]:
            del level[old.price]

    def clear(self) -> None:
        """Everything goes."""
        self.__init__()  # type: ignore[misc]  # the same empty state, told once

    def best(self, side: Side) -> int | None:
        """Best price of a side."""
        heap, level = self._heaps[side], self._levels[side]
        sign = -1 if side == "buy" else 1
        while heap and sign * heap[0] not in level:
            heapq.heappop(heap)
        return sign * heap[0] if heap else None

    def would_cross(self, side: Side, price: int) -> bool:
        """Whether an order of this side and price meets the other side."""
        best = self.best("sell" if side == "buy" else "buy")
        return best is not None and (price >= best if side == "buy" else price <= best)

    def crossed(self) -> bool:
        """Whether a buyer would pay what a seller asks: only before an auction."""
        buy = self.best("buy")
        return buy is not None and self.would_cross("buy", buy)
