"""A book and a ledger that follow their logs, and remember what of them was not published yet. No I/O."""

from collections import deque

from shared.messages import (
    FEE_ACCOUNT,
    Accepted,
    Closed,
    Filled,
    HoldReduced,
    LedgerEvent,
    Match,
    Open,
    Transferred,
    decode_book_entry,
    decode_ledger_entry,
)
from workers.engine.book import OrderBook
from workers.ledger.ledger import Ledger
from workers.ledger.settlement import hold_currency
from workers.pusher import updates

TRADES_MAX = 100
"""Trades in one live update; of more only the newest."""


class BookReplica:
    """A book that follows its log. ``trades``: (time, match) each that no live update told of."""

    def __init__(self, book: OrderBook) -> None:
        self.book = book
        self.trades: deque[tuple[int, Match]] = deque(maxlen=TRADES_MAX)
        self.price = ""  # as last published

    def fold(self, payload: bytes) -> list[int]:
        """Follow an entry. Answers the orders that came to rest. Raises ``CorruptState``."""
        entry = decode_book_entry(payload)
        self.book.fold_entry(entry)
        self.trades.extend((entry.time, event) for event in entry.events if type(event) is Match)
        return [event.order_id for event in entry.events if type(event) is Open]

    def take_update(self) -> updates.LiveUpdate | None:
        """The live update that is due; None before the instrument's rules are known."""
        if self.book.instrument is None:
            return None
        update = updates.live_update(self.book.instrument, self.book, self.trades)
        self.trades.clear()
        return update


class LedgerReplica:
    """A ledger that follows its log. ``changed``: (account, currency) of each balance that was not told since."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.changed: dict[tuple[int, str], None] = {}  # in the order in which they changed

    def fold(self, payload: bytes) -> list[updates.OrderUpdate]:
        """Follow an entry. Answers the orders it changed, each once, as they are after it. Raises ``CorruptState``."""
        entry = decode_ledger_entry(payload)
        closing = {one.order_id: self.ledger.order(one.order_id) for one in entry.events if type(one) is Closed}
        self.ledger.fold_entry(entry)
        found: dict[int, updates.OrderUpdate] = {}
        for event in entry.events:
            self._mark(event)
            if isinstance(event, Accepted | Filled | HoldReduced | Closed):
                order = closing.get(event.order_id) or self.ledger.order(event.order_id)
                if order is None:
                    continue
                instrument = self.ledger.instruments[event.instrument]
                if type(event) is Closed:
                    found[event.order_id] = updates.done_update(instrument, order, event, entry.time)
                else:
                    status = "pending" if type(event) is Accepted else "open"
                    found[event.order_id] = updates.order_update(instrument, order, status, entry.time)
        return list(found.values())

    def resting(self, order_id: int) -> updates.OrderUpdate | None:
        """The update that an order rests on its book now; None if the ledger has closed it already."""
        order = self.ledger.order(order_id)
        if order is None:
            return None
        return updates.order_update(self.ledger.instruments[order.instrument], order, "open", self.ledger.time)

    def mark_all(self) -> None:
        """All balances may have changed unseen."""
        for account in self.ledger.accounts:
            for currency in self.ledger.balances(account):
                self._changed(account, currency)

    def take_balances(self, most: int) -> list[updates.BalanceUpdate]:
        """Up to ``most`` balances that changed, as they are now, the longest waiting first."""
        keys = list(self.changed)[:most]
        found = []
        for account, currency in keys:
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
        elif isinstance(event, Accepted | HoldReduced | Closed):
            self._changed(event.account, hold_currency(event.side, event.instrument))
        elif isinstance(event, Transferred):
            self._changed(event.account, event.currency)

    def _changed(self, account: int, currency: str) -> None:
        if account != FEE_ACCOUNT:
            self.changed[account, currency] = None
