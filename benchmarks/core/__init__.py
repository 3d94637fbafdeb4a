"""The matching core alone, one process, no Redis, next to other order books that pip installs.

    matchbox bench core [--quick]
    python -m benchmarks.core [--quick] [--flow mixed] [--no-peers]

Five seeded flows of limits, market orders and cancels; what fills the book before is not measured. All orders are built
before the clock starts. ``apply``: commands in, the full list of events out. ``step``: what the engine's process does
with each stream entry (decode, apply, encode). ``fold``: following the recorded entries, decoded before, as recovery
does.

Every engine's trades and final levels are compared with those of a plain book without any cleverness
(``plain_book.py``). Rounds are interleaved, medians shown; seconds are those of the CPU, so that what else runs counts
less. Latency of a command is the least of several runs of the same flow, so that a pause is the engine's own. The
garbage collector is off while the clock runs, as it is in the engine's process, except where a row says otherwise.
"""

from benchmarks.core.command import main

__all__ = ["main"]
