"""The servers of a cluster that is stopped, for commands that need them and nobody else: recover, backup, restore."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from redis.exceptions import RedisError

from cluster import embedded
from cluster.child import Child
from cluster.claim import claim_folder
from cluster.commands import log_folder
from cluster.plan import INITDB
from shared import keys
from shared.connections import connect
from shared.errors import MatchboxError, Unavailable
from shared.settings import Settings

START_S = 60.0
STOP_S = 30.0
POLL_S = 0.02


@contextmanager
def offline(settings: Settings) -> Iterator[Settings]:
    """Settings with the URLs of servers that nobody else uses meanwhile; our own are started, and stopped again.

    Raises ``MatchboxError`` if the cluster runs.
    """
    with ExitStack() as stack:
        lock, _ = claim_folder(settings)
        stack.callback(lock.release)
        if not settings.redis_url:
            valkey = embedded.valkey(settings)
            stack.enter_context(_running(valkey, settings, lambda _: _answers(valkey.url)))
            settings = settings.with_changes(redis_url=valkey.url)
        else:
            _refuse_workers(settings.redis_url)
        if not settings.database_url:
            postgres = embedded.postgres(settings)
            _init(postgres, settings)
            stack.enter_context(_running(postgres, settings, lambda pid: embedded.is_ready(postgres, pid)))
            settings = settings.with_changes(database_url=postgres.url)
        yield settings


def _refuse_workers(url: str) -> None:
    """On servers that are not ours, whoever works there shows it."""
    if name := someone_runs(url):
        raise MatchboxError(
            f'{name} runs on this Redis, or did 5 s ago; stop all of the cluster first ("matchbox stop")'
        )


def someone_runs(url: str) -> str:
    """A worker that has lately shown a sign of life on this Redis; "" if there is none. Raises ``Unavailable``."""
    client = connect(url)
    try:
        beat = next(client.scan_iter(keys.beat("*"), count=1000), None)
    except RedisError as error:
        raise Unavailable(f"Redis does not answer: {error}") from error
    finally:
        client.close()
    return beat.decode().removeprefix(keys.beat("")) if beat is not None else ""


def _init(postgres: embedded.Server, settings: Settings) -> None:
    command = embedded.initdb(postgres)
    if command is None:
        return
    child = Child(INITDB, command, log_folder(settings))
    if _wait(child, STOP_S) != 0:
        raise MatchboxError(f"{INITDB}: {child.last_words() or 'it does not end'}")
    embedded.finish_initdb(postgres)


@contextmanager
def _running(server: embedded.Server, settings: Settings, is_ready: Callable[[int], bool]) -> Iterator[None]:
    child = Child(server.name, server.command, log_folder(settings))
    try:
        end = time.monotonic() + START_S
        while not is_ready(child.pid):
            if child.poll() is not None or time.monotonic() > end:
                raise Unavailable(f"{server.name} does not start: {child.last_words() or 'it says nothing'}")
            time.sleep(POLL_S)
        yield
    finally:
        if child.poll() is None:
            child.stop()
        if _wait(child, STOP_S) is None:
            child.kill()
            _wait(child, STOP_S)
        server.clean()


def _wait(child: Child, seconds: float) -> int | None:
    end = time.monotonic() + seconds
    while (code := child.poll()) is None and time.monotonic() < end:
        time.sleep(POLL_S)
    return code


def _answers(url: str) -> bool:
    client: Any = connect(url)
    try:
        return bool(client.ping())
    except RedisError:  # not there yet, or still loading its file
        return False
    finally:
        client.close()
