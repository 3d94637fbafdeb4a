"""A hundred subscribers that never read: the others hear everything as soon as before, and memory stays bounded."""

import asyncio
import statistics

import psutil
import pytest

from benchmarks.gateway.fan_out import SUBSCRIBE, Deaf, Listener
from benchmarks.gateway.frames import open_socket
from benchmarks.gateway.websocket_load import websocket_load

pytestmark = pytest.mark.slow
DEAF = 100
LISTENERS = 10
ROUNDS = 3
"""Of each kind, in turns: a busy machine slows both."""
ORDERS, PACE = 500, 800
QUIET_S = 0.3
PUBLISHED_MIN = 50_000_000
"""Bytes to those who do not read."""
GROWTH_MAX = 40_000_000
"""Bytes that the gateway may have more, its own book's growth included: one frame serves all."""
SLOWER = 5.0
MORE_S = 0.1
"""How much later the median message may come. The aim is a tenth at the 99th percentile: a test cannot hold that on a
machine that it shares; ``python -m benchmarks.gateway`` shows it."""


class Ear(Listener):
    """Counts bytes, too."""

    size = 0

    def on_message(self, message):
        self.size += len(message)
        super().on_message(message)


async def quiet(ears):
    """Come back when nothing comes any more."""
    while True:
        heard = sum(ear.count for ear in ears)
        await asyncio.sleep(QUIET_S)
        if heard == sum(ear.count for ear in ears):
            return


async def one_round(cluster, keys, number, count):
    """Seconds that the messages of a load took to each listener, their bytes, and how many each listener got.

    ``count``: of those who do not listen.
    """
    port = cluster.settings.port
    deaf = [await open_socket(port, Deaf()) for _ in range(count)]
    for silent in deaf:
        silent.listen_never()
    ears = [await open_socket(port, Ear()) for _ in range(LISTENERS)]
    for ear in ears:
        ear.transport.write(SUBSCRIBE)
    await asyncio.sleep(QUIET_S)
    await websocket_load(port, keys, ORDERS, number, PACE)
    await quiet(ears)
    for silent in deaf:
        silent.transport.abort()
    for ear in ears:
        ear.transport.abort()
    return [age for one in ears for age in one.ages], ears[0].size, [one.count for one in ears]


def test_those_who_never_read_slow_nobody(cluster):
    """Medians of interleaved rounds with and without them; every listener hears every message; memory hardly grows."""
    keys = [cluster.user(USD="100000000", BTC="1000").key for _ in range(4)]
    gateway = psutil.Process(cluster.processes["gateway:0"].pid)
    medians: dict[int, list[float]] = {0: [], DEAF: []}
    asyncio.run(one_round(cluster, keys, 0, 0))
    published = most = 0
    before = gateway.memory_info().rss
    for number in range(ROUNDS):
        for deaf, found in medians.items():
            ages, size, counts = asyncio.run(one_round(cluster, keys, 1 + number, deaf))
            assert len(set(counts)) == 1
            assert counts[0] > ORDERS
            found.append(statistics.median(ages))
            published += size * deaf
            most = max(most, gateway.memory_info().rss)
    assert published >= PUBLISHED_MIN
    assert most - before < GROWTH_MAX
    assert statistics.median(medians[DEAF]) < SLOWER * statistics.median(medians[0]) + MORE_S, medians
