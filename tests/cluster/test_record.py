"""``cluster.json`` and the data folder's lock: who runs here, who did, and what is left of them."""

import os
import stat
import subprocess
import sys
import time
from typing import Any

import psutil
import pytest

from cluster.record import (
    ClusterRecord,
    DataLock,
    ProcessRecord,
    attach,
    creation_time,
    find_process,
    read_record,
    remove_record,
    stop_leftovers,
    write_record,
)
from shared.errors import MatchboxError, Unavailable
from shared.settings import Settings


def record(**changes):
    known: dict[str, Any] = {
        "pid": os.getpid(), "created": creation_time(os.getpid()), "host": "127.0.0.1", "port": 9000,
        "redis_url": "unix:///r", "database_url": "postgresql://d", "started_at": time.time(),
    }  # fmt: skip
    return ClusterRecord(**(known | changes))


@pytest.fixture
def sleeper():
    process = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(60)"])
    yield process
    process.kill()
    process.wait()


def test_a_record_is_for_its_owner_only(folder):
    """The record names the servers: nobody else may read it."""
    written = record()
    write_record(folder, written)
    assert stat.S_IMODE((folder / "cluster.json").stat().st_mode) == 0o600
    assert read_record(folder) == written
    remove_record(folder)
    assert read_record(folder) is None


def test_a_damaged_record_is_no_record(folder):
    """A file that is not a record stops nobody."""
    (folder / "cluster.json").write_text("{")
    assert read_record(folder) is None


def test_a_pid_that_is_used_again_is_somebody_else(sleeper):
    """A process is recognised by pid and creation time together."""
    created = creation_time(sleeper.pid)
    assert find_process(sleeper.pid, created) is not None
    assert find_process(sleeper.pid, created - 60) is None
    assert stop_leftovers([ProcessRecord("engine:BTC-USD", sleeper.pid, created - 60)]) == []
    assert sleeper.poll() is None


def test_leftovers_are_ended(sleeper):
    """What a killed supervisor has left running is ended, and named."""
    gone = ProcessRecord("pusher", 2**22 + 5, 1.0)
    assert stop_leftovers([ProcessRecord("ledger:0", sleeper.pid, creation_time(sleeper.pid)), gone]) == ["ledger:0"]
    assert not psutil.pid_exists(sleeper.pid)


def test_one_lock_per_folder(folder):
    """A second holder is refused with the pid of the first, and admitted once the first has gone."""
    first, second = DataLock(folder), DataLock(folder)
    first.acquire()
    write_record(folder, record())
    with pytest.raises(MatchboxError, match=rf'already runs in .*pid {os.getpid()}.*"matchbox stop"'):
        second.acquire()
    first.release()
    second.acquire()
    second.release()
    assert not (folder / "cluster.lock").exists()


def test_other_terminals_find_the_running_cluster(folder):
    """The data folder is enough to reach its servers; URLs that are set win."""
    write_record(folder, record())
    found = attach(Settings(data=str(folder)))
    assert (found.redis_url, found.database_url, found.port) == ("unix:///r", "postgresql://d", 9000)
    assert attach(Settings(data=str(folder), redis_url="redis://x")).redis_url == "redis://x"


def test_a_dead_cluster_is_not_running(folder):
    """A record of a supervisor that was killed leads nowhere; with a URL in the settings it is not needed."""
    write_record(folder, record(created=1.0))
    with pytest.raises(Unavailable, match=r"no cluster runs in .*matchbox start"):
        attach(Settings(data=str(folder)))
    assert attach(Settings(data=str(folder), redis_url="redis://x")).redis_url == "redis://x"
