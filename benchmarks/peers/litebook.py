"""litebook: a Rust book behind PyO3."""

from collections import Counter
from typing import Any

from litebook import Order, OrderBook, OrderType

from benchmarks.peers.engine import Engine, Levels, Operation, Trade
from shared.messages import Cancel, Place

LOWEST, HIGHEST = 1, 1_000_000_000


class Litebook(Engine):
    """It has no market orders: a limit at an extreme price stands for one, whose rest is canceled."""

    name = "litebook"
    package = "litebook"

    def __init__(self) -> None:
        self._book = OrderBook(tick_size=1.0)
        self._theirs: dict[int, str] = {}
        self._ids: dict[str, int] = {}

    def placing(self, order: Place) -> Operation:
        """``add`` with its own order."""
        side = OrderType.Buy if order.side == "buy" else OrderType.Sell
        is_limit = order.order_type == "limit"
        extreme = HIGHEST if order.side == "buy" else LOWEST
        made = Order(side, order.price if is_limit else extreme, float(order.quantity))
        self._theirs[order.order_id], self._ids[made.id] = made.id, order.order_id
        return (self._book.add, made) if is_limit else (self._add_market, (made, made.id))

    def canceling(self, cancel: Cancel) -> Operation:
        """``cancel``, which answers False if it is late."""
        return self._book.cancel, self._theirs[cancel.order_id]

    def _add_market(self, arguments: tuple[Order, str]) -> Any:
        order, order_id = arguments
        fills = self._book.add(order)
        self._book.cancel(order_id)
        return fills

    def trades(self, results: list[Any]) -> list[Trade]:
        """A fill names the buy and the sell; the one that came later took."""
        found = []
        for fills in results:
            for one in fills if isinstance(fills, list) else ():
                maker, taker = sorted((self._ids[one.buy_id], self._ids[one.sell_id]))
                found.append(Trade(maker, taker, round(one.price), round(one.quantity)))
        return found

    def levels(self) -> tuple[Levels, Levels]:
        """It keeps no totals: the sums of the orders."""
        bids, asks = Counter[int](), Counter[int]()
        for side, orders in ((bids, self._book.buy_orders), (asks, self._book.sell_orders)):
            for order in orders:
                side[order.price_in_ticks] += round(order.quantity)
        return dict(bids), dict(asks)
