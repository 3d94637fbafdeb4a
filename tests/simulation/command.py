"""``python -m tests.simulation``: many seeds with a progress bar, or one seed step by step."""

import os
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import click
import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from tests.simulation.checks import Verdict
from tests.simulation.mutants import MUTANTS
from tests.simulation.run import simulate, told

CHUNK = 25
FAILED_MAX = 20


class Totals(msgspec.Struct):
    """The closing line. ``failed``: the first seeds with violations."""

    seeds: int = 0
    steps: int = 0
    faults: dict[str, int] = {}
    acknowledged: int = 0
    lost: int = 0
    doubled: int = 0
    violations: int = 0
    failed: list[int] = []
    seconds: float = 0.0

    def add(self, verdict: Verdict) -> None:
        """Count one seed."""
        self.seeds += 1
        self.steps += verdict.steps
        self.faults = dict(sorted((Counter(self.faults) + Counter(verdict.faults)).items()))
        self.acknowledged += verdict.acknowledged
        self.lost += verdict.lost
        self.doubled += verdict.doubled
        self.violations += len(verdict.violations)
        if verdict.violations and len(self.failed) < FAILED_MAX:
            self.failed.append(verdict.seed)


def _chunk(first: int, last: int, guard: str) -> list[Verdict]:
    return [simulate(seed, guard) for seed in range(first, last)]


def _verdicts(first: int, count: int, guard: str) -> Iterator[Verdict]:
    """All seeds, on as many cores as there are."""
    ends = range(first, first + count, CHUNK)
    with ProcessPoolExecutor(os.cpu_count(), get_context("spawn")) as pool:
        chunks = pool.map(
            _chunk, ends, (min(at + CHUNK, first + count) for at in ends), (guard for _ in ends)
        )  # fmt: skip
        for verdicts in chunks:
            yield from verdicts


def _run_many(first: int, count: int, guard: str) -> Totals:
    totals, console, started = Totals(), Console(stderr=True, highlight=False), time.monotonic()
    columns = TextColumn("simulate"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("simulate", total=count)
        for verdict in _verdicts(first, count, guard):
            totals.add(verdict)
            bar.advance(task)
            if verdict.violations and len(totals.failed) < FAILED_MAX:
                console.print(told(verdict), markup=False)
    totals.seconds = round(time.monotonic() - started, 1)
    return totals


@click.command()
@click.option("--seeds", type=click.IntRange(1), default=2_000, show_default=True, help="How many seeds to run.")
@click.option("--first", type=click.IntRange(0), default=0, show_default=True, help="The first of them.")
@click.option("--seed", type=click.IntRange(0), help="Run this one and write down every step.")
@click.option("--without", "guard", type=click.Choice(MUTANTS), help="Switch a guard of the product off.")
def main(seeds: int, first: int, seed: int | None, guard: str | None) -> None:
    """Simulate the cluster over an in-memory Redis with seeded faults; exit code 1 if any invariant is violated."""
    totals = Totals()
    if seed is None:
        totals = _run_many(first, seeds, guard or "")
    else:
        verdict = simulate(seed, guard or "", click.echo)
        totals.add(verdict)
        for violation in verdict.violations:
            click.secho(f"VIOLATION {violation}", fg="red")
    click.echo(msgspec.json.encode(totals))
    sys.exit(1 if totals.violations else 0)
