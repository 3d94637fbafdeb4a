"""How every process connects to Redis and PostgreSQL.

Writes are never retried by the client library: its default of ten retries turns one lost reply of ``XADD *`` into
two entries. Whoever writes decides what a lost reply means. Reads block at most ``BLOCK_MS``, well under the
socket's time limit.

SQLAlchemy is imported only by who opens a database: engines and ledgers never do, and half the time in which a killed
one is back would go into that import.
"""

from typing import TYPE_CHECKING, Any

import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.retry import Retry

if TYPE_CHECKING:  # SQLAlchemy takes 0.3 s to load, and books and ledgers, which must restart fast, never use it
    from sqlalchemy import Engine
    from sqlalchemy.ext.asyncio import AsyncEngine

BLOCK_MS = 500
TIMEOUT_S = 5.0


def connect(url: str) -> Any:
    """A blocking ``redis.Redis`` that answers bytes and never retries.

    Typed as ``Any``: redis-py's annotations mix sync with async answers, and bytes with text.
    """
    return redis.Redis.from_url(url, socket_timeout=TIMEOUT_S, retry=Retry(NoBackoff(), 0))


def connect_async(url: str, connections: int = 32) -> Any:
    """A ``redis.asyncio.Redis`` that answers bytes and never retries; ``Any`` as above."""
    return redis.asyncio.Redis.from_url(
        url, socket_timeout=TIMEOUT_S, retry=AsyncRetry(NoBackoff(), 0), max_connections=connections
    )


def is_other_type(error: BaseException) -> bool:
    """Whether Redis says that a key holds another type than it should.

    Somebody else wrote there. Asking again is of no use, and Redis is not away.
    """
    return "WRONGTYPE" in str(error)


def database_url(url: str) -> str:
    """A PostgreSQL URL with the driver SQLAlchemy should use."""
    for scheme in ("postgresql://", "postgres://"):
        if url.startswith(scheme):
            return "postgresql+psycopg://" + url.removeprefix(scheme)
    return url


def open_database(url: str) -> "Engine":
    """A blocking SQLAlchemy engine with a small pool that checks its connections.

    Its errors do not repeat the values of a statement: among them are secrets.
    """
    from sqlalchemy import create_engine

    return create_engine(database_url(url), pool_size=2, max_overflow=2, pool_pre_ping=True, hide_parameters=True)


def open_database_async(url: str, connections: int = 8) -> "AsyncEngine":
    """An asyncio SQLAlchemy engine with a bounded pool that checks its connections."""
    from sqlalchemy.ext.asyncio import create_async_engine

    return create_async_engine(
        database_url(url), pool_size=connections, max_overflow=0, pool_pre_ping=True, hide_parameters=True
    )
