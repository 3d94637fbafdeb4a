"""One instrument as the gateway sees it: a replica of its book, its last trades, its figures of 24 hours. No I/O."""

from collections import deque
from collections.abc import Iterable

import msgspec

from shared.instrument import Instrument
from shared.messages import Activate, BookEntry, Change, Done, ListPlaced, Match, Open, Received, Side
from shared.order_id import SHARD_BITS
from workers.engine.book import OrderBook
from workers.gateway.book_answer import book_answer
from workers.gateway.render import Texts
from workers.gateway.window import Stats, Window

TRADES_KEPT = 1000
_SHARD_MASK = (1 << SHARD_BITS) - 1


class Trade(msgspec.Struct, gc=False):
    """A trade: price in ticks, quantity in lots, ``side`` the maker's, time in ns."""

    trade_id: int
    price: int
    quantity: int
    side: Side
    time: int


class Past(msgspec.Struct):
    """What PostgreSQL knows of an instrument: its last trades (newest last), its figures, and up to which trade."""

    trades: list[Trade]
    window: Window


class Market:
    """A followed instrument. ``position`` is the last entry of its book's log that was folded."""

    def __init__(self, instrument: Instrument, book: OrderBook, position: int) -> None:
        self.instrument = book.instrument or instrument
        self.texts = Texts(self.instrument)
        self.book = book
        self.position = position
        self.trades: deque[Trade] = deque(maxlen=TRADES_KEPT)
        self.window = Window()
        self.has_past = False
        """Whether trades and figures reach back to before this process: PostgreSQL has been read."""
        self._rendered: dict[int, tuple[tuple[int, int, str], bytes]] = {}
        self._received: dict[int, int] = {}
        for side in (book.bids, book.asks):
            for order in side.living():
                self._note_received(order.order_id)
        for waiting in (*(one.order for one in book.sleeping()), *book.pending()):
            self._note_received(waiting.order_id)

    @property
    def symbol(self) -> str:
        """The instrument's name."""
        return self.instrument.symbol

    def follow(self, number: int, entry: BookEntry) -> None:
        """Fold one entry of the book's log."""
        for event in entry.events:
            kind = event.__class__
            if kind is Received or kind is Activate:
                self._note_received(event.order_id)  # type: ignore[union-attr]  # told apart by class, for speed
            elif kind is Match:
                self.trades.append(trade_of(event, entry.time))  # type: ignore[arg-type]
                self.window.add(entry.time, event.price, event.quantity)  # type: ignore[union-attr]
            elif kind is ListPlaced:
                self._note_received(max(order.order_id for order in event.orders))  # type: ignore[union-attr]
        self.book.fold_entry(entry)
        self.position = number
        if self.book.instrument is not None and self.book.instrument is not self.instrument:
            self.instrument = self.book.instrument
            self.texts = Texts(self.instrument)

    def set_past(self, past: Past, missed: Iterable[Trade]) -> None:
        """Put PostgreSQL's past, and the trades it had not yet, before what was followed."""
        last = past.trades[-1].trade_id if past.trades else 0
        newest = {trade.trade_id: trade for trade in (*missed, *self.trades) if trade.trade_id > last}
        followed = [newest[number] for number in sorted(newest)]
        self.trades = deque([*past.trades, *followed], maxlen=TRADES_KEPT)
        self.window = past.window
        for trade in followed:
            self.window.add(trade.time, trade.price, trade.quantity)
        self.has_past = True

    def has_received(self, order_id: int) -> bool:
        """Whether the book has taken the order up. Orders of a shard reach a book in the order of their ids."""
        return order_id <= self._received.get(order_id & _SHARD_MASK, 0)

    def _note_received(self, order_id: int) -> None:
        shard = order_id & _SHARD_MASK
        if order_id > self._received.get(shard, 0):
            self._received[shard] = order_id

    def touched(self, entry: BookEntry) -> list[tuple[Side, int]]:
        """Price levels that ``entry`` changes; to be asked before it is folded."""
        found: dict[tuple[Side, int], None] = {}
        opened: dict[int, tuple[Side, int]] = {}
        for event in entry.events:
            kind = event.__class__
            if kind is Open:
                place = opened[event.order_id] = (event.side, event.price)  # type: ignore[union-attr]  # see follow
                found[place] = None
            elif kind is Match:
                ids = (event.maker_order_id, event.taker_order_id)  # type: ignore[union-attr]
                self._touch(ids if event.auction else ids[:1], opened, found)  # type: ignore[union-attr]
            elif kind is Change or kind is Done:
                self._touch((event.order_id,), opened, found)  # type: ignore[union-attr]
        return list(found)

    def _touch(
        self, ids: Iterable[int], opened: dict[int, tuple[Side, int]], found: dict[tuple[Side, int], None]
    ) -> None:
        """Where these orders rest, if they do: in an auction they trade at another price than their own."""
        for order_id in ids:
            resting = self.book.find(order_id)
            place = opened.get(order_id) or (resting and (resting.side, resting.price))
            if place:
                found[place] = None

    def level(self, side: Side, price: int) -> int:
        """The quantity resting at a price."""
        level = self.book.side(side).levels.get(price)
        return level.quantity if level else 0

    def rendered_book(self, level: int) -> bytes:
        """The book as JSON (``BookAnswer``), rendered once per state of the book."""
        stamp = (self.book.sequence, self.book.time, self.instrument.mode)
        known = self._rendered.get(level)
        if known is None or known[0] != stamp:
            answer = book_answer(self.book, self.texts, level)
            known = self._rendered[level] = (stamp, msgspec.json.encode(answer))
        return known[1]

    def stats(self, now_ns: int) -> Stats:
        """The figures of the last 24 hours."""
        return self.window.stats(now_ns)


def trade_of(match: Match, time: int) -> Trade:
    """A match as a trade."""
    return Trade(match.trade_id, match.price, match.quantity, match.side, time)
