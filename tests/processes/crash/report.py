"""The figures of the matrix: one row a label, a table at the end, and one line of JSON."""

from collections.abc import Iterable

import msgspec
from rich.console import Console
from rich.table import Table

PROBLEMS_MAX = 20


class Row(msgspec.Struct):
    """What was done at one label, and what became of the requests that were acknowledged from then to the next one."""

    label: str
    faults: int = 0
    acknowledged: int = 0
    lost: int = 0
    doubled: int = 0
    stale: int = 0
    """Writes of a former owner that were taken."""


class Group(msgspec.Struct):
    """Rows that share one exchange. ``violations``: of the invariants, by the audit at its end.

    ``problems`` are those and whatever else should not be; ``notes`` say what was skipped, and why.
    """

    name: str
    rows: list[Row] = []
    violations: int = 0
    seconds: float = 0.0
    problems: list[str] = []
    notes: list[str] = []

    def row(self, label: str) -> Row:
        """The row of a label."""
        for one in self.rows:
            if one.label == label:
                return one
        self.rows.append(Row(label))
        return self.rows[-1]

    def total(self, figure: str) -> int:
        """Of all rows."""
        return sum(getattr(one, figure) for one in self.rows)

    @property
    def is_good(self) -> bool:
        """Whether nothing is wrong."""
        wrong = sum(self.total(figure) for figure in ("lost", "doubled", "stale"))
        return not (wrong or self.violations or self.problems)


class Totals(msgspec.Struct):
    """The closing line."""

    faults: dict[str, int]
    acknowledged: int
    lost: int
    doubled: int
    stale: int
    violations: int
    problems: int
    notes: list[str]
    seconds: float


def totals(groups: Iterable[Group], seconds: float) -> Totals:
    """What the groups come to."""
    known = list(groups)
    sums = {
        one: sum(group.total(one) for group in known) for one in ("acknowledged", "lost", "doubled", "stale")
    }  # fmt: skip
    return Totals(
        faults={f"{group.name}: {row.label}": row.faults for group in known for row in group.rows},
        violations=sum(group.violations for group in known),
        problems=sum(len(group.problems) for group in known),
        notes=[note for group in known for note in group.notes],
        seconds=round(seconds, 1),
        **sums,
    )


def show(console: Console, groups: Iterable[Group]) -> None:
    """The table, and every problem in words."""
    known = list(groups)
    table = Table()
    table.add_column("label")
    for name in ("faults", "acknowledged", "lost", "doubled", "stale", "violations"):
        table.add_column(name, justify="right")
    for group in known:
        for row in group.rows:
            figures = (row.faults, row.acknowledged, row.lost, row.doubled, row.stale)
            is_wrong = row.lost or row.doubled or row.stale
            table.add_row(f"  {row.label}", *(f"{one:,}" for one in figures), "", style="bold red" if is_wrong else "")
        sums = (group.total(one) for one in ("faults", "acknowledged", "lost", "doubled", "stale"))
        name = f"{group.name} ({group.seconds:.0f} s)"
        table.add_row(name, *(f"{one:,}" for one in sums), f"{group.violations:,}", style="bold", end_section=True)
    console.print(table)
    for group in known:
        for line in group.notes:
            console.print(f"{group.name}: {line}", markup=False, soft_wrap=True)
        for line in group.problems[:PROBLEMS_MAX]:
            console.print(f"{group.name}: PROBLEM {line}", markup=False, soft_wrap=True)
