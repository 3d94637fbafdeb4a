"""One instrument as the gateway sees it: a replica of its book, its last trades, its figures of 24 hours. No I/O."""

from collections import deque
from collections.abc import Iterable, Iterator

import msgspec

from shared.instrument import Instrument
from shared.messages import (
    Activate,
    BookEntry,
    BookEvent,
    Change,
    Done,
    ListPlaced,
    Match,
    Open,
    Received,
    Side,
)
from shared.order_id import SHARD_MASK
from workers.engine.book import OrderBook
from workers.gateway.book_answer import book_answer
from workers.gateway.render import Texts
from workers.gateway.window import Stats, Window

TRADES_KEPT = 1000
Level = tuple[Side, int]
"""A side and a price in ticks."""


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
            self._note(event, entry.time)
        self.book.fold_entry(entry)
        self._went_on(number)

    def steps(self, number: int, entry: BookEntry) -> Iterator[BookEvent]:
        """The same event by event: each is answered while the book is still as the event finds it."""
        fold = self.book.fold
        self.book.time = entry.time
        for event in entry.events:
            yield event
            self._note(event, entry.time)
            fold(event)
        self._went_on(number)

    def _note(self, event: BookEvent, time: int) -> None:
        kind = event.__class__
        if kind is Received or kind is Activate:
            self._note_received(event.order_id)  # type: ignore[union-attr]  # told apart by class, for speed
        elif kind is Match:
            self.trades.append(trade_of(event, time))  # type: ignore[arg-type]
            self.window.add(time, event.price, event.quantity)  # type: ignore[union-attr]
        elif kind is ListPlaced:
            self._note_received(max(order.order_id for order in event.orders))  # type: ignore[union-attr]

    def _went_on(self, number: int) -> None:
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
        return order_id <= self._received.get(order_id & SHARD_MASK, 0)

    def _note_received(self, order_id: int) -> None:
        shard = order_id & SHARD_MASK
        if order_id > self._received.get(shard, 0):
            self._received[shard] = order_id

    def touch(self, event: BookEvent, levels: dict[Level, int]) -> None:
        """Add the price levels that an event, which is not folded yet, may change, with what they have before."""
        kind = event.__class__
        if kind is Open:
            self._touch_level(event.side, event.price, levels)  # type: ignore[union-attr]  # told apart by class, for speed
        elif kind is Match:
            self._touch_order(event.maker_order_id, levels)  # type: ignore[union-attr]
            if event.auction:  # type: ignore[union-attr]
                self._touch_order(event.taker_order_id, levels)  # type: ignore[union-attr]
        elif kind is Change or kind is Done:
            self._touch_order(event.order_id, levels)  # type: ignore[union-attr]

    def _touch_order(self, order_id: int, levels: dict[Level, int]) -> None:
        order = self.book.find(order_id)
        if order is not None:
            self._touch_level(order.side, order.price, levels)

    def _touch_level(self, side: Side, price: int, levels: dict[Level, int]) -> None:
        if (side, price) not in levels:
            levels[side, price] = self.level(side, price)

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
