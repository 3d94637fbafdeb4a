"""Keep-alive connections that POST orders, each as soon as the one before is answered."""

import asyncio
import random
import time
from collections.abc import Sequence

from benchmarks.gateway.orders import post_order
from shared.credentials import ApiKey

CONNECTIONS = 32
TIMEOUT_S = 60


async def http_load(port: int, keys: Sequence[ApiKey], count: int, seed: int) -> tuple[float, list[float]]:
    """Seconds of all, and of each of, ``count`` orders. Raises ``SystemExit`` if one is refused."""
    each = count // CONNECTIONS
    lanes = [
        [post_order(keys[lane % len(keys)], random.Random(f"{seed}-{lane}-{one}")) for one in range(each)]
        for lane in range(CONNECTIONS)
    ]
    streams = [await asyncio.open_connection("127.0.0.1", port) for _ in lanes]
    times: list[float] = []
    started = time.perf_counter()
    async with asyncio.timeout(TIMEOUT_S):
        await asyncio.gather(*(lane_of(*stream, lane, times) for stream, lane in zip(streams, lanes, strict=True)))
    took = time.perf_counter() - started
    for _, writer in streams:
        writer.close()
    return took, times


async def lane_of(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, requests: list[bytes], times: list[float]
) -> None:
    """One connection; the client's own work is kept small, since it shares the machine."""
    for request in requests:
        started = time.perf_counter()
        writer.write(request)
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        at = head.index(b"content-length:") + 15
        body = await reader.readexactly(int(head[at : head.index(b"\r", at)]))
        if not head.startswith(b"http/1.1 20"):
            raise SystemExit(f"an order was refused: {body.decode()}")
        times.append(time.perf_counter() - started)
