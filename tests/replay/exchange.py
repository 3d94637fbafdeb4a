"""A small exchange of real processes: ledger, one engine per instrument, and the pusher where there is a database."""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import redis

from shared import keys
from shared.settings import Settings

ROOT = Path(__file__).parent.parent.parent
START_S = 20.0


class Exchange:
    """Starts the workers on a Redis (and PostgreSQL), and stops them at the end of a ``with`` block."""

    def __init__(self, redis_url: str, database_url: str = "", *symbols: str, **changes: Any) -> None:
        self.settings = Settings(redis_url=redis_url, database_url=database_url, log_level="error", **changes)
        self.client: Any = redis.Redis.from_url(redis_url)
        self._symbols = symbols
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> "Exchange":
        self.client.set(keys.SHARDS, self.settings.shards)
        for shard in range(self.settings.shards):
            self.start(f"ledger:{shard}", "workers.ledger", str(shard))
        for symbol in self._symbols:
            self.start(f"engine:{symbol}", "workers.engine", symbol)
        if self.settings.database_url:
            self.start("pusher", "workers.pusher")
        self.wait()
        return self

    def start(self, name: str, *module: str) -> None:
        """Start one worker."""
        environment = os.environ | self.settings.environment() | {"PYTHONPATH": str(ROOT)}
        self._processes[name] = subprocess.Popen([sys.executable, "-m", *module], cwd=ROOT, env=environment)

    def wait(self) -> None:
        """Wait until every worker has given a sign of life."""
        end = time.monotonic() + START_S
        while missing := [name for name in self._processes if not self.client.exists(keys.beat(name))]:
            assert time.monotonic() < end, f"{missing} did not start"
            time.sleep(0.02)

    def kill(self, name: str) -> None:
        """SIGKILL one worker."""
        self._processes[name].kill()
        self._processes.pop(name).wait()

    def __exit__(self, *_: object) -> None:
        for process in self._processes.values():
            process.terminate()
        for process in self._processes.values():
            process.wait(15)
        self.client.close()
