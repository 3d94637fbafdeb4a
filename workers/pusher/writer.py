"""The slow lane: what the logs say becomes rows in PostgreSQL, each entry exactly once.

Laws of this file:

1. PostgreSQL itself holds the position of each log, and moves it in the transaction that writes the rows. Whatever dies
   around COMMIT, the next start reads the position and goes on there.
2. A position moves only from where the batch began. A second writer finds it moved, and rolls back.
3. Nothing is skipped. A hole, a log that is not the one PostgreSQL has followed, or an entry that makes no sense halts
   this log, says why, and lets the others go on.
4. What an entry answers is written before it, or with it (causal.py): the rows are a state in which all machines were.
5. Whenever a log is read on, the last entry that PostgreSQL has is read again and compared by its hash: a Redis that
   lost its tail and has grown again is found out before a row of it is written.
"""

import asyncio
from typing import Any

from redis.exceptions import RedisError
from sqlalchemy import select, text
from sqlalchemy.exc import DataError, IntegrityError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from shared import keys, log
from shared.chain import advance
from shared.connections import is_other_type
from shared.errors import first_line
from shared.messages import decode_book_entry, decode_ledger_entry
from shared.order_id import SHARD_BITS
from shared.schema import instruments, positions
from shared.settings import Settings
from workers.follow import LogGap, Unfoldable, numbered
from workers.handler import UNFOLDABLE
from workers.pusher import statements
from workers.pusher.book_changes import BookChanges
from workers.pusher.causal import Entry, book_entry, ledger_entry, writable
from workers.pusher.ledger_changes import LedgerChanges
from workers.pusher.link import Link, pause
from workers.pusher.rows import PositionRow, PositionStart

DRAIN_S = 2.0
TRANSACTION_S = 60.0
_CHUNK = 100
"""Entries folded before the other lanes get their turn."""
REFUSED = (DataError, IntegrityError)
"""What PostgreSQL says to rows that no machine can have meant: a trade that it has already, a number beyond 64 bits."""
RECOVER = 'stop the cluster and run "matchbox recover"'

Entries = list[tuple[int, bytes]]


class Displaced(Exception):
    """Another writer moved a position first; nothing was written."""


class Writer:
    """Writes all logs of a cluster to PostgreSQL. ``written``: entries so far; ``lag``: entries still to write."""

    def __init__(self, client: Any, database: AsyncEngine, settings: Settings) -> None:
        self.written = 0
        self.lag = 0
        self.halted: dict[str, str] = {}
        self._client = client
        self._database = database
        self._settings = settings
        self._log = log.get()
        self._redis = Link("Redis", self._log)
        self._postgresql = Link("PostgreSQL", self._log)
        self._positions: dict[str, PositionStart] = {}
        self._is_fresh = False  # whether the positions are those of PostgreSQL
        self._refused: dict[str, tuple[int, str]] = {}  # tag -> what PostgreSQL has of it, and why it takes no more
        self._published: dict[str, int] = {}
        self._told_lost: set[str] = set()
        self._accepted: dict[str, int] = {}  # shard -> orders that PostgreSQL has of it
        self._accepting: dict[str, int] = {}  # the same after the batch
        self._shards = {keys.shard_tag(shard): shard for shard in range(settings.shards)}
        self._symbols: dict[str, str] = {}  # tag -> symbol

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
        lengths = await self._observe()
        self._count_lag(lengths)
        if not self._is_fresh:
            await self._load_positions()
            self._count_lag(lengths)
        await self._publish()
        halted: dict[str, str] = {}
        behind = self._behind(lengths, halted)
        if knew_positions:  # before Redis was asked, so Redis must have what they say
            await self._tell_losses(halted)
        found = await self._read(behind, halted)
        try:
            count = await self._write(found, halted)
        except REFUSED:
            count = await self._write_apart(found, halted) or await self.write()
        self._tell_halted(halted)
        if count:
            await self._publish()
        return count

    # --- where things stand ----------------------------------------------------------------------

    async def _observe(self) -> dict[str, tuple[int, str]]:
        """Length and chain of each log, by tag, as its owner last committed them, and what is published of it.

        What is published is read each time: a pusher that was frozen may, on waking up, have put an older position
        over ours.
        """
        for name in await self._client.hkeys(keys.INSTRUMENTS):
            self._symbols.setdefault(keys.instrument_tag(name.decode()), name.decode())
        tags = [*self._shards, *self._symbols]
        pipe = self._client.pipeline(transaction=False)
        for tag in tags:
            pipe.hmget(keys.meta(tag), "length", "chain")
            pipe.hget(keys.consumers(keys.log(tag)), keys.POSTGRESQL)
        answers = await pipe.execute()
        self._redis.up()
        published = zip(tags, answers[1::2], strict=True)
        self._published = {tag: int(position.partition(b"-")[0]) for tag, position in published if position}
        return {
            tag: (int(length or 0), (chain or b"").decode())
            for tag, (length, chain) in zip(tags, answers[::2], strict=True)
        }  # fmt: skip

    async def _load_positions(self) -> None:
        async with asyncio.timeout(TRANSACTION_S), self._database.connect() as connection:
            found = await connection.execute(select(positions))
            self._positions = {row.tag: PositionStart(*row) for row in found}
            known = await connection.scalars(select(instruments.c.symbol))
            self._symbols |= {keys.instrument_tag(symbol): symbol for symbol in known}
            for tag, shard in self._shards.items():
                newest = await connection.scalar(statements.NEWEST_ORDER, {"shard": shard})
                self._accepted[tag] = (newest or 0) >> SHARD_BITS
        self._is_fresh = True
        self._postgresql.up()

    def _position(self, tag: str) -> PositionStart:
        return self._positions.get(tag) or PositionStart(tag)

    def _count_lag(self, lengths: dict[str, tuple[int, str]]) -> None:
        self.lag = sum(max(0, length - self._position(tag).length) for tag, (length, _) in lengths.items())

    async def _publish(self) -> None:
        """Tell what PostgreSQL has for good, so that the logs may be trimmed up to there."""
        known = map(self._position, {*self._positions, *self._published})  # one that it lost with its rows is 0
        news = [one for one in known if self._published.get(one.tag) != one.length]
        if not news:
            return
        pipe = self._client.pipeline(transaction=False)
        for one in news:
            pipe.hset(keys.consumers(keys.log(one.tag)), keys.POSTGRESQL, f"{one.length}-0")
        await pipe.execute()
        self._published |= {one.tag: one.length for one in news}

    async def _tell_losses(self, lost: dict[str, str]) -> None:
        """Redis has not what it had: say so where whoever trades looks."""
        news = {tag: why for tag, why in lost.items() if tag not in self._told_lost}
        if news:
            await self._client.hset(keys.LOST, mapping=news)
            self._told_lost |= news.keys()

    # --- reading ---------------------------------------------------------------------------------

    def _behind(self, lengths: dict[str, tuple[int, str]], halted: dict[str, str]) -> dict[str, int]:
        """The length of each log, by tag, that has entries that PostgreSQL has not."""
        behind = {}
        for tag, (length, chain) in lengths.items():
            have = self._position(tag)
            if have.length > length:
                ahead = f"{have.length:,} > {length:,}"
                halted[tag] = f'{keys.log(tag)}: PostgreSQL is ahead of Redis ({ahead}); run "matchbox recover"'
            elif have.length == length and have.chain != chain:
                halted[tag] = _diverged(tag, length)
            elif have.length < length:
                behind[tag] = length
        for tag, (length, why) in self._refused.items():
            if behind.get(tag) and self._position(tag).length == length:
                halted[tag] = why
                del behind[tag]
        return behind

    async def _read(self, behind: dict[str, int], halted: dict[str, str]) -> dict[str, Entries]:
        """The next entries of each log after the last one that PostgreSQL has, up to where its owner has written.

        What stands behind that is somebody else's. Before a hole, or a key that is no log, is all that can be had.
        """
        if not behind:
            return {}
        count = max(1, self._settings.slow_batch // len(behind)) + 1
        pipe = self._client.pipeline(transaction=False)
        for tag, length in behind.items():
            first = max(1, self._position(tag).length)
            # The name as bytes skips redis-py's conversion into dicts.
            pipe.execute_command(b"XRANGE", keys.log(tag), f"{first}-0", f"{length}-0", "COUNT", count)
        found: dict[str, Entries] = {}
        for tag, answer in zip(behind, await pipe.execute(raise_on_error=False), strict=True):
            if isinstance(answer, RedisError) and is_other_type(answer):
                halted[tag] = f"{keys.log(tag)}: is no log any more ({answer}); {RECOVER}"
            elif isinstance(answer, RedisError):
                raise answer
            else:
                self._take(tag, answer, found, halted)
        return found

    def _take(self, tag: str, answer: Any, found: dict[str, Entries], halted: dict[str, str]) -> None:
        """Those of the entries that follow one another; if none does, the log is halted."""
        stream, start = keys.log(tag), max(0, self._position(tag).length - 1)
        try:
            entries = numbered(stream, start, answer)
        except LogGap as gap:
            entries = numbered(stream, start, answer[: gap.position - start])
            if len(entries) <= (1 if self._position(tag).length else 0):
                halted[tag] = str(gap)
                return
        self._check(tag, entries, found, halted)

    def _check(self, tag: str, entries: Entries, found: dict[str, Entries], halted: dict[str, str]) -> None:
        """Whether this is the log that PostgreSQL has followed: its last entry has the hash it had."""
        have = self._position(tag)
        if have.length and entries:
            if advance(have.chain_before, [entries[0][1]]) != have.chain:
                halted[tag] = _diverged(tag, have.length)
                return
            entries = entries[1:]
        if entries:
            found[tag] = entries
        else:
            lost = f"has no entry after {have.length:,}, but a greater length; its entries are lost"
            halted[tag] = f"{keys.log(tag)}: {lost}; {RECOVER}"

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
                self._refused[tag] = (self._position(tag).length, why)
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
        for tag, need in {one for entry in waiting for one in entry.needs if one[0] in self._symbols.keys() - halted}:
            length = int(await self._client.hget(keys.meta(tag), "length") or 0)
            if need > length and await self._client.xrange(keys.log(tag), f"{need}-0", f"{need}-0"):
                what = f"a ledger has settled entry {need}-0, its owner has written {length}: somebody else wrote there"
                forged[tag] = f"{keys.log(tag)}: {what}; {RECOVER}"
        halted |= forged
        return bool(forged)

    def _known(self, halted: dict[str, str]) -> tuple[dict[str, int], dict[str, int]]:
        """How far PostgreSQL is in the books' logs, and in each shard's orders; of those that go on."""
        self._accepting = {}
        reached = {tag: self._position(tag).length for tag in self._symbols if tag not in halted}
        return reached, {tag: self._accepted.get(tag, 0) for tag in self._shards if tag not in halted}

    async def _decode(self, tag: str, entries: Entries, halted: dict[str, str]) -> list[Entry]:
        """The entries up to the first that cannot be read."""
        is_book, result = tag in self._symbols, list[Entry]()
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
        shard, symbol = self._shards.get(tag, 0), self._symbols.get(tag)
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
        have = self._position(tag)
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


def _diverged(tag: str, length: int) -> str:
    what = f"PostgreSQL has followed another log up to {length:,} (their hashes differ)"
    return f'{keys.log(tag)}: {what}; run "matchbox recover"'
