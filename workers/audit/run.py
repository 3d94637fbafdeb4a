"""Audits a cluster while it runs: its logs and snapshots in Redis, and PostgreSQL.

Two instants are compared. PostgreSQL's is a transaction that sees one state of all tables. Redis's, a little later, is
one MULTI over the ``meta`` of every tag: it says how long each log is, and up to there they are read, at leisure. So
what is on its way (an order in an outbox, a trade not yet settled, an entry not yet written) is no violation.
"""

import time
from collections.abc import Callable
from contextlib import ExitStack

import msgspec
from redis.exceptions import RedisError
from sqlalchemy import Engine, select
from sqlalchemy.exc import SQLAlchemyError

from shared import keys
from shared.connections import connect, open_database
from shared.errors import Unavailable, first_line
from shared.schema import positions
from shared.settings import Settings
from workers.audit import snapshot_checks
from workers.audit.book_checks import BookChecks
from workers.audit.history import History, LogView
from workers.audit.invariants import Findings, Invariant, Violation
from workers.audit.ledger_checks import LedgerChecks
from workers.audit.redis_logs import RedisLogs
from workers.audit.row_checks import RowChecks
from workers.audit.settlement_checks import SettlementChecks
from workers.engine.book import OrderBook
from workers.ledger.ledger import Ledger

CATCH_UP_S = 10.0
POLL_S = 0.1
REPORT_EVERY = 1000

Progress = Callable[[int, int], None]
"""Told (entries read, entries in all) now and then."""


class AuditReport(msgspec.Struct, kw_only=True):
    """What an audit checked (invariant -> how often) and found. ``notes``: what it could not compare, and why."""

    instruments: list[str]
    shards: int
    entries: int = 0
    seconds: float = 0.0
    checked: dict[str, int] = {}
    violated: dict[str, int] = {}
    violations: list[Violation] = []
    notes: list[str] = []

    @property
    def is_good(self) -> bool:
        """Whether nothing is wrong."""
        return not self.violated


def audit(settings: Settings, progress: Progress = lambda _done, _all: None) -> AuditReport:
    """Check every invariant. Raises ``Unavailable`` if a server is away, or a log was trimmed while it was read."""
    started = time.monotonic()
    client = connect(settings.redis_url)
    findings = Findings()
    try:
        with ExitStack() as open_things:
            open_things.callback(client.close)
            redis = RedisLogs(client, settings)
            report = AuditReport(instruments=redis.symbols, shards=redis.shards)
            rows = _open_rows(open_things, settings, redis, findings, report)
            _check_all(redis, rows, findings, report, progress)
    except RedisError as error:
        raise Unavailable(f"Redis does not answer: {error}; is the cluster running?") from error
    except SQLAlchemyError as error:
        raise Unavailable(f"PostgreSQL does not answer: {first_line(error)}") from error
    report.checked = {one.name.lower(): findings.checked[one] for one in Invariant}
    report.violated = {one.name.lower(): count for one, count in findings.violated.items()}
    report.violations = findings.violations
    report.seconds = round(time.monotonic() - started, 3)
    return report


def _check_all(
    redis: RedisLogs, rows: RowChecks | None, findings: Findings, report: AuditReport, progress: Progress
) -> None:
    settlement = SettlementChecks(findings)
    history = History(findings, settlement)
    cut = redis.known()
    standings = cut.standings
    for name, why in cut.foreign().items():
        findings.violate(Invariant.ENTRIES, name, why)
    for shard in range(redis.shards):
        tag = keys.shard_tag(shard)
        log, begin = redis.view(tag, standings[tag], findings)
        ledger = history.add_ledger(shard, log)
        if begin is not None:
            ledger.start_from(begin.position, Ledger.load(begin.state))
    for symbol in redis.symbols:
        tag = keys.instrument_tag(symbol)
        log, begin = redis.view(tag, standings[tag], findings)
        book = history.add_book(symbol, log)
        if begin is not None:
            book.start_from(begin.position, OrderBook.load(begin.state))
    logs: list[tuple[LogView, LedgerChecks | BookChecks]] = [*history.ledgers.values(), *history.books.values()]
    for log, checks in logs:
        for snapshot in redis.snapshots(log.tag, findings):
            snapshot_checks.compare_at_position(snapshot, log, checks, findings)
        if rows is not None and (note := rows.compare_at_position(log, checks)):
            report.notes.append(note)
    if rows is not None:
        history.on_ledger_entry, history.on_book_entry = rows.ledger_entry, rows.book_entry
    _follow(history, progress, report)
    if rows is not None:
        rows.end()
    history.end()


def _follow(history: History, progress: Progress, report: AuditReport) -> None:
    logs = [log for log, _ in (*history.ledgers.values(), *history.books.values())]
    total = sum(log.standing.length - log.start for log in logs)
    for count, _ in enumerate(history.follow()):
        if count % REPORT_EVERY == 0:
            progress(sum(log.number - log.start for log in logs), total)
    report.entries = sum(log.number - log.start for log in logs)
    progress(total, total)


# --- PostgreSQL ------------------------------------------------------------------------------------


def _open_rows(
    open_things: ExitStack, settings: Settings, redis: RedisLogs, findings: Findings, report: AuditReport
) -> RowChecks | None:
    """One instant of PostgreSQL, after it had the time to write what Redis has now."""
    if not settings.database_url:
        report.notes.append("PostgreSQL is not compared: MATCHBOX_DATABASE_URL is not set")
        return None
    engine = open_database(settings.database_url)
    open_things.callback(engine.dispose)
    if behind := _catch_up(engine, redis):
        report.notes.append(
            f"PostgreSQL lags: it has not yet written all of {', '.join(behind)}; is the pusher running?"
        )
    connection = open_things.enter_context(engine.connect())
    return RowChecks(connection.execution_options(isolation_level="REPEATABLE READ"), findings)


def _catch_up(engine: Engine, redis: RedisLogs) -> list[str]:
    """Wait until PostgreSQL has all that Redis has now; answers the logs it still lacks something of."""
    wanted = {tag: standing.length for tag, standing in redis.standings().items()}
    end = time.monotonic() + CATCH_UP_S
    while True:
        with engine.connect() as connection:
            have = {tag: length for tag, length in connection.execute(select(positions.c.tag, positions.c.length))}  # noqa: C416  # rows, not pairs
        behind = [keys.log(tag) for tag, length in wanted.items() if have.get(tag, 0) < length]
        if not behind or time.monotonic() > end:
            return behind
        time.sleep(POLL_S)
