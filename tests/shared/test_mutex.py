"""The lease: r-mutex's faults, each shown on r-mutex itself and then absent from ours."""

import asyncio
import contextlib
import json
import subprocess
import sys
import textwrap

import pytest
from r_mutex import LockClient
from redis.asyncio import Redis

from shared.connections import connect_async
from shared.errors import Unavailable
from shared.mutex import Mutex

LONG_S = 15.0
"""For what comes at once, unless the machine is busy."""


@contextlib.asynccontextmanager
async def r_mutex(url, key="shop", timeout=60.0):
    """r-mutex as its README uses it: one client that is also the manager, listening."""
    client = Redis.from_url(url)
    lock = LockClient(client, key, timeout=timeout)
    await lock.run()
    await until_heard(client, f"{key}.broadcast", f"{key}.live")
    yield lock
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()
    await client.aclose()


async def until_heard(client, *channels):
    """Wait until somebody listens there: r-mutex itself has no way to know."""
    async with asyncio.timeout(LONG_S):
        while not all(count for _, count in await client.pubsub_numsub(*channels)):  # noqa: ASYNC110
            await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def mutexes(url, count, **options):
    """``count`` contenders for one of our leases."""
    client = connect_async(url)
    yield [Mutex(client, "shop", **options) for _ in range(count)]
    await client.aclose()


def test_r_mutex_lets_a_stranger_free_the_lock(redis_url):
    """Fault: a release under any name frees r-mutex's lock, so two are inside."""

    async def scenario():
        async with r_mutex(redis_url) as lock:
            await lock.acquire()
            waiting = asyncio.create_task(lock.acquire())
            await asyncio.sleep(0.05)
            await lock.client.publish("shop.broadcast", json.dumps({"name": "stranger", "action": "release"}))
            await asyncio.wait_for(waiting, LONG_S)  # the second is in although the first never left

    asyncio.run(scenario())


def test_a_stranger_cannot_free_our_lease(redis_url):
    """Only the holder's own epoch and token release it."""

    async def scenario():
        async with mutexes(redis_url, 2) as (holder, stranger):
            await holder.acquire()
            stranger.epoch = holder.epoch
            await stranger.release()
            assert await stranger.try_acquire() > 0
            await holder.release()

    asyncio.run(scenario())


def test_r_mutex_shares_the_lock_after_its_timeout(redis_url):
    """Fault: a holder slower than the timeout keeps working inside while the next one enters."""

    async def scenario():
        async with r_mutex(redis_url, timeout=0.1) as lock, lock:
            await asyncio.sleep(0.3)  # the holder still works, and nothing tells it
            await asyncio.wait_for(lock.acquire(), LONG_S)

    asyncio.run(scenario())


def test_our_holder_is_renewed_while_it_works_and_told_when_it_lost(redis_url):
    """A block that outlasts the time to live keeps the lease; a lease taken away sets ``lost``."""

    async def scenario():
        async with mutexes(redis_url, 2, ttl_ms=5000) as (holder, rival), holder:
            (seconds, micros), ends = await holder._client.time(), await lease_end(holder)
            await holder._client.hset("shop.current", "lease", seconds * 1000 + micros // 1000 + 2500)
            async with asyncio.timeout(LONG_S):
                while await lease_end(holder) <= ends:  # noqa: ASYNC110  # nothing tells of it
                    await asyncio.sleep(0.02)
            assert await rival.try_acquire() > 0
            await holder._client.hset("shop.current", mapping={"owner": "rival", "epoch": "1"})
            await asyncio.wait_for(holder.lost.wait(), LONG_S)

    asyncio.run(scenario())


async def lease_end(mutex):
    return int(await mutex._client.hget("shop.current", "lease"))


def test_r_mutex_hangs_when_nobody_manages(redis_url):
    """Fault: without a living manager (killed, or not listening yet) an acquire waits for ever."""

    async def scenario():
        client = connect_async(redis_url)
        orphan = LockClient(client, "shop", is_manager=False)
        await orphan.run()
        await until_heard(client, "shop.live")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(orphan.acquire(), 0.5)
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
        await client.aclose()

    asyncio.run(scenario())


def test_our_lease_needs_no_manager(redis_url):
    """The state is in Redis: an acquire succeeds with nobody else alive."""

    async def scenario():
        async with mutexes(redis_url, 1) as (only,):
            assert await only.acquire(timeout_s=LONG_S) > 0
            await only.release()

    asyncio.run(scenario())


HOLD_AND_DIE = """
    import asyncio, os, signal, sys
    from {module} import {name} as Lock
    from shared.connections import connect_async

    async def main():
        client = connect_async(sys.argv[1])
        lock = Lock(client, "shop", {options})
        {listen}
        await lock.acquire()
        os.kill(os.getpid(), signal.SIGKILL)

    asyncio.run(main())
"""


def hold_and_die(url, module, name, options, listen="pass"):
    """A process that acquires the lock and is killed while it holds it."""
    code = textwrap.dedent(HOLD_AND_DIE).format(module=module, name=name, options=options, listen=listen)
    assert subprocess.run([sys.executable, "-c", code, url], timeout=60).returncode == -9


def test_r_mutex_hangs_after_a_killed_holder(redis_url):
    """Fault: the holder's own process was to time the lock out, so its death leaves the lock taken."""

    async def scenario():
        async with r_mutex(redis_url) as lock:
            heard = '(await client.pubsub_numsub("shop.live"))[0][1]'  # by us and by itself
            listen = f"await lock.run()\n    while {heard} < 2: await asyncio.sleep(0.01)"
            options = "is_manager=False, timeout=0.1"
            await asyncio.to_thread(hold_and_die, redis_url, "r_mutex", "LockClient", options, listen)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(lock.acquire(), 0.6)

    asyncio.run(scenario())


def test_our_lease_outlives_a_killed_holder_only_until_its_end(redis_url):
    """The waiter gets in by the timer, soon after the dead holder's lease ends."""

    async def scenario():
        async with mutexes(redis_url, 1, ttl_ms=400) as (waiter,):
            await asyncio.to_thread(hold_and_die, redis_url, "shared.mutex", "Mutex", "ttl_ms=400")
            await waiter.acquire(timeout_s=LONG_S)
            await waiter.release()

    asyncio.run(scenario())


def test_a_clock_that_was_put_back_does_not_lock_us_out(redis_url):
    """Redis measures leases by its wall clock: one that a dead holder left an hour ahead ends after a usual lease."""

    async def scenario():
        async with mutexes(redis_url, 2, ttl_ms=500) as (dead, heir):
            assert await dead.try_acquire() == 0
            in_an_hour = int((await dead._client.time())[0]) * 1000 + 3_600_000
            await dead._client.hset("shop.current", "lease", in_an_hour)
            assert await heir.try_acquire() == 500
            await asyncio.wait_for(heir.acquire(), LONG_S)
            await heir.release()

    asyncio.run(scenario())


def test_a_release_wakes_the_waiter_at_once(redis_url):
    """A waiter does not poll: it is in long before the holder's lease would have ended."""

    async def scenario():
        async with mutexes(redis_url, 2, ttl_ms=60_000) as (holder, waiter):
            await holder.acquire()
            entering = asyncio.create_task(waiter.acquire(timeout_s=2 * LONG_S))
            await asyncio.sleep(0.1)
            await holder.release()
            await asyncio.wait_for(entering, LONG_S)
            assert waiter.epoch > holder.epoch
            await waiter.release()

    asyncio.run(scenario())


def test_one_of_many_is_inside(redis_url):
    """Thirty entries by ten contenders never overlap, and every epoch is higher than the one before."""

    async def scenario():
        inside, epochs = [], []

        async def work(lock):
            for _ in range(3):
                async with lock:
                    inside.append(lock.owner)
                    assert len(inside) == 1
                    epochs.append(lock.epoch)
                    await asyncio.sleep(0.002)
                    inside.pop()

        async with mutexes(redis_url, 10, ttl_ms=30_000) as locks:
            await asyncio.gather(*(work(lock) for lock in locks))
        assert len(epochs) == 30
        assert epochs == sorted(set(epochs))

    asyncio.run(scenario())


def test_waiting_ends_with_a_clear_error(redis_url):
    """A wait with a limit names the lock and the time."""

    async def scenario():
        async with mutexes(redis_url, 2) as (holder, waiter):
            await holder.acquire()
            with pytest.raises(Unavailable, match=r'lock "shop" is held by somebody else; waited 0\.2 s'):
                await waiter.acquire(timeout_s=0.2)
            await holder.release()

    asyncio.run(scenario())
