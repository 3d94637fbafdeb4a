"""Read what the processes have written: the last lines, and what follows."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

from cluster.child import log_path
from shared.errors import InvalidInput

POLL_S = 0.2
_CHUNK = 65_536


def find_logs(folder: Path, name: str | None) -> list[Path]:
    """The log of a process (``engine:BTC-USD``), or all of them. Raises ``InvalidInput`` that names those there are."""
    known = sorted(folder.glob("*.log")) if folder.is_dir() else []
    if name is None and known:
        return known
    found = [path for path in known if name is not None and path == log_path(folder, name)]
    if not found:
        names = ", ".join(path.stem for path in known) or "none yet"
        wanted = "any process" if name is None else f'"{name}"'
        raise InvalidInput(f"no log of {wanted} in {folder} (there are: {names})")
    return found


def last_lines(path: Path, count: int) -> list[str]:
    """The last ``count`` lines of a file, read from its end."""
    with path.open("rb") as file:
        start = file.seek(0, os.SEEK_END)
        tail = b""
        while start > 0 and tail.count(b"\n") <= count:
            length = min(_CHUNK, start)
            start -= length
            file.seek(start)
            tail = file.read(length) + tail
    lines = tail.decode(errors="replace").splitlines()
    return lines[-count:] if count else []


def follow(folder: Path, name: str | None) -> Iterator[tuple[str, str]]:
    """(file's name, line) for each line written from now on, for ever; new files and fresh starts are noticed."""
    ends = {path: path.stat().st_size for path in find_logs(folder, name)}
    while True:
        for path in find_logs(folder, name):
            size = path.stat().st_size
            start = ends.get(path, 0)
            if size < start:  # put aside, and begun anew
                start = 0
            if size > start:
                with path.open("rb") as file:
                    file.seek(start)
                    written = file.read(size - start)
                complete = written[: written.rfind(b"\n") + 1]
                ends[path] = start + len(complete)
                for line in complete.decode(errors="replace").splitlines():
                    yield path.stem, line
        time.sleep(POLL_S)
