"""One engine process through Redis, next to an echo of the same entries through the same read and commit path.

    python -m benchmarks.engine [--quick]

Both run ``workers/runtime.py`` in a process of their own over a private Valkey; the echo copies each command into the
log without looking at it, so the ratio says how much of the path's speed is left after decoding, matching, building and
encoding all events. Rounds are interleaved and medians compared, since machines drift. Recovery folds the whole log
of the last round, without a snapshot.
"""

import statistics
import subprocess
import sys
import time
from typing import Any

import click
import msgspec
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from benchmarks.flow import INSTRUMENT, MixedFlow
from benchmarks.private_valkey import private_valkey
from shared import keys, log
from shared.messages import Configure, decode_book_entry, encode
from shared.settings import Settings
from workers.engine.process import EngineHandler
from workers.handler import Batch, BrokenSource, Handler
from workers.runtime import run_machine
from workers.store import Entries

SYMBOL = INSTRUMENT.symbol
TAG = keys.instrument_tag(SYMBOL)
SOURCE = keys.outbox(0, SYMBOL)
TEMPLATE = "template"
CHUNK = 2000
DURABILITIES = ("always", "everysec")


class Echo:
    """The path without the book: every command goes into the log as it came."""

    tag = TAG

    def sources(self) -> list[str]:
        """The commands."""
        return [SOURCE]

    def readers(self, stream: str) -> list[str]:
        """Somebody who never comes: nothing is trimmed."""
        return [f"nobody of {stream}"]

    def handle(self, _source: str, entries: Entries, batch: Batch) -> None:
        """Copy."""
        batch.log += [fields[1] for _, fields in entries]

    def set_aside(self, _broken: BrokenSource) -> bool:
        """Nothing is ever broken."""
        return False

    def trouble(self) -> str:
        """None."""
        return ""

    def tick(self, _batch: Batch) -> None:
        """Nothing has a time."""

    def fold(self, _payload: bytes) -> None:
        """Nothing to follow."""

    def dump(self) -> bytes:
        """Nothing to keep."""
        return b""

    def load(self, _state: bytes) -> None:
        """Nothing to take."""

    def reset(self) -> None:
        """Nothing to forget."""

    def digest(self) -> str:
        """No state."""
        return ""

    def sequence(self) -> int:
        """Nothing to count."""
        return 0


class Watch:
    """Wraps a handler to see when it is recovered, and when it has handled ``total`` commands."""

    def __init__(self, handler: Handler, total: int) -> None:
        self._handler = handler
        self._left = total
        self.recovered_at = 0.0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._handler, name)

    def sources(self) -> list[str]:
        """Asked for the first time when recovery is over."""
        self.recovered_at = self.recovered_at or time.perf_counter()
        return self._handler.sources()

    def handle(self, source: str, entries: Entries, batch: Batch) -> None:
        """Handle and count."""
        self._handler.handle(source, entries, batch)
        self._left -= len(entries)

    def done(self) -> bool:
        """Recovered, and nothing left."""
        return bool(self.recovered_at) and self._left <= 0


def measured_process(kind: str, url: str, total: int) -> None:
    """Print the seconds of recovery, and those from the first read to the last commit."""
    log.configure("error", kind)
    settings = Settings(redis_url=url, snapshot_every=10**9)
    handler: Any = Watch(Echo() if kind == "echo" else EngineHandler(settings, SYMBOL), total)
    started = time.perf_counter()
    run_machine(kind, handler, settings, handler.done)
    print(handler.recovered_at - started, time.perf_counter() - handler.recovered_at)


def timed(kind: str, url: str, total: int) -> tuple[float, float]:
    """Run ``measured_process`` in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.engine", "--child", kind, url, str(total)]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, timeout=600).stdout.split()
    return float(output[0]), float(output[1])


def fill(client: Any, payloads: list[bytes]) -> None:
    """Write ``payloads`` into a stream that each round copies from."""
    for start in range(0, len(payloads), CHUNK):
        pipe = client.pipeline(transaction=False)
        for number, payload in enumerate(payloads[start : start + CHUNK], start + 1):
            pipe.execute_command("XADD", TEMPLATE, f"{number}-0", "d", payload)
        pipe.execute()


def start_over(client: Any) -> None:
    """Leave nothing of the last round but the commands."""
    client.delete(keys.log(TAG), keys.meta(TAG), keys.snapshot(TAG))
    client.copy(TEMPLATE, SOURCE, replace=True)


def count_events(client: Any) -> int:
    """Events in the book's log."""
    total, after = 0, "-"
    while entries := client.xrange(keys.log(TAG), after, count=CHUNK):
        total += sum(len(decode_book_entry(fields[b"d"]).events) for _, fields in entries)
        after = b"(" + entries[-1][0]
    return total


def run(commands: int, rounds: int, durabilities: tuple[str, ...]) -> dict[str, Any]:
    """All rounds; answers the figures by durability, and those of recovery."""
    payloads = [encode(Configure(INSTRUMENT, 1)), *map(encode, MixedFlow().commands(commands - 1))]
    figures: dict[str, Any] = {"commands": commands, "rounds": rounds}
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("engine and echo in turn", total=2 * rounds * len(durabilities) + 1)
        for durability in durabilities:
            with private_valkey(durability) as (url, client):
                fill(client, payloads)
                rates: dict[str, list[float]] = {"echo": [], "engine": []}
                for _ in range(rounds):
                    for kind in rates:
                        start_over(client)
                        rates[kind].append(commands / timed(kind, url, commands)[1])
                        progress.advance(task)
                ratio = statistics.median(b / a for a, b in zip(rates["echo"], rates["engine"], strict=True))
                medians = {kind: round(statistics.median(values)) for kind, values in rates.items()}
                figures[durability] = {**medians, "ratio": round(ratio, 3)}
                if durability == durabilities[-1]:
                    client.delete(keys.snapshot(TAG))
                    events = count_events(client)
                    seconds = timed("engine", url, 0)[0]
                    figures["recovery"] = {
                        "events": events,
                        "seconds": round(seconds, 3),
                        "seconds_per_million": round(seconds / events * 1_000_000, 2),
                    }
                    progress.advance(task)
    return figures


def show(figures: dict[str, Any]) -> None:
    """A table for people, then one JSON line."""
    table = Table(title=f"engine through Redis: {figures['commands']:,} commands, median of {figures['rounds']} rounds")
    for heading in ("appendfsync", "echo, commands/s", "engine, commands/s", "engine / echo"):
        table.add_column(heading, justify="left" if heading == "appendfsync" else "right")
    for durability in DURABILITIES:
        if one := figures.get(durability):
            table.add_row(durability, f"{one['echo']:,}", f"{one['engine']:,}", f"{one['ratio']:.0%}")
    console = Console()
    console.print(table)
    events, seconds, per_million = figures["recovery"].values()
    console.print(f"recovery: {events:,} events in {seconds} s, {per_million} s per million")
    print(msgspec.json.encode({"benchmark": "engine", **figures}).decode())


@click.command(help=__doc__)
@click.option("--quick", is_flag=True, help="Fewer commands and rounds: under 20 s.")
@click.option("--child", nargs=3, hidden=True, help="Be the measured process: kind, URL, commands.")
def main(quick: bool, child: tuple[str, str, str] | None) -> None:
    """Measure."""
    if child:
        measured_process(child[0], child[1], int(child[2]))
        return
    show(run(30_000 if quick else 200_000, 3 if quick else 5, DURABILITIES))


if __name__ == "__main__":
    main()
