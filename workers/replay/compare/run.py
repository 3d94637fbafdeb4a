"""Compares a whole recording: reads it once to learn of its orders, and once more to replay it."""

import time

from workers.replay.compare.comparison import Comparison
from workers.replay.compare.findings import Findings
from workers.replay.compare.knowledge import Progress, gather
from workers.replay.compare.report import Report
from workers.replay.recording import Recording


def compare(path: str, progress: Progress = lambda _done, _all: None) -> Report:
    """Replay the file at ``path`` through an order book of its own, and compare the fills.

    Raises ``Unreadable`` for a file that cannot be read, or that tells of no fills.
    """
    started = time.monotonic()
    recording = Recording.open(path)
    known = gather(path, recording.records(), progress)
    findings = Findings(path, known, recording.market.price_unit)
    Comparison(known, findings).run(recording.records(), progress)
    report = findings.finished()
    report.seconds = round(time.monotonic() - started, 3)
    return report
