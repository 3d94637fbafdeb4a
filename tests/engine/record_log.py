"""Records a book's log and its final state, for later versions to recover.

    python -m tests.engine.record_log VERSION

Run once per version of the log or snapshot format. A recorded version is never recorded again: its promise is that
whatever comes later still reads it.
"""

import sys
from pathlib import Path

from shared.messages import BookEntry, encode
from tests.engine.feature_flow import FeatureFlow
from tests.engine.harness import configured
from workers.engine.book import OrderBook

FOLDER = Path(__file__).parent / "data"
COMMANDS = 600


def record(version: str) -> None:
    """Write ``book-log-<version>.jsonl`` and ``book-dump-<version>.json``."""
    log, dump = FOLDER / f"book-log-{version}.jsonl", FOLDER / f"book-dump-{version}.json"
    if log.exists():
        raise SystemExit(f"{log.name} is recorded already; choose a new version")
    book = OrderBook()
    lines = []
    flow = FeatureFlow(seed=6)
    for number in range(1, COMMANDS + 1):
        command = flow.next(sorted(book.ids_of(0, ""))) if number > 1 else configured(time=1)
        events = book.apply(command)
        lines.append(encode(BookEntry(f"{{a:0}}:to:BTC-USD {number}-0", book.time, events)) + b"\n")
    log.write_bytes(b"".join(lines))
    dump.write_bytes(book.dump() + b"\n")


if __name__ == "__main__":
    record(sys.argv[1])
