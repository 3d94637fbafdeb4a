"""Processes that are there in 10 ms: forked from a server that has imported everything, then run as the product does.

What is forked is the product's own entry point, with settings from the environment, as a process of its own that real
signals end. Only the second of imports is saved: ``make test`` starts hundreds of them, the crash matrix thousands.
The tests of the supervisor start everything as a user's cluster does.
"""

import ctypes
import importlib
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
Constants = Mapping[str, Mapping[str, Any]]
"""Module -> constants of it that have another value in a process."""
_CONTEXT = multiprocessing.get_context("forkserver")
_PRELOADED = ["__main__", "tests.warm", "tests.nursery"]
_CONTEXT.set_forkserver_preload(_PRELOADED)
_PR_SET_PDEATHSIG = 1
_LOGS: dict[Path, None] = {}
"""What the processes of this run write, in the order in which they were started."""
_TOLD_LINES = 12


class Child:
    """A process of the nursery: ``python -m MODULE ARGUMENTS``, whose output goes to the end of ``log``.

    ``errors``: where its stderr goes, if not there. ``first`` runs in it before its module does.
    """

    def __init__(
        self,
        module: str,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        log: Path,
        *,
        errors: Path | None = None,
        constants: Constants | None = None,
        first: Callable[[], None] | None = None,
    ) -> None:
        self.log = log
        _LOGS[log] = None
        self.started_at = time.monotonic()
        self.is_closed = False
        self._code: int | None = None
        self.process = _CONTEXT.Process(
            target=_live,
            args=(module, list(arguments), dict(environment), (log, errors or log), constants or {}, first),
            daemon=True,
        )
        self.process.start()

        assert self.process.pid is not None
        self.pid = self.process.pid

    @property
    def exit_code(self) -> int | None:
        """With which it has ended, -9 if kill -9 did it; ``None`` as long as it lives."""
        return self._code if self.is_closed else self.process.exitcode

    def has_ended(self) -> bool:
        """Whether it is gone."""
        return self.exit_code is not None

    def send_signal(self, number: int) -> None:
        """A signal from outside, if it still lives."""
        if not self.has_ended():
            os.kill(self.pid, number)

    def wait(self, timeout_s: float) -> int:
        """Its exit code. Raises ``TimeoutError`` if it lives on; then it is killed."""
        if not self.is_closed:
            self.process.join(timeout_s)
        code = self.exit_code
        self.end()
        if code is None:
            raise TimeoutError(f"process {self.log.stem} did not end within {timeout_s:g} s; it was killed")
        return code

    def end(self) -> None:
        """Kill -9, and wait for the end."""
        if not self.is_closed:
            self.process.kill()
            self.process.join()
            self.close()

    def close(self) -> None:
        """Let go of a process that has ended."""
        self._code = self.process.exitcode
        self.is_closed = True
        self.process.close()

    def last_words(self) -> str:
        """The last line of its log."""
        lines = self.log.read_text(errors="replace").strip().splitlines() if self.log.exists() else []
        return lines[-1] if lines else "it said nothing"


def told() -> str:
    """The last lines of every log that is still there: what to look at where a test has failed."""
    texts = ((log, log.read_text(errors="replace").splitlines()) for log in _LOGS if log.exists())
    return "\n".join(f"--- {log.stem}\n" + "\n".join(lines[-_TOLD_LINES:]) for log, lines in texts if lines)


def prepare(*modules: str) -> None:
    """Start the server that forks now; else the first process has to wait for it. It imports ``modules``, too."""
    _CONTEXT.set_forkserver_preload([*_PRELOADED, *modules])
    first = _CONTEXT.Process(target=os.getpid)
    first.start()
    first.join()


def _live(
    module: str,
    arguments: list[str],
    environment: dict[str, str],
    outputs: tuple[Path, Path],
    constants: Constants,
    first: Callable[[], None] | None,
) -> None:
    """Be ``python -m module arguments``."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    for number, path in enumerate(outputs, start=1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), number)
    os.chdir(ROOT)
    os.environ.clear()
    os.environ.update(environment)
    for name, values in constants.items():
        owner = importlib.import_module(name)
        for constant, value in values.items():
            assert hasattr(owner, constant), f"{name} has no {constant}"
            setattr(owner, constant, value)
    if first is not None:
        first()
    sys.argv = [module, *arguments]
    entry = importlib.import_module(module)
    (entry.main if hasattr(entry, "main") else entry.run)()
