"""``python -m tests.processes.crash``: strike a real exchange at every label, with a progress bar and a table."""

import functools
import sys
import time
from collections.abc import Callable

import click
import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from tests import nursery
from tests.processes.crash import full, lanes, points, power, supervisors, zombies
from tests.processes.crash.report import Group, show, totals

WIDTH = 120
"""Of the table in a file."""
Strike = Callable[[Group, int, int, Callable[[int], None]], None]
GROUPS: dict[str, tuple[float, Strike]] = {
    "machines and pusher": (len(points.MACHINE) + len(points.PUSHER), lanes.strike_workers),
    "gateways": (len(points.GATEWAY), lanes.strike_gateways),
    "zombies": (sum(map(len, zombies.STOPS.values())) / 4, zombies.strike_zombies),
    "servers": (3, power.strike_servers),
    "everysec": (1, power.strike_everysec),
    "full": (3, full.strike_full),
    "supervisors": (len(points.SUPERVISOR), supervisors.strike_supervisors),
    "whole cluster": (len(points.SUPERVISOR), supervisors.strike_whole_clusters),
}
"""Name -> (how much of the progress bar N is, and what strikes N times at each label)."""


def _asked(_context: click.Context, _option: click.Parameter, words: tuple[str, ...]) -> list[tuple[str, int]]:
    """``NAME`` or ``NAME=N`` -> the group, and its own N (0: as the others)."""
    found = []
    for word in words or GROUPS:
        name, _, number = word.partition("=")
        if name not in GROUPS or (number and not number.isdecimal()):
            raise click.BadParameter(f'"{word}": write one of {", ".join(GROUPS)}, or NAME=N')
        found.append((name, int(number or 0)))
    return found


@click.command()
@click.option("--faults", type=click.IntRange(1), default=20, show_default=True, help="How many at each label.")
@click.option("--seed", type=int, default=1, show_default=True, help="Which labels, in which order, after how long.")
@click.option("--group", "groups", multiple=True, callback=_asked, metavar="NAME[=N]", help="Only these.")
def main(faults: int, seed: int, groups: list[tuple[str, int]]) -> None:
    """Kill processes and servers of a trading exchange at labelled points; exit code 1 if anything was lost."""
    console, started, done = Console(stderr=True, highlight=False), time.monotonic(), []
    if not console.is_terminal:
        console.width = WIDTH
    nursery.prepare("tests.processes.crash.nursery")
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        for name, own in groups:
            share, strike = GROUPS[name]
            task = bar.add_task(name, total=share * (own or faults))
            group = _struck(Group(name), strike, own or faults, seed, functools.partial(bar.advance, task))
            done.append(group)
            console.print(f"{name}: done after {group.seconds:g} s", markup=False)
    show(console, done)
    click.echo(msgspec.json.encode(totals(done, time.monotonic() - started)))
    sys.exit(0 if all(one.is_good for one in done) else 1)


def _struck(group: Group, strike: Strike, count: int, seed: int, advance: Callable[[int], None]) -> Group:
    began = time.monotonic()
    try:
        strike(group, count, seed, advance)
    except AssertionError as error:  # what was waited for did not come
        group.problems.append(str(error))
    group.seconds = round(time.monotonic() - began, 1)
    group.rows.sort(key=lambda row: row.label)
    return group
