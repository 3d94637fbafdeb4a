"""An audit on a terminal: a progress bar, a table of what was checked, a line per violation, one line of JSON."""

import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from shared.settings import Settings
from workers.audit.invariants import Invariant
from workers.audit.run import AuditReport, audit


def audit_to(console: Console, settings: Settings) -> AuditReport:
    """Audit as ``run.audit`` does, and show it. Raises ``MatchboxError``."""
    columns = TextColumn("audit"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("audit", total=None)
        report = audit(settings, lambda done, total: bar.update(task, completed=done, total=total))
    console.print(table(report))
    for line in (*report.notes, *(str(one) for one in report.violations)):
        console.print(line, soft_wrap=True, markup=False, highlight=False)
    more = sum(report.violated.values()) - len(report.violations)
    if more:
        console.print(f"... and {more:,} more violations", highlight=False)
    console.print(msgspec.json.encode(report).decode(), soft_wrap=True, markup=False, highlight=False)
    return report


def table(report: AuditReport) -> Table:
    """How often each invariant was checked, and how often it did not hold."""
    title = f"{report.entries:,} log entries, {report.shards} shards, {len(report.instruments)} instruments"
    shown = Table(title=f"{title}, {report.seconds:.1f} s", title_justify="left")
    shown.add_column("invariant")
    shown.add_column("checked", justify="right")
    shown.add_column("violations", justify="right")
    for one in Invariant:
        count = report.violated.get(one.name.lower(), 0)
        style = "bold red" if count else None
        shown.add_row(one.value, f"{report.checked[one.name.lower()]:,}", f"{count:,}", style=style)
    return shown
