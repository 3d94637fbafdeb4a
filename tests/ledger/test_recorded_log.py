"""A log and a snapshot that version 1 wrote: every later version has to recover from them."""

import json

import pytest

from shared.messages import decode_ledger_entry
from tests.ledger.recording import FACTS, LOG, SHARD, SHARDS, SNAPSHOT, facts, flow
from workers.ledger.ledger import Ledger


def test_a_recorded_log_folds_to_the_recorded_state():
    """Balances, holds, orders, prices and remembered ids come out as they were."""
    ledger = Ledger(SHARD, SHARDS)
    for line in LOG.read_bytes().splitlines():
        ledger.fold_entry(decode_ledger_entry(line))
    assert facts(ledger) == json.loads(FACTS.read_text())


def test_a_recorded_snapshot_loads():
    """The same state, from the snapshot that was written at the end of that log."""
    assert facts(Ledger.load(SNAPSHOT.read_bytes())) == json.loads(FACTS.read_text())


def test_the_recording_has_a_bit_of_everything():
    """Each ledger event there is, or a later version's change to it would go unseen."""
    kinds = {
        event.__class__.__name__ for line in LOG.read_bytes().splitlines() for event in decode_ledger_entry(line).events
    }
    assert kinds == {
        "Accepted", "Duplicate", "Rejected", "CancelRequested", "CancelAllRequested", "Transferred", "Filled",
        "HoldReduced", "Closed", "InstrumentSet", "LastPrice",
    }  # fmt: skip


@pytest.mark.parametrize("seed", range(3))
def test_a_seeded_flow_gives_the_same_bytes_twice(seed):
    """The same inputs, the same log and the same snapshot: nothing depends on the process."""
    first, second = flow(seed, 60), flow(seed, 60)
    assert first.logs == second.logs
    assert [one.dump() for one in first.ledgers] == [one.dump() for one in second.ledgers]
