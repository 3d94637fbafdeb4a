"""The book that the others are compared with: price, then time, and nothing else. It shares no code with the engine."""

from typing import Any

from benchmarks.peers.engine import Engine, Levels, Operation, Trade
from shared.messages import Cancel, Place, Side

Queue = list[list[int]]
"""[order id, quantity left], in order of arrival."""


class PlainBook(Engine):
    """One list of orders per price; whoever needs the best price looks through all."""

    name = "plain book"

    def __init__(self) -> None:
        self._sides: dict[Side, dict[int, Queue]] = {"buy": {}, "sell": {}}
        self._resting: dict[int, tuple[Side, int, list[int]]] = {}

    def placing(self, order: Place) -> Operation:
        """Trade, then rest."""
        return self._place, order

    def canceling(self, cancel: Cancel) -> Operation:
        """Take it off, if it is there."""
        return self._cancel, cancel.order_id

    def _place(self, order: Place) -> list[Trade]:
        trades: list[Trade] = []
        left = order.quantity
        against = self._sides["sell" if order.side == "buy" else "buy"]
        while left and against:
            price = min(against) if order.side == "buy" else max(against)
            is_beyond = price > order.price if order.side == "buy" else price < order.price
            if order.order_type == "limit" and is_beyond:
                break
            maker = against[price][0]
            quantity = min(left, maker[1])
            trades.append(Trade(maker[0], order.order_id, price, quantity))
            left -= quantity
            maker[1] -= quantity
            if not maker[1]:
                self._cancel(maker[0])
        if left and order.order_type == "limit":
            row = [order.order_id, left]
            self._sides[order.side].setdefault(order.price, []).append(row)
            self._resting[order.order_id] = order.side, order.price, row
        return trades

    def _cancel(self, order_id: int) -> None:
        if order_id not in self._resting:
            return
        side, price, row = self._resting.pop(order_id)
        queue = self._sides[side][price]
        queue.remove(row)
        if not queue:
            del self._sides[side][price]

    def trades(self, results: list[Any]) -> list[Trade]:
        """What each order answered."""
        return [trade for found in results if found for trade in found]

    def levels(self) -> tuple[Levels, Levels]:
        """The sums of the orders."""
        bids, asks = (
            {price: sum(left for _, left in queue) for price, queue in side.items()} for side in self._sides.values()
        )
        return bids, asks
