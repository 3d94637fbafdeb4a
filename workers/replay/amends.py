"""The amends of a replay that are not answered yet.

An amend is answered by the first of ``amended``, ``amend_failed`` or ``closed`` (its order is done, so it comes too
late) in the ledger's log. A ledger takes only so many at once of one order.
"""

from collections import Counter

from shared.messages import AmendRequest, AmendRequested

UNDER_WAY_MAX = 4
"""Amends of one order that are sent before the first is answered: fewer than a ledger takes."""


class AmendsUnderWay:
    """Amends by request and by order. ``len()`` counts those that the ledger has passed on to the book."""

    def __init__(self) -> None:
        self._orders: dict[str, str] = {}
        """Request id -> client id of the order."""
        self._counts: Counter[str] = Counter()
        self._passed_on: dict[int, dict[str, int]] = {}
        """Order id -> request id -> when it was sent."""

    def __len__(self) -> int:
        return sum(map(len, self._passed_on.values()))

    def has_room(self, request: AmendRequest) -> bool:
        """Whether another one of the order may be sent."""
        return self._counts[request.client_id] < UNDER_WAY_MAX

    def add(self, request: AmendRequest) -> None:
        """It is being sent."""
        self._orders[request.request_id] = request.client_id
        self._counts[request.client_id] += 1

    def pass_on(self, event: AmendRequested, sent: int) -> None:
        """The ledger has passed it on."""
        self._passed_on.setdefault(event.order_id, {})[event.request_id] = sent

    def refuse(self, request_id: str) -> None:
        """The ledger has refused a request, an amend or not."""
        self._end(request_id)

    def answer(self, order_id: int, request_id: str) -> int | None:
        """The book has answered it. Returns when it was sent, unless it has been answered before."""
        asked = self._passed_on.get(order_id, {})
        sent = asked.pop(request_id, None)
        if sent is not None:
            self._end(request_id)
            if not asked:
                del self._passed_on[order_id]
        return sent

    def close(self, order_id: int) -> list[int]:
        """The order is done: its amends come too late. Returns when they were sent."""
        asked = self._passed_on.pop(order_id, {})
        for request_id in asked:
            self._end(request_id)
        return list(asked.values())

    def _end(self, request_id: str) -> None:
        client_id = self._orders.pop(request_id, None)
        if client_id is not None:
            self._counts[client_id] -= 1
            if not self._counts[client_id]:
                del self._counts[client_id]
