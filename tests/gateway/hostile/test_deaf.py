"""A hundred subscribers that never read: the others hear everything as soon as before, and memory stays bounded."""

import asyncio
import re
import statistics

import psutil
import pytest

from benchmarks.gateway.fan_out import SUBSCRIBE, Deaf, Listener
from benchmarks.gateway.frames import open_socket
from benchmarks.gateway.orders import SYMBOL
from benchmarks.gateway.websocket_load import websocket_load

pytestmark = pytest.mark.slow
SEQUENCE = re.compile(rb'"sequence":(\d+)')
DEAF = 100
LISTENERS = 10
ROUNDS = 3
"""Of each kind, in turns: a busy machine slows both."""
ORDERS, PACE = 500, 800
WAIT_S = 30.0
POLL_S = 0.05
PUBLISHED_MIN = 50_000_000
"""Bytes to those who do not read."""
GROWTH_MAX = 40_000_000
"""Bytes that the gateway may have more, its own book's growth included: one frame serves all."""
SLOWER = 5.0
MORE_S = 0.1
"""How much later the median message may come. The aim is a tenth at the 99th percentile: a test cannot hold that on a
machine that it shares; ``python -m benchmarks.gateway`` shows it."""


class Ear(Listener):
    """Counts bytes, too, and knows how far it has heard; -1: it has not subscribed yet."""

    size = 0
    sequence = -1

    def on_message(self, message):
        self.size += len(message)
        if found := SEQUENCE.search(message):
            self.sequence = int(found[1])
        elif b'"subscriptions"' in message:
            self.sequence = 0
        super().on_message(message)


async def until(check):
    """Come back when it is so."""
    async with asyncio.timeout(WAIT_S):
        while not check():  # noqa: ASYNC110  # the listeners only count
            await asyncio.sleep(POLL_S)


async def all_is_told(cluster, users, ears):
    """Come back when the book has taken up all orders, and every listener has heard of it."""
    async with asyncio.timeout(WAIT_S):
        for user in users:
            while (await asyncio.to_thread(user.call, "GET", "/orders?status=pending")).json():  # noqa: ASYNC110
                await asyncio.sleep(POLL_S)
    end = (await asyncio.to_thread(cluster.http.get, f"/products/{SYMBOL}/book")).json()["sequence"]
    await until(lambda: all(ear.sequence >= end for ear in ears))


async def one_round(cluster, users, number, count):
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
    await until(lambda: all(ear.sequence >= 0 for ear in ears))
    await websocket_load(port, [user.key for user in users], ORDERS, number, PACE)
    await all_is_told(cluster, users, ears)
    for silent in deaf:
        silent.transport.abort()
    for ear in ears:
        ear.transport.abort()
    return [age for one in ears for age in one.ages], ears[0].size, [one.count for one in ears]


def test_those_who_never_read_slow_nobody(cluster):
    """Medians of interleaved rounds with and without them; every listener hears every message; memory hardly grows."""
    users = [cluster.user(USD="100000000", BTC="1000") for _ in range(4)]
    gateway = psutil.Process(cluster.processes["gateway:0"].pid)
    medians: dict[int, list[float]] = {0: [], DEAF: []}
    asyncio.run(one_round(cluster, users, 0, 0))
    published = most = 0
    before = gateway.memory_info().rss
    for number in range(ROUNDS):
        for deaf, found in medians.items():
            ages, size, counts = asyncio.run(one_round(cluster, users, 1 + number, deaf))
            assert len(set(counts)) == 1
            assert counts[0] > ORDERS
            found.append(statistics.median(ages))
            published += size * deaf
            most = max(most, gateway.memory_info().rss)
    for user in users:  # the book is everybody's in this folder
        assert user.call("DELETE", "/orders").status_code == 200
    assert published >= PUBLISHED_MIN
    assert most - before < GROWTH_MAX
    assert statistics.median(medians[DEAF]) < SLOWER * statistics.median(medians[0]) + MORE_S, medians
