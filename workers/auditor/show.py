"""A journal on a terminal: what it was made for, what it shows, and one line of JSON."""

import time
from pathlib import Path

import msgspec
from rich.console import Console

from workers.auditor import journal
from workers.auditor.watch import Finding


class Reproduction(msgspec.Struct, kw_only=True):
    """What came of a journal. ``is_found``: its finding was found again."""

    journal: str
    tag: str
    position: int
    is_found: bool
    entries: int
    seconds: float
    violations: list[Finding]


def find_again_to(console: Console, path: Path) -> bool:
    """Look for a journal's finding in what it holds, and answer whether anything is wrong. Raises ``MatchboxError``."""
    started = time.monotonic()
    made = journal.read(path)
    found = journal.find_again(made, "auto")
    result = Reproduction(
        journal=str(path), tag=made.finding.tag, position=made.finding.position,
        is_found=journal.is_the_same(made.finding, found), entries=made.entries,
        seconds=round(time.monotonic() - started, 3), violations=found,
    )  # fmt: skip
    logs = ", ".join(one.tag for one in made.recordings)
    lines = [
        f"{made.entries:,} log entries of {logs}",
        f"halted for {made.finding.violation}",
        "found again" if result.is_found else "not found again",
        *(f"  {one.violation}" for one in found),
        msgspec.json.encode(result).decode(),
    ]
    for line in lines:
        console.print(line, soft_wrap=True, markup=False, highlight=False)
    return bool(found)
