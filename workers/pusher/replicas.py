"""A book and a ledger that follow their logs, and remember what of them was not published yet. No I/O."""

from collections import deque
from collections.abc import Callable, Iterable
from itertools import islice

from shared.messages import (
    FEE_ACCOUNT,
    Accepted,
    Activate,
    Amended,
    AmendFailed,
    AmendRequested,
    Closed,
    Filled,
    HoldFunded,
    HoldReduced,
    LedgerEntry,
    LedgerEvent,
    Match,
    Open,
    Transferred,
    decode_book_entry,
    decode_ledger_entry,
)
from workers.engine.book import OrderBook
from workers.ledger.ledger import Ledger
from workers.ledger.orders import OpenOrder
from workers.ledger.settlement import hold_currency
from workers.pusher import updates

TRADES_MAX = 100
"""Trades in one live update; of more only the newest."""

_PLACED = (Open, Activate)
_TOLD = (Accepted, Filled, HoldReduced, Amended, Closed)
_HOLDING = (Accepted, HoldFunded, HoldReduced, Closed, AmendRequested, Amended, AmendFailed)
"""Events that change a hold, and by it a balance of one currency."""

Where = tuple[str, int]
"""Status of an order, and the stop price (ticks) of a stop that sleeps."""


class BookReplica:
    """The book of ``symbol``, following its log. ``trades``: (time, match) each that no live update told of."""

    def __init__(self, symbol: str, book: OrderBook) -> None:
        self.symbol = symbol
        self.book = book
        self.trades: deque[tuple[int, Match]] = deque(maxlen=TRADES_MAX)
        self._price = 0  # as last published

    def fold(self, payload: bytes) -> list[int]:
        """Follow an entry. Answers the orders that fell asleep or came to rest by it. Raises ``CorruptState``.

        An order that rested before is none of them: what happened to it the ledger tells.
        """
        entry = decode_book_entry(payload)
        rested = self.book.orders
        placed = [
            event.order_id for event in entry.events if isinstance(event, _PLACED) and event.order_id not in rested
        ]
        self.book.fold_entry(entry)
        self.trades.extend((entry.time, event) for event in entry.events if type(event) is Match)
        return list(dict.fromkeys(placed))

    def where(self, order_id: int) -> Where | None:
        """Where the order rests or sleeps; None if it does neither."""
        if order_id in self.book.orders:
            return "open", 0
        sleeping = self.book.stops.orders.get(order_id)
        return ("active", sleeping.stop_price) if sleeping is not None else None

    def take_update(self) -> updates.LiveUpdate | None:
        """The live update that is due; None before the instrument's rules are known."""
        if self.book.instrument is None:
            return None
        update = updates.live_update(self.book.instrument, self.book, self.trades)
        self.trades.clear()
        return update

    def take_price(self) -> str:
        """The price of the last trade, if it is not the one that was taken before; else empty."""
        last_price = self.book.last_price
        if last_price == self._price or self.book.instrument is None:
            return ""
        self._price = last_price
        return updates.last_price(self.book.instrument, self.book)


class LedgerReplica:
    """A ledger that follows its log. ``changed``: (account, currency) of each balance that was not told since."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.changed: dict[tuple[int, str], None] = {}  # in the order in which they changed

    def fold(self, payload: bytes, where: Callable[[OpenOrder], Where] | None) -> list[updates.OrderUpdate]:
        """Follow an entry. Answers the orders it changed, each once, as they are after it; without ``where``, none.

        ``where`` an amended order is only its book knows. Raises ``CorruptState``.
        """
        entry = decode_ledger_entry(payload)
        orders = {}
        for event in entry.events:
            if type(event) is Closed:
                orders[event.order_id] = self.ledger.order(event.order_id)  # soon it is gone
        self.ledger.fold_entry(entry)
        for event in entry.events:
            self._mark(event)
        return list(self._told(entry, orders, where)) if where is not None else []

    def _told(
        self, entry: LedgerEntry, closed: dict[int, OpenOrder | None], where: Callable[[OpenOrder], Where]
    ) -> Iterable[updates.OrderUpdate]:
        found: dict[int, updates.OrderUpdate] = {}
        for event in entry.events:
            if not isinstance(event, _TOLD):
                continue
            order = closed.get(event.order_id) or self.ledger.order(event.order_id)
            if order is None:
                continue
            instrument = self.ledger.instruments[event.instrument]
            if type(event) is Closed:
                found[event.order_id] = updates.done_update(instrument, order, event, entry.time)
            elif event.order_id not in closed:  # else its end is told, and no more
                status, stop_price = "pending" if type(event) is Accepted else "open", 0
                if type(event) is Amended:
                    status, stop_price = where(order)
                found[event.order_id] = updates.order_update(instrument, order, status, entry.time, stop_price)
        return found.values()

    def placed(self, order_id: int, status: str, stop_price: int) -> updates.OrderUpdate | None:
        """The update that its book has an order now; None if the ledger has closed it already."""
        order = self.ledger.order(order_id)
        if order is None:
            return None
        instrument = self.ledger.instruments[order.instrument]
        return updates.order_update(instrument, order, status, self.ledger.time, stop_price)

    def mark_all(self) -> None:
        """All balances may have changed unseen."""
        for account in self.ledger.accounts:
            for currency in self.ledger.balances(account):
                self._changed(account, currency)

    def take_balances(self, most: int) -> list[updates.BalanceUpdate]:
        """Up to ``most`` balances that changed, as they are now, the longest waiting first."""
        found = []
        for account, currency in list(islice(self.changed, most)):
            del self.changed[account, currency]
            balance = self.ledger.balances(account)[currency]
            scale = self.ledger.scales[currency]
            found.append(updates.balance_update(account, currency, balance.available, balance.held, scale))
        return found

    def _mark(self, event: LedgerEvent) -> None:
        if isinstance(event, Filled):
            base, _, quote = event.instrument.partition("-")
            self._changed(event.account, base)
            self._changed(event.account, quote)
        elif isinstance(event, _HOLDING):
            self._changed(event.account, hold_currency(event.side, event.instrument))
        elif isinstance(event, Transferred):
            self._changed(event.account, event.currency)

    def _changed(self, account: int, currency: str) -> None:
        if account != FEE_ACCOUNT:
            self.changed[account, currency] = None
