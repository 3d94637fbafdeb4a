"""One cluster for all of them, without limits a second: they would hide what is behind them."""

from collections.abc import Iterator

import pytest

from tests.gateway.conftest import running_cluster
from tests.harness import Cluster


@pytest.fixture(scope="package")
def cluster(redis_server, database_server) -> Iterator[Cluster]:
    """Ledger, engines, pusher and gateway on empty servers."""
    yield from running_cluster(redis_server, database_server, private_rate=0, cancel_rate=0, public_rate=0)
