"""What a supervisor tells others about its processes: JSON in Redis."""

import hashlib
import socket
from pathlib import Path

import msgspec


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
