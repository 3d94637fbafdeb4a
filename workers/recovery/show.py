"""A recovery on a terminal: a progress bar, what is known and what had to end, one line of JSON."""

import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from shared.settings import Settings
from workers.recovery.run import RecoveryReport, recover


def recover_to(console: Console, settings: Settings) -> RecoveryReport:
    """Recover as ``run.recover`` does, and show it. Raises ``MatchboxError``."""
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("recover", total=None)
        report = recover(
            settings, lambda what, done, total: bar.update(task, description=what, completed=done, total=total)
        )
    for line in lines(report):
        console.print(line, soft_wrap=True, markup=False, highlight=False)
    console.print(msgspec.json.encode(report).decode(), soft_wrap=True, markup=False, highlight=False)
    return report


def lines(report: RecoveryReport) -> list[str]:
    """What people should know."""
    found = [str(one) for one in report.logs]
    found.append(
        f"recovered {report.accounts:,} accounts, {report.orders:,} open orders and {report.instruments} instruments "
        f"in {report.seconds:.1f} s, as of {report.known_until}; what was acknowledged after that is lost"
    )
    if report.canceled:
        found.append(f"{report.canceled:,} orders were between ledger and book and are canceled, their holds released")
    if report.busted:
        found.append(f"trades that no money moved for, as an order of theirs is unknown: {', '.join(report.busted)}")
    for currency, amount in report.surplus.items():
        found.append(f"the accounts have {amount:,} units of {currency} more than came in: see to it by hand")
    if report.forgotten_instruments:
        found.append(f"not in PostgreSQL, add them again: {', '.join(report.forgotten_instruments)}")
    found.append(
        "not in PostgreSQL, set them again if they were on: kill switches but those of blocked users; sessions that "
        "Redis has no more have to log in again"
    )
    return found
