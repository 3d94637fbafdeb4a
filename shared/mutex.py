"""Leases: locks that live in Redis, with a holder, an epoch and an end.

Built on r-mutex's ``LockBase`` (the key names ``<key>.current`` and ``<key>.live``) and its ``async with`` use, with
the state in Redis instead of in a manager process, so nobody's death can hang the others. A waiter listens on
``<key>.live`` *before* it tries, and is woken by the release; a timer covers holders that died.

A lease only decides who may try. What must not be written by a former holder is guarded by the epoch, which every
new holder raises: see ``workers/commit.lua``.
"""

import asyncio
import contextlib
import secrets
from types import TracebackType
from typing import Any, Self

import redis.exceptions
from r_mutex import LockBase

from shared.errors import Unavailable

LONGEST_MS = 60_000
"""No lease is extended by more at once, unless its own length is longer."""

ACQUIRE = """
-- KEYS: state. ARGV: owner, ttl in ms, the caller's former owner token ('' if none).
-- Answers {1, epoch} or {0, ms until the holder's lease ends}.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local state = redis.call('HMGET', KEYS[1], 'epoch', 'owner', 'lease')
local repeated = state[2] == ARGV[1]
local mine = repeated or (state[2] == ARGV[3] and ARGV[3] ~= '')
local held = state[2] and state[2] ~= '' and tonumber(state[3] or '0') > now
if held and not mine then
  local left = tonumber(state[3]) - now
  if left > math.max(60000, 2 * ARGV[2]) then  -- set before the clock was put back: a living holder will renew it
    left = tonumber(ARGV[2])
    redis.call('HSET', KEYS[1], 'lease', string.format('%d', now + left))
  end
  return {0, left}
end
local epoch = tonumber(state[1] or '0')
if not repeated then epoch = math.max(epoch + 1, now) end
redis.call('HSET', KEYS[1], 'epoch', string.format('%d', epoch), 'owner', ARGV[1],
           'lease', string.format('%d', now + ARGV[2]))
return {1, epoch}
"""
"""A repeat with the same token (a lost reply) answers the same epoch again. A holder that starts over comes with a new
token and names its former one: it need not wait for its own lease, but what it still had under way is fenced off."""

RENEW = """
-- KEYS: state. ARGV: epoch, owner, ttl in ms. Answers 1 if still held, 0 if somebody else took it.
local state = redis.call('HMGET', KEYS[1], 'epoch', 'owner')
if state[1] ~= ARGV[1] or state[2] ~= ARGV[2] then return 0 end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('HSET', KEYS[1], 'lease', string.format('%d', now + ARGV[3]))
return 1
"""

RELEASE = """
-- KEYS: state. ARGV: epoch, owner, channel. Frees only the caller's own lease, and wakes the waiters.
local state = redis.call('HMGET', KEYS[1], 'epoch', 'owner')
if state[1] ~= ARGV[1] or state[2] ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[1], 'owner', '', 'lease', '0')
redis.call('PUBLISH', ARGV[3], 'released')
return 1
"""


class Mutex(LockBase):  # type: ignore[misc]  # r-mutex ships no types
    """A lease for asyncio code: ``async with Mutex(client, "migrations"): ...``.

    It is renewed at a third of its ``ttl_ms`` for as long as the block runs. If the holder was too slow (or Redis
    away for longer), ``lost`` is set, and whoever works under it has to stop.
    """

    def __init__(self, client: Any, key: str, ttl_ms: int = 3000) -> None:
        super().__init__(client, key)
        self.owner = secrets.token_hex(8)
        self.epoch = 0
        self.lost = asyncio.Event()
        self._ttl_ms = ttl_ms
        self._renewal: asyncio.Task[None] | None = None

    async def try_acquire(self) -> int:
        """Take the lease if it is free: 0, or the milliseconds until its holder's lease ends."""
        taken, number = await self._client.eval(ACQUIRE, 1, self._current_key, self.owner, self._ttl_ms, "")
        if not taken:
            return max(1, int(number))
        self.epoch = int(number)
        return 0

    async def acquire(self, timeout_s: float | None = None) -> int:
        """Wait for the lease and answer its epoch. Raises ``Unavailable`` after ``timeout_s``."""
        try:
            async with asyncio.timeout(timeout_s), self._client.pubsub() as listener:
                await listener.subscribe(self._receiver_key)
                await listener.get_message(timeout=1.0)  # the confirmation: from here on no release is missed
                while wait_ms := await self.try_acquire():
                    await listener.get_message(ignore_subscribe_messages=True, timeout=wait_ms / 1000)
        except TimeoutError:
            raise Unavailable(f'lock "{self._key}" is held by somebody else; waited {timeout_s:g} s') from None
        self.lost.clear()
        self._renewal = asyncio.create_task(self._renew())
        return self.epoch

    async def release(self) -> None:
        """Give the lease back; a lease that is no longer ours stays with its new holder."""
        if self._renewal is not None:
            self._renewal.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._renewal
        await self._client.eval(RELEASE, 1, self._current_key, self.epoch, self.owner, self._receiver_key)

    async def _renew(self) -> None:
        clock = asyncio.get_running_loop().time
        end = clock() + self._ttl_ms / 1000
        while True:
            await asyncio.sleep(self._ttl_ms / 3000)
            asked = clock()
            try:
                kept = await self._client.eval(RENEW, 1, self._current_key, self.epoch, self.owner, self._ttl_ms)
            except redis.exceptions.RedisError:
                kept = clock() < end  # Redis is away: ours until it ends by our own clock
            else:
                end = asked + self._ttl_ms / 1000
            if not kept:
                self.lost.set()
                return

    async def __aenter__(self) -> Self:
        await self.acquire()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.release()
