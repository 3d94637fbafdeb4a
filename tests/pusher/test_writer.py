"""The slow lane: PostgreSQL is the fold of the logs, each entry once, whatever dies."""

import asyncio
import contextlib

import pytest

from shared.connections import connect_async, open_database_async
from shared.settings import Settings
from tests.pusher.market import Market
from tests.pusher.mirror import assert_mirrors, positions_published
from workers.pusher.writer import Writer


@contextlib.asynccontextmanager
async def writer_for(redis_url, database_url, kind=Writer, **settings):
    """A writer with connections of its own."""
    client, database = connect_async(redis_url), open_database_async(database_url, connections=1)
    try:
        yield kind(client, database, Settings(redis_url=redis_url, database_url=database_url, **settings))
    finally:
        await database.dispose()
        await client.aclose()


async def write_all(writer):
    """Write until nothing is left."""
    while await writer.write():
        pass


@pytest.mark.parametrize("batch", [7, 5000])
@pytest.mark.parametrize("shards", [1, 3])
def test_rows_are_the_fold_of_the_logs(redis_url, database_url, batch, shards):
    """Books, orders, balances, fills, trades and statements are what the machines say, whatever the batch size."""
    market = Market(redis_url, seed=shards, shards=shards)

    async def scenario():
        async with writer_for(redis_url, database_url, slow_batch=batch, shards=shards) as writer:
            for _ in range(3):
                market.trade(150)
                count = market.write()
                before = writer.written
                await write_all(writer)
                assert writer.written - before == count
                assert_mirrors(database_url, market)
                assert (writer.lag, writer.error) == (0, "")
            assert positions_published(market.client, market)

    asyncio.run(scenario())
