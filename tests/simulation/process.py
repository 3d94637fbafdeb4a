"""A simulated process: the real runtime, store and machine in a greenlet, which stops at each round trip to Redis.

It can be killed or stopped there, as by SIGKILL and SIGSTOP; what it had under way may arrive all the same.
"""

from collections.abc import Callable
from typing import Any

from greenlet import getcurrent, greenlet

from shared.errors import MatchboxError
from tests.simulation.client import Connection, MemoryClient, Sent
from tests.simulation.stage import Stage
from workers.handler import Handler
from workers.runtime import Runtime


class Killed(BaseException):
    """SIGKILL: no handler of the product may catch it."""


class Process:
    """One process of a ledger or book, from its start to its end."""

    def __init__(self, world: Stage, name: str, handler: Handler) -> None:
        self.name = name
        self.redis = world.redis
        self.is_stopping = False
        self.error: MatchboxError | None = None
        self.ready_at = float(world.clock.ms)
        self.outstanding: Callable[[], Any] | None = None
        self._news: Callable[[], bool] | None = None
        self._looked_at = -1
        self._world = world
        self._connections: list[Connection] = []
        client = MemoryClient(self)
        client.make_connection = self._make_connection  # type: ignore[method-assign]
        self.store = world.make_store(client, handler.tag, lambda: self.is_stopping, self._warn)
        self.runtime = Runtime(name, handler, self.store, world.settings, lambda: self.is_stopping)
        self.runtime._log = self  # type: ignore[assignment]  # info, warning
        if hasattr(handler, "_log"):
            handler._log = self
        self.handler = handler
        self._life = greenlet(self._live)

    # --- life, as the scheduler sees it ---

    @property
    def is_over(self) -> bool:
        """Whether it has ended, one way or the other."""
        return bool(self._life.dead)

    def is_ready(self, now: float) -> bool:
        """Whether it would do something if it got its turn."""
        if now >= self.ready_at:
            return True
        if self._news is None or self._looked_at == self.redis.writes:
            return False
        self._looked_at = self.redis.writes
        return self._news()

    def go(self) -> None:
        """Run to the next round trip."""
        self._life.switch()

    def pause(self, until: float) -> None:
        """SIGSTOP until then."""
        self.ready_at, self._news = until, None

    def kill(self) -> None:
        """SIGKILL."""
        if self.outstanding is not None and self._world.dice.random() < 0.5:
            self._world.leave_behind(self.outstanding)
        if self._life:
            self._life.throw(Killed)
        else:
            self._life = greenlet(lambda: None)
            self._life.switch()  # it never ran
        self.reset()

    def reset(self) -> None:
        """The server closes its connections."""
        for connection in self._connections:
            connection.disconnect()

    def _live(self) -> None:
        try:
            self.runtime.run()
        except Killed:
            pass
        except MatchboxError as error:
            self.error = error
            self.note(f"ends: {error}")

    # --- what the client asks (client.Caller) ---

    def wait(self, ms: float, news: Callable[[], bool] | None = None) -> None:
        """Let others run; come back when there are ``news``, at the latest after ``ms``."""
        self.ready_at, self._news, self._looked_at = self._world.clock.ms + ms, news, -1
        getcurrent().parent.switch()

    def may_yield(self, act: Callable[[], Any]) -> None:
        """Let others run, perhaps; ``act`` is on its way meanwhile."""
        if self._world.dice.random() < 0.25:
            self.outstanding = None if act is bool else act
            self.wait(0)
            self.outstanding = None

    def mishap(self) -> str:
        """What happens to this round trip."""
        return self._world.faults.mishap(self.name)

    def is_slow(self, sent: Sent) -> bool:
        """Whether a commit stays under way for a while."""
        if self._world.dice.random() < 0.5:
            self._world.under_way.append(sent.arrive)
            return True
        return False

    def abandon(self, sent: Sent) -> None:
        """What has not arrived may still, or be lost."""
        if not sent.is_done:
            sent.lose() if self._world.dice.random() < 0.5 else self._world.leave_behind(sent.arrive)

    def committed(self, *, by_owner: bool, answer: Any) -> None:
        """Nobody but the owner may write."""
        if answer == b"OK" and not by_owner:
            self._world.failures.append(f"{self.name}: a commit of a former owner was accepted")
        elif answer == b"FENCED":
            self._world.faults.counts["stale commit"] += 1

    def has_read(self, stream: str) -> int:
        """Up to which entry of a gapless stream it has read, whether that is committed or not."""
        at = self.store._read_command
        if stream not in at:
            return 0
        half = (len(at) - at.index("STREAMS") - 1) // 2
        return int(at[at.index(stream) + half].partition("-")[0])

    def note(self, what: str) -> None:
        """For the trace."""
        self._world.note(self.name, what)

    def _make_connection(self) -> Connection:
        connection = Connection(self)
        self._connections.append(connection)
        return connection

    # --- what the runtime logs ---

    def _warn(self, sentence: str, **fields: Any) -> None:
        if self._world.is_traced:
            self.note(" ".join((sentence, *(f"{name}={value}" for name, value in fields.items()))))

    info = warning = _warn

    def stands_at(self) -> tuple[int, bool]:
        """The version its state follows from, and whether it serves."""
        return self.runtime._standing.version, self.runtime._state == "running"
