"""What a book is, and the few ways in which it changes.

Laws:

1. Only ``rest``, ``fill``, ``reduce``, ``remove`` and ``configure`` change who rests where. Deciding (decisions.py,
   matching.py) and folding recorded events (folding.py) both go through them, so they cannot come to differ.
2. ``sequence`` counts the public events, without a gap; ``trade_id`` counts the trades.
3. Two books with the same ``dump()`` decide alike. Nothing else is remembered between two commands.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator

from shared.instrument import Instrument
from shared.messages import Received, Side
from workers.engine.levels import BookSide, RestingOrder


class BookState:
    """The state of one instrument's book. Prices in ticks, quantities in lots, time in ns; 0 means none yet."""

    def __init__(self) -> None:
        self.instrument: Instrument | None = None
        self.sequence = 0
        self.trade_id = 0
        self.time = 0
        self.last_price = 0
        self.bids = BookSide(1)
        self.asks = BookSide(-1)
        self.orders: dict[int, RestingOrder] = {}
        self.accounts: defaultdict[int, dict[int, RestingOrder]] = defaultdict(dict)
        self.arriving: Received | None = None
        """While folding: the order whose entry this is. None between two commands."""

    # --- primitives ----------------------------------------------------------------------------

    def configure(self, instrument: Instrument) -> None:
        """Follow these rules and this mode from here on."""
        self.instrument = instrument

    def rest(self, order: RestingOrder) -> None:
        """Put an order at the back of its price level."""
        side = self.bids if order.side == "buy" else self.asks
        side.add(order)
        self.orders[order.order_id] = self.accounts[order.account][order.order_id] = order

    def fill(self, maker: RestingOrder, quantity: int, trade_id: int) -> None:
        """A trade took ``quantity`` from a resting order, which leaves if that was all of it."""
        self.trade_id = trade_id
        self.last_price = maker.price
        if quantity == maker.remaining:
            self.remove(maker)
        else:
            self.reduce(maker, maker.remaining - quantity)

    def reduce(self, order: RestingOrder, remaining: int) -> None:
        """Set what remains of a resting order, more than 0; it keeps its priority."""
        side = self.bids if order.side == "buy" else self.asks
        side.reduce(order, remaining)

    def remove(self, order: RestingOrder) -> None:
        """Take a resting order off the book."""
        side = self.bids if order.side == "buy" else self.asks
        side.remove(order)
        del self.orders[order.order_id]
        own = self.accounts[order.account]
        del own[order.order_id]
        if not own:
            del self.accounts[order.account]

    # --- views ---------------------------------------------------------------------------------

    def side(self, side: str) -> BookSide:
        """The resting buys or the resting sells."""
        return self.bids if side == "buy" else self.asks

    def best(self, side: Side) -> int:
        """The best price of a side, 0 if it is empty."""
        return self.side(side).best()

    def find(self, order_id: int) -> RestingOrder | None:
        """The resting order with this id."""
        return self.orders.get(order_id)

    def resting(self, side: Side) -> Iterator[RestingOrder]:
        """The resting orders of a side in priority order. Do not change the book while iterating."""
        return self.side(side).living()

    def levels(self, side: Side, depth: int = 0) -> list[tuple[int, int, int]]:
        """(price, quantity, number of orders) of the best ``depth`` levels (0: all), best first."""
        found = []
        for level in self.side(side).ranked():
            found.append((level.price, level.quantity, level.count()))
            if len(found) == depth:
                break
        return found

    def orders_of(self, account: int) -> Iterable[RestingOrder]:
        """The resting orders of an account (0: of everyone), in no order that may matter."""
        return self.accounts.get(account, {}).values() if account else self.orders.values()
