"""Watches who may come in: follows what is announced, reads all again now and then, and shows out who may not stay.

What is announced may be missed, since pub/sub keeps nothing. Keys and users are therefore read again every
``REFRESH_S``, and sessions that have a socket are looked at every ``SESSIONS_S``.
"""

import asyncio
import time
from contextlib import suppress
from typing import Any

from redis.exceptions import RedisError

from shared import keys
from workers.gateway.access.gate import Gate
from workers.gateway.access.keyring import KeyRing, is_key
from workers.gateway.access.open_sockets import OpenSockets
from workers.gateway.access.sessions import Sessions
from workers.gateway.errors import ApiError
from workers.ledger.risk import ACCOUNT_MAX

RETRY_S = 1.0
REFRESH_S = 60.0
SESSIONS_S = 5.0
_USER = keys.user_changed(0).removesuffix("0")
_SESSION = keys.session_ended("")


class Watch:
    """Run ``follow_forever`` and ``look_forever`` beside the server."""

    def __init__(self, client: Any, keyring: KeyRing, sessions: Sessions, gate: Gate, sockets: OpenSockets) -> None:
        self._client = client
        self._keyring = keyring
        self._sessions = sessions
        self._gate = gate
        self._sockets = sockets

    @property
    def trouble(self) -> str:
        """Why some are refused who should be let in; "" if none are."""
        return self._keyring.trouble

    async def follow_forever(self) -> None:
        """Load all keys, then follow what is announced. Whatever was missed while away is loaded again."""
        while True:
            try:
                async with self._client.pubsub(ignore_subscribe_messages=True) as listener:
                    await listener.subscribe(keys.KEYS_CHANNEL)
                    await self._follow(listener)
            except (RedisError, OSError, ApiError):
                await asyncio.sleep(RETRY_S)  # Redis or PostgreSQL is away: who follows the logs says so

    async def _follow(self, listener: Any) -> None:
        while True:
            await self._keyring.load()
            self._sockets.recheck(self._gate.is_good)
            end = time.monotonic() + REFRESH_S
            while (left := end - time.monotonic()) > 0:
                message = await listener.get_message(timeout=min(left, RETRY_S))
                if message is not None:
                    await self.heed(message["data"].decode(errors="replace"))

    async def heed(self, announced: str) -> None:
        """Act on what was announced. Raises ``ApiError`` 503."""
        if announced.startswith(_SESSION):
            self._sockets.end_sessions({announced.removeprefix(_SESSION)})
        elif announced.startswith(_USER):
            account = announced.removeprefix(_USER)
            if account.isdecimal() and int(account) <= ACCOUNT_MAX:
                await self._keyring.refresh_user(int(account))
        elif is_key(announced):
            await self._keyring.refresh(announced)
        self._sockets.recheck(self._gate.is_good)

    async def look_forever(self) -> None:
        """Show out whose session has come to its end, or has ended without our hearing of it."""
        while True:
            await asyncio.sleep(SESSIONS_S)
            with suppress(ApiError):  # Redis is away: nobody hears anything new either
                for hashed in self._sockets.used_sessions():
                    await self._sessions.use(hashed)
                if asked := self._sockets.sessions():
                    self._sockets.end_sessions(await self._sessions.ended(asked))
