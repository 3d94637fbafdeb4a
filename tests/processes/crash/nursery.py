"""Processes that are there in 10 ms: forked from a server that has imported everything, then run as the product does.

What is forked is the product's own entry point, with settings from the environment, as a process of its own that real
signals end. Only the second of imports is saved; the matrix starts thousands of them.
"""

import ctypes
import importlib
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import msgspec

from shared.settings import Settings
from tests.processes.crash.points import arm, point_of
from workers.store import RedisStore

_CONTEXT = multiprocessing.get_context("forkserver")
_PRELOADED = ["tests.processes.crash.warm", "tests.processes.crash.nursery"]
_PR_SET_PDEATHSIG = 1
HURRY = {
    "workers.runtime": {"BEAT_S": 0.1, "TRIM_S": 0.05, "RETRY_S": 0.05},
    "workers.store": {"RETRY_S": 0.05},
    "workers.pusher.link": {"LONGEST_PAUSE_S": 0.2},
    "workers.pusher.process": {"BEAT_S": 0.1},
}
"""Constants of the product that are smaller here: else hardly a process would live to trim, or to try again."""


ENTRIES = {"supervisor": "cluster.background", "fakes": "tests.processes.crash.fakes"}
"""Modules of those that are no workers."""


class Fault(msgspec.Struct):
    """What a process shall do to itself: at ``label``, the ``passes``-th time, get the signal ``number``."""

    label: str
    passes: int = 1
    number: int = signal.SIGKILL


class Fate(msgspec.Struct):
    """What became of a write of an owner that was stopped and woken.

    ``epoch``: of which ownership it was. ``sent_at``: when it was on its way.
    """

    epoch: int
    sent_at: float
    is_written: bool


class Child:
    """A process of the nursery, born with the ``fault`` it is to die of, if any."""

    def __init__(self, name: str, settings: Settings, fault: Fault | None, log: Path) -> None:
        self.name = name
        self.fault = fault
        self.log = log
        self.started_at = time.monotonic()
        self.is_closed = False
        self._hears, tells = _CONTEXT.Pipe(duplex=False)
        self.process = _CONTEXT.Process(
            target=_live, args=(name, settings.environment(), fault, str(log), tells), daemon=True
        )
        self.process.start()
        tells.close()

    @property
    def pid(self) -> int:
        """Its pid."""
        assert self.process.pid is not None
        return self.process.pid

    def has_ended(self) -> bool:
        """Whether it is gone."""
        return self.process.exitcode is not None

    def told(self) -> list[Any]:
        """What it has told since it was asked last: ``"reached"``, or what a witness saw."""
        found = []
        try:
            while self._hears.poll():
                found.append(self._hears.recv())
        except (EOFError, ConnectionResetError):
            pass
        return found

    def send_signal(self, number: int) -> None:
        """A signal from outside."""
        os.kill(self.pid, number)

    def end(self) -> None:
        """Kill -9, and wait for the end."""
        if not self.is_closed:
            self.process.kill()
            self.process.join()
            self.close()

    def close(self) -> None:
        """Let go of a process that has ended."""
        self.is_closed = True
        self._hears.close()
        self.process.close()

    def last_words(self) -> str:
        """The last line of its log."""
        lines = self.log.read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else "it said nothing"


def prepare() -> None:
    """Start the server that forks, from which on starting a process is quick."""
    _CONTEXT.set_forkserver_preload(_PRELOADED)
    first = _CONTEXT.Process(target=os.getpid)
    first.start()
    first.join()


def _live(name: str, environment: dict[str, str], fault: Fault | None, log: str, tells: Connection) -> None:
    """Be the process ``name``. A signal that ``fault`` speaks of is told before it is given."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.environ.update(environment)
    for module, constants in HURRY.items():
        for constant, value in constants.items():
            owner = importlib.import_module(module)
            assert hasattr(owner, constant)
            setattr(owner, constant, value)
    if fault is not None:
        if fault.number == signal.SIGSTOP:
            _be_witness(tells)
        arm(point_of(name, fault.label), fault.passes, lambda: _strike(fault, tells))
    kind, _, argument = name.partition(":")
    sys.argv = [kind, *([argument] if argument else [])]
    entry = importlib.import_module(ENTRIES.get(kind, f"workers.{kind}.__main__"))
    (entry.main if hasattr(entry, "main") else entry.run)()


def _strike(fault: Fault, tells: Connection) -> None:
    tells.send("reached")
    os.kill(os.getpid(), fault.number)
    _woken.append(time.monotonic())


_woken: list[float] = []
"""When this process was woken after it had been stopped."""


def _be_witness(tells: Connection) -> None:
    """Tell what becomes of whatever a machine writes once it was stopped and woken."""
    sent = [0.0]

    def sending(send: Callable[..., None]) -> Callable[..., None]:
        def wrapped(*arguments: Any) -> None:
            send(*arguments)
            sent[0] = time.monotonic()

        return wrapped

    def hearing(receive: Callable[..., str]) -> Callable[..., str]:
        def wrapped(store: RedisStore) -> str:
            fate = receive(store)
            if _woken:
                tells.send(Fate(store.epoch, sent[0], fate in ("OK", "DUP")))
            return fate

        return wrapped

    def saving(save: Callable[..., bool]) -> Callable[..., bool]:
        def wrapped(store: RedisStore, *arguments: Any) -> bool:
            began = time.monotonic()
            is_saved = save(store, *arguments)
            if _woken:
                tells.send(Fate(store.epoch, began, is_saved))
            return is_saved

        return wrapped

    RedisStore.send_commit = sending(RedisStore.send_commit)  # type: ignore[method-assign]
    RedisStore.receive_commit = hearing(RedisStore.receive_commit)  # type: ignore[method-assign]
    RedisStore.save_snapshot = saving(RedisStore.save_snapshot)  # type: ignore[method-assign]
