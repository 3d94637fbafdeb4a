"""The ledger as the runtime sees it: requests and book logs in, its own log and commands for the books out."""

import time
from collections.abc import Callable
from typing import Any

import msgspec

from shared import keys, log
from shared.errors import CorruptState, InvalidInput
from shared.messages import (
    FIELD,
    LedgerEntry,
    LedgerEvent,
    Request,
    decode_book_entry,
    decode_ledger_entry,
    decode_request,
    encode,
)
from shared.settings import Settings
from workers.handler import UNFOLDABLE, Batch, BrokenSource, told
from workers.ledger.digest import digest
from workers.ledger.ledger import Ledger, Limits
from workers.ledger.listing import Sent
from workers.store import Entries


class _Unreadable(InvalidInput):
    """An inbox entry is no request."""


class LedgerHandler:
    """Adapts the ``Ledger`` of one shard to the runtime. ``clock`` gives the wall clock in ns."""

    def __init__(self, settings: Settings, shard: int, clock: Callable[[], int] = time.time_ns) -> None:
        self.tag = keys.shard_tag(shard)
        self.ledger = Ledger(shard, settings.shards, Limits(settings.max_open_orders, settings.max_notional))
        self._shard = shard
        self._shards = settings.shards
        self._clock = clock
        self._inbox = keys.inbox(shard)
        self._log = log.get()
        self._symbols: dict[str, str] = {}  # log of a book -> its instrument
        self._outboxes: dict[str, str] = {}  # instrument -> its outbox
        self._last: list[LedgerEvent] = []  # of the newest entry
        self._broken: dict[str, str] = {}  # log of a book that is not followed any more -> why

    def sources(self) -> list[str]:
        """The requests, and the logs of all books but those set aside."""
        for symbol in self.ledger.instruments:
            if symbol not in self._outboxes:
                self._outboxes[symbol] = keys.outbox(self._shard, symbol)
                self._symbols[keys.log(keys.instrument_tag(symbol))] = symbol
        return [self._inbox, *(stream for stream in self._symbols if stream not in self._broken)]

    def readers(self, stream: str) -> list[str]:
        """Who has to have passed an entry of one of the shard's own streams before it may go."""
        if stream == keys.log(self.tag):
            return [keys.POSTGRESQL]
        if stream == self._inbox:
            return [self.tag]
        return [keys.instrument_tag(stream.removeprefix(keys.outbox(self._shard, "")))]

    def handle(self, source: str, entries: Entries, batch: Batch) -> None:
        """Apply requests, or settle what a book did. Raises ``BrokenSource`` for what no book can have done."""
        if source == self._inbox:
            for entry_id, fields in entries:
                self._answer(f"{source} {entry_id.decode()}", fields, batch)
            return
        symbol, now = self._symbols[source], self._clock()
        for entry_id, (_, payload) in entries:
            origin = f"{source} {entry_id.decode()}"
            try:
                events = self.ledger.settle(symbol, decode_book_entry(payload), now)
            except UNFOLDABLE as error:
                raise BrokenSource(source, f"{self.tag}: entry {origin}: {told(error)}") from error
            if events:
                self._last = events
                batch.log.append(encode(LedgerEntry(origin, self.ledger.time, events)))

    def set_aside(self, broken: BrokenSource) -> bool:
        """Follow that book no more, and take no orders for it: all others trade on. Requests cannot be done without.

        What its orders hold stays held, since nobody knows what became of them.
        """
        symbol = self._symbols.get(broken.source)
        if symbol is None:
            return False
        self._broken[broken.source] = str(broken)
        limits = self.ledger.limits
        self.ledger.limits = msgspec.structs.replace(limits, set_aside=limits.set_aside | {symbol})
        return True

    def trouble(self) -> str:
        """Why books are not followed any more; empty if all are."""
        return "; ".join(self._broken.values())

    def _answer(self, origin: str, fields: list[Any], batch: Batch) -> None:
        try:
            events, commands = self.ledger.apply(self._read(fields), self._clock())
        except _Unreadable as error:
            self._log.warning("an inbox entry is no request", source=origin, error=str(error))
            events, commands = self.ledger.refuse(str(error), self._clock()), []
        self._last = events
        batch.log.append(encode(LedgerEntry(origin, self.ledger.time, events)))
        self._send(commands, batch)

    def tick(self, batch: Batch) -> None:
        """Time has passed: let orders expire where nobody trades. Called about once a second, between two batches.

        ``batch`` may come to have sends without a log entry or a position; it has to be committed like any other.
        """
        self._send(self.ledger.due(self._clock()), batch)

    def _send(self, commands: Sent, batch: Batch) -> None:
        for symbol, command in commands:
            stream = self._outboxes.get(symbol) or keys.outbox(self._shard, symbol)
            batch.send(stream, encode(command))

    def _read(self, fields: list[Any]) -> Request:
        """The request of an inbox entry. Anyone can write there: what is no request must not stop the shard."""
        if len(fields) != 2 or fields[0] != FIELD:
            raise _Unreadable('an entry has one field, "d"')
        try:
            request: Request = decode_request(fields[1])
        except (ValueError, RecursionError) as error:  # malformed JSON, wrong types, not UTF-8, nested too deeply
            raise _Unreadable(str(error)) from error
        return request

    def fold(self, payload: bytes) -> None:
        """Follow one recorded entry of the shard's log. Raises ``CorruptState``."""
        try:
            entry = decode_ledger_entry(payload)
        except msgspec.MsgspecError as error:
            raise CorruptState(
                f'{keys.log(self.tag)}: an entry is unreadable ({error}); run "matchbox audit"'
            ) from error
        self.ledger.fold_entry(entry)
        self._last = entry.events

    def dump(self) -> bytes:
        """The ledger's state."""
        return self.ledger.dump()

    def load(self, state: bytes) -> None:
        """Replace the ledger's state. Raises ``CorruptState`` if it is another shard's."""
        ledger = Ledger.load(state, self.ledger.limits)
        if (ledger.shard, ledger.shards) != (self._shard, self._shards):
            raise CorruptState(
                f"{self.tag}: the snapshot is of shard {ledger.shard} of {ledger.shards}, the settings say shard "
                f"{self._shard} of {self._shards}; the number of shards is fixed when a cluster is made"
            )
        self._replace(ledger)

    def reset(self) -> None:
        """Back to the state before the first entry."""
        self._replace(Ledger(self._shard, self._shards, self.ledger.limits))

    def _replace(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self._symbols.clear()
        self._outboxes.clear()

    def digest(self) -> str:
        """See digest.py."""
        return digest(self.ledger, self._last)

    def sequence(self) -> int:
        """How many orders it has accepted."""
        return self.ledger.count
