"""A small exchange of real processes: ledger, one engine per instrument, and the pusher where there is a database."""

import os
import signal
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import redis

from shared import keys
from shared.settings import Settings
from tests.nursery import Child

START_S = 20.0
STOP_S = 15.0


class Exchange:
    """Starts the workers on a Redis (and PostgreSQL), and stops them at the end of a ``with`` block."""

    def __init__(self, redis_url: str, database_url: str = "", *symbols: str, **changes: Any) -> None:
        self.settings = Settings(redis_url=redis_url, database_url=database_url, log_level="error", **changes)
        self.client: Any = redis.Redis.from_url(redis_url)
        self._symbols = symbols
        self._folder = tempfile.TemporaryDirectory(prefix="matchbox-test-")
        self._processes: dict[str, Child] = {}

    def __enter__(self) -> "Exchange":
        with ExitStack() as unless_open:
            unless_open.callback(self.close)
            self.client.set(keys.SHARDS, self.settings.shards)
            for shard in range(self.settings.shards):
                self.start(f"ledger:{shard}")
            for symbol in self._symbols:
                self.start(f"engine:{symbol}")
            if self.settings.database_url:
                self.start("pusher")
            self.wait()
            unless_open.pop_all()
        return self

    def start(self, name: str) -> Child:
        """Start one worker, by its name in the beats."""
        kind, _, argument = name.partition(":")
        environment = os.environ | self.settings.environment()
        log = Path(self._folder.name) / f"{name.replace(':', '-')}.log"
        arguments = [argument] if argument else []
        self._processes[name] = Child(f"workers.{kind}.__main__", arguments, environment, log)
        return self._processes[name]

    def wait(self) -> None:
        """Wait until every worker has given a sign of life."""
        end = time.monotonic() + START_S
        while missing := [name for name in self._processes if not self.client.exists(keys.beat(name))]:
            if time.monotonic() > end:
                raise AssertionError({name: self._processes[name].last_words() for name in missing})
            time.sleep(0.02)

    def kill(self, name: str) -> None:
        """SIGKILL one worker."""
        self._processes.pop(name).end()

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End all."""
        for process in self._processes.values():
            process.send_signal(signal.SIGTERM)
        for process in self._processes.values():
            process.wait(STOP_S)
        self.client.close()
        self._folder.cleanup()
