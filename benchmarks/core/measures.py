"""How long an engine takes: commands per CPU second, and each single command."""

import gc
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from benchmarks.core.flows import Flow
from benchmarks.core.ours import Matchbox
from benchmarks.flow import INSTRUMENT
from benchmarks.peers.engine import Engine, Operation
from shared.messages import BookEntry, decode_book_entry, encode
from shared.settings import Settings
from workers.engine.process import EngineHandler
from workers.handler import Batch

BATCH = 512


@contextmanager
def collecting(is_on: bool) -> Iterator[None]:
    """With the garbage collector on or off, whatever it was before; nothing is left to collect at the start."""
    was_on = gc.isenabled()
    gc.collect()
    (gc.enable if is_on else gc.disable)()
    try:
        yield
    finally:
        (gc.enable if was_on else gc.disable)()


def prepared(engine: Engine, flow: Flow) -> list[Operation]:
    """The measured operations of an engine whose preparation is done."""
    operations = engine.operations([*flow.preparation, *flow.commands])
    split = len(flow.preparation)
    for call, argument in operations[:split]:
        call(argument)
    return operations[split:]


def time_apply(engine: Engine, flow: Flow) -> float:
    """Seconds of the engine's own calls."""
    operations = prepared(engine, flow)
    with collecting(False):
        started = time.process_time()
        for call, argument in operations:
            call(argument)
        return time.process_time() - started


def time_step(engine: Matchbox, flow: Flow) -> float:
    """Seconds of decode, apply and encode, in the handler of the engine's process."""
    prepared(engine, flow)
    handler = EngineHandler(Settings(), INSTRUMENT.symbol)
    handler.book = engine.book
    entries = [(b"%d-0" % number, (b"d", encode(command))) for number, command in enumerate(flow.commands, 1)]
    batches: list[Any] = [entries[start : start + BATCH] for start in range(0, len(entries), BATCH)]
    source = handler.sources()[0]
    with collecting(False):
        started = time.process_time()
        for entries in batches:
            handler.handle(source, entries, Batch())
        return time.process_time() - started


def time_fold(engine: Matchbox, flow: Flow) -> float:
    """Seconds of following what the commands did."""
    operations = prepared(engine, flow)
    follower = engine.book.load(engine.book.dump())
    recorded = [encode(BookEntry("", engine.book.time, call(argument))) for call, argument in operations]
    entries = [decode_book_entry(one) for one in recorded]
    with collecting(False):
        started = time.process_time()
        for entry in entries:
            follower.fold_entry(entry)
        return time.process_time() - started


def latencies(make: Callable[[], Engine], flow: Flow, repeats: int, with_gc: bool = False) -> list[int]:
    """Nanoseconds of each command, the least of some runs of the same flow: what is not the engine's own falls out."""
    least: list[int] = []
    for _ in range(repeats):
        operations = prepared(make(), flow)
        found: list[int] = []
        now, note = time.perf_counter_ns, found.append
        with collecting(with_gc):
            for call, argument in operations:
                started = now()
                call(argument)
                note(now() - started)
        least = [min(pair) for pair in zip(least or found, found, strict=True)]
    return least


def quantile(ordered: list[int], share: float) -> int:
    """The value that ``share`` of them do not exceed."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
