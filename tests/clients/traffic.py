"""Traffic for those who follow a book: two traders, who place and cancel over the WebSocket at a steady pace."""

import asyncio
import contextlib
import json
import random
import time
from collections import Counter, deque
from collections.abc import Callable

from websockets.asyncio.client import ClientConnection, connect

from tests.harness import Cluster, Trader

PRODUCT = "ETH-USD"
RESTING_MAX = 400
"""Orders of one trader that may wait; beyond it the oldest is canceled."""
WAITING_MAX = 300
"""Requests of one trader without an answer yet; beyond it, it slows down: a busy machine gets what it can do."""
BEAT_S = 0.01
ANSWER_S = 30.0
FIRST = 100
"""Orders of one trader before any is a market order: those need somebody to trade with."""
_DEPTH_TICKS = 40
_MID_TICKS = 100_00


class Orders:
    """Any order but an amended one: plain, IOC, market, iceberg, post-only, stop, and those that meet their own."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._mid = _MID_TICKS
        self._count = 0

    def next(self) -> dict[str, object]:
        """The fields of an order."""
        some = self._random
        self._count += 1
        side = some.choice(("buy", "sell"))
        self._mid += some.choice((-1, 0, 0, 1)) if some.random() < 0.05 else 0
        depth = some.randint(-4, _DEPTH_TICKS)
        size = some.randint(1, 400)
        order: dict[str, object] = {"product_id": PRODUCT, "side": side, "stp": some.choice(("dc", "co", "cn", "cb"))}
        ticks = self._mid - depth if side == "buy" else self._mid + depth
        kind = some.random()
        if kind < 0.08 and self._count > FIRST:
            return order | {"order_type": "market", "size": _lots(size)}
        order["price"] = _ticks(ticks)
        order["size"] = _lots(size)
        if kind < 0.18:
            order["time_in_force"] = some.choice(("IOC", "FOK"))
        elif kind < 0.25:
            order |= {"size": _lots(4 * size), "display_size": _lots(size)}
        elif kind < 0.30:
            order["post_only"] = True
        elif kind < 0.34:
            order["stop_price"] = _ticks(self._mid + (depth if side == "buy" else -depth))
        return order


def _ticks(ticks: int) -> str:
    return f"{ticks // 100}.{ticks % 100:02d}"


def _lots(lots: int) -> str:
    return f"{lots // 10_000}.{lots % 10_000:04d}"


class TrafficTrader:
    """One trader's socket: sends orders at a pace, and cancels what has waited longest."""

    def __init__(self, trader: Trader, seed: int) -> None:
        self.answers: Counter[str] = Counter()
        self.placed = 0
        self._trader = trader
        self._orders = Orders(seed)
        self._resting: deque[str] = deque()
        self._asked: set[str] = set()

    async def run(self, url: str, rate: float, seconds: float, may_send: Callable[[], bool]) -> None:
        """Send ``rate`` orders a second, fewer while not ``may_send()``; come back when all is answered."""
        async with connect(url, max_size=None, compression=None) as socket:
            await socket.send(json.dumps({"type": "authenticate", **self._trader.login()}))
            assert json.loads(await socket.recv())["type"] == "authenticated"
            hearing = asyncio.create_task(self._hear(socket))
            await self._send(socket, rate, seconds, may_send)
            end = time.monotonic() + ANSWER_S
            while self._asked and time.monotonic() < end:  # noqa: ASYNC110  # whoever hears takes them away
                await asyncio.sleep(BEAT_S)
            hearing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await hearing
        assert not self._asked, f"{len(self._asked)} requests have no answer: {sorted(self._asked)[:5]}"

    async def _send(self, socket: ClientConnection, rate: float, seconds: float, may_send: Callable[[], bool]) -> None:
        start = time.monotonic()
        while (passed := time.monotonic() - start) < seconds:
            while self.placed < passed * rate and len(self._asked) < WAITING_MAX and may_send():
                await self._place(socket)
            await asyncio.sleep(BEAT_S)

    async def _place(self, socket: ClientConnection) -> None:
        self.placed += 1
        own = f"{self._trader.name}-{self.placed}"
        await self._ask(socket, {"type": "order", "id": own, "client_oid": own, **self._orders.next()})
        self._resting.append(own)
        if len(self._resting) > RESTING_MAX:
            old = self._resting.popleft()
            await self._ask(socket, {"type": "cancel", "id": f"c-{old}", "client_oid": old})

    async def _ask(self, socket: ClientConnection, fields: dict[str, object]) -> None:
        self._asked.add(str(fields["id"]))
        await socket.send(json.dumps(fields))

    async def _hear(self, socket: ClientConnection) -> None:
        async for text in socket:
            message = json.loads(text)
            self._asked.discard(message["id"])
            self.answers[message["type"] if message["type"] != "error" else message["reason"]] += 1


class Traffic:
    """Two traders who trade with each other and with themselves."""

    def __init__(self, cluster: Cluster) -> None:
        self._url = cluster.url.replace("http", "ws")
        self._people = [cluster.user(USD="10000000", ETH="100000") for _ in range(2)]
        self._traders = [TrafficTrader(one, seed) for seed, one in enumerate(self._people)]

    async def run(self, rate: float, seconds: float, may_send: Callable[[], bool]) -> None:
        """``rate`` orders a second for so long, fewer while not ``may_send()``. What rests then, goes on resting."""
        each = rate / len(self._traders)
        await asyncio.gather(*(one.run(self._url, each, seconds, may_send) for one in self._traders))

    @property
    def placed(self) -> int:
        """Orders that were sent."""
        return sum(one.placed for one in self._traders)

    @property
    def taken_up(self) -> int:
        """Orders that were accepted. The book tells each as received or activated, but the few it refuses itself."""
        return sum(one.answers["order_result"] for one in self._traders)

    @property
    def answers(self) -> Counter[str]:
        """How often what was answered: the type of an answer, or the reason of an error."""
        return sum((one.answers for one in self._traders), Counter())

    def is_taken_up(self) -> bool:
        """Whether the book has taken up whatever was accepted."""
        return not any(one.call("GET", "/orders?status=pending").raise_for_status().json() for one in self._people)

    def stop(self) -> None:
        """Cancel what rests."""
        for one in self._people:
            one.call("DELETE", "/orders").raise_for_status()
