"""The slow lane: what the logs say becomes rows in PostgreSQL, each entry exactly once.

Laws of this file:

1. PostgreSQL itself holds the position of each log, and moves it in the transaction that writes the rows. Whatever dies
   around COMMIT, the next start reads the position and goes on there.
2. A position moves only from where the batch began. A second writer finds it moved, and rolls back.
3. Nothing is skipped. A hole, a log that is not the one PostgreSQL has followed, or an entry that makes no sense halts
   this log, says why, and lets the others go on.
4. What an entry answers is written before it, or with it (causal.py): the rows are a state in which all machines were.
5. A log is read on only where it is the one that PostgreSQL has followed so far (logs.py).
"""

import asyncio
from typing import Any

from redis.exceptions import RedisError
from sqlalchemy import select, text
from sqlalchemy.exc import DataError, IntegrityError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from shared import keys, log
from shared.chain import advance
from shared.errors import first_line
from shared.messages import decode_book_entry, decode_ledger_entry
from shared.order_id import SHARD_BITS
from shared.schema import instruments, positions
from shared.settings import Settings
from workers.follow import Unfoldable
from workers.handler import UNFOLDABLE
from workers.pusher import statements
from workers.pusher.book_changes import BookChanges
from workers.pusher.causal import Entry, book_entry, ledger_entry, writable
from workers.pusher.ledger_changes import LedgerChanges
from workers.pusher.link import Link, pause
from workers.pusher.logs import RECOVER, Entries, Logs, diverged
from workers.pusher.rows import PositionRow, Positions, PositionStart

DRAIN_S = 2.0
TRANSACTION_S = 60.0
_CHUNK = 100
"""Entries folded before the other lanes get their turn."""
REFUSED = (DataError, IntegrityError)
"""What PostgreSQL says to rows that no machine can have meant: a trade that it has already, a number beyond 64 bits."""


class Displaced(Exception):
    """Another writer moved a position first; nothing was written."""


class Writer:
    """Writes all logs of a cluster to PostgreSQL. ``written``: entries so far; ``lag``: entries still to write."""

    def __init__(self, client: Any, database: AsyncEngine, settings: Settings) -> None:
        self.written = 0
        self.lag = 0
        self.halted: dict[str, str] = {}
        self._logs = Logs(client, settings)
        self._database = database
        self._settings = settings
        self._log = log.get()
        self._redis = Link("Redis", self._log)
        self._postgresql = Link("PostgreSQL", self._log)
        self._positions = Positions()
        self._is_fresh = False  # whether the positions are those of PostgreSQL
        self._refused: dict[str, tuple[int, str]] = {}  # tag -> what PostgreSQL has of it, and why it takes no more
        self._accepted: dict[str, int] = {}  # shard -> orders that PostgreSQL has of it
        self._accepting: dict[str, int] = {}  # the same after the batch

    @property
    def error(self) -> str:
        """What keeps it from writing; empty if nothing does."""
        return "; ".join(filter(None, (self._redis.error, self._postgresql.error, *self.halted.values())))

    async def run(self, stopping: asyncio.Event) -> None:
        """Write until told to stop, then for a little while what is left."""
        clock = asyncio.get_running_loop().time
        self._is_fresh = False
        while not stopping.is_set():
            pause_s = await self.step()
            if pause_s:
                await pause(stopping, pause_s)
        end = clock() + DRAIN_S
        while clock() < end and not await self.step():
            pass

    async def step(self) -> float:
        """One round. Answers how long to pause, in seconds: 0 if there is more to do."""
        try:
            wrote = await self.write()
        except RedisError as error:
            return self._redis.down(error)
        except (SQLAlchemyError, TimeoutError) as error:
            self._is_fresh = False
            return self._postgresql.down(error)
        except Displaced:
            self._is_fresh = False
            self._log.warning("another pusher writes to this PostgreSQL; reading the positions again")
            return self._settings.slow_delay_ms / 1000
        return 0 if wrote else max(1, self._settings.slow_delay_ms) / 1000

    async def write(self) -> int:
        """Bring PostgreSQL on by at most a batch. Answers how many entries that were, 0 if all are written.

        Raises ``RedisError``, ``SQLAlchemyError``, ``TimeoutError``, ``Displaced``; then nothing is known of the batch.
        """
        knew_positions = self._is_fresh
        lengths = await self._logs.lengths()
        self._redis.up()
        self._count_lag(lengths)
        if not self._is_fresh:
            await self._load_positions()
            self._count_lag(lengths)
        await self._logs.publish(self._positions)
        halted: dict[str, str] = {}
        behind = self._behind(lengths, halted)
        if knew_positions:  # before Redis was asked, so Redis must have what they say
            await self._logs.tell_losses(halted)
        found = await self._logs.read(behind, self._positions, halted)
        try:
            count = await self._write(found, halted)
        except REFUSED:
            count = await self._write_apart(found, halted) or await self.write()
        self._tell_halted(halted)
        if count:
            await self._logs.publish(self._positions)
        return count

    # --- where things stand ----------------------------------------------------------------------

    async def _load_positions(self) -> None:
        async with asyncio.timeout(TRANSACTION_S), self._database.connect() as connection:
            found = await connection.execute(select(positions))
            self._positions = Positions({row.tag: PositionStart(*row) for row in found})
            known = await connection.scalars(select(instruments.c.symbol))
            self._logs.symbols |= {keys.instrument_tag(symbol): symbol for symbol in known}
            for tag, shard in self._logs.shards.items():
                newest = await connection.scalar(statements.NEWEST_ORDER, {"shard": shard})
                self._accepted[tag] = (newest or 0) >> SHARD_BITS
        self._is_fresh = True
        self._postgresql.up()

    def _count_lag(self, lengths: dict[str, tuple[int, str]]) -> None:
        self.lag = sum(max(0, length - self._positions[tag].length) for tag, (length, _) in lengths.items())

    def _behind(self, lengths: dict[str, tuple[int, str]], halted: dict[str, str]) -> dict[str, int]:
        """The length of each log, by tag, that has entries that PostgreSQL has not."""
        behind = {}
        for tag, (length, chain) in lengths.items():
            have = self._positions[tag]
            if have.length > length:
                ahead = f"{have.length:,} > {length:,}"
                halted[tag] = f'{keys.log(tag)}: PostgreSQL is ahead of Redis ({ahead}); run "matchbox recover"'
            elif have.length == length and have.chain != chain:
                halted[tag] = diverged(tag, length)
            elif have.length < length:
                behind[tag] = length
        for tag, (length, why) in self._refused.items():
            if behind.get(tag) and self._positions[tag].length == length:
                halted[tag] = why
                del behind[tag]
        return behind

    # --- folding and writing ---------------------------------------------------------------------

    async def _write(self, found: dict[str, Entries], halted: dict[str, str]) -> int:
        """Write what may be written of these entries, in one transaction. Answers how many."""
        batch, ledger, book = await self._fold(found, halted)
        if not batch:
            return 0
        async with asyncio.timeout(TRANSACTION_S):
            await self._commit(batch, ledger, book)
        self._postgresql.up()
        for row in batch:
            self._positions[row.tag] = PositionStart(row.tag, row.length, row.chain, row.chain_before)
            self._accepted[row.tag] = max(self._accepted.get(row.tag, 0), self._accepting.get(row.tag, 0))
        count = sum(row.length - row.from_length for row in batch)
        self.written += count
        self.lag = max(0, self.lag - count)
        return count

    async def _write_apart(self, found: dict[str, Entries], halted: dict[str, str]) -> int:
        """PostgreSQL refuses what one of the logs says: write each for itself, that one up to there."""
        return sum([await self._write_one(tag, entries, halted) for tag, entries in found.items()])

    async def _write_one(self, tag: str, entries: Entries, halted: dict[str, str]) -> int:
        """As many of these entries of one log as PostgreSQL takes and as may be written."""
        try:
            return await self._write({tag: entries}, halted)
        except REFUSED as error:
            if len(entries) == 1:
                why = (
                    f"{keys.log(tag)}: PostgreSQL refuses entry {entries[0][0]}-0 ({first_line(error.orig)}); {RECOVER}"
                )
                self._refused[tag] = (self._positions[tag].length, why)
                return 0
        half = len(entries) // 2
        count = await self._write_one(tag, entries[:half], halted)
        return count + await self._write_one(tag, entries[half:], halted) if count == half else count

    async def _fold(
        self, found: dict[str, Entries], halted: dict[str, str]
    ) -> tuple[list[PositionRow], LedgerChanges, BookChanges]:
        """What the entries that may be written change, and the positions after them.

        A log is written up to what makes no sense in it, and nobody waits for the rest.
        """
        decoded = {tag: await self._decode(tag, entries, halted) for tag, entries in found.items()}
        while True:
            ledger, book, batch = LedgerChanges(), BookChanges(), []
            reached, accepted = self._known(halted)
            counts = writable(decoded, reached, accepted)
            if await self._halt_unwritten([one[0] for tag, one in decoded.items() if one and not counts[tag]], halted):
                continue
            for tag, count in counts.items():
                sane = await self._fold_log(tag, decoded[tag][:count], ledger, book, halted)
                if sane < count:
                    decoded[tag] = decoded[tag][:sane]
                    break
                if count:
                    batch.append(self._advanced(tag, found[tag][:count]))
                    self._accepting[tag] = max(one.accepts for one in decoded[tag][:count])
            else:
                return batch, ledger, book

    async def _halt_unwritten(self, waiting: list[Entry], halted: dict[str, str]) -> bool:
        """Halt books whose owners never wrote what a ledger has settled: nobody may wait for that. Whether any was."""
        forged = {}
        for tag, need in {
            one for entry in waiting for one in entry.needs if one[0] in self._logs.symbols.keys() - halted
        }:
            if why := await self._logs.forged(tag, need):
                forged[tag] = why
        halted |= forged
        return bool(forged)

    def _known(self, halted: dict[str, str]) -> tuple[dict[str, int], dict[str, int]]:
        """How far PostgreSQL is in the books' logs, and in each shard's orders; of those that go on."""
        self._accepting = {}
        reached = {tag: self._positions[tag].length for tag in self._logs.symbols if tag not in halted}
        return reached, {tag: self._accepted.get(tag, 0) for tag in self._logs.shards if tag not in halted}

    async def _decode(self, tag: str, entries: Entries, halted: dict[str, str]) -> list[Entry]:
        """The entries up to the first that cannot be read."""
        is_book, result = tag in self._logs.symbols, list[Entry]()
        for count, (number, payload) in enumerate(entries):
            try:
                if is_book:
                    result.append(book_entry(number, decode_book_entry(payload)))
                else:
                    result.append(ledger_entry(number, decode_ledger_entry(payload)))
            except UNFOLDABLE as error:
                halted[tag] = str(Unfoldable(keys.log(tag), number, error))
                break
            if count % _CHUNK == 0:
                await asyncio.sleep(0)
        return result

    async def _fold_log(
        self, tag: str, entries: list[Entry], ledger: LedgerChanges, book: BookChanges, halted: dict[str, str]
    ) -> int:
        """How many of the entries make sense."""
        shard, symbol = self._logs.shards.get(tag, 0), self._logs.symbols.get(tag)
        for count, entry in enumerate(entries):
            try:
                if symbol:
                    book.add(symbol, entry.message)
                else:
                    ledger.add(shard, entry.number, entry.message)
            except UNFOLDABLE as error:
                halted[tag] = str(Unfoldable(keys.log(tag), entry.number, error))
                return count
            if count % _CHUNK == 0:
                await asyncio.sleep(0)
        return len(entries)

    def _advanced(self, tag: str, entries: Entries) -> PositionRow:
        have = self._positions[tag]
        payloads = [payload for _, payload in entries]
        before = advance(have.chain, payloads[:-1])
        return PositionRow(tag, entries[-1][0], advance(before, payloads[-1:]), before, have.length, have.chain)

    async def _commit(self, batch: list[PositionRow], ledger: LedgerChanges, book: BookChanges) -> None:
        async with self._database.begin() as connection:
            # A writer frozen in here must not hold its locks against the one that takes over.
            await connection.execute(
                text(f"SET LOCAL idle_in_transaction_session_timeout = {2 * self._settings.lease_ms}")
            )
            await self._move(connection, batch)
            await self._write_rows(connection, ledger, book)

    async def _move(self, connection: AsyncConnection, batch: list[PositionRow]) -> None:
        """Move the positions, which also makes a second writer wait for this transaction's end."""
        new = [PositionStart(row.tag) for row in batch if not row.from_length]
        if new:
            await connection.execute(statements.START_POSITIONS, statements.parameters(new))
        moved = await connection.execute(statements.MOVE_POSITIONS, statements.parameters(batch))
        if moved.rowcount != len(batch):
            raise Displaced

    async def _write_rows(self, connection: AsyncConnection, ledger: LedgerChanges, book: BookChanges) -> None:
        for statement, rows in (*statements.ledger_writes(ledger), *statements.book_writes(book)):
            if rows:
                await connection.execute(statement, statements.parameters(rows))

    def _tell_halted(self, halted: dict[str, str]) -> None:
        for tag, why in halted.items():
            if self.halted.get(tag) != why:
                self._log.error("a log is not written to PostgreSQL", log=keys.log(tag), error=why)
        for tag in self.halted.keys() - halted.keys():
            self._log.info("a log is written to PostgreSQL again", log=keys.log(tag))
        self.halted = halted
