"""A cluster that stays when the terminal goes: start it, stop it from anywhere. ``python -m cluster.background``."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from cluster.child import rotate
from cluster.claim import claim
from cluster.commands import log_folder, python_command
from cluster.logs import last_lines
from cluster.record import (
    ClusterRecord,
    DataLock,
    find_process,
    read_record,
    remove_record,
    stop_leftovers,
)
from cluster.supervisor import Supervisor
from cluster.welcome import answers
from shared.errors import MatchboxError, Unavailable
from shared.settings import Settings, load_settings

READY_S = 60.0
POLL_S = 0.1
STOP_MARGIN_S = 45.0
"""On top of five times ``drain_ms``: the embedded servers stop last."""
DEMO_OPTION = "--demo"


def run_supervisor(
    settings: Settings,
    *,
    demo: bool,
    echo: Callable[[str], None],
    on_ready: Callable[[Settings, tuple[str, ...]], None],
) -> None:
    """Be the supervisor until a signal asks to stop; what happens is told line by line, with the time of day."""
    asyncio.run(
        Supervisor(
            settings, demo=demo, report=lambda line: echo(f"{time.strftime('%H:%M:%S')} {line}"), on_ready=on_ready
        ).run()
    )


def start(settings: Settings, *, demo: bool) -> ClusterRecord:
    """Start a supervisor in a session of its own, and wait until its gateway answers.

    Raises ``MatchboxError``: it cannot run here, it ended at once, or the gateway does not answer in time.
    """
    lock, _ = claim(settings)  # complains here and not in a log
    lock.release()
    command = python_command(settings, __spec__.name, *([DEMO_OPTION] if demo else []))
    path = log_folder(settings) / "supervisor.log"
    rotate(path)
    with path.open("ab") as log:
        process = subprocess.Popen(  # noqa: S603  # our own command line, no shell
            command.arguments,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=command.folder,
            env=dict(command.environment),
            start_new_session=True,
        )
    end = time.monotonic() + READY_S
    while time.monotonic() < end:
        if process.poll() is not None:
            raise MatchboxError(" ".join(last_lines(path, 1)) or f"it ended at once; see {path}")
        record = read_record(settings.data_dir)
        if record is not None and record.pid == process.pid and asyncio.run(answers(settings.host, settings.port)):
            return record
        time.sleep(POLL_S)
    raise Unavailable(
        f"the gateway does not answer within {READY_S:g} s (last: {' '.join(last_lines(path, 1)) or 'nothing'}); "
        f'the cluster goes on trying: see "matchbox status" and "matchbox logs"'
    )


def stop(settings: Settings) -> list[str]:
    """Stop the cluster of the data folder and wait for its end; answers what was stopped, nothing if nothing ran.

    Raises ``MatchboxError`` if it does not stop.
    """
    folder = settings.data_dir
    record = _find_record(settings)
    if record is None:
        return []
    process = find_process(record.pid, record.created)
    if process is None:
        return _clear_up(folder, record)
    try:
        process.terminate()
    except psutil.AccessDenied:
        raise MatchboxError(f"the cluster in {folder} (pid {record.pid}) belongs to another user") from None
    wait_s = 5 * settings.drain_ms / 1000 + STOP_MARGIN_S
    end = time.monotonic() + wait_s
    while find_process(record.pid, record.created) is not None:
        if time.monotonic() > end:
            raise MatchboxError(
                f'the supervisor (pid {record.pid}) has not stopped within {wait_s:.0f} s; see "matchbox logs"; '
                f'"kill -9 {record.pid}" and then "matchbox stop" end it without draining'
            )
        time.sleep(POLL_S)
    return ["supervisor", *(one.name for one in record.processes)]


def _clear_up(folder: Path, record: ClusterRecord) -> list[str]:
    """End what a killed supervisor has left: its processes, its record, its lock."""
    lock = DataLock(folder)
    lock.acquire()
    left = stop_leftovers(record.processes)
    remove_record(folder)
    lock.release()
    return left


def _find_record(settings: Settings) -> ClusterRecord | None:
    """The record; one that only just starts gets a moment to write it."""
    folder = settings.data_dir
    if not folder.is_dir():
        return None
    for _ in range(20):
        if record := read_record(folder):
            return record
        try:
            lock = DataLock(folder)
            lock.acquire()
        except MatchboxError:
            time.sleep(POLL_S)
        else:
            lock.release()
            return None
    raise MatchboxError(f"a cluster in {folder} starts or stops right now; try again in a moment")


def main() -> None:
    """Run a supervisor with settings from the environment; an error is the last line on stderr, exit code 1."""

    def echo(line: str) -> None:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()

    try:
        run_supervisor(
            load_settings(),
            demo=DEMO_OPTION in sys.argv[1:],
            echo=echo,
            on_ready=lambda settings, _: echo(f"open at port {settings.port}, pid {os.getpid()}"),
        )
    except MatchboxError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(1)


if __name__ == "__main__":
    main()
