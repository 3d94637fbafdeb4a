"""Two hosts on one Redis and one PostgreSQL: each book has one writer, and the other host goes on with it."""

import time

import httpx
import pytest

from tests.processes.failover import Failover, told
from tests.processes.hosts import WORKERS, lost_and_doubled, two_hosts

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

LEASE_MS = 2000
MOVED_S = LEASE_MS / 1000 + 1.0


def test_a_host_dies_returns_and_is_stopped_and_nothing_is_lost():
    """A dead host's books go on at the other one within lease + 1 s, its clients too; who returns disturbs nobody."""
    with two_hosts(LEASE_MS) as hosts:
        first, second = hosts
        assert set(first.states().values()) == {"running"}
        waiting = {name for name, state in second.states().items() if state == "waiting"}
        assert waiting == set(WORKERS) - {"gateway:0"}
        failover = Failover(hosts)
        killed = failover.kill_owner()
        owners = failover.owners()
        returned = failover.come_back()
        assert failover.owners() == owners, "who comes takes nothing away"
        stopped = failover.stop_owner()
        failover.finish()
        for what, pauses in (("killed", killed), ("joined", returned), ("stopped", stopped)):
            print(told(what, pauses))
        assert max(killed.values()) < MOVED_S
        assert max(returned.values()) < MOVED_S, "two cores start eight processes meanwhile"
        assert max(stopped.values()) < MOVED_S - 1.0, "a host that is stopped gives its leases back"
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
        moved = failover.cut_off_owner()
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
        assert max(moved.values()) < MOVED_S
        assert failover.writers() >= 3 * 3
        assert not [problem for load in failover.loads for problem in load.problems]
        audit = first.run("audit", check=False)
        assert audit.returncode == 0, audit.stdout + audit.stderr
        assert lost_and_doubled(failover.loads) == (0, 0)
