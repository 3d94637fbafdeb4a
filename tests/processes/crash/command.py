"""``python -m tests.processes.crash``: strike a real exchange at every label, with a progress bar and a table."""

import functools
import sys
import time
from collections.abc import Callable

import click
import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from tests.processes.crash import full, lanes, nursery, points, power, supervisors, zombies
from tests.processes.crash.report import Group, show, totals

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


@click.command()
@click.option("--faults", type=click.IntRange(1), default=20, show_default=True, help="How many at each label.")
@click.option("--seed", type=int, default=1, show_default=True, help="Which labels, in which order, after how long.")
@click.option("--group", "names", multiple=True, type=click.Choice(list(GROUPS)), help="Only these.")
def main(faults: int, seed: int, names: tuple[str, ...]) -> None:
    """Kill processes and servers of a trading exchange at labelled points; exit code 1 if anything was lost."""
    console, started, groups = Console(stderr=True, highlight=False), time.monotonic(), []
    nursery.prepare()
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        for name in names or GROUPS:
            share, strike = GROUPS[name]
            task, began, group = bar.add_task(name, total=share * faults), time.monotonic(), Group(name)
            try:
                strike(group, faults, seed, functools.partial(bar.advance, task))
            except AssertionError as error:  # what was waited for did not come
                group.problems.append(str(error))
            group.seconds = round(time.monotonic() - began, 1)
            group.rows.sort(key=lambda row: row.label)
            groups.append(group)
    show(console, groups)
    click.echo(msgspec.json.encode(totals(groups, time.monotonic() - started)))
    sys.exit(0 if all(one.is_good for one in groups) else 1)
