"""The command: check every engine, measure in interleaved rounds, show tables."""

import statistics
from collections.abc import Iterable
from typing import Any

import click
import msgspec
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.core.checking import expected, faults, outcome
from benchmarks.core.flows import FLOWS, Flow
from benchmarks.core.measures import latencies, quantile, time_apply, time_fold, time_step
from benchmarks.core.ours import Matchbox, ours
from benchmarks.core.stress import STRESSES
from benchmarks.peers import installed
from benchmarks.peers.engine import Engine

LEAST = 1_000
"""An engine so slow that it could not be given as many commands is left out of a flow."""
CHECKED = 5_000
"""Commands of a flow that the plain book is asked for, too: it looks through everything."""
RUNS = 5
"""Runs of a flow of which each command's least time counts."""

Engines = list[type[Engine]]
Wrong = dict[str, list[str]]
Figures = dict[str, dict[str, Any]]


def fitting(engine: type[Engine], flow: Flow) -> Flow | None:
    """As much of a flow as the engine can be given; None if it is too little to say anything."""
    room = engine.commands_max - len(flow.preparation)
    return flow.first(room) if room >= LEAST else None


def check(engines: Engines, flows: dict[str, Flow], console: Console) -> Wrong:
    """What is wrong with each engine's trades and levels, over all flows."""
    wrong: Wrong = {engine.name: [] for engine in engines}
    for flow in track(flows.values(), "checking", console=console, transient=True):
        right = {}
        for engine in engines:
            fits = fitting(engine, flow.first(CHECKED))
            if fits is None:
                continue
            length = len(fits.commands)
            if length not in right:
                right[length] = expected(fits)
            found = faults(outcome(engine(), fits), right[length])
            wrong[engine.name] += [one for one in found if one not in wrong[engine.name]]
    return wrong


def rates(engines: Engines, flows: dict[str, Flow], rounds: int, console: Console) -> Figures:
    """Commands per CPU second of every engine on every flow: the median of interleaved rounds."""
    seconds: dict[tuple[str, str], list[float]] = {}
    for _ in track(range(rounds), "racing", console=console, transient=True):
        for name, flow in flows.items():
            for engine in engines:
                fits = fitting(engine, flow)
                if fits is not None:
                    spent = time_apply(engine(), fits) / len(fits.commands)
                    seconds.setdefault((engine.name, name), []).append(spent)
    return {
        engine.name: {
            name: round(1 / statistics.median(seconds[engine.name, name]))
            for name in flows
            if (engine.name, name) in seconds
        }
        for engine in engines
    }


def parts(engine: type[Matchbox], flows: dict[str, Flow], rounds: int, console: Console) -> Figures:
    """What one of our own engines does besides, and how long single commands take."""
    found: Figures = {}
    for name, flow in track(flows.items(), engine.name, console=console, transient=True):
        steps = [time_step(engine(), flow) for _ in range(rounds)]
        folds = [time_fold(engine(), flow) for _ in range(rounds)]
        times = sorted(latencies(engine, flow, RUNS))
        found[name] = {
            "step": round(len(flow.commands) / statistics.median(steps)),
            "fold": round(len(flow.commands) / statistics.median(folds)),
            "p50_ns": quantile(times, 0.5),
            "p99_ns": quantile(times, 0.99),
            "p999_ns": quantile(times, 0.999),
            "max_ns": times[-1],
        }
    return found


def stress(engine: type[Matchbox], console: Console) -> dict[str, int]:
    """The slowest single command of each stress, in ns."""
    found = {}
    for name, (flow, with_gc) in track(STRESSES.items(), f"{engine.name}: stress", console=console, transient=True):
        found[name] = max(latencies(engine, flow(), RUNS, with_gc))
    return found


# --- what people see -------------------------------------------------------------------------------


def show_rates(figures: Figures, wrong: Wrong, missing: Iterable[str], flows: Iterable[str], console: Console) -> None:
    """All engines, ours first, and whether they match correctly."""
    table = Table(title="apply: thousand commands per CPU second")
    table.add_column("order book")
    for name in flows:
        table.add_column(name, justify="right")
    table.add_column("right?")
    for engine, found in figures.items():
        cells = [f"{found[name] / 1000:,.1f}" if name in found else "-" for name in flows]
        table.add_row(engine, *cells, ", ".join(wrong[engine]) + " wrong" if wrong[engine] else "yes")
    for module in missing:
        table.add_row(module, *("-" for _ in flows), 'not installed: see "make peers"')
    console.print(table)


def show_parts(title: str, figures: Figures, console: Console) -> None:
    """One engine of ours."""
    table = Table(title=f"{title}: thousand commands per CPU second, and \N{GREEK SMALL LETTER MU}s of one command")
    table.add_column("flow")
    for name in ("step", "fold", "p50", "p99", "p99.9", "max"):
        table.add_column(name, justify="right")
    for name, found in figures.items():
        speeds = [f"{found[kind] / 1000:,.0f}" for kind in ("step", "fold")]
        times = [f"{found[kind] / 1000:,.1f}" for kind in ("p50_ns", "p99_ns", "p999_ns", "max_ns")]
        table.add_row(name, *speeds, *times)
    console.print(table)


def show_stress(figures: dict[str, dict[str, int]], console: Console) -> None:
    """The slowest commands."""
    table = Table(title="the slowest single command, in \N{GREEK SMALL LETTER MU}s")
    table.add_column("stress")
    for engine in figures:
        table.add_column(engine, justify="right")
    for name in STRESSES:
        table.add_row(name, *(f"{found[name] / 1000:,.1f}" for found in figures.values()))
    console.print(table)


def ratios(figures: Figures, wrong: Wrong, flows: Iterable[str]) -> dict[str, dict[str, float]]:
    """How many times as fast as the best peer that matches correctly each engine of ours is, by flow."""
    own = {engine.name for engine in ours()}
    peers = [name for name in figures if name not in own and not wrong[name]]
    found: dict[str, dict[str, float]] = {name: {} for name in figures if name in own}
    for flow in flows:
        best = max((figures[peer][flow] for peer in peers if flow in figures[peer]), default=0)
        for name in found if best else ():
            found[name][flow] = round(figures[name][flow] / best, 2)
    return found


@click.command(help="The matching core alone, next to other order books that pip installs.")
@click.option("--quick", is_flag=True, help="Fewer commands and rounds, no peers: under 30 s.")
@click.option("--flow", type=click.Choice(list(FLOWS)), help="Only this flow.")
@click.option("--peers/--no-peers", default=True, help="Other order books, where they are installed.")
def main(quick: bool, flow: str | None, peers: bool) -> None:
    """Check, measure, show."""
    console = Console()
    commands, rounds = (20_000, 3) if quick else (100_000, 5)
    others, missing = installed() if peers and not quick else ([], [])
    own = ours()
    engines: Engines = [*own, *others]
    flows = {name: make(commands) for name, make in FLOWS.items() if flow in (None, name)}
    wrong = check(engines, flows, console)
    figures = rates(engines, flows, rounds, console)
    details = {engine.name: parts(engine, flows, rounds, console) for engine in own}
    stresses = {engine.name: stress(engine, console) for engine in own} if flow is None else {}
    show_rates(figures, wrong, missing, flows, console)
    for name, found in details.items():
        show_parts(name, found, console)
    if stresses:
        show_stress(stresses, console)
    result = {
        "benchmark": "core", "commands": commands, "rounds": rounds, "apply": figures, "wrong": wrong,
        "times_the_best_correct_peer": ratios(figures, wrong, flows), "ours": details, "slowest_ns": stresses,
    }  # fmt: skip
    print(msgspec.json.encode(result).decode())
