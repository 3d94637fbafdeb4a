"""Which orders expire, and when.

A heap with lazy deletion: who leaves earlier stays in it until the dead are more than half. A book without such orders
pays one look at an empty list.
"""

from heapq import heapify, heappop, heappush

_COMPACT_AT = 64
"""A heap with fewer dead entries is left alone."""


class Deadlines:
    """Instants (ns) by order id."""

    __slots__ = ("_instants", "heap")

    def __init__(self) -> None:
        self.heap: list[tuple[int, int]] = []
        self._instants: dict[int, int] = {}

    def add(self, order_id: int, instant: int) -> None:
        """The order is gone from ``instant`` on."""
        self._instants[order_id] = instant
        heappush(self.heap, (instant, order_id))
        if len(self.heap) > 2 * len(self._instants) + _COMPACT_AT:
            self.heap = [(instant, order_id) for order_id, instant in self._instants.items()]
            heapify(self.heap)

    def drop(self, order_id: int) -> None:
        """The order has left, or has no deadline."""
        self._instants.pop(order_id, None)

    def due(self, now: int) -> list[int]:
        """Take out the orders that have expired: the earliest first, then the lowest id."""
        found = []
        while self.heap and self.heap[0][0] <= now:
            instant, order_id = heappop(self.heap)
            if self._instants.get(order_id) == instant:
                del self._instants[order_id]
                found.append(order_id)
        return found

    def next(self) -> int:
        """The first instant at which an order expires, 0 if none does."""
        while self.heap and self._instants.get(self.heap[0][1]) != self.heap[0][0]:
            heappop(self.heap)
        return self.heap[0][0] if self.heap else 0
