"""The slow lane while PostgreSQL or Redis is away: it waits, says so once, and goes on by itself."""

import asyncio
import signal

import pytest
import structlog
from alembic import command

import migrations
from tests.pusher.market import Market
from tests.pusher.mirror import assert_mirrors
from tests.pusher.test_writer import writer_for
from tests.servers import PostgreSQL, Valkey

pytestmark = pytest.mark.slow


@pytest.fixture
def own_database():
    """A PostgreSQL that a test may kill."""
    server = PostgreSQL()
    try:
        server.start()
        migrations.upgrade(server.url)
        yield server
    finally:
        server.remove()


@pytest.fixture
def own_redis():
    """A Valkey that a test may kill: it keeps everything."""
    server = Valkey("--appendonly", "yes", "--appendfsync", "always")
    try:
        server.start()
        yield server
    finally:
        server.remove()


async def until(condition, seconds=15):
    """Wait for a condition."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110  # nothing tells of it
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_postgresql_restarts(redis_url, own_database, number):
    """While PostgreSQL is away the lag grows and is told; when it is back, all is written once, without a restart."""
    market = Market(redis_url)
    market.write()

    async def scenario():
        stopping = asyncio.Event()
        async with writer_for(redis_url, own_database.url, slow_delay_ms=5, slow_batch=40) as writer:
            lane = asyncio.create_task(writer.run(stopping))
            for _ in range(2):
                market.trade(200)
                market.write()
                await until(lambda: 0 < writer.lag < 300)  # in the middle of it
                await asyncio.to_thread(own_database.stop, number)
                market.trade(50)
                market.write()
                await until(lambda: "PostgreSQL" in writer.error and writer.lag >= 50)
                await asyncio.sleep(0.5)
                await asyncio.to_thread(own_database.start)
                await until(lambda: not writer.error and not writer.lag)
                assert_mirrors(own_database.url, market)
            stopping.set()
            await lane

    with structlog.testing.capture_logs() as records:
        asyncio.run(scenario())
    said = [record["event"] for record in records if record.get("server") == "PostgreSQL"]
    assert said == ["a server is away; trying until it is back", "the server is back"] * 2


def test_redis_restarts(own_redis, database_url):
    """While Redis is away nothing happens; when it is back with all it had, writing goes on."""
    market = Market(own_redis.url)
    market.trade(100)
    market.write()

    async def scenario():
        stopping = asyncio.Event()
        async with writer_for(own_redis.url, database_url, slow_delay_ms=5, slow_batch=20) as writer:
            lane = asyncio.create_task(writer.run(stopping))
            await until(lambda: writer.written)
            await asyncio.to_thread(own_redis.stop, signal.SIGKILL)
            await until(lambda: "Redis" in writer.error)
            await asyncio.to_thread(own_redis.start)
            market.trade(100)
            market.write()
            await until(lambda: not writer.error and writer.written == sum(market.lengths.values()))
            stopping.set()
            await lane

    asyncio.run(scenario())
    assert_mirrors(database_url, market)


def test_tables_that_are_missing_are_named(redis_url, own_database):
    """A PostgreSQL without tables is told as such, and written to once they are there."""
    command.downgrade(migrations.config(own_database.url), "base")
    market = Market(redis_url)
    market.write()

    async def scenario():
        stopping = asyncio.Event()
        async with writer_for(redis_url, own_database.url) as writer:
            lane = asyncio.create_task(writer.run(stopping))
            await until(lambda: 'relation "positions" does not exist' in writer.error)
            await asyncio.to_thread(migrations.upgrade, own_database.url)
            await until(lambda: not writer.error and not writer.lag)
            stopping.set()
            await lane

    asyncio.run(scenario())
    assert_mirrors(own_database.url, market)
