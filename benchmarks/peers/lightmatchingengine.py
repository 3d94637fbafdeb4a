"""lightmatchingengine: lists as queues in dicts, the best price by ``min`` and ``max``."""

import contextlib
from typing import Any

from lightmatchingengine.lightmatchingengine import LightMatchingEngine
from lightmatchingengine.lightmatchingengine import Side as TheirSide

from benchmarks.peers.engine import Engine, Levels, Operation, Trade
from shared.messages import Cancel, Place

SYMBOL = "BTC-USD"


class Light(Engine):
    """It counts the orders itself. What a market order leaves over would rest at price 0, so it is canceled."""

    name = "lightmatchingengine"
    package = "lightmatchingengine"
    commands_max = 130_000

    def __init__(self) -> None:
        self._book = LightMatchingEngine()
        self._theirs: dict[int, int] = {}
        self._ids: dict[int, int] = {}

    def placing(self, order: Place) -> Operation:
        """``add_order``, market orders at price 0."""
        count = len(self._theirs) + 1
        self._theirs[order.order_id], self._ids[count] = count, order.order_id
        side = TheirSide.BUY if order.side == "buy" else TheirSide.SELL
        is_limit = order.order_type == "limit"
        return (self._add if is_limit else self._add_market), (SYMBOL, order.price, order.quantity, side)

    def canceling(self, cancel: Cancel) -> Operation:
        """``cancel_order``, which fails an assertion if it is late and the level is gone."""
        return self._cancel, self._theirs[cancel.order_id]

    def _add(self, arguments: tuple[str, int, int, int]) -> Any:
        return self._book.add_order(*arguments)

    def _add_market(self, arguments: tuple[str, int, int, int]) -> Any:
        found = self._book.add_order(*arguments)
        if found[0].leaves_qty:
            self._book.cancel_order(found[0].order_id, SYMBOL)
        return found

    def _cancel(self, order_id: int) -> None:
        with contextlib.suppress(AssertionError):
            self._book.cancel_order(order_id, SYMBOL)

    def trades(self, results: list[Any]) -> list[Trade]:
        """At each price it tells one trade of the taker, then those of the makers."""
        ids = self._ids
        return [
            Trade(ids[one.order_id], ids[found[0].order_id], one.trade_price, one.trade_qty)
            for found in results
            if found is not None
            for one in found[1]
            if one.order_id != found[0].order_id
        ]

    def levels(self) -> tuple[Levels, Levels]:
        """It keeps no totals: the sums of the orders."""
        book = self._book.order_books[SYMBOL]
        bids, asks = (
            {price: sum(order.leaves_qty for order in orders) for price, orders in side.items()}
            for side in (book.bids, book.asks)
        )
        return bids, asks
