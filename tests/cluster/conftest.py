"""Clusters to test: a real supervisor in a process of its own, over fake or real workers."""

import contextlib
import json
import os
import shutil
import signal
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import redis

from tests.nursery import Child

STARTED_S = 60.0


def free_port():
    """A port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(condition: Callable[[], Any], seconds: float, what: str) -> Any:
    """The first true answer of ``condition``."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.02)
    raise AssertionError(f"not within {seconds:g} s: {what}")


class Cluster:
    """A supervisor in a process of its own, and what a test does to it."""

    def __init__(self, folder: Path) -> None:
        self.data = folder
        self.port = free_port()
        self.output = folder.with_name(f"{folder.name}.out")
        self._process: Child | None = None

    def start(self, *arguments: str, **settings: Any) -> None:
        """Start the supervisor; does not wait."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("MATCHBOX_")}
        known = {"data": self.data, "port": self.port, "drain_ms": 3000, "hung_after_ms": 5000} | settings
        environment |= {f"MATCHBOX_{name.upper()}": str(value) for name, value in known.items()}
        self.output.write_bytes(b"")
        self._process = Child("tests.cluster.fake_cluster", arguments, environment, self.output)

    def wait_until_open(self) -> None:
        """Wait until the gateway has answered."""
        wait_for(lambda: "open" in self.said() or self.ended(), STARTED_S, "the cluster is open")
        assert not self.ended(), self.said()

    @property
    def process(self) -> Child:
        """The supervisor."""
        assert self._process is not None
        return self._process

    def said(self) -> str:
        """What the supervisor has printed."""
        return self.output.read_text()

    def ended(self) -> bool:
        """Whether the supervisor has ended."""
        return self.process.has_ended()

    def record(self) -> Any:
        """Its ``cluster.json``."""
        return json.loads((self.data / "cluster.json").read_text())

    def pid(self, name: str) -> int:
        """Pid of one of its processes, 0 if it does not run."""
        with contextlib.suppress(FileNotFoundError):
            return next((one["pid"] for one in self.record()["processes"] if one["name"] == name), 0)
        return 0

    def kill(self, name: str, number: int = signal.SIGKILL) -> int:
        """Send a signal to one of its processes; answers the pid. Pid 0 would be the tests themselves."""
        pid = self.pid(name)
        assert pid, f"{name} does not run"
        os.kill(pid, number)
        return pid

    def pids(self) -> list[int]:
        """The supervisor and all that it started, and what these started."""
        found = [self.process.pid]
        with contextlib.suppress(psutil.NoSuchProcess):
            found += [child.pid for child in psutil.Process(self.process.pid).children(recursive=True)]
        return found

    def redis(self) -> redis.Redis:
        """A client of its Redis."""
        return redis.Redis.from_url(self.record()["redis_url"])

    def state(self, name: str) -> dict[str, Any]:
        """What the supervisor says of a process, {} if nothing."""
        with contextlib.suppress(redis.exceptions.RedisError, FileNotFoundError), self.redis() as client:
            views = [json.loads(text) for text in client.hgetall("matchbox:supervisors").values()]
            return next((one for view in views for one in view["processes"] if one["name"] == name), {})
        return {}

    def set_mood(self, name: str, mood: str) -> None:
        """How a fake worker behaves from its next start on."""
        (self.data / "moods").mkdir(parents=True, exist_ok=True)
        (self.data / "moods" / name).write_text(mood)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Stop the supervisor with a signal and answer its exit code."""
        self.process.send_signal(number)
        return self.process.wait(60.0)

    def leftovers(self) -> list[Path]:
        """Sockets, locks, pid files and records in the data folder."""
        names = ("*.sock", ".s.PGSQL*", "*.lock", "*.pid", "cluster.json")
        return [path for name in names for path in self.data.rglob(name)]


@pytest.fixture
def folder() -> Iterator[Path]:
    """A short folder for data: socket paths are bounded."""
    made = Path(tempfile.mkdtemp(prefix="mb-"))
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


@pytest.fixture
def clusters(folder: Path) -> Iterator[Callable[..., Cluster]]:
    """Makes clusters of fake workers and ends what a failed test left of them."""
    made: list[Cluster] = []

    def make(name: str = "a") -> Cluster:
        made.append(Cluster(folder / name))
        return made[-1]

    yield make
    for cluster in made:
        if cluster._process is not None:
            for pid in cluster.pids() if not cluster.ended() else []:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            cluster.process.end()
