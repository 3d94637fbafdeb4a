"""Cancels what was placed over a socket when the socket ends, however it ends.

The promise is written to Redis before it is given, so that it survives the gateway: whoever starts again under its
name keeps it, or, should nobody come back, any other gateway. What has to be canceled is not written down but found:
the orders whose request ids begin with the session's name. Before they are looked for, a request goes through the same
inbox; once that is answered, all that the socket had sent before is known.
"""

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Any

import msgspec
import psutil
from redis.exceptions import RedisError

from shared import keys, log
from shared.messages import CancelRequest
from workers.gateway.errors import ApiError
from workers.gateway.inbox import Inbox
from workers.gateway.replicas import Replicas

RETRY_S = 0.3
LOOK_S = 5.0
"""How often a gateway looks for promises of processes that are gone: about as long as a beat lasts."""
AT_ONCE = 500


class Promise(msgspec.Struct, frozen=True):
    """To cancel an account's orders of a session. ``owner``: the gateway process that has its socket."""

    account: int
    owner: str


class CancelOnDisconnect:
    """The promises of one gateway process, ``owner``: its worker name, host and pid as in ``keys.own_beat``."""

    def __init__(
        self, client: Any, inbox: Inbox, replicas: Replicas, shards: int, name: str, host: str, pid: int
    ) -> None:
        self._client = client
        self._inbox = inbox
        self._replicas = replicas
        self._shards = shards
        self._owner = keys.own_beat(name, host, pid)
        self._mine: set[str] = set()

    async def enable(self, session: str, account: int) -> None:
        """Promise it. Raises ``RedisError``, ``OSError``: then it may be in force or not."""
        self._mine.add(session)
        await self._client.hset(keys.CANCEL_ON_DISCONNECT, session, msgspec.json.encode(Promise(account, self._owner)))

    async def disable(self, session: str) -> None:
        """Take it back. Raises ``RedisError``, ``OSError``."""
        await self._client.hdel(keys.CANCEL_ON_DISCONNECT, session)
        self._mine.discard(session)

    async def keep(self, session: str, account: int) -> None:
        """The socket has ended: cancel what was placed over it. Tries until it is done."""
        while True:
            try:
                count = await self._cancel_all_of(session, account)
                await self.disable(session)
            except (ApiError, RedisError, OSError):  # who follows the logs says what is away
                await asyncio.sleep(RETRY_S)
            else:
                log.get().info("Orders canceled on disconnect", account=account, count=count)
                return

    async def _cancel_all_of(self, session: str, account: int) -> int:
        self._replicas.require()
        await self._cancel(account, [0])  # no order: its answer comes behind those to all that the session has sent
        orders = self._replicas.ledger(account).open_orders(account)
        found = [order.order_id for order in orders if order.request_id.startswith(session)]
        for start in range(0, len(found), AT_ONCE):
            await self._cancel(account, found[start : start + AT_ONCE])
        return len(found)

    async def _cancel(self, account: int, order_ids: Sequence[int]) -> None:
        """Ask, and wait for the answers: that they are done already is one."""
        shard, new_id = keys.shard_of(account, self._shards), self._inbox.request_id
        requests = [CancelRequest(new_id(), account, order_id) for order_id in order_ids]
        await asyncio.gather(*(self._inbox.ask(shard, request) for request in requests))

    # --- of others ---

    async def keep_for_others_forever(self) -> None:
        """Keep the promises of processes that are gone: of our predecessors at once, of others if none come back."""
        suspects: set[str] = set()
        while True:
            with contextlib.suppress(RedisError, OSError):  # the next round tries again
                suspects = await self._keep_for_others(suspects)
            await asyncio.sleep(LOOK_S)

    async def _keep_for_others(self, suspects: set[str]) -> set[str]:
        """One round; answers the sessions whose process showed no sign of life. Who does so twice is gone."""
        silent: set[str] = set()
        for name, text in (await self._client.hgetall(keys.CANCEL_ON_DISCONNECT)).items():
            session, promise = name.decode(), msgspec.json.decode(text, type=Promise)
            if session in self._mine:
                continue
            succeeds = self._succeeds(promise.owner)
            if not succeeds and await self._client.exists(promise.owner):
                continue
            if succeeds or session in suspects:
                await self.keep(session, promise.account)
            else:
                silent.add(session)
        return silent

    def _succeeds(self, owner: str) -> bool:
        """Whether that process was our predecessor: of our name, on our host, and gone, its pid being ours or nobody's.

        One that lives belongs to another data folder on this host.
        """
        worker, _, pid = owner.rpartition(":")
        is_gone = owner == self._owner or not psutil.pid_exists(int(pid))
        return worker == self._owner.rpartition(":")[0] and is_gone
