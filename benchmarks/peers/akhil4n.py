"""akhil4n-orderbook: OrderedDicts as queues in a SortedDict, Decimal prices."""

from decimal import Decimal
from typing import Any

from orderbook import MarketOrder, Order, OrderBook, OrderSide

from benchmarks.peers.engine import Engine, Levels, Operation, Trade
from shared.messages import Cancel, Place


class Akhil4n(Engine):
    """Its trades are in the book's own log."""

    name = "akhil4n-orderbook"
    package = "akhil4n-orderbook"

    def __init__(self) -> None:
        self._book = OrderBook()
        self._theirs: dict[int, str] = {}
        self._ids: dict[str, int] = {}

    def placing(self, order: Place) -> Operation:
        """``add_limit_order`` or ``add_market_order`` with its own order."""
        side = OrderSide.BID if order.side == "buy" else OrderSide.ASK
        is_limit = order.order_type == "limit"
        made = Order(side, Decimal(order.price), order.quantity) if is_limit else MarketOrder(side, order.quantity)
        self._theirs[order.order_id], self._ids[made.order_id] = made.order_id, order.order_id
        return (self._book.add_limit_order if is_limit else self._book.add_market_order), made

    def canceling(self, cancel: Cancel) -> Operation:
        """``cancel_order``, which answers False if it is late."""
        return self._book.cancel_order, self._theirs[cancel.order_id]

    def trades(self, results: list[Any]) -> list[Trade]:  # noqa: ARG002  # its log has them
        """What its log says."""
        ids = self._ids
        return [
            Trade(ids[one.filler_id], ids[one.aggressor_id], int(one.price), one.quantity_filled)
            for one in self._book.trade_log
        ]

    def levels(self) -> tuple[Levels, Levels]:
        """The totals it keeps."""
        bids, asks = (
            {int(price): level.total_quantity for price, level in side.items()}
            for side in (self._book.bids, self._book.asks)
        )
        return bids, asks
