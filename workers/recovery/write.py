"""Puts a recovered state into Redis: of each log its continuation, a snapshot at its end, and where its owner stands.

The continuation begins with an entry that says nothing. PostgreSQL's positions are moved behind it beforehand, since
they need one entry whose hash is known, and that of the entry they stood at is gone with Redis. What follows it is for
PostgreSQL to write like any other entry. A recovery that dies in here is repeated: until its end, no cluster starts.
"""

import hashlib
import time
from collections.abc import Callable
from typing import Any

import msgspec
from sqlalchemy import Connection
from sqlalchemy.dialects.postgresql import insert

from shared import keys
from shared.chain import advance
from shared.instrument import price_text
from shared.messages import FIELD, BookEntry, LedgerEntry, encode
from shared.schema import positions
from workers.recovery.reconcile import Recovered
from workers.recovery.rows import Position
from workers.store import Snapshot

SOURCE = "matchbox recover"
_CHUNK = 1000


class NewLog(msgspec.Struct):
    """What a log goes on with: entries from ``first`` on, each with a payload, the state behind the last, its chain."""

    tag: str
    first: int
    chain_before: str
    payloads: list[bytes]
    state: bytes

    @property
    def length(self) -> int:
        """The last entry."""
        return self.first + len(self.payloads) - 1

    @property
    def chain(self) -> str:
        """The chain behind the last entry."""
        return advance(self.chain_before, self.payloads)


def new_logs(found: Recovered, at: dict[str, Position]) -> list[NewLog]:
    """The logs of all machines. ``at``: how far PostgreSQL is in each."""
    logs = []
    for shard, ledger in found.ledgers.items():
        marker = LedgerEntry(SOURCE, ledger.time, [])
        logs.append(_new_log(keys.shard_tag(shard), at, [marker, *found.ledger_entries[shard]], ledger.dump()))
    for symbol, book in found.books.items():
        begin = BookEntry(SOURCE, book.time, [])
        logs.append(_new_log(keys.instrument_tag(symbol), at, [begin, *found.book_entries[symbol]], book.dump()))
    return logs


def _new_log(tag: str, at: dict[str, Position], entries: list[Any], state: bytes) -> NewLog:
    """A log never goes on at its first entry: one that begins there is taken for a log that has no snapshot."""
    before = at.get(tag, Position())
    return NewLog(tag, max(2, before.length + 1), before.chain, [encode(one) for one in entries], state)


def move_positions(connection: Connection, logs: list[NewLog]) -> None:
    """Have PostgreSQL stand behind the first entry of each log."""
    for log in logs:
        chain = advance(log.chain_before, log.payloads[:1])
        values = {"length": log.first, "chain": chain, "chain_before": log.chain_before}
        statement = insert(positions).values(tag=log.tag, **values)
        connection.execute(statement.on_conflict_do_update(index_elements=["tag"], set_=values))


def clear(client: Any) -> int:
    """Drop what Redis has of machines: all keys of their tags. Answers how many there were."""
    count = 0
    for pattern in (keys.shard_tag(0).replace("0", "*"), keys.instrument_tag("*")):
        names = list(client.scan_iter(f"{pattern}*", count=_CHUNK))
        for start in range(0, len(names), _CHUNK):
            count += client.unlink(*names[start : start + _CHUNK])
    client.delete(keys.INSTRUMENTS, keys.HALTED, keys.FINDINGS, keys.AUDITED)
    return count


def write(client: Any, found: Recovered, logs: list[NewLog], told: Callable[[], None]) -> None:
    """Write the logs, and what supervisors run. ``told`` is called after each log."""
    lengths = {log.tag: log.length for log in logs}
    shards = {keys.shard_tag(shard) for shard in found.ledgers}
    settled = {
        f"at:{keys.log(tag)}": f"{lengths[tag]}-0" for tag in map(keys.instrument_tag, found.books) if tag in lengths
    }
    for log in logs:
        _write_log(client, log, settled if log.tag in shards else {})
        told()
    client.set(keys.SHARDS, len(found.ledgers))
    for symbol, book in found.books.items():
        assert book.instrument is not None
        if book.instrument.mode != "delisted":
            client.hset(keys.INSTRUMENTS, symbol, encode(book.instrument))
        if book.last_price:
            client.set(keys.price(symbol), price_text(book.instrument, book.last_price))


def _write_log(client: Any, log: NewLog, settled: dict[str, str]) -> None:
    pipe = client.pipeline(transaction=False)
    for at, payload in enumerate(log.payloads):
        pipe.xadd(keys.log(log.tag), {FIELD: payload}, id=f"{log.first + at}-0")
    snapshot = Snapshot(log.length, log.chain, hashlib.sha256(log.state).hexdigest(), log.state)
    now_ms = str(time.time_ns() // 1_000_000)  # more than any machine can have committed: versions only grow, too
    pipe.hset(keys.snapshot(log.tag), str(log.length), msgspec.msgpack.encode(snapshot))
    standing = {
        "version": now_ms, "length": str(log.length), "chain": log.chain, "owner": "", "lease": "0",
        "epoch": now_ms,
    }  # fmt: skip
    pipe.hset(keys.meta(log.tag), mapping=standing | settled)
    pipe.execute()
