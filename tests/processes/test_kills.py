"""kill -9 of every process of a trading cluster: nothing acknowledged is lost, nothing is done twice."""

import os
import signal
import time

import pytest

from shared import keys
from shared.connections import connect
from tests.processes.running import SYMBOL, Load, running_cluster

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

VICTIMS = ("engine:BTC-USD", "ledger:0", "gateway:0", "pusher", "valkey", "postgres")


@pytest.fixture(scope="module")
def cluster():
    with running_cluster(SYMBOL) as cluster:
        yield cluster


@pytest.mark.parametrize("victim", VICTIMS)
def test_a_killed_process_comes_back_and_nothing_is_lost(cluster, victim):
    """Under load: it is replaced, trading goes on, every acknowledged order exists exactly once, the audit is clean."""
    loads = [Load(cluster, seed) for seed in range(3)]
    for load in loads:
        load.start()
    time.sleep(0.7)
    for _ in range(2):
        pid = cluster.kill(victim)
        seconds = cluster.wait_for_new(victim, pid)
        before = sum(len(load.acknowledged) for load in loads)
        wait_until(lambda before=before: sum(len(load.acknowledged) for load in loads) > before + 10, "trading goes on")
        print(f"{victim} was back after {seconds:.2f} s")
    for load in loads:
        load.finish()
    assert not [problem for load in loads for problem in load.problems]
    audit = cluster.run("audit", check=False)
    assert audit.returncode == 0, audit.stdout + audit.stderr
    for load in loads:
        assert_recorded_once(load)


def assert_recorded_once(load):
    """Every acknowledged client id has exactly one order in PostgreSQL, the one that was promised."""
    found = load.recorded()
    assert len(found) == len(dict(found)), "a client id has two orders"
    missing = set(load.acknowledged.items()) - set(found)
    assert not missing, f"{len(missing)} acknowledged orders are lost, such as {next(iter(missing))}"
    print(f"{len(load.acknowledged)} acknowledged, {load.retries} retries, 0 lost")


def wait_until(condition, what, timeout_s=30.0):
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, f"not within {timeout_s} s: {what}"
        time.sleep(0.05)


def test_a_stopped_process_is_hung_not_dead(cluster):
    """SIGSTOP of the engine: its beat falls silent, the supervisor kills it and counts it as hung."""
    hung_before = cluster.rows()["engine:BTC-USD"]["hung"]
    pid = cluster.kill("engine:BTC-USD", signal.SIGSTOP)
    cluster.wait_for_new("engine:BTC-USD", pid, timeout_s=40)
    assert cluster.rows()["engine:BTC-USD"]["hung"] == hung_before + 1


def test_a_zombie_owner_cannot_write(cluster):
    """SIGSTOP, a rival takes the book, SIGCONT: the zombie is fenced off, and the audit is clean."""
    load = Load(cluster, 99)
    load.start()
    time.sleep(0.5)
    pid = cluster.kill("engine:BTC-USD", signal.SIGSTOP)
    time.sleep(0.2)
    with connect(cluster.attached().redis_url) as client:
        meta = keys.meta(keys.instrument_tag(SYMBOL))
        client.hset(meta, mapping={"owner": "rival", "epoch": str(int(client.hget(meta, "epoch")) + 1), "lease": "0"})
    os.kill(pid, signal.SIGCONT)
    before = len(load.acknowledged)
    wait_until(lambda: len(load.acknowledged) > before + 10, "trading goes on")
    load.finish()
    assert cluster.run("audit", check=False).returncode == 0


def test_servers_away_are_said_and_survived(cluster):
    """While PostgreSQL is away orders are still taken; both servers' deaths leave a cluster that goes on by itself."""
    load = Load(cluster, 7)
    load.start()
    time.sleep(0.5)
    pids = [cluster.kill(name) for name in ("valkey", "postgres")]
    for name, pid in zip(("valkey", "postgres"), pids, strict=True):
        cluster.wait_for_new(name, pid)
    before = len(load.acknowledged)
    wait_until(lambda: len(load.acknowledged) > before + 10, "trading goes on")
    load.finish()
    assert not load.problems
    assert cluster.run("audit", check=False).returncode == 0
    assert_recorded_once(load)


def test_stop_leaves_nothing(cluster):
    """After ``matchbox stop`` there is no process and no socket; a second start finds everything again."""
    load = Load(cluster, 3)
    load.start()
    wait_until(lambda: len(load.acknowledged) > 20, "it trades")
    load.finish()
    cluster.run("stop")
    assert cluster.leftovers() == []
    cluster.run("start", "--detach")
    wait_until(lambda: set(load.acknowledged.items()) <= set(load.recorded()), "PostgreSQL has what was left to write")
    assert_recorded_once(load)
    with connect(cluster.attached().redis_url) as client:
        wait_until(lambda: client.hget(keys.meta(keys.shard_tag(0)), "owner"), "the ledger has an owner")
