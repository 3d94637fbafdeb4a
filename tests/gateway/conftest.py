"""A running cluster for each module of tests."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from typing import Any

import psycopg
import pytest
import redis

from shared.instrument import Instrument
from shared.schema import metadata
from tests.gateway.browser import Browser
from tests.gateway.feed_client import Client
from tests.harness import BTC_USD, ETH_USD, Cluster


@pytest.fixture(scope="module")
def cluster(redis_server, database_server) -> Iterator[Cluster]:
    """Ledger, engines, pusher and gateway on empty servers. Tests of a module share it and bring their own users."""
    yield from running_cluster(redis_server, database_server)


def running_cluster(
    redis_server, database_server, instruments: Sequence[Instrument] = (BTC_USD, ETH_USD), **options: Any
) -> Iterator[Cluster]:
    """A cluster on emptied servers; ``options`` as ``Cluster`` has them."""
    with redis.Redis.from_url(redis_server.url) as client:
        client.flushall()
    with psycopg.connect(database_server.url) as connection:
        connection.execute(f"TRUNCATE {', '.join(metadata.tables)} RESTART IDENTITY")
    with Cluster(redis_server.url, database_server.url, instruments, **options) as running:
        yield running


@pytest.fixture
def browser(cluster) -> Iterator[Callable[..., Browser]]:
    """Opens browsers, and closes them in the end."""
    with ExitStack() as closing:
        yield lambda **options: closing.enter_context(contextlib.closing(Browser(cluster, **options)))


@pytest.fixture
def ws(cluster) -> Iterator[Callable[..., Client]]:
    """Opens clients of the feed, and closes them all in the end."""
    with ExitStack() as closing:
        yield lambda path="/": Client(cluster, closing, path)
