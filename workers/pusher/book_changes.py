"""A batch of entries of book logs as the least work for PostgreSQL: each row is touched once, whatever happened.

Pure: no I/O, no clock. The changes of a batch are made anew each time, so a batch that failed leaves nothing behind.
"""

from collections.abc import Callable
from typing import Any

from shared.instrument import Instrument
from shared.messages import (
    Activate,
    BookEntry,
    BookEvent,
    Change,
    Configured,
    Done,
    ListPlaced,
    Match,
    Open,
    Received,
)
from workers.pusher.rows import BookRow, ListRow, RestingChange, RestingRow, TradeRow, WaitingChange, WaitingRow


class BookChanges:
    """What a batch of entries of book logs changes.

    Where the book has an order of an earlier batch is not known here. So ``gone`` are all that do not rest, sleep or
    wait (any more) as their row of before says, if they have one; those that the book has in another place now have a
    new row. An order that comes and goes within the batch leaves no trace among them.
    """

    def __init__(self) -> None:
        self.configured: dict[str, Instrument] = {}
        self.books: dict[str, BookRow] = {}
        self.opened: dict[int, RestingRow] = {}
        self.resting_changes: dict[int, RestingChange] = {}
        self.waiting: dict[int, WaitingRow] = {}
        self.waiting_changes: dict[int, WaitingChange] = {}
        self.listed: dict[int, ListRow] = {}
        self.shrunk: set[int] = set()
        self.gone: set[int] = set()
        self.trades: list[TradeRow] = []
        self._first: BookEvent | None = None
        self._arriving = 0
        """The last order that came from the ledger, and not out of a list or out of its sleep: it had no row."""

    def add(self, symbol: str, entry: BookEntry) -> None:
        """Follow the next entry of the log of ``symbol``."""
        row = self.books.get(symbol)
        if row is None:
            row = self.books[symbol] = BookRow(symbol)
        row.time = entry.time
        self._first = entry.events[0] if entry.events else None
        for event in entry.events:
            step = _STEPS.get(type(event))
            if step is not None:
                step(self, row, event, entry.time)

    def _receive(self, book: BookRow, event: Received, _time: int) -> None:
        """It goes on to ``open`` or ``done`` in the same entry, which see to a row of an earlier batch."""
        book.sequence = event.sequence
        self._arriving = event.order_id if event is self._first else 0
        self.waiting.pop(event.order_id, None)

    def _activate(self, book: BookRow, event: Activate, _time: int) -> None:
        book.sequence = event.sequence
        if event is not self._first and event.order_id not in self.waiting:
            self._forget(event.order_id)
        self.waiting[event.order_id] = WaitingRow(
            event.order_id, book.symbol, event.account, event.side, "active", event.price, event.quantity,
            event.stop_price, event.sequence,
        )  # fmt: skip

    def _open(self, book: BookRow, event: Open, _time: int) -> None:
        book.sequence = event.sequence
        order_id = event.order_id
        if order_id != self._arriving and order_id not in self.opened:
            self._forget(order_id)
        self.opened[order_id] = RestingRow(
            order_id, book.symbol, event.account, event.side, event.price, event.remaining, event.sequence, event.hidden
        )

    def _match(self, book: BookRow, event: Match, time: int) -> None:
        book.sequence = event.sequence
        self.trades.append(
            TradeRow(
                book.symbol, event.trade_id, event.sequence, event.price, event.quantity, event.side,
                event.maker_order_id, event.taker_order_id, time,
            )
        )  # fmt: skip
        self._fill(event.maker_order_id, event.quantity)
        if event.auction:
            self._fill(event.taker_order_id, event.quantity)

    def _fill(self, order_id: int, quantity: int) -> None:
        """Take from what a resting order shows."""
        resting = self.opened.get(order_id) or self.resting_changes.get(order_id)
        if resting is None:
            resting = self.resting_changes[order_id] = RestingChange(order_id)
        resting.remaining -= quantity

    def _change(self, book: BookRow, event: Change, _time: int) -> None:
        """Follow the change wherever the order is: where it has no row, nothing is changed.

        An order that leaves its place by an amend keeps its row until what follows in the entry replaces or ends it.
        """
        book.sequence = event.sequence
        order_id = event.order_id
        if event.reason == "stp":
            self._shrink(order_id)
        resting, waiting = self.opened.get(order_id), self.waiting.get(order_id)
        if waiting is not None:
            waiting.price, waiting.quantity, waiting.stop_price = event.price, event.new_quantity, event.stop_price
        elif resting is not None:
            resting.leave(event.new_quantity, event.hidden)
        elif order_id != self._arriving:
            change = self.resting_changes[order_id] = RestingChange(order_id)
            change.leave(event.new_quantity, event.hidden)
            if event.reason == "amend":
                self.waiting_changes[order_id] = WaitingChange(
                    order_id, event.price, event.new_quantity, event.stop_price
                )

    def _shrink(self, order_id: int) -> None:
        if (listed := self.listed.get(order_id)) is not None:
            listed.shrunk = True
        elif order_id != self._arriving:  # else it came on its own
            self.shrunk.add(order_id)

    def _done(self, book: BookRow, event: Done, _time: int) -> None:
        book.sequence = event.sequence
        order_id = event.order_id
        if self.opened.pop(order_id, None) is not None or order_id == self._arriving:
            return
        if self.waiting.pop(order_id, None) is None:
            self._forget(order_id)

    def _forget(self, order_id: int) -> None:
        """It is not where a row of an earlier batch says, if there is one."""
        self.resting_changes.pop(order_id, None)
        self.waiting_changes.pop(order_id, None)
        self.gone.add(order_id)

    def _place_list(self, book: BookRow, event: ListPlaced, _time: int) -> None:
        """All its orders wait; those that are live at once arrive in the same entry."""
        for position, order in enumerate(event.orders):
            self.listed[order.order_id] = ListRow(
                order.order_id, book.symbol, event.orders[0].order_id, event.kind, position, event.first_fill
            )
            stop_price = order.conditions.stop_price if order.conditions is not None else 0
            self.waiting[order.order_id] = WaitingRow(
                order.order_id, book.symbol, order.account, order.side, "pending", order.price, order.quantity,
                stop_price, 0,
            )  # fmt: skip

    def _configure(self, book: BookRow, event: Configured, _time: int) -> None:
        self.configured[book.symbol] = event.instrument


_STEPS: dict[type, Callable[[BookChanges, BookRow, Any, int], None]] = {
    Received: BookChanges._receive,
    Activate: BookChanges._activate,
    Open: BookChanges._open,
    Match: BookChanges._match,
    Change: BookChanges._change,
    Done: BookChanges._done,
    ListPlaced: BookChanges._place_list,
    Configured: BookChanges._configure,
}
