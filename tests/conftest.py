"""What tests share: a private Redis and a private PostgreSQL, empty for each test."""

from collections.abc import Generator, Iterator

import hypothesis
import psycopg
import pytest
import redis
from alembic import command

import migrations
from shared.schema import metadata
from tests import nursery
from tests.engine.cores import CORES
from tests.servers import PostgreSQL, Valkey
from workers.engine import core
from workers.engine.book import OrderBook


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A test that fails shows what the processes it had wrote last."""
    report = yield
    if report.failed and (told := nursery.told()):
        report.sections.append(("what the processes wrote last", told))
    return report


hypothesis.settings.register_profile("matchbox", deadline=None)  # a busy machine makes any example slow
hypothesis.settings.load_profile("matchbox")


@pytest.fixture(params=CORES)
def order_book(request: pytest.FixtureRequest) -> type[OrderBook]:
    """The class of the books: the test runs once for each core."""
    return core.order_book(request.param)


@pytest.fixture(scope="session")
def redis_server() -> Iterator[Valkey]:
    """A Valkey for the whole run."""
    server = Valkey()
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture
def redis_url(redis_server: Valkey) -> str:
    """URL of an empty Redis."""
    with redis.Redis.from_url(redis_server.url) as client:
        client.flushall()
    return redis_server.url


@pytest.fixture(scope="session")
def database_server() -> Iterator[PostgreSQL]:
    """A PostgreSQL for the whole run, with the tables of the newest migration."""
    server = PostgreSQL()
    try:
        server.start()
        command.upgrade(migrations.config(server.url), "head")
        yield server
    finally:
        server.remove()


@pytest.fixture
def database_url(database_server: PostgreSQL) -> str:
    """URL of a PostgreSQL whose tables are empty."""
    with psycopg.connect(database_server.url) as connection:
        # A writer that a test left behind must not make the next test wait for ever.
        connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()")
        connection.execute(f"TRUNCATE {', '.join(metadata.tables)} RESTART IDENTITY")
    return database_server.url
