"""One child process: started in a session of its own, logged to a file, stopped by signals, gone with its parent."""

import contextlib
import ctypes
import os
import pwd
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec

from cluster.record import creation_time

LOG_BYTES_MAX = 10_000_000
REASON_CHARS_MAX = 300
_TAIL_BYTES = 8192
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


class Command(msgspec.Struct, frozen=True):
    """How to start a process, and how to end it.

    ``stop_signal`` asks it to finish; ``orphan_signal`` is what Linux sends it when the supervisor dies. ``user``: the
    system user it runs as, if not ours.
    """

    arguments: Sequence[str]
    environment: Mapping[str, str]
    folder: Path
    stop_signal: signal.Signals = signal.SIGTERM
    orphan_signal: signal.Signals = signal.SIGKILL
    user: str | None = None


def log_path(logs: Path, name: str) -> Path:
    """Where a process's output goes: ``engine:BTC-USD`` -> ``engine-BTC-USD.log``."""
    return logs / f"{name.replace(':', '-')}.log"


def rotate(path: Path) -> None:
    """Put a log that has grown large aside; one old log is kept."""
    if path.exists() and path.stat().st_size > LOG_BYTES_MAX:
        path.replace(path.with_name(f"{path.name}.1"))


class Child:
    """A running, or just ended, process."""

    def __init__(self, name: str, command: Command, logs: Path) -> None:
        """Start it. Its output is appended to its log; Ctrl-C in the supervisor's terminal does not reach it."""
        self.name = name
        self.command = command
        self.started_at = time.time()
        self._log = log_path(logs, name)
        rotate(self._log)
        with self._log.open("ab") as log:
            self._log_from = log.tell()
            self._process = subprocess.Popen(  # noqa: S603  # our own command lines, no shell
                command.arguments,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=command.folder,
                env=dict(command.environment),
                start_new_session=True,
                user=command.user,
                group=_group_of(command.user),
                extra_groups=None if command.user is None else (),
                preexec_fn=_die_with_parent(command.orphan_signal),  # noqa: PLW1509  # we start no threads before
            )
        self.pid = self._process.pid
        self.created = creation_time(self.pid)

    def poll(self) -> int | None:
        """Its exit code (below 0: the signal that ended it), ``None`` while it runs."""
        return self._process.poll()

    def stop(self) -> None:
        """Ask it to finish."""
        self._process.send_signal(self.command.stop_signal)

    def kill(self) -> None:
        """End it and whatever it has started, now."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)

    def last_words(self) -> str:
        """The last line it has written since it was started, for people."""
        try:
            with self._log.open("rb") as log:
                end = log.seek(0, os.SEEK_END)
                log.seek(max(self._log_from, end - _TAIL_BYTES))
                lines = log.read().decode(errors="replace").split("\n")
        except FileNotFoundError:
            return ""
        words = next((line.strip() for line in reversed(lines) if line.strip()), "")
        return words if len(words) <= REASON_CHARS_MAX else words[: REASON_CHARS_MAX - 1] + "…"


def describe_exit(code: int, last_words: str) -> str:
    """An exit for people: what ended the process, and what it said last."""
    if code < 0:
        with contextlib.suppress(ValueError):
            return f"killed by {signal.Signals(-code).name}"
    if code == 0:
        return "ended by itself"
    return last_words or f"exit code {code}"


def _group_of(user: str | None) -> int | None:
    if user is None:
        return None
    return pwd.getpwnam(user).pw_gid


def _die_with_parent(number: signal.Signals) -> Callable[[], None] | None:
    """What a child runs before exec, so that the kernel ends it when the supervisor dies (Linux only)."""
    if _libc is None:
        return None
    libc, parent = _libc, os.getpid()

    def bind() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, int(number), 0, 0, 0)
        if os.getppid() != parent:  # it died before we asked
            os.kill(os.getpid(), signal.SIGKILL)

    return bind
