"""What one socket asks of the ledgers: sent in the order in which it came, under a name that its orders keep."""

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any

from shared import log
from shared.messages import LedgerEvent, Request
from workers.gateway.inbox import Inbox

UNDER_WAY_MAX = 1_000
"""Requests of one socket that may wait for their answers."""


class Session(Inbox):
    """The gateway's inbox as one socket uses it.

    Every request id begins with the session's ``name``, and the ledger keeps the id with the order: so whoever knows
    the name finds all orders that were placed over the socket, in a restarted gateway, too. Sending and waiting are the
    gateway's own: only ``ask``, ``ask_each`` and ``request_id`` are to be used here.
    """

    def __init__(self, inbox: Inbox) -> None:
        self._inbox = inbox
        self._prefix = f"{inbox.request_id()}-"
        self._count = 0
        self._sent = asyncio.Event()
        self._under_way: set[asyncio.Task[None]] = set()

    @property
    def name(self) -> str:
        """What no other session of any gateway is called, or begins with."""
        return self._prefix

    @property
    def is_full(self) -> bool:
        """Whether as many requests wait as may."""
        return len(self._under_way) >= UNDER_WAY_MAX

    async def ask_each(self, shard: int, request: Request, ids: Sequence[str]) -> list[LedgerEvent]:
        """As the gateway's inbox does, which queues the request at once."""
        self._sent.set()
        return await self._inbox.ask_each(shard, request, ids)

    async def start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Begin ``work``, which asks at most once, and come back when its request is queued, or it needs none.

        So requests reach the ledger in the order in which they are started, and their answers are not waited for.
        """
        sent = self._sent = asyncio.Event()
        # Begun at once, not in the loop's next turn: mostly the request is queued by then, and nobody has to wait.
        task = asyncio.Task(work, loop=asyncio.get_running_loop(), eager_start=True)
        if task.done():
            self._finished(task)
            return task
        self._under_way.add(task)
        task.add_done_callback(self._finished)
        if not sent.is_set():
            task.add_done_callback(lambda _: sent.set())
            await sent.wait()
        return task

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._under_way.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.get().error("A request of a socket failed", exc_info=error)
