"""When the stores are full: only cancels, then nothing, and back by itself, without fluttering."""

import asyncio

import pytest

from cluster.pressure import LAG, MEMORY, judge, measure, memory_reading
from shared import keys
from shared.connections import connect, connect_async
from shared.pressure import Pressure, Reading, decode_pressure
from shared.settings import Settings


def reading(value, name=MEMORY):
    return Reading(name, "MB", value, 800, 900)


@pytest.mark.parametrize(
    ("values", "levels"),
    [
        ((0, 799, 800, 899, 900), ("open", "open", "cancel-only", "cancel-only", "halted")),
        ((900, 850, 811, 810), ("halted", "halted", "halted", "cancel-only")),
        ((800, 721, 720, 799), ("cancel-only", "cancel-only", "open", "open")),
        ((900, 720, 900, 750, 0), ("halted", "open", "halted", "cancel-only", "open")),
    ],
)
def test_stages_begin_at_their_bounds_and_end_well_below_them(values, levels):
    """A value that wavers around a bound does not open and close the exchange each second."""
    pressure, found = Pressure(), []
    for value in values:
        pressure = judge([reading(value)], pressure)
        found.append(pressure.level)
    assert tuple(found) == levels


def test_the_strictest_counts_and_all_reasons_are_told():
    """Two stores that are full: the stricter level, and both values with the bounds they have passed."""
    pressure = judge([reading(850), reading(901, LAG), reading(3, "a third")], Pressure())
    assert pressure.level == "halted"
    assert pressure.says == "Redis memory 850 of 800 MB; PostgreSQL behind 901 of 900 MB"


@pytest.mark.parametrize(
    ("maxmemory", "setting", "bounds"),
    [(10**9, 0, (800, 900)), (0, 0, (1600, 1800)), (10**9, 500, (400, 450)), (0, 500, (400, 450))],
)
def test_the_bound_is_the_setting_or_maxmemory_or_half_the_machine(maxmemory, setting, bounds):
    """In this order."""
    info = {"maxmemory": maxmemory, "total_system_memory": 4 * 10**9, "used_memory": 7_900_000}
    found = memory_reading(info, Settings(redis_memory_mb=setting))
    assert (found.value, found.cancel_only_at, found.halted_at) == (7900, *(bound * 1000 for bound in bounds))


def test_what_is_measured_is_published(redis_url):
    """Entries that PostgreSQL lacks, of ledgers and books; each look goes on from the level that the last one told."""
    client, tag, book = connect(redis_url), keys.shard_tag(0), keys.instrument_tag("BTC-USD")

    def look(**recorded):
        for name, position in recorded.items():
            client.hset(keys.consumers(keys.log({"ledger": tag, "book": book}[name])), keys.POSTGRESQL, position)

        async def once():
            connection = connect_async(redis_url)
            try:
                return await measure(connection, Settings(postgresql_lag_max=100), ["BTC-USD"])
            finally:
                await connection.aclose()

        found = asyncio.run(once())
        assert decode_pressure(client.get(keys.PRESSURE)) == found
        assert 0 < client.ttl(keys.PRESSURE) <= 10
        lag = next(one for one in found.readings if one.name == LAG)
        return found.level, lag.value

    assert look() == ("open", 0)
    client.hset(keys.meta(tag), "length", "150")
    client.hset(keys.meta(book), "length", "60")
    assert look() == ("halted", 210)
    assert look(ledger="25-0") == ("halted", 185)
    assert look(book="6-0") == ("cancel-only", 179)
    assert look(ledger="120-0") == ("open", 84)
    client.close()


def test_a_full_redis_is_cancel_only_before_it_refuses(redis_url):
    """Against the maxmemory of a real server."""
    client = connect(redis_url)
    client.setrange("ballast", 20_000_000, "x")  # what others' connections come and go with must not count
    used = client.info("memory")["used_memory"]
    try:
        client.config_set("maxmemory", used * 100 // 85)
        found = asyncio.run(_once(redis_url))
        assert found.level == "cancel-only"
        assert found.says.startswith("Redis memory ")
    finally:
        client.config_set("maxmemory", 0)
        client.delete("ballast")
        client.close()


async def _once(redis_url):
    connection = connect_async(redis_url)
    try:
        return await measure(connection, Settings(), [])
    finally:
        await connection.aclose()
