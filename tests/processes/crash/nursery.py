"""Processes of the nursery (``tests/nursery.py``) that do something to themselves, and tell of it."""

import functools
import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import msgspec

from shared.settings import Settings
from tests import nursery
from tests.processes.crash.points import arm, point_of
from workers.store import RedisStore

HURRY = {
    "workers.runtime": {"BEAT_S": 0.1, "TRIM_S": 0.05, "RETRY_S": 0.05},
    "workers.store": {"RETRY_S": 0.05},
    "workers.pusher.link": {"LONGEST_PAUSE_S": 0.2},
    "workers.pusher.process": {"BEAT_S": 0.1},
}
"""Constants of the product that are smaller here: else hardly a process would live to trim, or to try again."""
ENTRIES = {"supervisor": "cluster.background", "fakes": "tests.cluster.fake_cluster"}
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


class Child(nursery.Child):
    """A worker or a supervisor, born with the ``fault`` it is to die of, if any."""

    def __init__(self, name: str, settings: Settings, fault: Fault | None, log: Path) -> None:
        self.name = name
        self.fault = fault
        kind, _, argument = name.partition(":")
        self._hears, tells = multiprocessing.Pipe(duplex=False)
        super().__init__(
            ENTRIES.get(kind, f"workers.{kind}.__main__"),
            [argument] if argument else [],
            os.environ | settings.environment(),
            log,
            constants=HURRY,
            first=functools.partial(_be_ready, name, fault, tells),
        )
        tells.close()

    def told(self) -> list[Any]:
        """What it has told since it was asked last: ``"reached"``, or what a witness saw."""
        found = []
        try:
            while self._hears.poll():
                found.append(self._hears.recv())
        except (EOFError, ConnectionResetError):
            pass
        return found

    def close(self) -> None:
        """Let go of a process that has ended."""
        super().close()
        self._hears.close()


def _be_ready(name: str, fault: Fault | None, tells: Connection) -> None:
    """Come to the ``fault`` in time. A signal that it speaks of is told before it is given."""
    if fault is not None:
        if fault.number == signal.SIGSTOP:
            _be_witness(tells)
        arm(point_of(name, fault.label), fault.passes, lambda: _strike(fault, tells))
    else:
        tells.close()


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
