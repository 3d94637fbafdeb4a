"""Whether Redis still has what PostgreSQL knows: looked at before anything is started on them.

PostgreSQL is asked first. It follows the logs, so what it has must be in what Redis has a moment later.
"""

from typing import Any

import msgspec
from redis.exceptions import ResponseError
from sqlalchemy import Connection, select

from shared import keys
from shared.chain import advance
from shared.connections import is_other_type
from shared.errors import MatchboxError
from shared.messages import FIELD
from shared.schema import positions

RECOVER = 'run "matchbox recover"'


class RolledBack(MatchboxError):
    """Redis was emptied, or has lost the end of what it acknowledged. Nothing may trade on it."""


class Loss(msgspec.Struct, frozen=True):
    """A log of which Redis has not what PostgreSQL has up to ``postgresql``. ``redis``: its length there."""

    log: str
    postgresql: int
    redis: int

    def __str__(self) -> str:
        if self.redis >= self.postgresql:
            return f"{self.log}: not the log that PostgreSQL has followed up to entry {self.postgresql:,}"
        return f"{self.log}: PostgreSQL has {self.postgresql:,} entries, Redis {self.redis:,}"


def losses(client: Any, connection: Connection) -> list[Loss]:
    """The logs of which Redis lacks something that PostgreSQL has."""
    rows = connection.execute(select(positions).where(positions.c.length > 0).order_by(positions.c.tag)).all()
    found = []
    for tag, length, chain, chain_before in rows:
        have, have_chain = client.hmget(keys.meta(tag), "length", "chain")
        redis_length = int(have or 0)
        if redis_length < length:
            found.append(Loss(keys.log(tag), length, redis_length))
            continue
        entry = _entry(client, keys.log(tag), length)
        is_same = bool(entry) and advance(chain_before, [entry[0][1][FIELD]]) == chain
        if not is_same or (redis_length == length and have_chain != chain.encode()):
            found.append(Loss(keys.log(tag), length, redis_length))
    return found


def _entry(client: Any, log: str, number: int) -> list[Any]:
    """An entry of a log; empty if it is not there."""
    try:
        found: list[Any] = client.xrange(log, f"{number}-0", f"{number}-0")
    except ResponseError as error:
        if is_other_type(error):
            return []
        raise
    return found


def check_standing(client: Any, connection: Connection) -> None:
    """Raise ``RolledBack`` if Redis has lost something, by PostgreSQL or by the word of an owner."""
    found: list[object] = [*losses(client, connection)]
    if not found:
        found = [why.decode() for _, why in sorted(client.hgetall(keys.LOST).items())]
    if found:
        more = f", and so of {len(found) - 1} more logs" if len(found) > 1 else ""
        raise RolledBack(f"Redis has lost what was acknowledged: {_told(found[0])}{more}; {RECOVER}")


def _told(loss: object) -> str:
    return str(loss).removesuffix(f"; {RECOVER}")
