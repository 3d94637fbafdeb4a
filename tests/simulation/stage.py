"""What everybody in a simulated run shares: dice, clock, Redis, faults, the network, and the trace."""

import itertools
import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

import workers.runtime
import workers.store
from shared.settings import Settings
from tests.simulation.clock import Clock
from tests.simulation.faults import Faults
from tests.simulation.memory import MemoryRedis
from workers.store import RedisStore

SHARDS = 2
LEASE_MS = 500


class Stage:
    """One run's surroundings. ``under_way``: commands that the server has still to get; ``failures``: what is wrong."""

    def __init__(self, seed: int, trace: Callable[[str], None] | None, redis: type[MemoryRedis]) -> None:
        self.seed = seed
        self.dice = dice = random.Random(seed)
        self.clock = Clock()
        self.drift_ms = 0
        self.redis = redis(lambda: self.clock.ms + self.drift_ms)
        self.faults = Faults(dice)
        self.settings = Settings(
            shards=SHARDS, lease_ms=LEASE_MS, batch=dice.choice((1, 3, 20)), snapshot_every=dice.choice((2, 5, 20)),
            log_keep=dice.choice((0, 0, 10)), digest_every=5,
        )  # fmt: skip
        self.steps = 0
        self.under_way: list[Callable[[], Any]] = []
        self.failures: list[str] = []
        self.is_traced = trace is not None
        self._trace = trace
        self._tokens = itertools.count(1)
        self._client: Any = None

    def note(self, who: str, what: str) -> None:
        """For the trace."""
        if self._trace is not None:
            self._trace(f"{self.steps:6} {self.clock.monotonic():9.3f} {who:20} {what}")

    def leave_behind(self, act: Callable[[], Any]) -> None:
        """A command of a process that died, or whose connection did, arrives all the same, after the next has begun."""
        self.faults.counts["late command"] += 1
        self.under_way.append(act)

    # --- what the product finds in place of modules ---

    @contextmanager
    def as_modules(self) -> Iterator[None]:
        """While this runs, the product's time, tokens and connections are those of the simulation."""
        changes: list[tuple[Any, str, Any]] = [
            (workers.store, "time", self.clock),
            (workers.store, "secrets", self),
            (workers.store, "connect", self._connect),
            (workers.runtime, "time", self.clock),
            (workers.runtime, "TRIM_S", 0.5),
            (workers.runtime, "BEAT_S", 0.4),
            (workers.runtime, "TICK_S", 0.1),
        ]
        with ExitStack() as patches:
            for change in changes:
                patches.enter_context(mock.patch.object(*change))
            yield

    def token_hex(self, _size: int) -> str:
        """As ``secrets.token_hex``: an owner's token."""
        return f"token-{next(self._tokens)}"

    def make_store(self, client: Any, tag: str, stopping: Callable[[], bool], warn: Callable[..., Any]) -> RedisStore:
        """The real store on our client."""
        self._client = client
        return RedisStore("", tag, LEASE_MS, stopping=stopping, warn=warn)

    def _connect(self, _url: str) -> Any:
        return self._client
