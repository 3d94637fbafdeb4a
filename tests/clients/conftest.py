"""One running cluster for all suites of clients, on servers of its own: other tests empty theirs."""

from collections.abc import Iterator

import pytest
from alembic import command

import migrations
from tests.harness import BTC_USD, ETH_USD, Cluster
from tests.servers import PostgreSQL, Valkey


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """Ledger, engines, pusher and gateway. Tests bring their own users, and leave empty books behind."""
    redis, database = Valkey(), PostgreSQL()
    try:
        redis.start()
        database.start()
        command.upgrade(migrations.config(database.url), "head")
        with Cluster(redis.url, database.url, [BTC_USD, ETH_USD]) as running:
            yield running
    finally:
        database.remove()
        redis.remove()
