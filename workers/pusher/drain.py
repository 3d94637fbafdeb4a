"""Brings PostgreSQL to the end of the logs once, without a pusher: what Redis still has need not be lost."""

import asyncio

from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError

from shared.connections import connect_async, open_database_async
from shared.errors import Unavailable, first_line
from shared.settings import Settings
from workers.pusher.writer import Writer


def drain(settings: Settings) -> int:
    """Write what PostgreSQL lacks of the logs that it can follow; answers how many entries. Raises ``Unavailable``."""
    return asyncio.run(_drain(settings))


async def _drain(settings: Settings) -> int:
    client, database = connect_async(settings.redis_url), open_database_async(settings.database_url, connections=1)
    writer = Writer(client, database, settings)
    try:
        while await writer.write():
            pass
    except RedisError as error:
        raise Unavailable(f"Redis does not answer: {error}") from error
    except (SQLAlchemyError, TimeoutError) as error:
        raise Unavailable(f"PostgreSQL does not answer: {first_line(error)}") from error
    finally:
        await database.dispose()
        await client.aclose()
    return writer.written
