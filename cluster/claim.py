"""Make the data folder and the port ours before anything starts, or say in one line why that cannot be."""

import contextlib
import socket
from typing import Any

import psutil

from cluster.commands import log_folder
from cluster.record import DataLock, read_record, remove_record, stop_leftovers
from shared.default_secrets import check_secrets
from shared.errors import MatchboxError, Unavailable
from shared.settings import Settings

RESTORING = "restore.unfinished"
"""A file in a data folder that is being restored: what is in it meanwhile would start as an empty exchange."""


def claim(settings: Settings) -> tuple[DataLock, list[str]]:
    """The lock on the data folder, and the names of processes that a killed supervisor had left and that now are gone.

    Raises ``MatchboxError``: a secret is none, the folder cannot be used, a cluster runs in it, or the port is taken.
    """
    check_secrets(settings)
    if (settings.data_dir / RESTORING).exists():
        raise MatchboxError(
            f'a restore into {settings.data_dir} was not finished; remove the folder and run "matchbox restore" again'
        )
    lock, left = claim_folder(settings)
    try:
        check_port(settings.host, settings.port)
    except MatchboxError:
        lock.release()
        raise
    return lock, left


def claim_folder(settings: Settings) -> tuple[DataLock, list[str]]:
    """The same for who needs the data folder alone."""
    folder = settings.data_dir
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = DataLock(folder)
        lock.acquire()
    except OSError as error:
        raise MatchboxError(f"data folder {folder}: {error.strerror}; name another with --data") from error
    try:
        log_folder(settings).mkdir(mode=0o700, exist_ok=True)
        former = read_record(folder)
        left = stop_leftovers(former.processes) if former else []
        remove_record(folder)
    except OSError as error:
        lock.release()
        raise MatchboxError(f"data folder {folder}: {error.strerror}; name another with --data") from error
    except MatchboxError:
        lock.release()
        raise
    return lock, left


def claim_for_restore(settings: Settings) -> None:
    """Make the data folder, and have no start use it before ``restore_finished``. Raises ``MatchboxError``."""
    folder = settings.data_dir
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        (folder / RESTORING).touch()
    except OSError as error:
        raise MatchboxError(f"data folder {folder}: {error.strerror}; name another with --data") from error


def restore_finished(settings: Settings) -> None:
    """What is in the data folder is whole."""
    (settings.data_dir / RESTORING).unlink()


def check_port(host: str, port: int) -> None:
    """Raise ``Unavailable`` if the gateway could not listen there."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except PermissionError:
            raise Unavailable(
                f"port {port} needs more rights than we have; choose one above 1023 with --port"
            ) from None
        except OSError as error:
            if _is_listening(port):
                who = _listener(port)
                raise Unavailable(f"port {port} is taken{who}; choose another with --port") from None
            raise Unavailable(f"cannot listen on {host}:{port}: {error.strerror}; choose another --host") from None


def _is_listening(port: int) -> bool:
    return any(one.status == psutil.CONN_LISTEN and one.laddr.port == port for one in _connections())


def _listener(port: int) -> str:
    """Who listens there, as far as the system tells us."""
    for one in _connections():
        if one.status == psutil.CONN_LISTEN and one.laddr.port == port and one.pid:
            with contextlib.suppress(psutil.Error):
                return f" by {psutil.Process(one.pid).name()} (pid {one.pid})"
    return ""


def _connections() -> list[Any]:
    try:
        return list(psutil.net_connections("tcp"))
    except psutil.AccessDenied:  # macOS tells only root
        return []
