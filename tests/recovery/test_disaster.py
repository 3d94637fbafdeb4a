"""Redis is emptied or cut back under a real cluster, or all is lost: nothing trades before it is whole again.

One cluster for all of it, since a start takes seconds. Each test leaves it running.
"""

import contextlib
import json
import os
import shutil
import signal
import time
import uuid

import httpx
import psutil
import pytest

from tests.processes.running import SYMBOL, Load, running_cluster
from tests.processes.test_kills import wait_until
from tests.servers import is_gone

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

FEATURES = (
    {"side": "sell", "price": "60000.00", "size": "1", "display_size": "0.1"},
    {"side": "sell", "price": "40000.00", "size": "0.1", "stop": "loss", "stop_price": "40100.00"},
    {"side": "sell", "type": "market", "size": "0.1", "trail_bps": 500},
    {"side": "buy", "price": "30000.00", "size": "0.1", "time_in_force": "GTT", "cancel_after": "day"},
    {"side": "buy", "price": "31000.00", "size": "0.2", "post_only": True},
)
LIST = {
    "type": "oco",
    "orders": [
        {"product_id": SYMBOL, "side": "sell", "price": "70000.00", "size": "0.1"},
        {
            "product_id": SYMBOL,
            "side": "sell",
            "price": "39000.00",
            "size": "0.1",
            "stop": "loss",
            "stop_price": "39500.00",
        },
    ],
}


class Person(Load):
    """A trader who remembers the orders that must survive."""

    def call(self, method, path, body=None):
        """A signed request; its answer."""
        content = b"" if body is None else json.dumps(body).encode()
        end = time.monotonic() + 15
        with httpx.Client(base_url=f"http://127.0.0.1:{self.settings.port}", timeout=10) as client:
            while True:
                answer = client.request(method, path, content=content, headers=self.sign(method, path, content))
                if answer.status_code != 503 or time.monotonic() > end:
                    break
                time.sleep(0.1)  # it has only just started
        assert answer.status_code == 200, answer.text
        return answer.json()

    def orders(self):
        """Open orders by id, without where a stop stands that trails: other people's trades move it."""
        found = self.call("GET", "/orders?limit=1000")
        return {one["id"]: one | {"stop_price": None} if one.get("trail_bps") else one for one in found}

    def balances(self):
        """What the accounts have."""
        return {one["currency"]: (one["balance"], one["hold"]) for one in self.call("GET", "/accounts")}


@pytest.fixture(scope="module")
def cluster():
    with running_cluster(SYMBOL, drain_ms="1000") as cluster:
        yield cluster


@pytest.fixture(scope="module")
def alice(cluster):
    """A trader with an order of each kind, one of them amended."""
    alice = Person(cluster, 1)
    for order in FEATURES:
        alice.call("POST", "/orders", {"product_id": SYMBOL, "client_oid": str(uuid.uuid4()), **order})
    alice.call("POST", "/order-lists", LIST)
    last = next(one for one in alice.orders().values() if one["price"] == "31000.00")
    alice.call("PATCH", f"/orders/{last['id']}", {"price": "32000.00", "size": "0.3"})
    return alice


def trade(cluster, seconds):
    """Some load; answers those who made it."""
    loads = [Load(cluster, seed) for seed in range(2)]
    for load in loads:
        load.start()
    time.sleep(seconds)
    wait_until(lambda: all(len(load.acknowledged) >= 20 for load in loads), "they trade")
    for load in loads:
        load.finish()
    assert not [problem for load in loads for problem in load.problems]
    return loads


def kill_all(cluster):
    """The machine loses power: everything is gone at once."""
    supervisor = psutil.Process(cluster.rows()["supervisor"]["pid"])
    supervisor.suspend()
    processes = supervisor.children(recursive=True)
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):  # PostgreSQL's own end with it
            process.kill()
    psutil.wait_procs(processes, 10)
    supervisor.kill()
    supervisor.wait(10)


def log_size(cluster):
    """How large Valkey's append-only file is."""
    return append_only_file(cluster).stat().st_size


def append_only_file(cluster):
    (path,) = (cluster.settings.data_dir / "redis").rglob("*.incr.aof")
    return path


def cut_log(cluster, size):
    """Valkey's append-only file loses the second half of what came after it had this size."""
    path = append_only_file(cluster)
    os.truncate(path, (size + path.stat().st_size) // 2)


def recover(cluster):
    """``matchbox recover``; its last line."""
    return json.loads(cluster.run("recover", "--yes").stdout.splitlines()[-1])


def assert_clean(cluster):
    audit = cluster.run("audit", check=False)
    assert audit.returncode == 0, audit.stdout + audit.stderr


def assert_refused(cluster, what):
    """Start says what is gone and what to do, and nothing is left running."""
    refused = cluster.run("start", "--detach", check=False)
    assert refused.returncode == 1
    assert what in refused.stderr
    assert 'run "matchbox recover"' in refused.stderr
    assert cluster.leftovers() == []


def test_an_emptied_redis_is_made_anew(cluster, alice):
    """Start refuses; after recover every order of every kind, balance and hold is as it was, and trading goes on."""
    trade(cluster, 1.0)
    orders, balances = alice.orders(), alice.balances()
    assert len(orders) == len(FEATURES) + 2
    cluster.run("stop")
    shutil.rmtree(cluster.settings.data_dir / "redis")
    assert_refused(cluster, "{a:0}:log: PostgreSQL has ")
    found = recover(cluster)
    print(found)
    assert (found["canceled"], found["busted"], found["surplus"]) == (0, [], {})
    assert found["instruments"] == 1
    cluster.run("start", "--detach")
    assert (alice.orders(), alice.balances()) == (orders, balances)
    trade(cluster, 1.0)
    assert_clean(cluster)
    assert alice.orders().keys() == orders.keys()


def test_a_cluster_that_died_and_lost_its_tail_goes_on_from_postgresql(cluster, alice):
    """The machine dies under load, the append-only file cut back: refused, recovered, clean, and trading goes on."""
    before, size = alice.orders(), log_size(cluster)
    loads = [Load(cluster, seed) for seed in range(2)]
    for load in loads:
        load.start()
    time.sleep(1.5)
    wait_until(lambda: all(len(load.acknowledged) >= 20 for load in loads), "they trade")
    kill_all(cluster)
    for load in loads:
        load.finish()
    cut_log(cluster, size)
    found = recover(cluster)
    print(found)
    assert (found["busted"], found["surplus"]) == ([], {})
    cluster.run("start", "--detach")
    assert alice.orders() == before
    trade(cluster, 0.5)
    assert_clean(cluster)


def test_a_running_cluster_whose_redis_lost_its_tail_stops(cluster, alice):
    """Valkey comes back without its end: owners notice, nothing trades on, and the supervisor says what to do."""
    before, size = alice.orders(), log_size(cluster)
    trade(cluster, 0.5)
    supervisor = psutil.Process(cluster.rows()["supervisor"]["pid"])
    supervisor.suspend()
    valkey = cluster.kill("valkey")
    wait_until(lambda: is_gone(valkey), "Valkey writes no more")
    cut_log(cluster, size)
    os.kill(supervisor.pid, signal.SIGCONT)
    supervisor.wait(90)
    log = (cluster.settings.data_dir / "logs" / "supervisor.log").read_text()
    assert 'run "matchbox recover"' in log.splitlines()[-1], log
    assert_refused(cluster, "Redis ")  # had acknowledged more, or PostgreSQL is ahead of it: whoever notices first
    recover(cluster)
    cluster.run("start", "--detach")
    assert alice.orders() == before


def test_recover_refuses_while_the_cluster_runs(cluster):
    """Nobody's Redis is taken from under it."""
    refused = cluster.run("recover", "--yes", check=False)
    assert refused.returncode == 1
    assert "already runs" in refused.stderr


@pytest.mark.parametrize("is_stopped", [False, True], ids=["of a running cluster", "of a stopped cluster"])
def test_the_drill(cluster, alice, is_stopped, tmp_path):
    """Back up, trade on, lose everything, restore: orders, balances and keys are those of the backup; clean audit."""
    orders, balances, file = alice.orders(), alice.balances(), tmp_path / "backup"
    if is_stopped:
        cluster.run("stop")
    saved = json.loads(cluster.run("backup", str(file)).stdout.splitlines()[-1])
    assert (saved["redis_keys"] > 0) == is_stopped
    assert file.stat().st_mode & 0o077 == 0
    if not is_stopped:
        trade(cluster, 0.3)
        cluster.run("stop")
    shutil.rmtree(cluster.settings.data_dir)
    started = time.monotonic()
    restored = json.loads(cluster.run("restore", str(file)).stdout.splitlines()[-1])
    assert (restored["rows"], restored["redis_keys"]) == (saved["rows"], saved["redis_keys"])
    assert cluster.leftovers() == []
    cluster.run("start", "--detach")
    assert alice.orders() == orders  # signed with a key out of the backup
    print(f"restored and open again after {time.monotonic() - started:.1f} s: {restored}")
    assert alice.balances() == balances
    assert_clean(cluster)
