"""What ``matchbox status`` says of hosts, from what their supervisors have shown."""

import time

import msgspec
import redis

from cluster.status import is_well, status_of
from cluster.view import ProcessView, SupervisorView
from shared import keys


def view(host, shown_at):
    processes = [ProcessView("ledger:0", "running", 7), ProcessView("engine:BTC-USD", "running", 8)]
    return SupervisorView(host, f"/data/{host}", 6, f"http://{host}:8000", shown_at, shown_at - 60, processes)


def test_what_a_dead_host_ran_does_not_run(redis_url):
    """Of a host that shows nothing any more nobody knows that its workers run: they are silent, like their host."""
    now = time.time()
    with redis.Redis.from_url(redis_url) as client:
        for one in (view("alive", now), view("dead", now - 60)):
            client.hset(keys.SUPERVISORS, one.host, msgspec.json.encode(one))
        found = status_of(client)
    states = {(row.host, row.process): row.state.rstrip("0123456789 s") for row in found.processes}
    assert states == {
        ("alive", "supervisor"): "running",
        ("alive", "ledger:0"): "running",
        ("alive", "engine:BTC-USD"): "running",
        ("dead", "supervisor"): "silent for",
        ("dead", "ledger:0"): "silent",
        ("dead", "engine:BTC-USD"): "silent",
    }
    assert not is_well(found)
