"""One state of all ledgers and books out of PostgreSQL's rows: what ``meeting`` says of each book, one after the other.

Pure: rows in, states and log entries out.
"""

import msgspec

from shared.messages import BookEntry, LedgerEntry
from shared.order_id import shard_of_order
from workers.engine.book import OrderBook
from workers.ledger.ledger import Ledger
from workers.recovery.books import build_book
from workers.recovery.ledgers import build_ledger
from workers.recovery.meeting import CannotSettle, Meeting
from workers.recovery.rows import BookRows, LedgerRows


class Recovered(msgspec.Struct):
    """States in which ledgers and books agree, and the log entries that lead there from PostgreSQL's rows.

    ``settled``: sides of trades; ``canceled``: orders that had to end; ``busted``: (instrument, trade) without money.
    """

    ledgers: dict[int, Ledger]
    books: dict[str, OrderBook]
    ledger_entries: dict[int, list[LedgerEntry]]
    book_entries: dict[str, list[BookEntry]]
    settled: int = 0
    canceled: list[int] = []
    busted: list[tuple[str, int]] = []

    def surplus(self) -> dict[str, int]:
        """What all accounts have more than came in, per currency, where that is not 0.

        Then only one side of a trade is settled, and PostgreSQL knows nothing of the other side's order.
        """
        found: dict[str, int] = {}
        for ledger in self.ledgers.values():
            for _, currency, available, held in ledger.accounts.rows():
                found[currency] = found.get(currency, 0) + available + held
            for currency, amount in ledger.supply.items():
                found[currency] = found.get(currency, 0) - amount
        return {currency: amount for currency, amount in found.items() if amount}

    @property
    def open_orders(self) -> int:
        """How many orders are open."""
        return sum(len(ledger.orders) for ledger in self.ledgers.values())


def reconcile(books: dict[str, BookRows], ledgers: dict[int, LedgerRows], now: int) -> Recovered:
    """Make one state of them. A trade that contradicts the ledger's rows is busted, and all begins anew without it."""
    busted: dict[str, set[int]] = {symbol: set() for symbol in books}
    while True:
        found = _attempt(books, ledgers, now, busted)
        if found is not None:
            return found


def _attempt(
    books: dict[str, BookRows], ledgers: dict[int, LedgerRows], now: int, busted: dict[str, set[int]]
) -> Recovered | None:
    """None: one more trade cannot be settled."""
    instruments = [rows.instrument for rows in books.values()]
    prices = {symbol: rows.last_price for symbol, rows in books.items() if rows.last_price}
    built = {shard: build_ledger(rows, instruments, prices) for shard, rows in ledgers.items()}
    found = Recovered(built, {}, {shard: [] for shard in built}, {})
    for symbol, rows in books.items():
        meeting = Meeting(rows, built, now, busted[symbol])
        try:
            agreed = meeting.hold()
        except CannotSettle as error:
            busted[symbol].add(error.trade_id)
            return None
        found.books[symbol] = build_book(agreed, lambda order_id: built[shard_of_order(order_id)].orders.get(order_id))  # type: ignore[arg-type,return-value]  # meeting left nobody else
        found.book_entries[symbol] = [BookEntry("", rows.time, meeting.events)] if meeting.events else []
        for shard, entries in meeting.entries.items():
            found.ledger_entries[shard] += entries
        found.settled += meeting.settled
        found.canceled += sorted(meeting.ended)
        found.busted += [(symbol, trade_id) for trade_id in sorted(meeting.busted)]
        if agreed.last_price:
            for ledger in built.values():
                ledger.last_prices[symbol] = agreed.last_price
    return found
