"""A worker's sign of life: what each of them writes once a second, and supervisors and ``matchbox status`` read."""

import os
import socket
import time
from typing import Any

import msgspec

from shared import keys

BEAT_S = 1.0
BEAT_TTL_S = 5


class Beat(msgspec.Struct, frozen=True):
    """What a worker tells of itself.

    ``time`` in ns; ``lag``: entries that lie ahead of it; ``epoch``: of the lease it holds, 0 if it has none.
    """

    pid: int
    host: str
    state: str
    time: int
    sequence: int = 0
    lag: int = 0
    error: str = ""
    epoch: int = 0


def beat_of(state: str, sequence: int = 0, lag: int = 0, error: str = "", epoch: int = 0) -> Beat:
    """A sign of life of this process, now."""
    return Beat(os.getpid(), socket.gethostname(), state, time.time_ns(), sequence, lag, error, epoch)


def put_beat(pipe: Any, worker: str, beat: Beat) -> None:
    """Add to a pipeline what shows the beat: as the worker's, and as that of this one process of the name."""
    text = msgspec.json.encode(beat)
    for key in (keys.beat(worker), keys.own_beat(worker, beat.host, beat.pid)):
        pipe.set(key, text, ex=BEAT_TTL_S)


async def show_beat(client: Any, worker: str, beat: Beat) -> None:
    """The same at once, by an asynchronous client. Raises ``redis.exceptions.RedisError``."""
    pipe = client.pipeline(transaction=False)
    put_beat(pipe, worker, beat)
    await pipe.execute()


def decode_beat(text: bytes | None) -> Beat | None:
    """A beat, or ``None`` if there is none or it is not one."""
    try:
        return msgspec.json.decode(text, type=Beat) if text else None
    except msgspec.DecodeError:
        return None
