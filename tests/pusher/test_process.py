"""The pusher as a process: one at a time, lanes that do not wait for each other, a clean end."""

import contextlib
import json
import os
import signal
import socket
import time

import pytest

from shared import keys
from shared.settings import Settings
from tests.nursery import Child
from tests.pusher.market import Market
from tests.pusher.mirror import assert_mirrors, positions_published

pytestmark = pytest.mark.slow


@contextlib.contextmanager
def pushers(redis_url, database_url, folder, count=1, **options):
    """Running pushers; those still alive at the end are killed."""
    settings = Settings(redis_url=redis_url, database_url=database_url, **{"lease_ms": 500, **options})
    running = [start(settings.environment(), folder / f"pusher-{number}.log") for number in range(count)]
    try:
        yield running
    finally:
        for process in running:
            process.end()


def start(environment, log):
    """One pusher. It has time to write what is left: a busy machine needs more than the two seconds of life."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("MATCHBOX_")}
    constants = {name: {"DRAIN_S": 30.0} for name in ("workers.pusher.publisher", "workers.pusher.writer")}
    return Child("workers.pusher.__main__", [], inherited | environment, log, constants=constants)


def until(condition, seconds=20):
    """Wait for a condition; answers what it answered."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)
    return found


def beat(market):
    """The pusher's last sign of life."""
    return json.loads(market.client.get(keys.beat("pusher")) or "{}")


def test_it_pushes_beats_and_stops(redis_url, database_url, tmp_path):
    """It writes what comes, shows how it is, and on SIGTERM writes what is left, frees the lock and exits 0."""
    market = Market(redis_url)
    market.trade(100)
    market.write()
    with pushers(redis_url, database_url, tmp_path) as (pusher,):
        until(lambda: positions_published(market.client, market))
        total = sum(market.lengths.values())
        found = until(lambda: (one := beat(market)) and (one["sequence"], one["lag"]) == (total, 0) and one)
        assert found.pop("epoch") > 0
        assert found | {"time": 0} == {
            "pid": pusher.pid, "host": socket.gethostname(), "state": "running", "time": 0,
            "sequence": total, "lag": 0, "error": "",
        }  # fmt: skip
        assert abs(time.time_ns() - found["time"]) < 60_000_000_000, "nanoseconds of the wall clock"
        market.trade(2000)
        market.write()
        pusher.send_signal(signal.SIGTERM)
        assert pusher.wait(40.0) == 0
        assert market.client.hget("matchbox:pusher.current", "owner") == b""
    assert_mirrors(database_url, market)
    assert positions_published(market.client, market)


def test_one_at_a_time(redis_url, database_url, tmp_path):
    """Of two pushers one waits; when the other is killed it takes over, and each entry is written once."""
    market = Market(redis_url)
    market.write()
    lease = {"lease_ms": 5000}  # so long that no owner on a busy machine loses it
    with pushers(redis_url, database_url, tmp_path, count=2, slow_batch=100, slow_delay_ms=1, **lease) as running:
        until(lambda: positions_published(market.client, market))
        time.sleep(0.5)
        log = "".join(process.log.read_text() for process in running)
        assert log.count("pushing") == 1
        market.trade(1500)
        market.write()
        owner_pid = first_running(market)
        owner = next(process for process in running if process.pid == owner_pid)
        owner.send_signal(signal.SIGKILL)
        until(lambda: positions_published(market.client, market))
        assert owner.wait(10.0) == -signal.SIGKILL
    assert_mirrors(database_url, market)


def first_running(market):
    """The pid of the pusher that says it is running."""
    return until(lambda: (one := beat(market)).get("state") == "running" and one["pid"])


def test_a_pusher_that_was_frozen_past_its_lease_writes_nothing_twice(redis_url, database_url, tmp_path):
    """A stopped pusher loses the lock to another; woken up, it notices, waits, and does no harm."""
    market = Market(redis_url)
    market.write()
    with pushers(redis_url, database_url, tmp_path, count=2, lease_ms=600, slow_batch=100, slow_delay_ms=1) as running:
        for _ in range(3):
            until(lambda: positions_published(market.client, market))
            market.trade(600)
            market.write()
            owner_pid = first_running(market)
            frozen = next(one for one in running if one.pid == owner_pid)
            frozen.send_signal(signal.SIGSTOP)
            time.sleep(0.8)
            market.trade(100)
            market.write()
            until(lambda: positions_published(market.client, market))
            frozen.send_signal(signal.SIGCONT)
            time.sleep(0.3)
        for process in running:
            process.send_signal(signal.SIGTERM)
        assert [process.wait(40.0) for process in running] == [0, 0]
    assert_mirrors(database_url, market)


def test_live_updates_go_on_without_postgresql(redis_url, tmp_path):
    """With no PostgreSQL at all the live lanes publish, and the beat says what is wrong."""
    market = Market(redis_url)
    market.write()
    with pushers(redis_url, "postgresql://postgres@/none?host=/nowhere", tmp_path) as (pusher,):
        until(lambda: "PostgreSQL" in beat(market).get("error", ""))
        channel = market.client.pubsub(ignore_subscribe_messages=True)
        channel.subscribe(keys.live("BTC-USD"))
        channel.get_message(timeout=1)
        market.trade(50)
        market.write()

        def told():
            message = channel.get_message(timeout=0.1)
            return json.loads(message["data"])["sequence"] if message else 0

        until(lambda: told() == market.books["BTC-USD"].sequence)
        channel.close()
        until(lambda: beat(market).get("lag") == sum(market.lengths.values()))
        pusher.send_signal(signal.SIGTERM)
        assert pusher.wait(40.0) == 0


def test_settings_that_are_missing_are_named(tmp_path):
    """Without servers it ends at once with code 3, and its last line says which variable is empty."""
    process = start({"MATCHBOX_REDIS_URL": ""}, tmp_path / "pusher.log")
    assert process.wait(20.0) == 3
    assert process.last_words().startswith("MATCHBOX_REDIS_URL is empty")
