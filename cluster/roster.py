"""The processes of one supervisor: those that run, how the others ended, and how all of them are."""

import signal
import socket
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path

import psutil

from cluster.child import Child, Command, describe_exit
from cluster.plan import EXITS_MAX, Alive, Exit
from cluster.record import ProcessRecord
from cluster.view import ProcessView
from shared.beat import Beat

EXITS_KEPT = 2 * EXITS_MAX
RUNNING = "running"
SETTLED = (RUNNING, "waiting")
"""States in which a worker shows signs of life every second; while it starts and recovers it may be silent."""


class Run:
    """A process that runs. Times are of ``time.monotonic``."""

    def __init__(self, child: Child, now: float) -> None:
        self.child = child
        self.sign_at = now
        self.ready_at: float | None = None
        self.beat: Beat | None = None
        self.kill_at: float | None = None
        self.was_hung = False
        self.is_told_apart = False

    def state(self) -> str:
        """Its state for people."""
        if self.kill_at is not None:
            return "hung" if self.was_hung else "stopping"
        if self.beat is not None:
            return self.beat.state
        return RUNNING if self.ready_at is not None else "starting"

    def see(self, beat: Beat, now: float) -> None:
        """Take note of a beat under its name; another host's process of that name is not ours, but may drown ours."""
        if beat.pid != self.child.pid or beat.host != socket.gethostname():
            if not self.is_told_apart:
                self.sign_at = now
            return
        if self.beat is None or beat.time != self.beat.time:
            self.sign_at = now
        self.beat = beat
        if beat.state == RUNNING and self.ready_at is None:
            self.ready_at = now


class Ended:
    """A run that has ended. ``asked``: we stopped it."""

    def __init__(self, run: Run, code: int) -> None:
        self.run = run
        self.name = run.child.name
        self.code = code
        self.asked = run.kill_at is not None and not run.was_hung
        self.reason = "hung" if run.was_hung else describe_exit(code, run.child.last_words())


class Roster:
    """All processes of one supervisor."""

    def __init__(self, logs: Path, command_of: Callable[[str], Command]) -> None:
        self._logs = logs
        self._command_of = command_of
        self.runs: dict[str, Run] = {}
        self.exits: dict[str, deque[Exit]] = {}
        self.reasons: dict[str, str] = {}
        self.restarts: Counter[str] = Counter()
        self.hung: Counter[str] = Counter()
        self._memory: dict[str, int] = {}

    def start(self, name: str, now: float) -> None:
        """Start a process. Raises ``OSError`` if the system refuses."""
        if name in self.exits:
            self.restarts[name] += 1
        self.runs[name] = Run(Child(name, self._command_of(name), self._logs), now)

    def stop(self, name: str, kill_at: float) -> None:
        """Ask a process to stop until ``kill_at``."""
        run = self.runs[name]
        run.kill_at = kill_at
        run.child.stop()

    def kill(self, name: str, now: float, *, hung: bool = False) -> None:
        """End a process."""
        run = self.runs[name]
        run.kill_at = now if run.kill_at is None else run.kill_at
        run.was_hung = run.was_hung or hung
        run.child.kill()

    def reap(self, now: float, *, excused: bool) -> list[Ended]:
        """Take note of the processes that have ended. ``excused``: what they need is away, so it is not their fault."""
        ended = []
        for name, run in list(self.runs.items()):
            code = run.child.poll()
            if code is None:
                continue
            del self.runs[name]
            one = Ended(run, code)
            ended.append(one)
            if not one.asked:
                self._remember(one, now, excused)
        return ended

    def _remember(self, ended: Ended, now: float, excused: bool) -> None:
        run, name = ended.run, ended.name
        if run.was_hung:
            self.hung[name] += 1
        served_s = 0.0 if run.ready_at is None else now - run.ready_at
        asked_by_others = ended.code in (0, -signal.SIGKILL, -signal.SIGTERM) and run.ready_at is not None
        killed = asked_by_others and not run.was_hung
        history = self.exits.setdefault(name, deque(maxlen=EXITS_KEPT))
        history.append(Exit(now, served_s, excused or killed))
        self.reasons[name] = ended.reason

    def see(self, beats: Mapping[str, Beat | None], told_apart: Collection[str], now: float) -> list[str]:
        """Take note of the workers' beats; answers the names that have just become ready.

        ``told_apart``: workers whose beats nobody else's can hide.
        """
        ready = []
        for name, run in self.runs.items():
            beat = beats.get(name)
            run.is_told_apart |= name in told_apart
            if beat is not None:
                was_ready = run.ready_at is not None
                run.see(beat, now)
                if run.ready_at is not None and not was_ready:
                    ready.append(name)
        return ready

    def troubles(self) -> dict[str, str]:
        """What keeps workers that run from their work, as they say themselves."""
        beats = {name: run.beat for name, run in self.runs.items()}
        return {name: beat.error for name, beat in beats.items() if beat and beat.error and beat.state == RUNNING}

    def excuse_silence(self, now: float) -> None:
        """Nobody could be heard until now: count silence from here."""
        for run in self.runs.values():
            run.sign_at = now

    def mark_ready(self, name: str, now: float) -> None:
        """A server answers."""
        if name in self.runs and self.runs[name].ready_at is None:
            self.runs[name].ready_at = now

    def forget(self, name: str) -> None:
        """A fresh start for a process: its exits no longer count."""
        self.exits.pop(name, None)
        self.reasons.pop(name, None)

    def alive(self) -> dict[str, Alive]:
        """What runs, for ``plan``."""
        return {
            name: Alive(name, run.sign_at, run.beat is not None and run.beat.state in SETTLED, run.kill_at)
            for name, run in self.runs.items()
        }

    def records(self) -> list[ProcessRecord]:
        """What runs, for ``cluster.json``."""
        return [ProcessRecord(name, run.child.pid, run.child.created) for name, run in self.runs.items()]

    def measure(self) -> None:
        """Read how much memory each process uses."""
        self._memory = {name: _memory(run.child.pid) for name, run in self.runs.items()}

    def views(self, absent: Iterable[tuple[str, str]]) -> list[ProcessView]:
        """Every process, with its state; ``absent``: those that do not run, with theirs."""
        found = []
        for name, run in self.runs.items():
            reason = run.beat.error if run.beat is not None and run.beat.error else ""
            view = ProcessView(name, run.state(), run.child.pid, reason, started_at=run.child.started_at)
            view.memory = self._memory.get(name, 0)
            found.append(view)
        found += [ProcessView(name, state, reason=self.reasons.get(name, "")) for name, state in absent]
        for view in found:
            view.restarts, view.hung = self.restarts[view.name], self.hung[view.name]
        return found


def _memory(pid: int) -> int:
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return 0
