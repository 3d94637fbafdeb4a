"""pyorderbook: dicts as queues, heaps of levels, Decimal prices, UUIDs."""

import contextlib
import logging
from typing import Any

from pyorderbook import Book, Order, TradeBlotter, ask, bid

from benchmarks.peers.engine import Engine, Levels, Operation, Trade
from shared.messages import Cancel, Place

SYMBOL = "BTC-USD"
LOWEST, HIGHEST = 1, 1_000_000_000


class Pyorderbook(Engine):
    """It has no market orders: a limit at an extreme price stands for one, whose rest is canceled."""

    name = "pyorderbook"
    package = "pyorderbook"

    def __init__(self) -> None:
        self._book = Book()
        self._orders: dict[int, Order] = {}
        self._ids: dict[Any, int] = {}
        logging.getLogger("pyorderbook").setLevel(logging.CRITICAL)  # it logs an error for a cancel that is late

    def placing(self, order: Place) -> Operation:
        """``match`` with its own order."""
        make, extreme = (bid, HIGHEST) if order.side == "buy" else (ask, LOWEST)
        is_limit = order.order_type == "limit"
        made = make(SYMBOL, order.price if is_limit else extreme, order.quantity)
        self._orders[order.order_id], self._ids[made.id] = made, order.order_id
        return (self._book.match if is_limit else self._match_market), made

    def canceling(self, cancel: Cancel) -> Operation:
        """``cancel``, which raises if it is late."""
        return self._cancel, self._orders[cancel.order_id]

    def _cancel(self, order: Order) -> None:
        with contextlib.suppress(KeyError):
            self._book.cancel(order)

    def _match_market(self, order: Order) -> TradeBlotter:
        blotter = self._book.match(order)
        if order.quantity:
            self._book.cancel(order)
        return blotter

    def trades(self, results: list[Any]) -> list[Trade]:
        """Each blotter tells its order's trades."""
        ids = self._ids
        return [
            Trade(ids[one.standing_order_id], ids[one.incoming_order_id], int(one.fill_price), one.fill_quantity)
            for blotter in results
            if isinstance(blotter, TradeBlotter)
            for one in blotter.trades
        ]

    def levels(self) -> tuple[Levels, Levels]:
        """It keeps no totals: the sums of the orders. Empty levels stay behind."""
        bids, asks = (
            {
                int(price): sum(order.quantity for order in level.orders.values())
                for price, level in side.items()
                if level.orders
            }
            for side in self._book.level_map[SYMBOL].values()
        )
        return bids, asks
