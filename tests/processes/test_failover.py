"""Two hosts on one Redis and one PostgreSQL: each book has one writer, and the other host goes on with it."""

import subprocess
import sys
import time

import httpx
import pytest

from tests.processes.failover import Failover, told
from tests.processes.hosts import WORKERS, lost_and_doubled, two_hosts
from tests.processes.test_kills import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

LEASE_MS = 4000
"""So long that none of the living loses its lease on a busy machine: the tests know who has everything."""
LEASE_S = LEASE_MS / 1000


def grace_s():
    """A second, and more only while the machine needs half as long merely to start a Python."""
    began = time.monotonic()
    subprocess.run([sys.executable, "-c", "import redis.asyncio"], check=True)
    return max(1.0, 2 * (time.monotonic() - began))


def test_a_host_dies_returns_and_is_stopped_and_nothing_is_lost():
    """A dead host's books go on at the other one within lease + 1 s, its clients too; who returns disturbs nobody."""
    with two_hosts(LEASE_MS) as hosts:
        first, second = hosts
        wait_until(lambda: first.states() == dict.fromkeys(WORKERS, "running"), "the first one has everything")
        expected = dict.fromkeys(WORKERS, "waiting") | {"gateway:0": "running"}
        wait_until(lambda: second.states() == expected, "the second one waits for it")
        failover = Failover(hosts)
        graces = [grace_s()]
        killed = failover.kill_owner()
        graces.append(grace_s())
        owners = failover.owners()
        returned = failover.come_back()
        graces.append(grace_s())
        assert failover.owners() == owners, "who comes takes nothing away"
        stopped = failover.stop_owner()
        failover.finish()
        for what, pauses in (("killed", killed), ("joined", returned), ("stopped", stopped)):
            print(told(what, pauses))
        moved_s = LEASE_S + max(graces)
        assert max(killed.values()) < moved_s, graces
        assert max(returned.values()) < moved_s, "two cores start eight processes meanwhile"
        assert max(stopped.values()) < LEASE_S, "a host that is stopped gives its leases back"
        assert hosts == [first, second]
        assert failover.writers() >= 3 * 3
        assert not [problem for load in failover.loads for problem in load.problems]
        audit = first.run("audit", check=False)
        assert audit.returncode == 0, audit.stdout + audit.stderr
        assert lost_and_doubled(failover.loads) == (0, 0)


def test_a_host_that_is_cut_off_writes_nothing_and_is_one_of_two_again():
    """Its books go on at the other host; its gateway says 503 and confirms nothing; back, it disturbs nobody."""
    with two_hosts(LEASE_MS) as hosts:
        first, _ = hosts
        failover = Failover(hosts)
        graces = [grace_s()]
        moved = failover.cut_off_owner()
        graces.append(grace_s())
        began = time.monotonic()
        answer = httpx.get(f"http://127.0.0.1:{first.settings.port}/products/BTC-USD/book", timeout=20)
        assert answer.status_code == 503, answer.text
        assert time.monotonic() - began < 10
        failover.wait_served(50)
        owners = failover.owners()
        back = failover.reconnect()
        assert failover.owners() == owners, "who comes back takes nothing away"
        failover.stop_owner()
        failover.finish()
        for what, pauses in (("cut off", moved), ("back", back)):
            print(told(what, pauses))
        assert max(moved.values()) < LEASE_S + max(graces), graces
        assert failover.writers() >= 3 * 3
        assert not [problem for load in failover.loads for problem in load.problems]
        audit = first.run("audit", check=False)
        assert audit.returncode == 0, audit.stdout + audit.stderr
        assert lost_and_doubled(failover.loads) == (0, 0)
