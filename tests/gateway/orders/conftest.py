"""One running cluster for all tests of this folder, and a floor on it for each."""

from collections.abc import Iterator

import pytest

from tests.gateway.conftest import running_cluster
from tests.gateway.orders.floor import Floor
from tests.harness import Cluster


@pytest.fixture(scope="package")
def cluster(redis_server, database_server) -> Iterator[Cluster]:
    """Ledger, engines, pusher and gateway on empty servers."""
    yield from running_cluster(redis_server, database_server)


@pytest.fixture
def floor(cluster) -> Iterator[Floor]:
    """ETH-USD at a last price of 100, with nothing on its book."""
    found = Floor(cluster)
    found.trade("100.00")
    yield found
    found.close()
