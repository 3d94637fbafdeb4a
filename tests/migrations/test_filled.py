"""Migrations keep what a database has."""

import asyncio

import psycopg
import pytest
from alembic import command

import migrations
from tests.pusher.market import Market
from tests.pusher.mirror import assert_mirrors
from tests.pusher.rows import rows
from tests.pusher.test_writer import write_all, writer_for
from tests.servers import PostgreSQL


@pytest.fixture
def own_server():
    """A PostgreSQL of this test's own, with all tables."""
    server = PostgreSQL()
    try:
        server.start()
        migrations.upgrade(server.url)
        yield server
    finally:
        server.remove()


def contents(url):
    """All rows of all tables there are, by table."""
    with psycopg.connect(url) as connection:
        found = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
    return {name: sorted(rows(url, f"SELECT * FROM {name}"), key=repr) for (name,) in found if name[:7] != "alembic"}


def test_a_filled_database_of_the_first_version_goes_on(redis_url, own_server):
    """No row is lost or changed on the way down to the first version and up again, and the pusher goes on from it."""
    url, configuration = own_server.url, migrations.config(own_server.url)
    market = Market(redis_url, seed=7)

    async def push():
        async with writer_for(redis_url, url) as writer:
            market.trade(150)
            market.write()
            await write_all(writer)
            assert writer.error == ""

    asyncio.run(push())
    before = contents(url)
    assert all(before[name] for name in ("orders", "fills", "trades", "balances", "movements", "resting_orders"))
    command.downgrade(configuration, "0001")
    first = contents(url)
    assert before.keys() - first.keys() == {"waiting_orders", "list_orders"}
    migrations.upgrade(url)
    after = contents(url)
    assert after.keys() == before.keys()
    for name, found in first.items():
        for old, new in zip(found, after[name], strict=True):
            assert old.items() <= new.items()
    asyncio.run(push())
    assert_mirrors(url, market)
