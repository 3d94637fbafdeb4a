"""Decides how much the exchange still takes: looks how full Redis is and how far PostgreSQL is behind.

The stages: up to a bound everything, above it only cancels, above a second one only mass-cancels and kill switches. A
stage ends by itself when the value has fallen to ``BACK_PERCENT`` of its bound, so that it does not flutter. The
instruments' own modes are not touched: what a person has halted stays halted.
"""

from collections.abc import Iterable
from typing import Any

import msgspec

from shared import keys
from shared.pressure import LEVELS, Level, Pressure, Reading, decode_pressure
from shared.settings import Settings

BACK_PERCENT = 90
SHARE_OF_MACHINE = 2
"""A Redis without a bound of its own may use half of its machine's memory."""
TTL_S = 10
MEMORY, LAG = "Redis memory", "PostgreSQL behind"
ADVICE = {
    MEMORY: "give Redis more (its maxmemory, or MATCHBOX_REDIS_MEMORY_MB), or lower MATCHBOX_LOG_KEEP",
    LAG: '"matchbox logs pusher" and "matchbox logs postgres" say what holds it up',
}
"""What a person can do who does not want to wait."""


def judge(readings: Iterable[Reading], before: Pressure) -> Pressure:
    """The level of each reading and of all, given the former one."""
    former = {one.name: one.level for one in before.readings}
    judged = [_judged(one, LEVELS.index(former.get(one.name, "open"))) for one in readings]
    level: Level = max((one.level for one in judged), key=LEVELS.index, default="open")
    return Pressure(level, "; ".join(str(one) for one in judged if one.level != "open"), judged)


def _judged(reading: Reading, former: int) -> Reading:
    """A bound that was passed counts until the value is well below it."""
    level = 0
    for stage, bound in ((1, reading.cancel_only_at), (2, reading.halted_at)):
        if reading.value >= bound or (former >= stage and reading.value * 100 > bound * BACK_PERCENT):
            level = stage
    found: Level = LEVELS[level]
    return msgspec.structs.replace(reading, level=found)


def memory_reading(info: dict[str, Any], settings: Settings) -> Reading:
    """Of Redis' ``INFO memory``: what is used, of its own bound or ours."""
    most = settings.redis_memory_mb * 1000 or info["maxmemory"] // 1000
    most = most or info["total_system_memory"] // SHARE_OF_MACHINE // 1000
    percent = settings.redis_memory_percent
    cancel_only_at, halted_at = (max(1, most * one // 100) for one in (percent, (100 + percent) // 2))
    return Reading(MEMORY, "kB", info["used_memory"] // 1000, cancel_only_at, halted_at)


def lag_reading(lengths: Iterable[int], recorded: Iterable[int], settings: Settings) -> Reading:
    """Entries that the logs have and PostgreSQL has not."""
    behind = sum(max(0, length - has) for length, has in zip(lengths, recorded, strict=True))
    return Reading(LAG, "entries", behind, settings.postgresql_lag_max, 2 * settings.postgresql_lag_max)


async def measure(client: Any, settings: Settings, symbols: Iterable[str]) -> Pressure:
    """Look at both, and publish what follows for the gateways and for ``status``. Raises ``RedisError``.

    Each supervisor does so; they see the same and go on from the same former level.
    """
    tags = [*map(keys.shard_tag, range(settings.shards)), *map(keys.instrument_tag, symbols)]
    pipe = client.pipeline(transaction=False)
    pipe.info("memory")
    pipe.get(keys.PRESSURE)
    for tag in tags:
        pipe.hget(keys.meta(tag), "length")
        pipe.hget(keys.consumers(keys.log(tag)), keys.POSTGRESQL)
    info, former, *found = await pipe.execute()
    lengths = [int(one or 0) for one in found[::2]]
    recorded = [int((one or b"0").partition(b"-")[0]) for one in found[1::2]]
    readings = [memory_reading(info, settings), lag_reading(lengths, recorded, settings)]
    pressure = judge(readings, decode_pressure(former))
    await client.set(keys.PRESSURE, msgspec.json.encode(pressure), ex=TTL_S)
    return pressure
