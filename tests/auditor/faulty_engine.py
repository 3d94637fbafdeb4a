"""An engine that goes wrong once, at its ``FAULT_AT``-th command: ``MATCHBOX_TEST_FAULT`` says how."""

import os
import sys
from typing import Any

import msgspec

from shared.messages import Open, decode_book_entry, encode
from shared.settings import Settings
from workers.engine.process import EngineHandler
from workers.handler import Batch
from workers.runtime import run_worker
from workers.store import Entries

FAULT_AT = 120


class FaultyHandler(EngineHandler):
    """Tells a lot too much, or loses an order without a word."""

    def __init__(self, settings: Settings, symbol: str) -> None:
        super().__init__(settings.with_changes(core="python"), symbol)
        self._count = 0

    def handle(self, source: str, entries: Entries, batch: Batch) -> None:
        for one in entries:
            super().handle(source, [one], batch)
            self._count += 1
            if self._count >= FAULT_AT and self._count < 10**9 and self._fault(batch):
                self._count = 10**9

    def _fault(self, batch: Batch) -> bool:
        if os.environ["MATCHBOX_TEST_FAULT"] == "tells":
            entry = decode_book_entry(batch.log[-1])
            for at, event in enumerate(entry.events):
                if isinstance(event, Open):
                    changed: Any = msgspec.structs.replace(event, remaining=event.remaining + 1)
                    entry.events[at] = changed
                    batch.log[-1] = encode(entry)
                    return True
            return False
        order = next(iter(self.book.resting("sell")), None)
        if order is not None:
            self.book.remove(order)
        return order is not None


def main() -> None:
    """Run it."""
    symbol = sys.argv[1]
    run_worker(f"engine:{symbol}", lambda settings: FaultyHandler(settings, symbol))


if __name__ == "__main__":
    main()
