"""A real supervisor over real servers: whatever dies comes back, and whatever stops leaves nothing behind."""

import signal
import statistics
import subprocess
import sys
import time
from functools import partial

import psutil
import pytest
import redis

from tests.cluster.conftest import wait_for
from tests.servers import is_gone

pytestmark = pytest.mark.slow


def is_running(cluster, name, not_pid=0):
    """Whether the process runs, under another pid than before."""
    found = cluster.state(name)
    return found.get("state") == "running" and found["pid"] == cluster.pid(name) != not_pid


def wait_until_all_run(cluster):
    for name in ("engine:BTC-USD", "engine:ETH-USD", "ledger:0", "gateway:0", "pusher", "demo"):
        wait_for(partial(is_running, cluster, name), 30, f"{name} runs")


@pytest.fixture
def cluster(clusters, database_url):
    """An open cluster that uses the tests' PostgreSQL: making one's own takes seconds."""
    made = clusters()
    made.start("--demo", database_url=database_url)
    made.wait_until_open()
    wait_until_all_run(made)
    return made


@pytest.fixture
def whole_cluster(clusters):
    """An open cluster that runs both servers itself."""
    made = clusters()
    made.start("--demo")
    made.wait_until_open()
    wait_until_all_run(made)
    return made


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_leaves_nothing_behind(whole_cluster, number):
    """After Ctrl-C or SIGTERM there is no process, no socket, no lock and no record, and the exit code is 0."""
    cluster = whole_cluster
    pids = cluster.pids()
    assert len(pids) > 8
    assert cluster.stop(number) == 0
    assert not [pid for pid in pids if not is_gone(pid)]
    assert not cluster.leftovers()


def test_killed_workers_are_back_within_two_seconds(cluster):
    """Kill -9 of any worker: it is started again, under a new pid, and within 2 s where a Python starts in a moment."""
    pauses, starts = [], []
    for name in ("engine:BTC-USD", "ledger:0", "gateway:0", "pusher", "demo") * 2:
        before, began = cluster.kill(name), time.monotonic()
        wait_for(partial(is_running, cluster, name, before), 20, f"{name} runs again")
        pauses.append(time.monotonic() - began)
        began = time.monotonic()
        subprocess.run([sys.executable, "-c", "import redis.asyncio"], check=True)
        starts.append(time.monotonic() - began)
    assert statistics.median(pauses) < max(2, 5 * statistics.median(starts)), (pauses, starts)
    assert cluster.state("ledger:0")["restarts"] == 2


def test_hung_workers_are_told_from_dead_ones(cluster):
    """A worker that is stopped with SIGSTOP lives, but shows no sign of it: it is killed, replaced and counted."""
    before = cluster.kill("engine:BTC-USD", signal.SIGSTOP)
    wait_for(lambda: cluster.state("engine:BTC-USD").get("hung") == 1, 20, "counted as hung")
    wait_for(lambda: cluster.state("engine:BTC-USD").get("state") == "running", 15, "runs again")
    assert is_gone(before)
    assert cluster.state("engine:ETH-USD")["restarts"] == 0
    assert "engine:BTC-USD hangs; killing it" in cluster.said()


def test_the_trouble_of_a_worker_is_told_once(clusters, database_url):
    """A worker that runs but says it cannot do its work: a person at the terminal reads why."""
    cluster = clusters()
    cluster.set_mood("pusher", "troubled")
    cluster.start(database_url=database_url)
    cluster.wait_until_open()
    wait_for(lambda: "pusher has trouble: PostgreSQL is ahead" in cluster.said(), 20, "told")
    time.sleep(1)
    assert cluster.said().count("has trouble") == 1
    assert cluster.stop() == 0


def test_servers_that_die_come_back_and_so_does_everything(whole_cluster):
    """Kill -9 of Valkey and PostgreSQL: both are restarted, what was written is there, no worker was touched."""
    cluster = whole_cluster
    with cluster.redis() as client:
        client.set("kept", "1")
    workers = {name: cluster.pid(name) for name in ("ledger:0", "engine:BTC-USD", "gateway:0")}
    for name in ("valkey", "postgres"):
        before = cluster.kill(name)
        wait_for(partial(is_running, cluster, name, before), 30, f"{name} runs again")
    with cluster.redis() as client:
        assert client.get("kept") == b"1"
    assert workers == {name: cluster.pid(name) for name in workers}
    assert cluster.stop() == 0
    assert not cluster.leftovers()


def test_a_server_that_stays_away_does_not_eat_the_cpu(cluster):
    """Redis frozen for a while: no worker is killed or started, the supervisor idles, and it all goes on by itself."""
    workers = {name: cluster.pid(name) for name in ("ledger:0", "engine:BTC-USD", "gateway:0", "pusher")}
    supervisor = psutil.Process(cluster.process.pid)
    cluster.kill("valkey", signal.SIGSTOP)
    used = sum(supervisor.cpu_times()[:2])
    time.sleep(5)
    assert sum(supervisor.cpu_times()[:2]) - used < 1.0
    cluster.kill("valkey", signal.SIGCONT)
    wait_for(lambda: cluster.state("ledger:0").get("state") == "running", 20, "goes on")
    time.sleep(1)
    assert workers == {name: cluster.pid(name) for name in workers}


def test_ten_quick_exits_halt_the_instrument_and_resume_opens_it(clusters, database_url):
    """A worker that ends at once ten times is given up with its last words; the others trade; resume tries again."""
    cluster = clusters()
    cluster.set_mood("engine:BTC-USD", "crash")
    cluster.start("--demo", "--impatient", database_url=database_url)
    cluster.wait_until_open()
    wait_for(lambda: cluster.state("engine:BTC-USD").get("state") == "halted", 40, "halted")
    reason = "engine:BTC-USD: the first entry cannot be read"
    with cluster.redis() as client:
        assert client.hget("matchbox:halted", "engine:BTC-USD") == reason.encode()
        assert b'"mode":"halted"' in client.hget("matchbox:instruments", "BTC-USD")
        assert any(b'"mode":"halted"' in fields[b"d"] for _, fields in client.xrange("{a:0}:in"))
    assert cluster.state("engine:BTC-USD")["reason"] == reason
    wait_for(lambda: cluster.state("engine:ETH-USD").get("state") == "running", 15, "the other one runs")
    cluster.set_mood("engine:BTC-USD", "")
    with cluster.redis() as client:
        client.hdel("matchbox:halted", "engine:BTC-USD")
    wait_for(lambda: cluster.state("engine:BTC-USD").get("state") == "running", 15, "runs again")


def test_a_host_whose_engine_cannot_run_halts_nothing_that_another_host_runs(clusters, redis_url, database_url):
    """Ten quick exits where another host's engine owns the book: trading goes on there. Once nobody does, it halts."""
    cluster = clusters()
    cluster.set_mood("engine:BTC-USD", "crash")
    with redis.Redis.from_url(redis_url) as client:
        client.hset("{i:BTC-USD}:meta", mapping={"owner": "other", "epoch": "1", "lease": str(1 << 52)})
        cluster.start("--demo", "--impatient", redis_url=redis_url, database_url=database_url)
        wait_for(lambda: "engine:BTC-USD is given up" in cluster.said(), 30, "given up")
        wait_for(lambda: cluster.state("engine:BTC-USD").get("state") == "halted", 15, "shown as given up")
        time.sleep(1.5)
        assert client.hgetall("matchbox:halted") == {}
        assert b'"mode"' not in client.hget("matchbox:instruments", "BTC-USD")
        client.hset("{i:BTC-USD}:meta", "lease", "0")
        wait_for(lambda: client.hgetall("matchbox:halted"), 15, "halted for all")
        instrument = lambda: client.hget("matchbox:instruments", "BTC-USD")  # noqa: E731
        wait_for(lambda: b'"mode":"halted"' in instrument(), 15, "its rules say so")


def test_a_killed_supervisor_leaves_no_orphans(whole_cluster):
    """Kill -9 of the supervisor: its processes end with it, and the next start finds nothing in its way."""
    cluster = whole_cluster
    pids = cluster.pids()
    cluster.process.end()
    wait_for(lambda: not [pid for pid in pids if not is_gone(pid)], 30, "all processes end")
    cluster.start("--demo")
    cluster.wait_until_open()
    assert not [pid for pid in pids if not is_gone(pid)]
    assert cluster.stop() == 0
    assert not cluster.leftovers()


def test_instruments_come_and_go_while_it_runs(cluster):
    """An instrument in Redis gets an engine; one that is taken away loses it, without a restart of anything else."""
    ledger = cluster.pid("ledger:0")
    with cluster.redis() as client:
        client.hset("matchbox:instruments", "LTC-USD", client.hget("matchbox:instruments", "BTC-USD"))
        wait_for(lambda: cluster.state("engine:LTC-USD").get("state") == "running", 15, "engine runs")
        client.hdel("matchbox:instruments", "LTC-USD")
        wait_for(lambda: cluster.pid("engine:LTC-USD") == 0, 15, "engine stopped")
    assert cluster.pid("ledger:0") == ledger


def test_a_worker_that_ignores_the_stop_is_killed_in_time(clusters, database_url):
    """A worker that does not stop within drain_ms holds nothing up."""
    cluster = clusters()
    cluster.set_mood("engine:BTC-USD", "stubborn")
    cluster.start("--demo", drain_ms=1000, database_url=database_url)
    cluster.wait_until_open()
    began = time.monotonic()
    assert cluster.stop() == 0
    assert time.monotonic() - began < 20
    assert not cluster.leftovers()


def test_two_clusters_live_side_by_side(clusters):
    """Two data folders and ports: two clusters that know nothing of each other."""
    one, other = clusters("one"), clusters("other")
    one.start("--demo")
    other.start()
    one.wait_until_open()
    other.wait_until_open()
    with one.redis() as first, other.redis() as second:
        assert first.hlen("matchbox:instruments") == 2
        assert second.hlen("matchbox:instruments") == 0
    assert one.stop() == 0
    wait_for(lambda: other.state("ledger:0").get("state") == "running", 15, "the other one goes on")
    assert other.stop() == 0


def test_a_second_supervisor_is_refused(cluster, clusters):
    """A cluster in a data folder that has one, or on a port that is taken, ends with one clear line."""
    twin = clusters()
    twin.output = twin.output.with_suffix(".twin")
    twin.start()
    assert twin.process.wait(40.0) == 1
    assert f"a cluster already runs in {cluster.data}" in twin.said()
    assert str(cluster.process.pid) in twin.said()
    stranger = clusters("elsewhere")
    stranger.port = cluster.port
    stranger.start()
    assert stranger.process.wait(40.0) == 1
    assert f"port {cluster.port} is taken by" in stranger.said()
    assert not stranger.leftovers()
    assert cluster.state("ledger:0")["state"] == "running"


def test_the_number_of_shards_stays(cluster, database_url):
    """A later start with another number of shards is refused, and everything is stopped again."""
    assert cluster.stop() == 0
    cluster.start(shards=2, database_url=database_url)
    assert cluster.process.wait(60.0) == 1
    assert "made with 1 account shards, MATCHBOX_SHARDS=2 cannot change that" in cluster.said()
    assert not cluster.leftovers()


def test_two_supervisors_on_one_redis_leave_each_others_workers_alone(clusters, redis_url, database_url):
    """Workers of one name on two hosts (one works, one waits) do not drown each other's signs of life."""
    pair = [clusters("one"), clusters("other")]
    for cluster in pair:
        cluster.start("--demo", redis_url=redis_url, database_url=database_url)
    for cluster in pair:
        cluster.wait_until_open()
    time.sleep(7)
    assert not [line for cluster in pair for line in cluster.said().splitlines() if "hangs" in line]
    pair[0].kill("engine:BTC-USD", signal.SIGSTOP)
    wait_for(lambda: "engine:BTC-USD hangs; killing it" in pair[0].said(), 20, "the one that is silent is found")
    assert "hangs" not in pair[1].said()
    assert [cluster.stop() for cluster in pair] == [0, 0]


def test_servers_of_others_are_used_and_left_alone(clusters, redis_url, database_url):
    """With URLs in the settings no server is started, and the cluster leaves no lock and no trace of itself there."""
    cluster = clusters()
    cluster.start("--demo", redis_url=redis_url, database_url=database_url)
    cluster.wait_until_open()
    assert cluster.pid("valkey") == cluster.pid("postgres") == 0
    assert cluster.stop() == 0
    with redis.Redis.from_url(redis_url) as client:
        assert client.hgetall("matchbox:supervisors") == {}
        assert [client.hget(name, "owner") for name in client.keys("matchbox:supervisor:*")] == [b""]
