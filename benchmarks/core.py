"""The matching core alone, one process, no Redis: commands per second on five seeded flows.

    python -m benchmarks.core [--quick] [--flow mixed]

``apply``: commands in, the full list of events out. ``step``: what the engine's process does with each stream entry,
decode + apply + encode. ``fold``: following the recorded entries, decoded before, as recovery does. Each flow's
preparation (filling the book) is not measured. Rounds are interleaved, medians shown. Seconds are those of the CPU,
so that what else runs on the machine counts less.
"""

import gc
import random
import statistics
import time
from collections.abc import Callable

import click
import msgspec
from rich.console import Console
from rich.table import Table

from benchmarks.flow import INSTRUMENT, MID, MixedFlow
from shared.messages import (
    BookEntry,
    Cancel,
    Command,
    Configure,
    Place,
    Side,
    decode_book_entry,
    encode,
)
from shared.settings import Settings
from workers.engine.book import OrderBook
from workers.engine.process import EngineHandler
from workers.runtime import Batch

BATCH = 512
Flow = tuple[list[Command], list[Command]]
"""Preparation, and what is measured."""


def around(seed: int, depth: int, count: int) -> Flow:
    """The mixed flow over ``depth`` orders a side."""
    commands = MixedFlow(seed, depth).commands(2 * depth + count)
    return commands[: 2 * depth], commands[2 * depth :]


def cross(count: int) -> Flow:
    """Half of the commands rest within a few ticks of the mid, half take about as much as rests."""
    dice = random.Random(3)
    commands: list[Command] = []
    for number in range(1, count + 1):
        side: Side = dice.choice(("buy", "sell"))
        takes = number % 2 == 0
        away = (dice.randrange(10) + 1) * (1 if (side == "buy") == takes else -1)
        commands.append(Place(number, dice.randrange(1, 50), number, side, "limit", MID + away, dice.randrange(1, 200)))
    return [], commands


def add(count: int) -> Flow:
    """Limits that rest, on 1,000 levels a side."""
    dice = random.Random(4)
    commands: list[Command] = []
    for number in range(1, count + 1):
        side: Side = dice.choice(("buy", "sell"))
        away = dice.randrange(1, 1001) * (-1 if side == "buy" else 1)
        commands.append(Place(number, dice.randrange(1, 50), number, side, "limit", MID + away, dice.randrange(1, 200)))
    return [], commands


def cancel(count: int) -> Flow:
    """95% cancels anywhere in queues of thousands."""
    dice = random.Random(5)
    rest: list[Place] = []
    commands: list[Command] = []
    for number in range(1, count + 1):
        side: Side = dice.choice(("buy", "sell"))
        away = dice.randrange(1, 21) * (-1 if side == "buy" else 1)
        rest.append(Place(number, dice.randrange(1, 50), number, side, "limit", MID + away, dice.randrange(1, 200)))
    order = list(range(count))
    dice.shuffle(order)
    for at in order:
        commands.append(Cancel(rest[at].order_id, rest[at].account, count + at))
        if dice.random() < 0.05:
            commands.append(msgspec.structs.replace(rest[at], order_id=count + len(commands)))
    return list(rest), commands[:count]


FLOWS: dict[str, Callable[[int], Flow]] = {
    "mixed": lambda count: around(1, 1000, count),
    "deep": lambda count: around(2, 50_000, count),
    "cross": cross,
    "add": add,
    "cancel": cancel,
}


def prepared(commands: list[Command]) -> OrderBook:
    """A book with the flow's preparation done."""
    book = OrderBook()
    book.apply(Configure(INSTRUMENT, 1))
    for command in commands:
        book.apply(command)
    return book


def time_apply(flow: Flow) -> float:
    """Seconds of ``apply`` alone."""
    apply = prepared(flow[0]).apply
    started = time.process_time()
    for command in flow[1]:
        apply(command)
    return time.process_time() - started


def time_step(flow: Flow) -> float:
    """Seconds of decode, apply and encode, in the handler of the engine's process."""
    handler = EngineHandler(Settings(), INSTRUMENT.symbol)
    handler.book = prepared(flow[0])
    entries = [[b"%d-0" % number, [b"d", encode(command)]] for number, command in enumerate(flow[1], 1)]
    source = handler.sources()[0]
    started = time.process_time()
    for start in range(0, len(entries), BATCH):
        handler.handle(source, entries[start : start + BATCH], Batch())
    return time.process_time() - started


def time_fold(flow: Flow) -> float:
    """Seconds of folding what the commands did."""
    book = prepared(flow[0])
    follower = OrderBook.load(book.dump())
    entries = [decode_book_entry(encode(BookEntry("", book.time, book.apply(command)))) for command in flow[1]]
    started = time.process_time()
    for entry in entries:
        follower.fold_entry(entry)
    return time.process_time() - started


MEASURES: dict[str, Callable[[Flow], float]] = {"apply": time_apply, "step": time_step, "fold": time_fold}


def run(names: list[str], commands: int, rounds: int) -> dict[str, dict[str, int]]:
    """Commands per second by flow and measure: the median of interleaved rounds."""
    flows = {name: FLOWS[name](commands) for name in names}
    seconds: dict[tuple[str, str], list[float]] = {(name, kind): [] for name in names for kind in MEASURES}
    for _ in range(rounds):
        for (name, kind), found in seconds.items():
            gc.collect()
            found.append(MEASURES[kind](flows[name]))
    return {
        name: {kind: round(len(flows[name][1]) / statistics.median(seconds[name, kind])) for kind in MEASURES}
        for name in names
    }


def show(figures: dict[str, dict[str, int]], commands: int, rounds: int) -> None:
    """A table for people, then one JSON line."""
    table = Table(title=f"matching core: commands/s, {commands:,} commands, median of {rounds} rounds")
    table.add_column("flow")
    for kind in MEASURES:
        table.add_column(kind, justify="right")
    for name, rates in figures.items():
        table.add_row(name, *(f"{rates[kind]:,}" for kind in MEASURES))
    Console().print(table)
    print(msgspec.json.encode({"benchmark": "core", "commands": commands, "rounds": rounds, **figures}).decode())


@click.command(help=__doc__)
@click.option("--quick", is_flag=True, help="Fewer commands and rounds: under 15 s.")
@click.option("--flow", type=click.Choice(list(FLOWS)), help="Only this flow.")
def main(quick: bool, flow: str | None) -> None:
    """Measure."""
    commands, rounds = (50_000, 3) if quick else (200_000, 5)
    show(run([flow] if flow else list(FLOWS), commands, rounds), commands, rounds)


if __name__ == "__main__":
    main()
