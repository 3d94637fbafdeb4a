"""Follow the logs: what every replica (gateway, pusher, standby) reads, with asyncio.

A replica is the newest snapshot plus the log from there on::

    book, position = await load_book(client, "BTC-USD")
    positions = {keys.log(keys.instrument_tag("BTC-USD")): position}
    while True:
        for stream, entries in (await read_logs(client, positions, count=500, block_ms=500)).items():
            for number, payload in entries:
                book.fold_entry(decode_book_entry(payload))
            positions[stream] = number

Log ids are ``<n>-0``, gapless from 1, so a reader that sees another id than the next has lost something: ``LogGap``.
A replica then loads anew; who must not skip (PostgreSQL) halts.
"""

import asyncio
from collections.abc import Callable
from typing import Any

from redis.exceptions import ResponseError

from shared import keys
from shared.connections import is_other_type
from shared.errors import CorruptState
from shared.messages import decode_book_entry, decode_ledger_entry
from workers.engine.book import OrderBook
from workers.engine.core import order_book
from workers.handler import UNFOLDABLE, told
from workers.ledger.ledger import Ledger
from workers.store import Snapshot, read_snapshots

_CHUNK = 250
"""Entries folded before other tasks of the loop get their turn."""


class Unfoldable(CorruptState):
    """An entry of a log that cannot be followed: ``stream`` names the log. A replica is of no use behind it."""

    def __init__(self, stream: str, number: int, error: Exception) -> None:
        super().__init__(f"{stream}: entry {number}-0 cannot be followed ({told(error)})")
        self.stream = stream


class LogGap(CorruptState):
    """An entry of a log is missing: trimmed, or lost by Redis.

    ``stream`` names the log, ``position`` is the last entry the reader had.
    """

    def __init__(self, stream: str, position: int, found: str) -> None:
        super().__init__(
            f"{stream}: entry {position + 1}-0 is missing, the next one is {found}; "
            "a replica loads a snapshot, PostgreSQL needs the log from a backup of Redis"
        )
        self.stream = stream
        self.position = position


async def read_logs(
    client: Any, positions: dict[str, int], count: int, block_ms: int
) -> dict[str, list[tuple[int, bytes]]]:
    """What follows ``positions`` (log -> number of the last entry seen), at most ``count`` entries of each log.

    Waits up to ``block_ms`` (0: not at all; at most ``shared.connections.BLOCK_MS``) for the first entry. Answers
    log -> [(number, payload)], only logs with news; ``positions`` is left to the caller. Raises ``LogGap`` at a hole,
    ``redis.exceptions.RedisError``.
    """
    if not positions:
        if block_ms:
            await asyncio.sleep(block_ms / 1000)
        return {}
    wait = ("BLOCK", block_ms) if block_ms else ()
    starts = [f"{number}-0" for number in positions.values()]
    # The name as bytes skips redis-py's conversion into dicts, which takes three quarters of the time.
    try:
        answer = await client.execute_command(b"XREAD", "COUNT", count, *wait, "STREAMS", *positions, *starts)
    except ResponseError as error:
        if is_other_type(error):
            await _refuse_other_types(client, positions)
        raise
    found: dict[str, list[tuple[int, bytes]]] = {}
    for name, entries in answer.items() if isinstance(answer, dict) else answer or ():
        stream = name.decode()
        found[stream] = numbered(stream, positions[stream], entries)
    return found


async def _refuse_other_types(client: Any, positions: dict[str, int]) -> None:
    """Say which of the logs is none any more. Raises ``LogGap``."""
    for stream, position in positions.items():
        if (found := (await client.type(stream)).decode()) not in ("stream", "none"):
            raise LogGap(stream, position, f"not there: the log's key holds a {found}")


def numbered(stream: str, position: int, entries: list[tuple[bytes, list[bytes]]]) -> list[tuple[int, bytes]]:
    """Raw entries after ``position`` as (number, payload). Raises ``LogGap`` unless they follow one another."""
    result = []
    for key, fields in entries:
        if key != b"%d-0" % (position + 1):
            raise LogGap(stream, position, key.decode())
        position += 1
        result.append((position, fields[1]))
    return result


async def load_book(client: Any, symbol: str, core: str = "auto") -> tuple[OrderBook, int]:
    """A replica of an instrument's book and the position in its log at which it stands: the log's end just now.

    Raises ``LogGap`` if the log was trimmed past every usable snapshot, ``Unfoldable`` for an entry that cannot be
    followed, ``CorruptState`` for a snapshot of another program, ``redis.exceptions.RedisError``.
    """
    tag = keys.instrument_tag(symbol)
    snapshot = await newest_snapshot(client, tag)
    made = order_book(core)
    book, position = (made.load(snapshot.state), snapshot.position) if snapshot else (made(), 0)
    position = await catch_up(
        client, keys.log(tag), position, lambda payload: book.fold_entry(decode_book_entry(payload))
    )
    return book, position


async def load_ledger(client: Any, shard: int, shards: int = 1) -> tuple[Ledger, int]:
    """A replica of a shard's ledger and the position in its log at which it stands. Raises as ``load_book``."""
    tag = keys.shard_tag(shard)
    snapshot = await newest_snapshot(client, tag)
    ledger, position = (Ledger.load(snapshot.state), snapshot.position) if snapshot else (Ledger(shard, shards), 0)
    position = await catch_up(
        client, keys.log(tag), position, lambda payload: ledger.fold_entry(decode_ledger_entry(payload))
    )
    return ledger, position


async def newest_snapshot(client: Any, tag: str) -> Snapshot | None:
    """The newest valid snapshot that is not ahead of the log (as one is, if Redis lost the log's tail)."""
    length = int(await client.hget(keys.meta(tag), "length") or 0)
    for position in sorted((int(field) for field in await client.hkeys(keys.snapshot(tag))), reverse=True):
        state = await client.hget(keys.snapshot(tag), str(position)) if position <= length else None
        found = read_snapshots({b"": state}) if state else []
        if found:
            return found[0]
    return None


async def catch_up(client: Any, stream: str, position: int, fold: Callable[[bytes], None]) -> int:
    """Fold what the log has after ``position``, up to about its end. Answers the new position.

    Raises ``LogGap``, ``Unfoldable``.
    """
    while True:
        entries = (await read_logs(client, {stream: position}, _CHUNK, 0)).get(stream, [])
        try:
            for number, payload in entries:
                position = number
                fold(payload)
        except UNFOLDABLE as error:
            raise Unfoldable(stream, position, error) from error
        if len(entries) < _CHUNK:
            return position
