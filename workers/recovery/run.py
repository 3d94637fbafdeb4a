"""Recovers a stopped cluster: reads PostgreSQL, makes one state of it, writes that into Redis."""

import time
from collections.abc import Callable
from typing import Any

import msgspec
from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError

from shared import keys
from shared.connections import connect, open_database
from shared.errors import Unavailable, first_line
from shared.instants import iso
from shared.settings import Settings
from workers.recovery import write
from workers.recovery.read import Read, read
from workers.recovery.reconcile import Recovered, reconcile
from workers.store import read_standing

Progress = Callable[[str, int, int], None]
"""Told what is done, how much of it is done, and how much there is."""


class LogFound(msgspec.Struct):
    """Up to which entry, and to which instant, PostgreSQL has a log, and up to which Redis had it (-1: not at all)."""

    log: str
    postgresql: int
    redis: int
    known_until: str

    def __str__(self) -> str:
        had = f"Redis had it up to {self.redis:,}" if self.redis >= 0 else "Redis did not have it"
        return f"{self.log}: PostgreSQL has it up to entry {self.postgresql:,} ({self.known_until}); {had}"


class RecoveryReport(msgspec.Struct, kw_only=True):
    """What was recovered. ``canceled``: orders that had to end, ``busted``: trades for which no money moved.

    ``surplus``: what accounts have more than came in, where only one side of a trade could be settled.
    ``forgotten_instruments``: those that PostgreSQL has never heard of.
    """

    accounts: int
    orders: int
    instruments: int
    shards: int
    seconds: float = 0.0
    known_until: str = ""
    settled: int = 0
    canceled: int = 0
    busted: list[str] = []
    surplus: dict[str, int] = {}
    forgotten_instruments: list[str] = []
    logs: list[LogFound] = []


def recover(settings: Settings, progress: Progress = lambda _what, _done, _all: None) -> RecoveryReport:
    """Make Redis anew from PostgreSQL. Nothing else may run. Raises ``MatchboxError``; then it is to be repeated."""
    started = time.monotonic()
    client, database = connect(settings.redis_url), open_database(settings.database_url)
    try:
        progress("reading PostgreSQL", 0, 1)
        with database.connect().execution_options(isolation_level="REPEATABLE READ") as connection:
            rows = read(connection, settings.shards)
        progress("reading PostgreSQL", 1, 1)
        report = _report(client, rows)
        found = reconcile(rows.books, rows.ledgers, time.time_ns())
        logs = write.new_logs(found, rows.positions)
        client.hset(keys.LOST, "recovery", 'a recovery was not finished; run "matchbox recover" again')
        with database.begin() as connection:
            write.move_positions(connection, logs)
        write.clear(client)
        done = iter(range(1, len(logs) + 1))
        write.write(client, found, logs, lambda: progress("writing Redis", next(done), len(logs)))
        client.delete(keys.LOST)
    except RedisError as error:
        raise Unavailable(f"Redis does not answer: {error}; run it again") from error
    except SQLAlchemyError as error:
        raise Unavailable(f"PostgreSQL does not answer: {first_line(error)}; run it again") from error
    finally:
        client.close()
        database.dispose()
    return _finish(report, found, started)


def _report(client: Any, rows: Read) -> RecoveryReport:
    """What both servers have, before anything is changed."""
    logs = []
    for tag, position in sorted(rows.positions.items()):
        standing = read_standing(client.hgetall(keys.meta(tag))) if client.exists(keys.meta(tag)) else None
        last = _last_time(tag, rows)
        logs.append(LogFound(keys.log(tag), position.length, standing.length if standing else -1, _instant(last)))
    listed = {name.decode() for name in client.hkeys(keys.INSTRUMENTS)}
    return RecoveryReport(
        accounts=rows.accounts,
        orders=0,
        instruments=len(rows.books),
        shards=len(rows.ledgers),
        known_until=_instant(max((_last_time(tag, rows) for tag in rows.positions), default=0)),
        forgotten_instruments=sorted(listed - rows.books.keys()),
        logs=logs,
    )


def _last_time(tag: str, rows: Read) -> int:
    """When the last thing that PostgreSQL knows of a log happened (ns); 0: nothing that has a time."""
    times = {keys.shard_tag(shard): one.time for shard, one in rows.ledgers.items()}
    times |= {keys.instrument_tag(symbol): one.time for symbol, one in rows.books.items()}
    return times.get(tag, 0)


def _instant(time_ns: int) -> str:
    return iso(time_ns) if time_ns else "no time"


def _finish(report: RecoveryReport, found: Recovered, started: float) -> RecoveryReport:
    report.orders = found.open_orders
    report.settled, report.canceled = found.settled, len(found.canceled)
    report.busted = [f"{symbol}:{trade_id}" for symbol, trade_id in found.busted]
    report.surplus = found.surplus()
    report.seconds = round(time.monotonic() - started, 3)
    return report
