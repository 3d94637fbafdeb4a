"""Orders over HTTP into a whole cluster, and the way of an order from request to book event.

    python -m benchmarks.gateway [--quick]

(1) 32 keep-alive connections POST signed limit orders as fast as they are answered; an answer means that the ledger
has committed the order. The orders rest or trade with each other. (2) One request at a time goes into the ledger's
inbox, and the book's log is watched until its event is there: five hops on an idle cluster. The load comes from this
process, on the same machine, so the figures are of both together.
"""

import asyncio
import base64
import hashlib
import hmac
import random
import statistics
import time
import uuid
from typing import Any

import click
import msgspec
import uvloop
from rich.console import Console
from rich.table import Table

from benchmarks.private_cluster import make_trader, private_cluster
from shared import keys
from shared.connections import BLOCK_MS, connect
from shared.credentials import ApiKey
from shared.messages import FIELD, CancelRequest, OrderRequest, Received, decode_book_entry, encode
from shared.settings import Settings

SYMBOL = "BTC-USD"
CONNECTIONS = 32


def signed_order(key: ApiKey, host: str, price: str, side: str) -> bytes:
    """The bytes of one POST /orders."""
    body = msgspec.json.encode(
        {
            "product_id": SYMBOL,
            "side": side,
            "type": "limit",
            "price": price,
            "size": "0.001",
            "client_oid": uuid.uuid4().hex,
        }
    )
    stamp = f"{time.time():.3f}"
    sign = hmac.digest(base64.b64decode(key.secret), stamp.encode() + b"POST/orders" + body, hashlib.sha256)
    head = (
        f"POST /orders HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        f"CB-ACCESS-KEY: {key.key}\r\nCB-ACCESS-SIGN: {base64.b64encode(sign).decode()}\r\n"
        f"CB-ACCESS-TIMESTAMP: {stamp}\r\nCB-ACCESS-PASSPHRASE: {key.passphrase}\r\n\r\n"
    )
    return head.encode() + body


async def one_connection(settings: Settings, key: ApiKey, until: float, seed: int, times: list[float]) -> None:
    """Post orders one after the other until the time is over; keep each answer's seconds."""
    chance = random.Random(seed)
    reader, writer = await asyncio.open_connection(settings.host, settings.port)
    while time.perf_counter() < until:
        side = chance.choice(("buy", "sell"))
        ticks = 5_000_000 + chance.randrange(-2000, 2000) + (-1000 if side == "buy" else 1000)
        price = f"{ticks // 100}.{ticks % 100:02}"
        request = signed_order(key, f"{settings.host}:{settings.port}", price, side)
        started = time.perf_counter()
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
        body = await reader.readexactly(length)
        if not head.startswith(b"HTTP/1.1 200"):
            raise SystemExit(f"the gateway refused an order: {body.decode()}")
        times.append(time.perf_counter() - started)
    writer.close()


async def http_load(settings: Settings, traders: list[ApiKey], seconds: float) -> list[float]:
    """All connections together."""
    times: list[float] = []
    until = time.perf_counter() + seconds
    await asyncio.gather(
        *(one_connection(settings, traders[one % len(traders)], until, one, times) for one in range(CONNECTIONS))
    )
    return times


def log_latency(settings: Settings, account: int, count: int) -> list[float]:
    """Seconds from XADD of a request to its ``received`` on the book's log, one at a time."""
    times = []
    with connect(settings.redis_url) as client:
        log = keys.log(keys.instrument_tag(SYMBOL))
        position = client.xrevrange(log, count=1)[0][0]
        for _ in range(count):
            client_id = uuid.uuid4().hex
            order = OrderRequest(uuid.uuid4().hex, account, SYMBOL, "buy", "limit", 100, 1, client_id=client_id)
            started = time.perf_counter()
            client.xadd(keys.inbox(keys.shard_of(account, settings.shards)), {FIELD: encode(order)})
            position = wait_for(client, log, position, client_id)
            times.append(time.perf_counter() - started)
            cancel = CancelRequest(uuid.uuid4().hex, account, client_id=client_id)
            client.xadd(keys.inbox(keys.shard_of(account, settings.shards)), {FIELD: encode(cancel)})
    return times


def wait_for(client: Any, log: str, position: bytes, client_id: str) -> bytes:
    """Read the book's log until the order is received there; answers the position."""
    while True:
        reply = client.xread({log: position}, block=BLOCK_MS)
        for _, entries in reply.items() if isinstance(reply, dict) else reply or []:
            for position, fields in entries:
                for event in decode_book_entry(fields[FIELD]).events:
                    if isinstance(event, Received) and event.client_id == client_id:
                        return position


def summary(times: list[float]) -> dict[str, float]:
    """p50 and p99 in milliseconds."""
    cuts = statistics.quantiles(times, n=100)
    return {"p50_ms": round(cuts[49] * 1000, 2), "p99_ms": round(cuts[98] * 1000, 2)}


def run(durability: str, seconds: float, singles: int) -> dict[str, Any]:
    """Both measurements on one cluster."""
    with private_cluster(durability) as settings:
        made = [make_trader(settings, {"USD": "50000000", "BTC": "1000"}) for _ in range(4)]
        traders = [key for _, key in made]
        uvloop.run(http_load(settings, traders, 1.0))
        times = uvloop.run(http_load(settings, traders, seconds))
        latency = log_latency(settings, made[0][0], singles)
    http = {"orders_per_s": round(len(times) / seconds), "connections": CONNECTIONS, **summary(times)}
    return {"http": http, "log": {"requests": singles, **summary(latency)}}


@click.command(help=__doc__)
@click.option("--quick", is_flag=True, help="Shorter: about 25 s.")
def main(quick: bool) -> None:
    """Measure."""
    figures = {
        durability: run(durability, 2 if quick else 10, 100 if quick else 1000) for durability in ("always", "everysec")
    }
    table = Table(title="orders into a whole cluster, answered after the ledger's commit")
    for heading in (
        "appendfsync",
        "HTTP orders/s",
        "HTTP p50 ms",
        "HTTP p99 ms",
        "request to book event p50 ms",
        "p99 ms",
    ):
        table.add_column(heading, justify="left" if heading == "appendfsync" else "right")
    for durability, one in figures.items():
        http, log = one["http"], one["log"]
        row = (f"{http['orders_per_s']:,}", http["p50_ms"], http["p99_ms"], log["p50_ms"], log["p99_ms"])
        table.add_row(durability, *map(str, row))
    Console().print(table)
    print(msgspec.json.encode({"benchmark": "gateway", **figures}).decode())


if __name__ == "__main__":
    main()
