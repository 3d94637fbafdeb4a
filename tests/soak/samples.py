"""How a cluster is, every few seconds; and what became of it over time. Pure but for ``take``."""

import time
from collections.abc import Sequence
from typing import Any

import msgspec
from redis.exceptions import RedisError

from shared import keys
from shared.connections import connect
from tests.processes.running import Cluster


class Sample(msgspec.Struct):
    """One look. ``memory``: MB by kind of process; ``streams``: entries by kind; ``lag``: entries still to be read."""

    at_s: float
    memory: dict[str, float]
    streams: dict[str, int]
    lag: int


class Course(msgspec.Struct):
    """One figure over time since the warm-up: at first, at most, at the end, and its slope per hour."""

    first: float
    most: float
    last: float
    slope: float


def take(cluster: Cluster, started: float) -> Sample | None:
    """A look; None while Redis is away."""
    settings = cluster.attached()
    try:
        rows = cluster.rows().values()
        with connect(settings.redis_url) as client:
            streams = lengths(client, settings.shards)
    except RedisError:
        return None
    memory: dict[str, float] = {}
    for row in rows:
        if row["memory_mb"]:
            kind = row["process"].partition(":")[0]
            memory[kind] = memory.get(kind, 0) + row["memory_mb"]
    return Sample(time.monotonic() - started, memory, streams, sum(row["lag"] or 0 for row in rows))


def lengths(client: Any, shards: int) -> dict[str, int]:
    """The longest stream of each kind."""
    books = [client.xlen(keys.log(keys.instrument_tag(name.decode()))) for name in client.hkeys(keys.INSTRUMENTS)]
    shard_tags = [keys.shard_tag(shard) for shard in range(shards)]
    return {
        "book log": max(books, default=0),
        "ledger log": max(client.xlen(keys.log(tag)) for tag in shard_tags),
        "inbox": max(client.xlen(keys.inbox(shard)) for shard in range(shards)),
    }


def course(points: Sequence[tuple[float, float]], warm_s: float) -> Course:
    """What became of a figure: (seconds, value) each. Least squares over what comes after the warm-up."""
    warm = [point for point in points if point[0] >= warm_s] or list(points[-1:])
    mean_x = sum(x for x, _ in warm) / len(warm)
    mean_y = sum(y for _, y in warm) / len(warm)
    spread = sum((x - mean_x) ** 2 for x, _ in warm)
    slope = sum((x - mean_x) * (y - mean_y) for x, y in warm) / spread if spread else 0.0
    values = [y for _, y in warm]
    return Course(round(values[0], 1), round(max(values), 1), round(values[-1], 1), round(slope * 3600, 1))


def courses(samples: Sequence[Sample], warm_s: float) -> dict[str, Course]:
    """Every figure's course, by name."""
    found: dict[str, list[tuple[float, float]]] = {}
    for one in samples:
        for kind, value in one.memory.items():
            found.setdefault(f"{kind} MB", []).append((one.at_s, value))
        for kind, count in one.streams.items():
            found.setdefault(f"{kind} entries", []).append((one.at_s, count))
        found.setdefault("lag entries", []).append((one.at_s, one.lag))
    return {name: course(points, warm_s) for name, points in sorted(found.items())}
