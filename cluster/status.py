"""How the cluster is: what every supervisor says it runs, and what the workers say of themselves."""

import time
from pathlib import Path
from typing import Any

import msgspec
from rich.table import Table
from rich.text import Text

from cluster.plan import AUDITOR, DEMO, INITDB, MIGRATIONS, POSTGRES, PUSHER, VALKEY, symbol_of
from cluster.pressure import ADVICE
from cluster.record import ClusterRecord, find_process
from cluster.view import ProcessView, SupervisorView
from shared import keys
from shared.beat import Beat, decode_beat
from shared.pressure import Pressure, decode_pressure

SILENT_S = 10.0
LOST = "silent"
"""State of what a silent supervisor ran: nobody looks after it, if it lives at all."""
NONE = "-"
_GOOD, _BUSY = ("running",), ("starting", "recovering", "waiting", "stopping")
_ORDER = (VALKEY, INITDB, POSTGRES, MIGRATIONS, "gateway", "ledger", "engine", PUSHER, AUDITOR, DEMO)
_decode_view = msgspec.json.Decoder(SupervisorView).decode


class Row(msgspec.Struct):
    """One process. ``sequence`` and ``lag`` are its own count and how many entries it has still to read."""

    process: str
    state: str
    host: str
    pid: int = 0
    instrument: str = ""
    reason: str = ""
    restarts: int = 0
    hung: int = 0
    sequence: int | None = None
    lag: int | None = None
    uptime_s: int | None = None
    memory_mb: int | None = None


class Status(msgspec.Struct):
    """The cluster. ``problem``: why not everything could be seen, "" if it could."""

    addresses: list[str]
    processes: list[Row]
    problem: str = ""
    pressure: Pressure = Pressure()


def status_of(client: Any) -> Status:
    """The cluster's status from Redis. Raises ``redis.exceptions.RedisError`` if it is away."""
    now = time.time()
    views = [_decode_view(text) for text in client.hgetall(keys.SUPERVISORS).values()]
    given_up: dict[bytes, bytes] = client.hgetall(keys.HALTED)
    halted = {name.decode(): reason.decode() for name, reason in given_up.items()}
    beats = _beats(client, views)
    pressure = decode_pressure(client.get(keys.PRESSURE))
    found = Status([view.address for view in views], [], pressure=pressure)
    for view in sorted(views, key=lambda one: (one.host, one.data)):
        silent_s = now - view.time
        state = "running" if silent_s < SILENT_S else f"silent for {silent_s:.0f} s"
        found.processes.append(Row("supervisor", state, view.host, view.pid, uptime_s=int(now - view.started_at)))
        for process in sorted(view.processes, key=_place):
            row = _row(view.host, process, beats, now)
            row.state = row.state if silent_s < SILENT_S else LOST
            found.processes.append(row)
    for row in found.processes:
        if row.state == "halted":
            row.reason = halted.get(row.process, row.reason)
    return found


def _beats(client: Any, views: list[SupervisorView]) -> dict[tuple[str, int], Beat]:
    """The last beat of each process, by its host and pid."""
    processes = [(view.host, one) for view in views for one in view.processes if one.pid]
    names = [keys.own_beat(one.name, host, one.pid) for host, one in processes]
    names += {keys.beat(one.name) for _, one in processes}
    texts: list[bytes | None] = client.mget(names) if names else []
    return {(beat.host, beat.pid): beat for beat in map(decode_beat, texts) if beat is not None}


def _place(process: ProcessView) -> tuple[int, str]:
    """Servers first, then the way of an order."""
    kind = process.name.partition(":")[0]
    return _ORDER.index(kind) if kind in _ORDER else len(_ORDER), process.name


def _row(host: str, process: ProcessView, beats: dict[tuple[str, int], Beat], now: float) -> Row:
    own = beats.get((host, process.pid))
    is_up = process.pid > 0
    return Row(
        process=process.name,
        state=process.state,
        host=host,
        pid=process.pid,
        instrument=symbol_of(process.name),
        reason=process.reason,
        restarts=process.restarts,
        hung=process.hung,
        sequence=own.sequence if own else None,
        lag=own.lag if own else None,
        uptime_s=int(now - process.started_at) if is_up else None,
        memory_mb=round(process.memory / 1e6) if is_up and process.memory else None,
    )


def status_without_redis(record: ClusterRecord, folder: Path, error: str) -> Status:
    """What can be told when Redis is away: which processes of this data folder live."""
    rows = [Row("supervisor", "running", "", record.pid, uptime_s=int(time.time() - record.started_at))]
    for one in record.processes:
        state = "running" if find_process(one.pid, one.created) else "ended"
        rows.append(Row(one.name, state, "", one.pid, symbol_of(one.name)))
    return Status([], rows, f"Redis is away ({error}); the logs are in {folder / 'logs'}")


def is_well(status: Status) -> bool:
    """Whether every process runs."""
    is_open = not status.problem and status.pressure.level == "open"
    return is_open and bool(status.processes) and all(one.state in _GOOD for one in status.processes)


def stores_of(status: Status) -> Text:
    """How full the stores are, and what is taken while they are."""
    level, readings = status.pressure.level, status.pressure.readings
    if level == "open":
        return Text("; ".join(map(str, readings)), "green")
    advice = "; ".join(ADVICE[one.name] for one in readings if one.level != "open")
    return Text(f"{level}: {status.pressure.says} ({advice})", "yellow" if level == "cancel-only" else "red")


def table_of(status: Status) -> Table:
    """The status as people read it."""
    several_hosts = len({row.host for row in status.processes}) > 1
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("process", *(["host"] if several_hosts else []), "pid", "instrument", "state"):
        table.add_column(title, justify="right" if title == "pid" else "left", overflow="fold")
    for title in ("restarts", "sequence", "lag", "uptime", "MB"):
        table.add_column(title, justify="right")
    for row in status.processes:
        restarts = f"{row.restarts} ({row.hung} hung)" if row.hung else str(row.restarts)
        cells: list[Any] = [
            row.process,
            *([row.host] if several_hosts else []),
            str(row.pid or NONE),
            row.instrument,
            _state(row),
        ]
        cells += [restarts, _count(row.sequence), _count(row.lag), _duration(row.uptime_s), _count(row.memory_mb)]
        table.add_row(*cells)
    return table


def _state(row: Row) -> Text:
    color = "green" if row.state in _GOOD else "yellow" if row.state in _BUSY else "red"
    return Text.assemble((row.state, color), f": {row.reason}" if row.reason not in ("", row.state) else "")


def _count(number: int | None) -> str:
    return NONE if number is None else f"{number:,}"


def _duration(seconds: int | None) -> str:
    if seconds is None:
        return NONE
    minutes, rest = divmod(max(0, seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours >= 24:
        return f"{hours // 24}d {hours % 24}h"
    return f"{hours}h {minutes:02}m" if hours else f"{minutes}m {rest:02}s" if minutes else f"{rest}s"
