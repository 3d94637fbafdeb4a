"""Reads all logs as one history: each entry after those that caused it.

The logs are cut at one instant, so whatever an entry answers to is within the cut of its own log. A ledger's entry
that settles an entry of a book comes after that one; a book's entry that receives an order comes after the ledger's
that accepted it. Nothing is kept but what is open, so the memory needed does not grow with the logs.
"""

from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator

import msgspec

from shared import keys
from shared.chain import advance
from shared.messages import (
    Activate,
    BookEntry,
    Configured,
    Done,
    LedgerEntry,
    ListPlaced,
    Received,
    decode_book_entry,
    decode_ledger_entry,
)
from shared.order_id import SHARD_BITS, shard_of_order
from workers.audit.book_checks import BookChecks
from workers.audit.invariants import Findings, Invariant
from workers.audit.ledger_checks import LedgerChecks
from workers.audit.settlement_checks import SettlementChecks
from workers.store import Standing

CHUNK = 1000
Mark = Callable[[], None]


class LogView:
    """One log, from behind entry ``start`` to ``standing.length``, which is where its owner said it stood."""

    def __init__(
        self,
        tag: str,
        standing: Standing,
        entries: Iterable[tuple[bytes, bytes]],
        findings: Findings,
        start: int = 0,
        chain: str = "",
    ) -> None:
        self.tag = tag
        self.standing = standing
        self.number = start
        self.start = start
        self.is_reading = False
        self.payload = b""
        """The entry read last."""
        self._chain = chain
        self._unchained: list[bytes] = []
        self._entries = iter(entries)
        self._findings = findings
        self._marks: dict[int, list[Mark]] = {}

    @property
    def chain(self) -> str:
        """The hash chain up to ``number``."""
        self._chain = advance(self._chain, self._unchained)
        self._unchained = []
        return self._chain

    def at(self, number: int, mark: Mark) -> None:
        """Have ``mark`` called when entry ``number`` (not before ``start``) has been followed."""
        if number == self.number:
            mark()
        else:
            self._marks.setdefault(number, []).append(mark)

    def followed(self) -> None:
        """The entry read last has been followed."""
        for mark in self._marks.pop(self.number, ()):
            mark()

    def read(self) -> bytes | None:
        """The next entry, checked against the one before; None at the end."""
        checked = self._findings.checked
        found = next(self._entries, None)
        if found is None:
            return None
        checked[Invariant.ENTRIES] += 1
        checked[Invariant.CHAIN] += 1
        key, payload = found
        if key == b"%d-0" % (self.number + 1):
            self.number += 1
        else:
            self._findings.violate(
                Invariant.ENTRIES, keys.log(self.tag), f"entry {key.decode()} follows {self.number}-0"
            )
            self.number = int(key.partition(b"-")[0])
        self._unchained.append(payload)
        self.payload = payload
        if len(self._unchained) == CHUNK:
            self._chain = self.chain
        return payload

    def unreadable(self, error: msgspec.MsgspecError) -> None:
        """The entry read last makes no sense."""
        self._findings.violate(Invariant.ENTRIES, keys.log(self.tag), f"entry {self.number}-0 is unreadable: {error}")

    def end(self) -> None:
        """Whether the log ends where its owner said."""
        name, standing = keys.log(self.tag), self.standing
        self._findings.check(
            Invariant.ENTRIES, self.number == standing.length, name,
            f"ends at {self.number}-0, its owner has written {standing.length}",
        )  # fmt: skip
        if self.number == standing.length:
            self._findings.check(
                Invariant.CHAIN, self.chain == standing.chain, name,
                f"the chain of its {self.number} entries is {self.chain}, stored is {standing.chain}",
            )  # fmt: skip


def newcomers(entry: BookEntry, known: Container[int]) -> Iterable[int]:
    """The orders that an entry takes up or refuses, which a ledger must have accepted before."""
    found: list[int] = []
    for event in entry.events:
        if isinstance(event, Received | Activate) or (isinstance(event, Done) and event.reason == "rejected"):
            found.append(event.order_id)
        elif isinstance(event, ListPlaced):
            found += [order.order_id for order in event.orders]
    return [order_id for order_id in found if order_id not in known]


class History:
    """All logs of a cluster, read in causal order through the checks of their machines."""

    def __init__(self, findings: Findings, settlement: SettlementChecks) -> None:
        self.findings = findings
        self.settlement = settlement
        self.ledgers: dict[int, tuple[LogView, LedgerChecks]] = {}
        self.books: dict[str, tuple[LogView, BookChecks]] = {}
        self.on_ledger_entry: Callable[[LedgerChecks, int, LedgerEntry], None] = lambda _checks, _number, _entry: None
        self.on_book_entry: Callable[[str, int, BookEntry], None] = lambda _symbol, _number, _entry: None
        """Told of every entry after it was followed."""

    def add_ledger(self, shard: int, log: LogView) -> LedgerChecks:
        """The log of a shard."""
        checks = LedgerChecks(shard, self.findings, self.settlement)
        self.ledgers[shard] = log, checks
        return checks

    def add_book(self, symbol: str, log: LogView) -> BookChecks:
        """The log of an instrument's book."""
        checks = BookChecks(symbol, self.findings, self.settlement)
        self.books[symbol] = log, checks
        return checks

    def follow(self) -> Iterator[None]:
        """Follow everything; yields after each entry of a ledger, and of what books have done since."""
        for shard in self.ledgers:
            while self._advance_ledger(shard):
                yield
        for symbol in self.books:
            while self._advance_book(symbol):
                yield

    def _advance_ledger(self, shard: int) -> bool:
        """Follow the ledger's next entry, after the book's entry that it settles. False at its end."""
        log, checks = self.ledgers[shard]
        if log.is_reading or (payload := log.read()) is None:
            return False
        log.is_reading = True
        try:
            entry = decode_ledger_entry(payload)
        except msgspec.MsgspecError as error:
            log.unreadable(error)
        else:
            settled = checks.settles(entry.source)
            if settled is not None and settled[0] in self.books:
                while self.books[settled[0]][0].number < settled[1] and self._advance_book(settled[0]):
                    pass
            checks.follow(log.number, entry)
            self.on_ledger_entry(checks, log.number, entry)
        log.is_reading = False
        log.followed()
        return True

    def _advance_book(self, symbol: str) -> bool:
        """Follow the book's next entry, after the ledger's that accepted the order in it. False at its end."""
        log, checks = self.books[symbol]
        if log.is_reading or (payload := log.read()) is None:
            return False
        log.is_reading = True
        try:
            entry = decode_book_entry(payload)
        except msgspec.MsgspecError as error:
            log.unreadable(error)
        else:
            self._await_causes(symbol, entry, checks.orders)
            checks.follow(log.number, entry)
            self.on_book_entry(symbol, log.number, entry)
        log.is_reading = False
        log.followed()
        return True

    def _await_causes(self, symbol: str, entry: BookEntry, known: Container[int]) -> None:
        """Follow what a book was told before it did this."""
        first = entry.events[0] if entry.events else None
        if type(first) is Received:  # a new order: whoever else comes in the entry waited in the book
            self._await_accepted(symbol, first.order_id)
            return
        for order_id in newcomers(entry, known):
            self._await_accepted(symbol, order_id)
        if any(type(event) is Configured for event in entry.events):
            while not self.settlement.rules.get(symbol) and self._advance_ledger(0):
                pass

    def _await_accepted(self, symbol: str, order_id: int) -> None:
        shard = shard_of_order(order_id)
        while not self.settlement.is_on_the_way(symbol, order_id) and shard in self.ledgers:
            if self.ledgers[shard][1].count >= order_id >> SHARD_BITS or not self._advance_ledger(shard):
                return

    # --- the end -----------------------------------------------------------------------------------

    def end(self) -> None:
        """What can be said only when all is read."""
        for log, _ in (*self.ledgers.values(), *self.books.values()):
            log.end()
        for _, ledger in self.ledgers.values():
            ledger.end()
        self.settlement.end(
            {
                (shard, symbol): self._settled(shard, symbol)
                for shard, (_, ledger) in self.ledgers.items()
                for symbol in self.books
                if not ledger.settled_nothing_of(symbol)
            }
        )
        self._check_sent()
        self._check_rules()
        self._check_arrived()
        self._check_open_orders()
        self._check_amends()
        self._check_last_prices()
        self._check_resting_orders()
        self._check_money()

    def _settled(self, shard: int, symbol: str) -> int:
        """Up to which entry of a book's log a ledger has settled; 0 if there is no such ledger."""
        if shard not in self.ledgers:
            return 0
        position = self.ledgers[shard][0].standing.positions.get(keys.log(keys.instrument_tag(symbol)), "0-0")
        return int(position.partition("-")[0])

    def _check_sent(self) -> None:
        """What a ledger says it sent to a book is what its outbox got, but for ticks: only the book logs them."""
        for shard, (log, ledger) in self.ledgers.items():
            for symbol, (book_log, book) in self.books.items() if log.start == 0 else ():
                outbox = keys.outbox(shard, symbol)
                length, sent, ticks = log.standing.lengths.get(outbox, 0), ledger.sent[symbol], book.ticks[outbox]
                unknown = length if book_log.start else length - self._taken(symbol, outbox)  # they may be ticks, too
                self.findings.check(
                    Invariant.SOURCES, 0 <= length - sent - ticks <= unknown, outbox,
                    f"got {length} commands, the ledger's log tells of {sent}, the book's of {ticks} ticks",
                )  # fmt: skip

    def _check_rules(self) -> None:
        """A book follows the rules that shard 0 last sent it, once it has read them."""
        log, ledger = self.ledgers[0]
        for symbol, (_, book) in self.books.items():
            outbox = keys.outbox(0, symbol)
            if self._taken(symbol, outbox) == log.standing.lengths.get(outbox, 0):
                self.findings.check(
                    Invariant.ACCEPTED, book.instrument == ledger.instruments.get(symbol), symbol,
                    f"follows {book.instrument}, ledger 0 {ledger.instruments.get(symbol)}",
                )  # fmt: skip

    def _check_arrived(self) -> None:
        """Orders that no book has received are still in an outbox."""
        for (shard, symbol), orders in self.settlement.on_the_way.items():
            count = len({one.number for one in orders.values()})
            outbox = keys.outbox(shard, symbol)
            sent = self.ledgers[shard][0].standing.lengths.get(outbox, 0) if shard in self.ledgers else 0
            left = sent - self._taken(symbol, outbox)
            if symbol in self.books and self.books[symbol][0].start:
                continue  # it may have received them before its first entry here
            self.findings.check(
                Invariant.DONE, count <= left, f"{symbol}, ledger {shard}",
                f"{len(orders)} orders were accepted and never received, {left} commands are in the outbox",
            )  # fmt: skip

    def _check_open_orders(self) -> None:
        """An order that is open in the ledger is under way, resting, or done and not yet settled."""
        waiting: dict[int, int] = {}
        for (symbol, _, order_id), pending in self.settlement.fills.items():
            if pending.number > self._settled(shard_of_order(order_id), symbol):
                waiting[order_id] = waiting.get(order_id, 0) + pending.event.quantity
        for shard, (_, ledger) in self.ledgers.items():
            for order_id, order in ledger.orders.items():
                symbol = order.accepted.instrument
                if symbol in self.books and self._settled(shard, symbol) < self.books[symbol][0].start:
                    continue  # its end may lie between the two, before the audit's first entry
                if self.settlement.is_on_the_way(symbol, order_id) or order_id in self.settlement.steps:
                    continue
                on_book = self.books[symbol][1].orders.get(order_id) if symbol in self.books else None
                if on_book is None and self._is_behind(shard, symbol):
                    continue
                remaining = order.remaining - waiting.get(order_id, 0)
                found = (on_book.left, on_book.price) if on_book is not None else (0, order.price)
                self.findings.check(
                    Invariant.DONE, on_book is not None and found == (remaining, order.price),
                    f"{symbol}, ledger {shard}",
                    f"order {order_id} is open with {remaining} lots at {order.price}, the book has {found}",
                )  # fmt: skip

    def _check_amends(self) -> None:
        """An amend without an answer is in the outbox, or its answer is not settled yet."""
        for shard, (log, ledger) in self.ledgers.items():
            asked = Counter[str]()
            for order_id, order in ledger.orders.items():
                if order_id not in self.settlement.steps:
                    asked[order.accepted.instrument] += len(order.amends)
            for symbol, count in asked.items():
                outbox = keys.outbox(shard, symbol)
                left = log.standing.lengths.get(outbox, 0) - self._taken(symbol, outbox)
                if symbol in self.books and self._settled(shard, symbol) < self.books[symbol][0].start:
                    continue
                self.findings.check(
                    Invariant.AMENDS, count <= left, f"{symbol}, ledger {shard}",
                    f"{count} amends of open orders were never answered, {left} commands are in the outbox",
                )  # fmt: skip

    def _check_last_prices(self) -> None:
        """A ledger that has settled all of a book knows its last price."""
        for shard, (_, ledger) in self.ledgers.items():
            for symbol, (log, book) in self.books.items():
                if self._settled(shard, symbol) == log.standing.length and symbol in ledger.last_prices:
                    self.findings.check(
                        Invariant.SETTLED, ledger.last_prices[symbol] == book.last_price, f"{symbol}, ledger {shard}",
                        f"the last price is {ledger.last_prices[symbol]}, the book's last trade {book.last_price}",
                    )  # fmt: skip

    def _is_behind(self, shard: int, symbol: str) -> bool:
        """Whether the book has still to take up orders that were accepted before the audit's first entry."""
        log, outbox = self.ledgers[shard][0], keys.outbox(shard, symbol)
        return log.start > 0 and self._taken(symbol, outbox) < log.standing.lengths.get(outbox, 0)

    def _taken(self, symbol: str, outbox: str) -> int:
        """How many commands of an outbox the book has handled."""
        position = self.books[symbol][0].standing.positions.get(outbox, "0-0") if symbol in self.books else "0-0"
        return int(position.partition("-")[0])

    def _check_resting_orders(self) -> None:
        """An order that is on a book is open in its ledger."""
        for symbol, (_, book) in self.books.items():
            for order_id in book.orders:
                shard = shard_of_order(order_id)
                self.findings.check(
                    Invariant.DONE, shard in self.ledgers and order_id in self.ledgers[shard][1].orders, symbol,
                    f"order {order_id} is on the book, but not open in ledger {shard}",
                )  # fmt: skip

    def _check_money(self) -> None:
        """All accounts together have what came in, but for trades of which one side is not settled yet."""
        surplus: dict[str, int] = {}
        for _, ledger in self.ledgers.values():
            for (_, currency), money in ledger.balances.items():
                surplus[currency] = surplus.get(currency, 0) + money.available + money.held
            for currency, amount in ledger.deposits.items():
                surplus[currency] = surplus.get(currency, 0) - amount
        for half in self.settlement.halves.values():
            base, _, quote = half.instrument.partition("-")
            sign = 1 if half.side == "buy" else -1
            surplus[base] = surplus.get(base, 0) - sign * half.base_amount
            surplus[quote] = surplus.get(quote, 0) + sign * half.cost
        for currency, amount in surplus.items():
            self.findings.check(
                Invariant.CONSERVED, amount == 0, currency, f"the accounts have {amount} units more than came in"
            )
