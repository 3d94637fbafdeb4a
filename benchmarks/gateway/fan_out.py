"""Subscribers of ``full`` in a process of their own, while orders come in at a fixed pace or as fast as they can."""

import asyncio
import re
import socket
import statistics
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from datetime import datetime
from multiprocessing import get_context
from typing import Any

import msgspec
import uvloop

from benchmarks.gateway.frames import Socket, framed, open_socket
from benchmarks.gateway.orders import SYMBOL
from benchmarks.gateway.websocket_load import websocket_load
from shared.credentials import ApiKey

SUBSCRIBE = framed(msgspec.json.encode({"type": "subscribe", "product_ids": [SYMBOL], "channels": ["full"]}))
START_S = 20.0
"""How long the first message may take."""
QUIET_S = 1.0
"""Nothing came for so long: it is over."""
SAMPLE = 16
"""One message of so many is looked at for its time."""
_SEQUENCE, _TIME = b'"sequence":', re.compile(rb'"time":"([^"]+)"')


class Listener(Socket):
    """Counts the book's messages; notes how old some are when they come in."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0
        self.ages: list[float] = []
        self.first = self.last = 0.0
        self.heard = asyncio.Event()

    def on_message(self, message: bytes) -> None:
        """``time`` is when the ledger took the order up."""
        if _SEQUENCE not in message:
            return
        self.last = time.time()
        self.first = self.first or self.last
        self.heard.set()
        self.count += 1
        if self.count % SAMPLE == 0:
            found = _TIME.search(message)
            assert found is not None
            self.ages.append(self.last - datetime.fromisoformat(found[1].decode()).timestamp())


class Deaf(Socket):
    """Subscribes, and never reads."""

    def listen_never(self) -> None:
        """From here on."""
        self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.transport.write(SUBSCRIBE)
        self.transport.pause_reading()


async def listen(port: int, listeners: int, deaf: int, started: Any) -> dict[str, Any]:
    """Subscribe, and count until all is quiet."""
    for _ in range(deaf):
        (await open_socket(port, Deaf())).listen_never()
    sockets = [await open_socket(port, Listener()) for _ in range(listeners)]
    for one in sockets:
        one.transport.write(SUBSCRIBE)
    await asyncio.sleep(QUIET_S)
    started.set()
    await until_quiet(sockets[0].heard)
    counts = {one.count for one in sockets}
    if len(counts) != 1:
        raise SystemExit(f"the subscribers of one channel got different numbers of messages: {sorted(counts)}")
    seconds = max(one.last for one in sockets) - min(one.first for one in sockets)
    cuts = statistics.quantiles((age for one in sockets for age in one.ages), n=100)
    return {
        "subscribers": listeners,
        "deaf": deaf,
        "events": sockets[0].count,
        "events_per_s": round(sockets[0].count / seconds),
        "deliveries_per_s": round(listeners * sockets[0].count / seconds),
        "p50_ms": round(cuts[49] * 1000, 2),
        "p99_ms": round(cuts[98] * 1000, 2),
    }


async def until_quiet(heard: asyncio.Event) -> None:
    """Come back when nothing has come in for a while, after something did."""
    pause = START_S
    while True:
        heard.clear()
        try:
            async with asyncio.timeout(pause):
                await heard.wait()
        except TimeoutError:
            return
        pause = QUIET_S


def _listen(port: int, listeners: int, deaf: int, started: Any) -> dict[str, Any]:
    return uvloop.run(listen(port, listeners, deaf, started))


async def fan_out(
    port: int, keys: Sequence[ApiKey], listeners: int, deaf: int, orders: int, pace: int, seed: int
) -> dict[str, Any]:
    """What ``listeners`` get of so many orders, entered at ``pace`` a second (0: as they can)."""
    context = get_context("spawn")
    loop = asyncio.get_running_loop()
    with context.Manager() as manager, ProcessPoolExecutor(1, context) as pool:
        started = manager.Event()
        result = loop.run_in_executor(pool, _listen, port, listeners, deaf, started)
        await loop.run_in_executor(None, started.wait, START_S)
        await websocket_load(port, keys, orders, seed, pace)
        return await result
