"""The command: one cluster for each durability, all loads in interleaved rounds, tables."""

import statistics
import time
import uuid
from collections.abc import Callable, Coroutine
from contextlib import ExitStack
from functools import partial
from typing import Any

import click
import msgspec
import psutil
import uvloop
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from benchmarks.gateway import bare
from benchmarks.gateway.fan_out import fan_out
from benchmarks.gateway.http_load import CONNECTIONS, http_load
from benchmarks.gateway.log_latency import log_latency
from benchmarks.gateway.websocket_load import SOCKETS, UNDER_WAY, websocket_load
from benchmarks.private_cluster import free_port, make_trader, private_cluster
from shared import keys
from shared.connections import connect
from shared.credentials import ApiKey
from shared.messages import CancelAllRequest
from shared.settings import Settings
from shared.submit import Submitter

Load = Callable[[int, list[ApiKey], int, int], Coroutine[Any, Any, tuple[float, list[float]]]]
Target = tuple[str, Load, int, int]
"""Name, load, port, pid of the process that serves."""
Figures = dict[str, Any]
TRADERS = 4
OURS = HTTP, WEBSOCKET = "matchbox, HTTP", "matchbox, WebSocket"
SETTLE_S = 1.0
"""The books and the pusher come to the end of a round."""
AUDIENCES = ((1, 0), (100, 0), (100, 100))
"""Subscribers who read, and who never do."""
BURST_AUDIENCE = 25
"""Who listens while orders come as they can: more would be more than one process can read, and be cut off."""
PACE = 300
"""Orders a second while the delay to subscribers is measured: below what the machine can do."""


def audiences(port: int, traders: list[ApiKey], rounds: int, tidy: Callable[[], None]) -> list[Figures]:
    """Medians of interleaved rounds: of one only, a pause of the machine says more than those who never read."""
    found: list[list[Figures]] = [[] for _ in AUDIENCES]
    for number in range(rounds):
        for results, audience in zip(found, AUDIENCES, strict=True):
            results.append(uvloop.run(fan_out(port, traders, *audience, PACE * 4, PACE, 100 + number)))
            tidy()
    return [{name: statistics.median(one[name] for one in results) for name in results[0]} for results in found]


def gateway_pid(settings: Settings) -> int:
    """The process that serves."""
    with connect(settings.redis_url) as client:
        return int(msgspec.json.decode(client.get(keys.beat("gateway:0")))["pid"])


def measure(target: Target, traders: list[ApiKey], count: int, seed: int) -> tuple[float, float, list[float]]:
    """Orders a second, the server's CPU seconds for each, and what each took (s)."""
    _, load, port, pid = target
    process = psutil.Process(pid)
    family = [process, *process.children()]
    before = sum(sum(one.cpu_times()[:2]) for one in family)
    took, times = uvloop.run(load(port, traders, count, seed))
    spent = sum(sum(one.cpu_times()[:2]) for one in family) - before
    return len(times) / took, spent / len(times), times


def cancel_all(settings: Settings, accounts: list[int]) -> None:
    """Take the orders of a round away: an account may have so many open at once, and a fuller book is another book."""
    with connect(settings.redis_url) as client:
        submitter = Submitter(client, settings.shards)
        for account in accounts:
            submitter.submit(CancelAllRequest(uuid.uuid4().hex, account))
    time.sleep(SETTLE_S)


def race(
    targets: list[Target], traders: list[ApiKey], count: int, rounds: int, tidy: Callable[[], None]
) -> dict[str, Figures]:
    """The median of interleaved rounds, after one that only warms up. ``tidy`` comes behind each load of ours."""
    found: dict[str, list[tuple[float, float, list[float]]]] = {name: [] for name, *_ in targets}
    with Progress(transient=True) as progress:
        task = progress.add_task("orders", total=(rounds + 1) * len(targets))
        for number in range(rounds + 1):
            for target in targets:
                one = measure(target, traders, count if number else count // 4, number)
                if target[0] in OURS:
                    tidy()
                if number:
                    found[target[0]].append(one)
                progress.advance(task)
    return {
        name: {
            "orders_per_s": round(statistics.median(rate for rate, _, _ in results)),
            "cpu_us": round(statistics.median(cpu for _, cpu, _ in results) * 1e6),
            **summary([time for _, _, times in results for time in times]),
        }
        for name, results in found.items()
    }


def summary(times: list[float]) -> dict[str, float]:
    """p50 and p99 in milliseconds."""
    cuts = statistics.quantiles(times, n=100)
    return {"p50_ms": round(cuts[49] * 1000, 2), "p99_ms": round(cuts[98] * 1000, 2)}


def run(durability: str, count: int, rounds: int, with_bare: bool) -> Figures:
    """All measurements on one cluster."""
    with ExitStack() as stack:
        settings = stack.enter_context(private_cluster(durability))
        made = [make_trader(settings, {"USD": "50000000", "BTC": "1000"}) for _ in range(TRADERS)]
        traders = [key for _, key in made]
        pid = gateway_pid(settings)
        targets: list[Target] = [
            (HTTP, http_load, settings.port, pid),
            (WEBSOCKET, websocket_load, settings.port, pid),
        ]
        for name in bare.installed() if with_bare else []:
            port = free_port()
            targets.append((name, http_load, port, stack.enter_context(bare.bare_app(name, settings.redis_url, port))))
        tidy = partial(cancel_all, settings, [account for account, _ in made])
        entry = race(targets, traders, count, rounds, tidy)
        latency = log_latency(settings, made[0][0], count // 4)
        heard = audiences(settings.port, traders, rounds, tidy)
        burst = uvloop.run(fan_out(settings.port, traders, BURST_AUDIENCE, 0, count, 0, 200))
    return {"entry": entry, "log": summary(latency), "fan_out": heard, "burst": burst}


# --- what people see -------------------------------------------------------------------------------


def show_entry(durability: str, found: dict[str, Figures], console: Console) -> None:
    """Ours, and the bare applications."""
    table = Table(
        title=f"orders, appendfsync {durability}; HTTP: {CONNECTIONS} connections, "
        f"WebSocket: {SOCKETS} with {UNDER_WAY} under way"
    )
    table.add_column("server")
    for heading in ("orders/s", "p50 ms", "p99 ms", "CPU \N{GREEK SMALL LETTER MU}s an order"):
        table.add_column(heading, justify="right")
    for name, one in found.items():
        table.add_row(name, f"{one['orders_per_s']:,}", str(one["p50_ms"]), str(one["p99_ms"]), f"{one['cpu_us']:,}")
    console.print(table)


def show_fan_out(durability: str, found: Figures, console: Console) -> None:
    """What subscribers of ``full`` got."""
    table = Table(title=f"full channel, appendfsync {durability}; {PACE} orders/s, last row as many as they can")
    for heading in ("subscribers", "who never read", "events/s", "deliveries/s", "p50 ms", "p99 ms"):
        table.add_column(heading, justify="right")
    for one in (*found["fan_out"], found["burst"]):
        rates = (f"{one['events_per_s']:,}", f"{one['deliveries_per_s']:,}")
        table.add_row(str(one["subscribers"]), str(one["deaf"]), *rates, str(one["p50_ms"]), str(one["p99_ms"]))
    console.print(table)
    log = found["log"]
    console.print(f"request to book event, one at a time: p50 {log['p50_ms']} ms, p99 {log['p99_ms']} ms\n")


def ratios(entry: dict[str, Figures]) -> dict[str, float]:
    """What the project promises: HTTP within 2x of a bare application, WebSocket entry 3x HTTP."""
    found = {"websocket_to_http": entry[WEBSOCKET]["orders_per_s"] / entry[HTTP]["orders_per_s"]}
    for name in bare.BARE:
        if name in entry:
            found[f"{name} to ours"] = entry[name]["orders_per_s"] / entry[HTTP]["orders_per_s"]
    return {name: round(one, 2) for name, one in found.items()}


@click.command(help="Orders into a whole cluster over HTTP and WebSocket, and what subscribers get of them.")
@click.option("--quick", is_flag=True, help="Fewer orders and rounds, no bare applications: under a minute.")
@click.option("--bare/--no-bare", "with_bare", default=True, help="Bare web applications, where they are installed.")
def main(quick: bool, with_bare: bool) -> None:
    """Measure."""
    count, rounds = (1_000, 1) if quick else (4_000, 5)
    console = Console()
    figures: dict[str, Figures] = {}
    for durability in ("always", "everysec"):
        found = figures[durability] = run(durability, count, rounds, with_bare and not quick)
        found["ratios"] = ratios(found["entry"])
        show_entry(durability, found["entry"], console)
        show_fan_out(durability, found, console)
    print(msgspec.json.encode({"benchmark": "gateway", **figures}).decode())
