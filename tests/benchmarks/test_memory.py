"""The benchmark of memory, small: a whole cluster under its load."""

import pytest

from benchmarks.memory import CHUNK, REDIS, run

pytestmark = pytest.mark.slow


def test_the_memory_of_every_process_is_measured():
    """Before the load and behind each round of it."""
    figures = run(CHUNK, 2, pause_s=0)
    assert [one["orders"] for one in figures] == [0, CHUNK, 2 * CHUNK]
    kinds = {"gateway:0", "ledger:0", "engine:BTC-USD", "pusher", "auditor", "valkey", "postgres", REDIS}
    assert all(kinds <= one.keys() and min(one[name] for name in kinds) > 0 for one in figures)
