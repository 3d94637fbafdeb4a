"""The data folder's own record of the cluster that runs in it: ``cluster.json``, and the lock that admits one.

Other terminals find the running cluster by this file. If the supervisor was killed, the next one finds here what it
may have left running: processes are recognised by pid and creation time together, because pids are used again.
"""

import contextlib
import fcntl
import os
import signal
import tempfile
from collections.abc import Iterable
from pathlib import Path

import msgspec
import psutil

from shared.errors import MatchboxError, Unavailable
from shared.settings import Settings

RECORD_FILE = "cluster.json"
LOCK_FILE = "cluster.lock"
CREATED_TOLERANCE_S = 2.0
"""How far two readings of a process's creation time may lie apart: the kernel derives them from the boot time."""
LEFTOVER_STOP_S = 10.0


class ProcessRecord(msgspec.Struct):
    """A process of the cluster. ``created``: seconds since the epoch, as psutil tells it."""

    name: str
    pid: int
    created: float


class ClusterRecord(msgspec.Struct):
    """A running cluster: its supervisor, where its servers and its gateway are, and its processes."""

    pid: int
    created: float
    host: str
    port: int
    redis_url: str
    database_url: str
    started_at: float
    processes: list[ProcessRecord] = []

    def is_running(self) -> bool:
        """Whether the supervisor lives."""
        return find_process(self.pid, self.created) is not None


def find_process(pid: int, created: float) -> psutil.Process | None:
    """The living process with this pid and creation time; a zombie is dead."""
    try:
        process = psutil.Process(pid)
        is_same = abs(process.create_time() - created) <= CREATED_TOLERANCE_S
        return process if is_same and process.status() != psutil.STATUS_ZOMBIE else None
    except psutil.NoSuchProcess:
        return None


def creation_time(pid: int) -> float:
    """When the process was created; 0 if it is gone already."""
    try:
        return float(psutil.Process(pid).create_time())
    except psutil.NoSuchProcess:
        return 0.0


def write_private(path: Path, content: bytes) -> None:
    """Replace a file at once, readable by its owner only."""
    descriptor, draft = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # mode 0600
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        os.replace(draft, path)
    except OSError:
        Path(draft).unlink(missing_ok=True)
        raise


def write_record(folder: Path, record: ClusterRecord) -> None:
    """Publish the record."""
    write_private(folder / RECORD_FILE, msgspec.json.encode(record))


def read_record(folder: Path) -> ClusterRecord | None:
    """The record in the data folder, of a living cluster or a dead one; ``None`` if there is none to read."""
    try:
        return msgspec.json.decode((folder / RECORD_FILE).read_bytes(), type=ClusterRecord)
    except (FileNotFoundError, NotADirectoryError, msgspec.DecodeError):
        return None
    except PermissionError:
        raise Unavailable(f"{folder}: the cluster in this data folder belongs to another user") from None


def remove_record(folder: Path) -> None:
    """The cluster has stopped."""
    (folder / RECORD_FILE).unlink(missing_ok=True)


def attach(settings: Settings) -> Settings:
    """Settings with the URLs and the port of the cluster that runs in the data folder; URLs that are set stay.

    Raises ``Unavailable`` if no cluster runs there and Redis is not set either.
    """
    record = read_record(settings.data_dir)
    if record is not None and record.is_running():
        return settings.with_changes(
            redis_url=settings.redis_url or record.redis_url,
            database_url=settings.database_url or record.database_url,
            host=record.host,
            port=record.port,
        )
    if settings.redis_url:
        return settings
    raise Unavailable(
        f'no cluster runs in {settings.data_dir}; start it with "matchbox start", or name another with --data'
    )


class DataLock:
    """Admits one supervisor per data folder. The kernel gives it back when the process dies, however it dies."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / LOCK_FILE
        self._descriptor = -1

    def acquire(self) -> None:
        """Take the lock. Raises ``MatchboxError`` that names the supervisor which has it."""
        while True:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(descriptor)
                raise MatchboxError(self._complaint()) from None
            if self._is_still(descriptor):
                self._descriptor = descriptor
                return
            os.close(descriptor)  # its holder removed the file meanwhile: try the new one

    def _is_still(self, descriptor: int) -> bool:
        with contextlib.suppress(FileNotFoundError):
            return os.stat(self._path).st_ino == os.fstat(descriptor).st_ino
        return False

    def _complaint(self) -> str:
        folder = self._path.parent
        record = read_record(folder)
        who = f"pid {record.pid}, port {record.port}" if record else "it is just starting or stopping"
        return f'a cluster already runs in {folder} ({who}); "matchbox stop" stops it, --data and --port start another'

    def release(self) -> None:
        """Remove the file and give the lock back."""
        if self._descriptor >= 0:
            self._path.unlink(missing_ok=True)
            os.close(self._descriptor)
            self._descriptor = -1


def stop_leftovers(processes: Iterable[ProcessRecord]) -> list[str]:
    """End what a killed supervisor left running, and answer their names. Workers are crash-safe: they are killed.

    Servers are asked first, so that they close their files and remove their sockets.
    """
    found = [(one.name, process) for one in processes if (process := find_process(one.pid, one.created))]
    polite = {"valkey": signal.SIGTERM, "postgres": signal.SIGINT}
    for name, process in sorted(found, key=lambda pair: pair[0] in polite):
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(polite.get(name, signal.SIGKILL))
    _, stubborn = psutil.wait_procs([process for _, process in found], timeout=LEFTOVER_STOP_S)
    for process in stubborn:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(stubborn, timeout=LEFTOVER_STOP_S)
    return [name for name, _ in found]
