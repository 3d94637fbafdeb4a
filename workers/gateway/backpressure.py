"""Refuses what would only wait or fill up the stores, before anything of it is written.

Looked at once a second and remembered: no request asks Redis whether it may be sent. Two things count. Inboxes: how
long the oldest request has waited that a ledger has not taken, and how many entries there are (taken ones go within
seconds); one that is too old or too long gets no orders, but cancels. Stores: the level that the supervisors publish
(``shared/pressure.py``).
"""

import asyncio
import contextlib
from typing import Any

from redis.exceptions import RedisError

from shared import keys
from shared.messages import Request
from shared.pressure import CANCELS, Pressure, decode_pressure
from shared.settings import Settings
from workers.gateway.errors import unavailable

RELIEF_S = 0.1
BACK = 2
"""An inbox gets orders again when it is half as old, and half as long, as it may be."""


class Backpressure:
    """What one gateway lets through. Call ``measure`` about once a second."""

    def __init__(self, client: Any, settings: Settings) -> None:
        self._client = client
        self._shards = settings.shards
        self._age_max_s = settings.inbox_age_ms / 1000
        self._length_max = settings.inbox_max
        self._pressure = Pressure()
        self._full: dict[int, str] = {}
        """Shards whose inbox gets no orders from here, and why."""

    def check(self, shard: int, request: Request) -> None:
        """Raises ``ApiError`` 503 if this must not be sent."""
        if shard in self._full and not isinstance(request, CANCELS):
            raise unavailable(
                f"the exchange is {self._full[shard]} and takes only cancels; nothing was sent, try again"
            )
        if refusal := self._pressure.refusal(request):
            raise unavailable(refusal)

    @property
    def trouble(self) -> str:
        """Why orders are refused, just now; "" if they are not."""
        why = [f"shard {shard} is {how}" for shard, how in self._full.items()]
        why += [self._pressure.says] if self._pressure.says else []
        return f"orders are refused: {', '.join(why)}" if why else ""

    async def measure(self) -> None:
        """Look at the inboxes and at what is published. Raises ``RedisError``."""
        pipe = self._client.pipeline(transaction=False)
        pipe.time()
        pipe.get(keys.PRESSURE)
        for shard in range(self._shards):
            pipe.hget(keys.meta(keys.shard_tag(shard)), f"at:{keys.inbox(shard)}")
        (now_s, now_us), pressure, *positions = await pipe.execute()
        for shard, position in enumerate(positions):
            pipe.xrange(keys.inbox(shard), min="-" if position is None else b"(" + position, count=1)
            pipe.xlen(keys.inbox(shard))
        found = await pipe.execute()
        self._pressure = decode_pressure(pressure)
        for shard, (oldest, length) in enumerate(zip(found[::2], found[1::2], strict=True)):
            sent_ms = int(oldest[0][0].partition(b"-")[0]) if oldest else None
            waited_s = 0.0 if sent_ms is None else now_s + now_us / 1e6 - sent_ms / 1000
            self._judge(shard, waited_s, length)

    async def relieve_forever(self) -> None:
        """Look more often while an inbox gets no orders: one that was only waiting for its ledger is empty at once."""
        while True:
            await asyncio.sleep(RELIEF_S)
            if self._full:
                with contextlib.suppress(RedisError, OSError):  # who follows the logs says so
                    await self.measure()

    def _judge(self, shard: int, waited_s: float, length: int) -> None:
        share = BACK if shard in self._full else 1
        self._full.pop(shard, None)
        if waited_s * share > self._age_max_s:
            self._full[shard] = f"{waited_s:.0f} s behind"
        elif length * share > self._length_max:
            self._full[shard] = f"too busy ({length:,} requests)"
