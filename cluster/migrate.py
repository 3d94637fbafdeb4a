"""Bring PostgreSQL's tables up to date: ``python -m cluster.migrate``, one at a time in the whole cluster.

It also notes the number of account shards in a new Redis, so that a cluster can be run without our supervisor, and
refuses (exit code 4) a Redis that has lost what PostgreSQL knows.
"""

import asyncio
import sys

import sqlalchemy.exc
from alembic import command
from redis.exceptions import RedisError

import migrations
from cluster.commands import EXIT_ROLLED_BACK
from cluster.standing import RolledBack, check_standing
from shared import keys
from shared.connections import connect, connect_async, open_database
from shared.errors import MatchboxError, Unavailable, first_line
from shared.mutex import Mutex
from shared.settings import Settings, load_settings

LOCK = "matchbox:migrations"
EXIT_ERROR = 3
WAIT_S = 60.0


async def migrate(settings: Settings) -> None:
    """Run the missing migrations under a lock.

    Raises ``Unavailable`` if a server does not answer, ``RolledBack`` if Redis has lost what PostgreSQL knows.
    """
    client = connect_async(settings.redis_url)
    lock = Mutex(client, LOCK)
    try:
        await lock.acquire(timeout_s=WAIT_S)
        try:
            await client.set(keys.SHARDS, settings.shards, nx=True)
            await asyncio.to_thread(command.upgrade, migrations.config(settings.database_url), "head")
            await asyncio.to_thread(_check_standing, settings)
        finally:
            await lock.release()
    except RedisError as error:
        raise Unavailable(f"migrations: Redis does not answer: {error}") from error
    except sqlalchemy.exc.OperationalError as error:
        raise Unavailable(f"migrations: PostgreSQL does not answer: {first_line(error.orig)}") from error
    except sqlalchemy.exc.SQLAlchemyError as error:
        raise MatchboxError(f"migrations: PostgreSQL refuses: {first_line(error)}") from error
    finally:
        await client.aclose()


def _check_standing(settings: Settings) -> None:
    client, database = connect(settings.redis_url), open_database(settings.database_url)
    try:
        with database.connect() as connection:
            check_standing(client, connection)
    finally:
        client.close()
        database.dispose()


def main() -> None:
    """Migrate with settings from the environment; an error is one line on stderr and exit code 3."""
    try:
        asyncio.run(migrate(load_settings()))
    except MatchboxError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(EXIT_ROLLED_BACK if isinstance(error, RolledBack) else EXIT_ERROR)


if __name__ == "__main__":
    main()
