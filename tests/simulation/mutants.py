"""Each guard of the product, switched off: a harness that does not notice proves nothing.

Guards of the commit script are switched off in its twin in memory, the others by putting something else in their place.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import msgspec
import redis.exceptions

import tests.simulation.follower
import workers.ledger.settling
import workers.runtime
from shared import keys
from shared.messages import Closed
from tests.simulation.memory import Arguments, MemoryRedis
from workers.ledger.orders import OrderIndex
from workers.ledger.settlement import closure
from workers.store import RedisStore

CUT_EVERY = 20


class Unfenced(MemoryRedis):
    """Anybody may write, not only the owner."""

    def is_fenced(self, have: list[bytes | None], arguments: Arguments) -> bool:
        return False


class Unversioned(MemoryRedis):
    """A commit goes behind what is there, whatever its author thinks that is: no DUP, no GAP."""

    def commit(self, keys: list[str], arguments: Arguments) -> bytes:
        have = self.hmget(keys[0], b"version", b"length")
        there = [one or b"0" for one in have]
        return super().commit(keys, [*arguments[:2], *there, *arguments[4:]])

    def check_standing(self, have: list[bytes | None], arguments: Arguments, entries: int) -> bytes:
        return b""


class Unpositioned(MemoryRedis):
    """Source positions are not written with what came of them."""

    def positions(self, arguments: Arguments) -> dict[bytes, bytes]:
        return {}


class Torn(MemoryRedis):
    """Now and then the server dies in the middle of a commit, and comes back with the half of it."""

    def write_commit(
        self, keys: list[str], arguments: Arguments, length: int, log: Arguments,
        boxes: list[tuple[str, bytes, Arguments]],
    ) -> None:  # fmt: skip
        if boxes and self.writes % CUT_EVERY == 0:
            super().write_commit(keys, arguments, length, log, [])
            raise redis.exceptions.ConnectionError("Connection closed by server.")
        super().write_commit(keys, arguments, length, log, boxes)


Change = tuple[Any, str, Any]
"""A thing, its attribute, and what is there instead."""


def _close_without_release(close: Callable[..., Closed]) -> Callable[..., Closed]:
    return lambda *args: msgspec.structs.replace(close(*args), released=0)


def _trim_all(store: Any, stream: str, _readers: list[str], _keep_from: int | None) -> None:
    if entries := store._client.xrevrange(stream, count=1):
        store._client.xtrim(stream, minid=entries[0][0], approximate=True)


def _trim_to_newest(runtime: Any) -> None:
    own_log, positions = keys.log(runtime._store.tag), runtime._store.snapshot_positions()
    if positions:
        runtime._store.trim(own_log, runtime._handler.readers(own_log), positions[0] + 1)


def _unnumbered(_stream: str, position: int, entries: list[Any]) -> list[tuple[int, bytes]]:
    return [(position + at, fields[1]) for at, (_, fields) in enumerate(entries, start=1)]


REDIS: dict[str, type[MemoryRedis]] = {
    "fence": Unfenced,
    "version": Unversioned,
    "position": Unpositioned,
    "atomicity": Torn,
}
PATCHES: dict[str, list[Change]] = {
    "hold release": [
        (workers.ledger.settling, "closure", _close_without_release(closure)),
    ],
    "dedupe": [(OrderIndex, "first", lambda *_: None)],
    "gap check": [
        (workers.runtime, "_check_gapless", lambda *_: None),
        (tests.simulation.follower, "numbered", _unnumbered),
    ],
    "trim rule": [(RedisStore, "trim", _trim_all)],
    "second snapshot": [(workers.runtime.Runtime, "_trim", _trim_to_newest)],
    "former owner": [(RedisStore, "is_owner", lambda _: True)],
}
MUTANTS = (*REDIS, *PATCHES)
"""Guards that can be switched off."""


@contextmanager
def without(guard: str) -> Iterator[type[MemoryRedis]]:
    """Switch a guard off ("": none). Yields the kind of Redis that a world has to run on."""
    changes = [mock.patch.object(*change) for change in PATCHES.get(guard, ())]
    for change in changes:
        change.start()
    try:
        yield REDIS.get(guard, MemoryRedis)
    finally:
        for change in changes:
            change.stop()
