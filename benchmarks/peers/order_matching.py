"""order-matching: sorts its orders by timestamp, looks for one by walking through all."""

import contextlib
from datetime import datetime, timedelta
from typing import Any

from loguru import logger
from order_matching.enums import Side as TheirSide
from order_matching.matching_engine import MatchingEngine
from order_matching.order import LimitOrder, MarketOrder
from order_matching.orders import Orders

from benchmarks.peers.engine import Engine, Levels, Operation, Trade
from shared.messages import Cancel, Place

START = datetime(2025, 1, 1)  # its own orders have no zone


class OrderMatching(Engine):
    """An order is placed, then matched. What a market order leaves over would rest at an extreme price."""

    name = "order-matching"
    package = "order-matching[polars]"
    commands_max = 3_000

    def __init__(self) -> None:
        self._book = MatchingEngine(seed=1)
        logger.disable("order_matching")  # it logs every order at level debug

    def placing(self, order: Place) -> Operation:
        """``place`` and ``match`` with its own order."""
        about: dict[str, Any] = {
            "side": TheirSide.BUY if order.side == "buy" else TheirSide.SELL,
            "size": order.quantity,
            "timestamp": START + timedelta(microseconds=order.time),
            "order_id": str(order.order_id),
            "trader_id": str(order.account),
        }
        if order.order_type == "market":
            return self._place_market, Orders([MarketOrder(**about)])
        return self._place, Orders([LimitOrder(price=order.price, **about)])

    def canceling(self, cancel: Cancel) -> Operation:
        """``cancel_order``, which raises if it is late."""
        return self._cancel, str(cancel.order_id)

    def _place(self, orders: Orders) -> Any:
        self._book.place(orders)
        return self._book.match(orders.orders[0].timestamp)

    def _place_market(self, orders: Orders) -> Any:
        trades = self._place(orders)
        if orders.orders[0].size:
            self._book.cancel_order(orders.orders[0].order_id)
        return trades

    def _cancel(self, order_id: str) -> None:
        with contextlib.suppress(ValueError):
            self._book.cancel_order(order_id)

    def trades(self, results: list[Any]) -> list[Trade]:
        """What each ``match`` answered."""
        return [
            Trade(int(one.book_order_id), int(one.incoming_order_id), int(one.price), int(one.size))
            for trades in results
            if trades is not None
            for one in trades
        ]

    def levels(self) -> tuple[Levels, Levels]:
        """The depth it tells."""
        book = self._book.unprocessed_orders
        bids, asks = ({int(price): int(size) for price, size in side} for side in (book.bids_depth, book.asks_depth))
        return bids, asks
