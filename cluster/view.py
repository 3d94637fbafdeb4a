"""What a supervisor tells others about its processes, and what a worker tells about itself: JSON in Redis."""

import hashlib
import socket
from pathlib import Path

import msgspec


class Beat(msgspec.Struct, frozen=True):
    """A worker's last sign of life. ``time`` in ns; ``epoch``: of the lease it holds, 0 if it has none."""

    pid: int
    host: str
    state: str
    time: int
    sequence: int = 0
    lag: int = 0
    error: str = ""
    epoch: int = 0


class ProcessView(msgspec.Struct):
    """One process as its supervisor sees it. ``started_at`` in seconds since the epoch, ``memory`` in bytes."""

    name: str
    state: str
    pid: int = 0
    reason: str = ""
    restarts: int = 0
    hung: int = 0
    started_at: float = 0.0
    memory: int = 0


class SupervisorView(msgspec.Struct):
    """A supervisor and what it runs. ``time`` in seconds since the epoch."""

    host: str
    data: str
    pid: int
    address: str
    time: float
    started_at: float
    processes: list[ProcessView]


def identity(folder: Path) -> str:
    """The name of the supervisor of this data folder on this host, the same after each start."""
    return f"{socket.gethostname()}:{hashlib.sha256(str(folder).encode()).hexdigest()[:8]}"


def decode_beat(text: bytes | None) -> Beat | None:
    """A beat, or ``None`` if there is none or it is not one."""
    try:
        return msgspec.json.decode(text, type=Beat) if text else None
    except msgspec.DecodeError:
        return None
