"""The book as a recording tells it: which orders rest, in order of time priority, and whether they cross."""

import heapq
from collections.abc import Iterable
from typing import NamedTuple

from shared.messages import Side


class RecordedOrder(NamedTuple):
    """A resting order of the recording.

    ``quantity`` is what it shows, ``hidden`` what is known to be hidden, ``filled`` what was filled while it was known.
    """

    side: Side
    price: int
    quantity: int
    hidden: int = 0
    filled: int = 0


class RecordedBook:
    """Resting orders by id; among those of one price the earlier ones have priority."""

    def __init__(self) -> None:
        self.orders: dict[int, RecordedOrder] = {}
        self._levels: dict[Side, dict[int, dict[int, None]]] = {"buy": {}, "sell": {}}
        self._heaps: dict[Side, list[int]] = {"buy": [], "sell": []}

    def put(self, order: int, new: RecordedOrder, *, behind: bool = False) -> None:
        """An order comes or becomes this; it keeps its priority if it only got smaller, unless it goes ``behind``."""
        old = self.orders.get(order)
        stays = old is not None and old[:2] == new[:2] and new.quantity <= old.quantity
        if not stays or behind:
            self.remove(order)
            level = self._levels[new.side]
            if new.price not in level:
                heapq.heappush(self._heaps[new.side], -new.price if new.side == "buy" else new.price)
            level.setdefault(new.price, {})[order] = None
        self.orders[order] = new

    def fill(self, order: int, quantity: int) -> None:
        """A trade took so much of what an order shows, if it is there; it goes if nothing is left."""
        old = self.orders.get(order)
        if old is not None and quantity < old.quantity:
            self.orders[order] = old._replace(quantity=old.quantity - quantity, filled=old.filled + quantity)
        else:
            self.remove(order)

    def reduce(self, order: int, quantity: int) -> None:
        """An order got smaller without a trade, if it is there; it goes if nothing is left."""
        old = self.orders.get(order)
        if old is not None and quantity < old.quantity:
            self.orders[order] = old._replace(quantity=old.quantity - quantity)
        else:
            self.remove(order)

    def remove(self, order: int) -> None:
        """An order goes, if it is there."""
        old = self.orders.pop(order, None)
        if old is None:
            return
        levels = self._levels[old.side]
        del levels[old.price][order]
        if not levels[old.price]:
            del levels[old.price]

    def clear(self) -> None:
        """Everything goes."""
        self.__init__()  # type: ignore[misc]  # the same empty state, told once

    def level(self, side: Side, price: int) -> Iterable[int]:
        """The orders at a price, the first to be filled first."""
        return self._levels[side].get(price, ())

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
