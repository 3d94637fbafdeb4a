"""One cluster for all tests of users, keys and admins."""

from collections.abc import Callable, Iterator

import pytest

from tests.gateway.browser import Browser
from tests.gateway.conftest import running_cluster
from tests.harness import Cluster


@pytest.fixture(scope="package")
def cluster(redis_server, database_server) -> Iterator[Cluster]:
    """Ledger, engines, pusher and gateway on empty servers."""
    yield from running_cluster(redis_server, database_server)


@pytest.fixture
def browser(cluster, browser) -> Callable[..., Browser]:
    """Browsers of people whose address has not been seen: together the tests register too many."""
    for key in cluster.client.scan_iter("matchbox:attempts:*"):
        cluster.client.delete(key)
    return browser
