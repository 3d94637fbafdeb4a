"""Bring PostgreSQL's tables up to date: ``python -m cluster.migrate``, one at a time in the whole cluster.

It also notes the number of account shards in a new Redis, so that a cluster can be run without our supervisor.
"""

import asyncio
import sys

import sqlalchemy.exc
from alembic import command
from redis.exceptions import RedisError

import migrations
from shared import keys
from shared.connections import connect_async
from shared.errors import MatchboxError, Unavailable
from shared.mutex import Mutex
from shared.settings import Settings, load_settings

LOCK = "matchbox:migrations"
EXIT_ERROR = 3
WAIT_S = 60.0


async def migrate(settings: Settings) -> None:
    """Run the missing migrations under a lock. Raises ``Unavailable`` if a server does not answer."""
    client = connect_async(settings.redis_url)
    lock = Mutex(client, LOCK)
    try:
        await lock.acquire(timeout_s=WAIT_S)
        try:
            await client.set(keys.SHARDS, settings.shards, nx=True)
            await asyncio.to_thread(command.upgrade, migrations.config(settings.database_url), "head")
        finally:
            await lock.release()
    except RedisError as error:
        raise Unavailable(f"migrations: Redis does not answer: {error}") from error
    except sqlalchemy.exc.OperationalError as error:
        raise Unavailable(f"migrations: PostgreSQL does not answer: {_first_line(error.orig)}") from error
    except sqlalchemy.exc.SQLAlchemyError as error:
        raise MatchboxError(f"migrations: PostgreSQL refuses: {_first_line(error)}") from error
    finally:
        await client.aclose()


def _first_line(error: BaseException | None) -> str:
    return str(error).partition("\n")[0]


def main() -> None:
    """Migrate with settings from the environment; an error is one line on stderr and exit code 3."""
    try:
        asyncio.run(migrate(load_settings()))
    except MatchboxError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(EXIT_ERROR)


if __name__ == "__main__":
    main()
