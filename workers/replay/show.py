"""A replay on a terminal: a progress bar, a closing table, and one line of JSON for programs."""

from pathlib import Path

import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from shared.settings import Settings
from workers.replay.feed import replay
from workers.replay.interrupt import interruptible
from workers.replay.traffic import ReplayReport


def replay_to(
    console: Console,
    settings: Settings,
    path: str,
    instrument: str | None = None,
    limit: int | None = None,
    rate: int | None = None,
) -> ReplayReport:
    """Replay a file as ``feed.replay`` does, and show it. Raises ``MatchboxError``."""
    columns = TextColumn("replay"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    bar = Progress(*columns, console=Console(stderr=True), transient=True, disable=not console.is_terminal)
    with bar, interruptible(f"the replay of {path} stopped before its end; what was sent is done, and its orders rest"):
        task = bar.add_task("replay", total=None)
        report = replay(
            settings, path, instrument, limit, rate, lambda done, total: bar.update(task, completed=done, total=total)
        )
    console.print(table(report))
    console.print(msgspec.json.encode(report).decode(), soft_wrap=True, markup=False, highlight=False)
    return report


def table(report: ReplayReport) -> Table:
    """The figures of a replay."""
    shown = Table(title=f"{Path(report.file).name} into {report.instrument}", title_justify="left", show_header=False)
    shown.add_column()
    shown.add_column(justify="right")
    for name, value in (
        ("orders", f"{report.orders:,}"),
        ("cancels", f"{report.cancels:,}"),
        ("amends", f"{report.amends:,}"),
        ("cancels and amends after the last fill", f"{report.too_late:,}"),
        ("trades", f"{report.trades:,}"),
        ("requests per second", f"{report.requests_per_s:,}"),
        ("request to book event, median", f"{report.latency_p50_us / 1000:,.1f} ms"),
        ("request to book event, 99%", f"{report.latency_p99_us / 1000:,.1f} ms"),
        ("seconds", f"{report.seconds:,.1f}"),
    ):
        shown.add_row(name, value)
    for name, counts in (("refused", report.refused), ("not fed", report.skipped)):
        for why, count in sorted(counts.items()):
            shown.add_row(f"{name}: {why.replace('_', ' ')}", f"{count:,}")
    return shown
