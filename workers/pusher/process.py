"""The pusher's process: one per cluster by lock, three lanes that do not wait for each other, and a beat."""

import asyncio
import contextlib
import signal
from typing import Any

from redis.exceptions import RedisError
from sqlalchemy.ext.asyncio import AsyncEngine

from shared import keys, log
from shared.beat import BEAT_S, beat_of, show_beat
from shared.connections import connect_async, open_database_async
from shared.errors import InvalidSetting
from shared.mutex import Mutex
from shared.settings import Settings
from workers.pusher.link import Link, pause
from workers.pusher.publisher import Publisher
from workers.pusher.writer import Writer

NAME = "pusher"


class LockLost(Exception):
    """Another pusher may be at work: stop at once."""


class Pusher:
    """Holds the lock, runs the lanes under it, and shows how it is."""

    def __init__(self, client: Any, database: AsyncEngine, settings: Settings) -> None:
        self.writer = Writer(client, database, settings)
        self.publisher = Publisher(client, settings)
        self._client = client
        self._lease_ms = settings.lease_ms
        self._log = log.get()
        self._redis = Link("Redis", self._log)
        self._state = "starting"
        self._epoch = 0

    async def run(self, stopping: asyncio.Event) -> None:
        """Push until told to stop; what the logs hold then is still written, for 2 s at most."""
        beats = asyncio.create_task(self._beat())
        try:
            while not stopping.is_set():
                lock = Mutex(self._client, keys.PUSHER_LOCK, self._lease_ms)
                if await self._own(lock, stopping):
                    await self._serve(lock, stopping)
        finally:
            beats.cancel()
            await asyncio.gather(beats, return_exceptions=True)

    async def _own(self, lock: Mutex, stopping: asyncio.Event) -> bool:
        """Wait for the lock. False: told to stop, or Redis is away (after a pause)."""
        self._state = "waiting"
        acquired, told = asyncio.create_task(lock.acquire()), asyncio.create_task(stopping.wait())
        await asyncio.wait((acquired, told), return_when=asyncio.FIRST_COMPLETED)
        for task in (acquired, told):
            task.cancel()
        outcome, _ = await asyncio.gather(acquired, told, return_exceptions=True)
        if isinstance(outcome, RedisError):
            await pause(stopping, self._redis.down(outcome))
        elif isinstance(outcome, Exception):
            raise outcome
        else:
            self._redis.up()
        return isinstance(outcome, int)

    async def _serve(self, lock: Mutex, stopping: asyncio.Event) -> None:
        """Run the lanes until told to stop or until the lock is lost; then give it back."""
        self._state, self._epoch = "running", lock.epoch
        self._log.info("pushing")
        try:
            async with asyncio.TaskGroup() as lanes:
                guard = lanes.create_task(_guard(lock))
                running = [
                    lanes.create_task(self.writer.run(stopping)),
                    lanes.create_task(self.publisher.run(stopping)),
                    lanes.create_task(self.publisher.run_balances(stopping)),
                ]
                await asyncio.gather(*running)
                guard.cancel()
        except* LockLost:
            self._log.warning("lost the lock; waiting for it again")
        finally:
            await self._release(lock)

    async def _release(self, lock: Mutex) -> None:
        try:
            await lock.release()
        except RedisError as error:
            self._log.warning("could not give the lock back; it ends by itself", error=str(error))

    async def _beat(self) -> None:
        """Show a sign of life each second, for as long as Redis takes it."""
        while True:
            error = "; ".join(dict.fromkeys(filter(None, (self.writer.error, self.publisher.error))))
            beat = beat_of(self._state, self.writer.written, self.writer.lag, error, self._epoch)
            with contextlib.suppress(RedisError):  # the lanes say so already
                await show_beat(self._client, NAME, beat)
            await asyncio.sleep(BEAT_S)


async def _guard(lock: Mutex) -> None:
    await lock.lost.wait()
    raise LockLost


async def main(settings: Settings) -> None:
    """Be the pusher until SIGTERM or SIGINT. Raises ``InvalidSetting``."""
    for name in ("redis_url", "database_url"):
        if not getattr(settings, name):
            raise InvalidSetting(f'MATCHBOX_{name.upper()} is empty: name the server, or let "matchbox start" run one')
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    client, database = connect_async(settings.redis_url), open_database_async(settings.database_url, connections=1)
    try:
        await Pusher(client, database, settings).run(stopping)
    finally:
        await database.dispose()
        await client.aclose()
