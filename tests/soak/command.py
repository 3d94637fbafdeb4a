"""The command: start, trade, break something each minute, look on, stop trading, audit, tell."""

import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable

import click
import msgspec
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from tests.processes.hosts import lost_and_doubled
from tests.processes.running import Cluster, Load, running_cluster
from tests.soak.samples import Course, Sample, courses, take

LOOK_S = 5.0
LOAD_PAUSE_S = 0.1
LOG_KEEP = 5_000
"""Entries that the logs keep, and between two snapshots: so few that a log is full after some minutes."""
BEHIND_S = 60.0
"""How long the exchange may take to come to rest after the last fault."""
DEMO = "demo"


class Report(msgspec.Struct):
    """The closing line."""

    minutes: float
    faults: dict[str, int] = {}
    acknowledged: int = 0
    lost: int = 0
    doubled: int = 0
    problems: list[str] = []
    is_audit_clean: bool = False
    lag_at_end: int = 0
    courses: dict[str, Course] = {}

    @property
    def is_good(self) -> bool:
        """Whether nothing is wrong. What memory did is for a person to judge."""
        return self.is_audit_clean and not (self.lost or self.doubled or self.problems or self.lag_at_end)


class SlowLoad(Load):
    """A user who remembers what they were promised, beside the demo's people."""

    pause_s = LOAD_PAUSE_S


def break_something(cluster: Cluster, chance: random.Random) -> str:
    """Kill -9 of any process but the demo's, or freeze it for longer than a lease. Answers what was done."""
    names = [name for name, row in cluster.rows().items() if row["pid"] and row["state"] == "running"]
    name = chance.choice(sorted(set(names) - {DEMO, "supervisor"}))
    kind = name.partition(":")[0]
    if chance.random() < 0.25 and kind in ("engine", "ledger", "pusher", "gateway"):
        cluster.kill(name, signal.SIGSTOP)  # the supervisor finds it silent, and kills it
        return f"freeze {kind}"
    cluster.kill(name)
    return f"kill {kind}"


def soak(minutes: float, every_s: float, chance: random.Random, tell: Callable[[float], None]) -> Report:
    """Run it all. ``tell`` gets the seconds that have passed."""
    report, samples = Report(minutes), list[Sample]()
    with running_cluster(demo=True, log_keep=str(LOG_KEEP), snapshot_every=str(LOG_KEEP)) as cluster:
        load = SlowLoad(cluster, chance.randrange(1 << 30))
        load.start()
        started = time.monotonic()
        faults, next_fault = Counter[str](), every_s
        while (passed := time.monotonic() - started) < minutes * 60:
            if passed >= next_fault:
                faults[break_something(cluster, chance)] += 1
                next_fault += every_s
            if (sample := take(cluster, started)) is not None:
                samples.append(sample)
            tell(passed)
            time.sleep(LOOK_S)
        load.finish()
        report.faults, report.problems = dict(sorted(faults.items())), load.problems
        report.acknowledged = len(load.acknowledged)
        report.lag_at_end = _come_to_rest(cluster, started, samples)
        audit = cluster.run("audit", check=False)
        report.is_audit_clean = audit.returncode == 0
        if not report.is_audit_clean:
            report.problems.append(audit.stdout + audit.stderr)
        report.lost, report.doubled = lost_and_doubled([load])
    report.courses = courses(samples, minutes * 60 / 3)
    return report


def _come_to_rest(cluster: Cluster, started: float, samples: list[Sample]) -> int:
    """Wait until all processes run and PostgreSQL is near the end of the logs. Answers what waits, 0 if nothing."""
    end = time.monotonic() + BEHIND_S
    while time.monotonic() < end:
        sample = take(cluster, started)
        if sample is not None and all(row["state"] == "running" for row in cluster.rows().values()):
            samples.append(sample)
            if sample.lag < LOG_KEEP / 10:  # the demo goes on trading
                return 0
        time.sleep(1)
    return samples[-1].lag


def show(report: Report, console: Console) -> None:
    """A table of the courses."""
    title = f"{report.minutes:g} minutes, {sum(report.faults.values())} faults, {report.acknowledged:,} acknowledged"
    table = Table(title=title)
    table.add_column("figure")
    for heading in ("after a third", "most", "at the end", "slope an hour"):
        table.add_column(heading, justify="right")
    for name, one in report.courses.items():
        table.add_row(name, f"{one.first:,.0f}", f"{one.most:,.0f}", f"{one.last:,.0f}", f"{one.slope:+,.0f}")
    console.print(table)
    console.print(", ".join(f"{count} x {what}" for what, count in report.faults.items()))


@click.command()
@click.option("--minutes", type=click.FloatRange(0.5), default=30.0, show_default=True, help="How long.")
@click.option("--every", "every_s", type=click.FloatRange(5), default=60.0, show_default=True, help="Seconds a fault.")
@click.option("--seed", type=int, default=0, show_default=True, help="Which faults.")
def main(minutes: float, every_s: float, seed: int) -> None:
    """The demo's market with a fault a minute; exit code 1 if anything was lost, doubled or does not add up."""
    console = Console(stderr=True, highlight=False)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("soak", total=minutes * 60)
        report = soak(minutes, every_s, random.Random(seed), lambda passed: bar.update(task, completed=passed))
    show(report, console)
    click.echo(msgspec.json.encode(report))
    sys.exit(0 if report.is_good else 1)
