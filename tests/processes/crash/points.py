"""The labelled points at which a process of the matrix kills itself, and how a process is made to do so.

The product knows nothing of this: a process that is to die has one of its methods wrapped before it begins. A method
that is not there any more is an error at once, so no label can go out of use unseen.
"""

import functools
import importlib
import inspect
import os
from collections.abc import Callable
from typing import Any, Literal

import msgspec

Strike = Callable[[], None]
"""Ends the own process (or stops it), and says before that the point was reached."""


class Point(msgspec.Struct, frozen=True):
    """Where a process dies: ``when`` its method ``where`` (``module:Class.method`` or ``module:function``) runs.

    ``half``: when half of the bytes of a commit are on their way. Only passes whose result ``counts`` are counted;
    ``nudge`` is a signal that brings the process to the point. ``passes``: the most it may have to come there for;
    ``life_s``: who has not come there by then is killed, and its successor tries again.
    """

    where: str
    when: Literal["before", "after", "half"] = "after"
    counts: Callable[[Any], bool] = bool
    nudge: int = 0
    passes: int = 3
    life_s: float = 3.0


def always(_result: Any) -> bool:
    """Every pass counts."""
    return True


_STORE, _RUNTIME = "workers.store:RedisStore", "workers.runtime:Runtime"
_TERM = 15

MACHINE = {
    "has the lease": Point(f"{_STORE}.acquire", counts=lambda wait_ms: wait_ms == 0, passes=1),
    "recovering": Point("HANDLER.fold", counts=always, passes=4, life_s=0.7),
    "batch read": Point(f"{_STORE}.receive_read"),
    "batch handled": Point("HANDLER.handle", counts=always),
    "commit half sent": Point(f"{_STORE}._send", when="half"),
    "commit sent, no reply": Point(f"{_STORE}.send_commit", counts=always),
    "committed": Point(f"{_STORE}.receive_commit", counts=lambda fate: fate == "OK"),
    "before the snapshot": Point(f"{_STORE}.save_snapshot", when="before", passes=1),
    "snapshot written": Point(f"{_STORE}.save_snapshot", passes=1),
    "positions reported": Point(f"{_STORE}.beat", counts=always, passes=3),
    "trimmed": Point(f"{_STORE}.trim", counts=always, passes=3),
    "told to stop, lease not given back": Point(f"{_STORE}.release", when="before", nudge=_TERM, passes=1),
}
"""Of whatever runs in the runtime; ``HANDLER`` is the handler of the process, the ledger's or the book's."""

HANDLERS = {"ledger": "workers.ledger.process:LedgerHandler", "engine": "workers.engine.process:EngineHandler"}

_WRITER = "workers.pusher.writer:Writer"
PUSHER = {
    "logs read": Point("workers.pusher.logs:Logs.read"),
    "before the transaction": Point(f"{_WRITER}._commit", when="before"),
    "positions moved, no rows": Point(f"{_WRITER}._move", counts=always),
    "rows written, no COMMIT": Point(f"{_WRITER}._write_rows", counts=always),
    "COMMIT, position not in Redis": Point(f"{_WRITER}._commit", counts=always),
    "before publishing": Point("workers.pusher.publisher:Publisher._publish", when="before"),
}

_INBOX = "workers.gateway.inbox:Inbox"
GATEWAY = {
    "request not sent": Point(f"{_INBOX}._send", when="before"),
    "request sent, no reply": Point(f"{_INBOX}._read_reply", when="before"),
    "request written": Point(f"{_INBOX}._read_reply", counts=always),
    "answer heard": Point(f"{_INBOX}.ask", counts=always),
    "answer made": Point("workers.gateway.orders:Desk.place", counts=always),
    "answer not written": Point(
        "uvicorn.protocols.http.httptools_impl:RequestResponseCycle.send", when="before", passes=5
    ),
}

_ROSTER, _OBSERVER = "cluster.roster:Roster", "cluster.observer:Observer"
SUPERVISOR = {
    "process started, not recorded": Point(f"{_ROSTER}.start", counts=always, passes=5),
    "before the record": Point("cluster.supervisor:write_record", when="before", passes=4),
    "recorded": Point("cluster.supervisor:write_record", counts=always, passes=4),
    "death seen": Point(f"{_ROSTER}.reap", passes=1),
    "lease not freed": Point(f"{_OBSERVER}.free", when="before", passes=1),
    "told to stop": Point("cluster.shutdown:Shutdown.stop_workers", when="before", nudge=_TERM, passes=1),
    "workers stopped": Point("cluster.shutdown:Shutdown.stop_workers", counts=always, nudge=_TERM, passes=1),
    "servers stopped": Point("cluster.shutdown:Shutdown.stop_servers", counts=always, nudge=_TERM, passes=1),
}

POINTS = {"machine": MACHINE, "pusher": PUSHER, "gateway": GATEWAY, "supervisor": SUPERVISOR, "fakes": SUPERVISOR}


def point_of(name: str, label: str) -> Point:
    """The point ``label`` of the process ``name``."""
    kind = name.partition(":")[0]
    if kind not in HANDLERS:
        return POINTS[kind][label]
    point = MACHINE[label]
    return msgspec.structs.replace(point, where=point.where.replace("HANDLER", HANDLERS[kind]))


def resolve(where: str) -> tuple[Any, str, Callable[..., Any]]:
    """The owner, the name and the function of a point. Raises ``LookupError``."""
    module, _, path = where.partition(":")
    owner: Any = importlib.import_module(module)
    *classes, name = path.split(".")
    for one in classes:
        owner = getattr(owner, one, None)
    found = vars(owner).get(name) if owner is not None else None
    if not callable(found):
        raise LookupError(f"{where} does not exist any more: mend tests/processes/crash/points.py")
    return owner, name, found


def arm(point: Point, passes: int, strike: Strike) -> None:
    """Make this process strike itself when it has come to ``point`` for the ``passes``-th time."""
    owner, name, function = resolve(point.where)
    left = passes

    def reached() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            strike()

    if point.when == "half":
        wrapped = _halving(function, reached)
    elif inspect.iscoroutinefunction(function):
        wrapped = _asynchronous(function, point, reached)
    else:
        wrapped = _synchronous(function, point, reached)
    setattr(owner, name, functools.wraps(function)(wrapped))


def _synchronous(function: Callable[..., Any], point: Point, reached: Strike) -> Callable[..., Any]:
    def wrapped(*arguments: Any, **named: Any) -> Any:
        if point.when == "before":
            reached()
        result = function(*arguments, **named)
        if point.when == "after" and point.counts(result):
            reached()
        return result

    return wrapped


def _asynchronous(function: Callable[..., Any], point: Point, reached: Strike) -> Callable[..., Any]:
    async def wrapped(*arguments: Any, **named: Any) -> Any:
        if point.when == "before":
            reached()
        result = await function(*arguments, **named)
        if point.when == "after" and point.counts(result):
            reached()
        return result

    return wrapped


def _halving(function: Callable[..., Any], reached: Strike) -> Callable[..., Any]:
    """Of ``RedisStore._send``: only half of a commit leaves, and then it is time to die."""

    def wrapped(store: Any, connection: Any, command: tuple[Any, ...]) -> None:
        if connection is not store._writer:
            function(store, connection, command)
            return
        packed = b"".join(connection.pack_command(*command))
        if not connection.is_connected:
            connection.connect()
        connection.send_packed_command([packed[: len(packed) // 2]], check_health=False)
        reached()
        connection.send_packed_command([packed[len(packed) // 2 :]], check_health=False)

    return wrapped


def kill_oneself() -> None:
    """Kill -9 of the own process."""
    os.kill(os.getpid(), 9)
