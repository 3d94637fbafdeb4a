"""A comparison on a terminal: a progress bar, tables of what was found, and one line of JSON for programs."""

from collections.abc import Iterator
from pathlib import Path

import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from workers.replay.compare.report import Auction, Exceptional, Report
from workers.replay.compare.run import compare
from workers.replay.interrupt import interruptible

FILLS_SHOWN = 4
EXCEPTIONS_SHOWN = 50


def compare_to(console: Console, path: str) -> Report:
    """Compare a file as ``compare`` does, and show it. Raises ``MatchboxError``."""
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    bar = Progress(*columns, console=Console(stderr=True), transient=True, disable=not console.is_terminal)
    with bar, interruptible(f"the comparison of {path} stopped before its end; nothing was changed"):
        task = bar.add_task("reading", total=None)

        def progress(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total or None, description="comparing" if total else "reading")

        report = compare(path, progress)
    for table in tables(report):
        console.print(table)
    console.print(msgspec.json.encode(report).decode(), soft_wrap=True, markup=False, highlight=False)
    return report


def tables(report: Report) -> Iterator[Table]:
    """The figures, the auctions, and the exceptions one by one."""
    yield figures(report)
    yield from map(auction, report.auctions)
    if report.exceptions:
        yield exceptions(report)


def figures(report: Report) -> Table:
    """How many aggressors got the fills of the recording, and why the others did not."""
    shown = Table(title=f"{Path(report.file).name}: the engine's fills", title_justify="left", show_header=False)
    shown.add_column()
    shown.add_column(justify="right")
    shown.add_column(justify="right")

    def of_aggressors(name: str, count: int) -> None:
        shown.add_row(name, f"{count:,}", f"{100 * count / report.aggressors:.2f}%" if report.aggressors else "")

    shown.add_row("records", f"{report.records:,}")
    shown.add_row("fills", f"{report.fills:,}")
    shown.add_row("lots", f"{report.lots:,}")
    of_aggressors("aggressors", report.aggressors)
    of_aggressors("equal: same makers, quantities and order", report.equal)
    of_aggressors("  of these, with one maker listed behind its turn", report.listed_last)
    of_aggressors("  of these, with makers from before the recording", report.from_before)
    of_aggressors("exceptions", len(report.exceptions))
    for cause, count in sorted(report.causes.items()):
        of_aggressors(f"  {cause}", count)
    shown.add_section()
    shown.add_row("learned: orders that share an owner", f"{report.own_orders:,}")
    shown.add_row("learned: icebergs", f"{report.icebergs:,}")
    shown.add_row("learned: orders from before the recording", f"{report.orders_from_before:,}")
    for name, counts in (("book mended", report.mended), ("not compared", report.left_out)):
        for why, count in sorted(counts.items()):
            shown.add_row(f"{name}: {why}", f"{count:,}")
    shown.add_row("seconds", f"{report.seconds:,.1f}")
    return shown


def auction(one: Auction) -> Table:
    """A call auction."""
    shown = Table("", title=f"Auction at {one.time}", title_justify="left")
    shown.add_column("recorded", justify="right")
    shown.add_column("engine", justify="right")
    shown.add_row("price", one.price, one.engine_price or "none")
    shown.add_row("lots", f"{one.lots:,}", f"{one.engine_lots:,}")
    shown.add_row("orders with equal fills", f"of {one.orders:,}", f"{one.equal:,}")
    shown.add_row("orders that never were on the book", f"{one.unseen:,}", "")
    return shown


def exceptions(report: Report) -> Table:
    """The aggressors whose fills differ, by cause, from the first difference on."""
    hidden = len(report.exceptions) - EXCEPTIONS_SHOWN
    caption = f"and {hidden:,} more, in the line below" if hidden > 0 else None
    shown = Table(title="Exceptions", title_justify="left", caption=caption, show_lines=True)
    for name in ("aggressor", "recorded fills", "engine's fills"):
        shown.add_column(name, overflow="fold")
    for one in sorted(report.exceptions, key=lambda one: one.cause)[:EXCEPTIONS_SHOWN]:
        start = same_fills(one)
        whose = f"{one.cause}\n{one.order}\n{one.time}"
        shown.add_row(whose, text(one.recorded, start), text(one.engine, start))
    return shown


def same_fills(one: Exceptional) -> int:
    """How many fills are the same at the beginning."""
    pairs = zip(one.recorded, one.engine, strict=False)
    return next((number for number, (mine, other) in enumerate(pairs) if mine != other), 0)


def text(fills: list[tuple[int, str, int]], start: int) -> str:
    """Some fills, one a line."""
    lines = [f"{quantity} of {order} at {price}" for order, price, quantity in fills[start : start + FILLS_SHOWN]]
    before = [f"... {start} equal"] if start else []
    after = [f"... {len(fills) - start - FILLS_SHOWN} more"] if len(fills) > start + FILLS_SHOWN else []
    return "\n".join([*before, *lines, *after]) or "none"
