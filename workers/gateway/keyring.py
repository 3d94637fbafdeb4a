"""The API keys in memory: loaded from PostgreSQL, kept current by pub/sub, so that PostgreSQL may be away.

A key that is not in memory is looked up, at a bounded rate: whoever tries unknown keys cannot keep PostgreSQL busy.
"""

import asyncio
import time
from typing import Any

import redis.asyncio
from redis.exceptions import RedisError
from sqlalchemy import Row, Select, select

from shared import keys, log
from shared.credentials import open_secret
from shared.errors import CorruptState
from shared.schema import api_keys
from workers.gateway.auth import Credential
from workers.gateway.errors import ApiError, unavailable
from workers.gateway.history import History

LOOKUPS_A_SECOND = 50
KEY_CHARS = 32
"""Length of the keys we make; nothing else is looked up."""
RETRY_S = 1.0
REFRESH_S = 60.0
"""All keys are read again this often, should a message have been missed."""


class KeyRing:
    """All API keys that are in force."""

    def __init__(self, history: History, server_key: str) -> None:
        self._history = history
        self._server_key = server_key
        self._found: dict[str, Credential] = {}
        self._loaded = False
        self._second = 0
        self._lookups = 0
        self._log = log.get()

    async def find(self, key: str) -> Credential | None:
        """The credential of a key, None if there is none. Raises ``ApiError`` 503 if only PostgreSQL could tell."""
        known = self._found.get(key)
        if known is None and not self._loaded:
            raise unavailable("API keys cannot be checked just now: PostgreSQL is away; try again")
        if known is None and len(key) == KEY_CHARS and self._may_look_up():
            await self.refresh(key)
            known = self._found.get(key)
        return known

    def _may_look_up(self) -> bool:
        second = int(time.monotonic())
        if second != self._second:
            self._second, self._lookups = second, 0
        self._lookups += 1
        return self._lookups <= LOOKUPS_A_SECOND

    async def refresh(self, key: str) -> None:
        """Read one key again: it may be new, or revoked. Raises ``ApiError`` 503."""
        rows = await self._history.rows(_in_force().where(api_keys.c.key == key))
        self._found.pop(key, None)
        self._take(rows)

    async def load(self) -> None:
        """Read all keys again. Raises ``ApiError`` 503."""
        rows = await self._history.rows(_in_force())
        self._found.clear()
        self._take(rows)
        self._loaded = True

    def _take(self, rows: Any) -> None:
        for row in rows:
            try:
                self._found[row.key] = _credential(row, self._server_key)
            except CorruptState as error:
                self._log.error("An API key cannot be used", key=row.key, error=str(error))

    async def listen_forever(self, client: redis.asyncio.Redis) -> None:
        """Load all keys, then follow what is announced. Whatever was missed while away is loaded again."""
        while True:
            try:
                async with client.pubsub(ignore_subscribe_messages=True) as listener:
                    await listener.subscribe(keys.KEYS_CHANNEL)
                    await self._follow(listener)
            except (RedisError, OSError, ApiError):
                await asyncio.sleep(RETRY_S)  # Redis or PostgreSQL is away: who follows the logs says so

    async def _follow(self, listener: Any) -> None:
        while True:
            await self.load()
            end = time.monotonic() + REFRESH_S
            while (left := end - time.monotonic()) > 0:
                message = await listener.get_message(timeout=min(left, RETRY_S))
                if message is not None:
                    await self.refresh(message["data"].decode(errors="replace"))


def _in_force() -> Select[Any]:
    wanted = (api_keys.c.key, api_keys.c.account, api_keys.c.secret, api_keys.c.passphrase_hash, api_keys.c.scopes)
    return select(*wanted).where(api_keys.c.revoked_at.is_(None))


def _credential(row: Row[Any], server_key: str) -> Credential:
    secret = open_secret(bytes(row.secret), server_key)
    return Credential(row.key, row.account, secret, bytes(row.passphrase_hash), frozenset(row.scopes))
