"""Logs and snapshots that earlier versions wrote: every later version has to recover from them."""

import json
from typing import get_args

import pytest

from shared.messages import Accepted, LedgerEvent, decode_ledger_entry
from tests.ledger.recording import DATA, SHARD, SHARDS, everything, facts, files_of, flow
from workers.ledger.ledger import Ledger

VERSIONS = sorted(path.stem.removeprefix("ledger-log-") for path in DATA.glob("ledger-log-*.jsonl"))


def entries_of(version):
    return [decode_ledger_entry(line) for line in files_of(version)[0].read_bytes().splitlines()]


def loaded(version):
    return Ledger.load(files_of(version)[1].read_bytes())


def folded(version):
    ledger = Ledger(SHARD, SHARDS)
    for entry in entries_of(version):
        ledger.fold_entry(entry)
    return ledger


def assert_says(found, recorded, where=""):
    """All that was recorded is still so; a later version may say more."""
    if isinstance(recorded, dict):
        for name, value in recorded.items():
            assert_says(found[name], value, f"{where}/{name}")
    else:
        assert found == recorded, where


def assert_as_recorded(ledger, version):
    recorded = json.loads(files_of(version)[2].read_text())
    found = json.loads(json.dumps(facts(ledger)))
    assert_says(found, recorded)
    assert found["orders"].keys() == recorded.get("orders", found["orders"]).keys()


@pytest.mark.parametrize("version", VERSIONS)
def test_a_recorded_log_folds_to_the_recorded_state(version):
    """Balances, holds, orders with all they are, prices, blocks and remembered ids come out as they were."""
    assert_as_recorded(folded(version), version)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_recorded_snapshot_loads(version):
    """The same state, byte for byte, from the snapshot that was written at the end of that log."""
    assert_as_recorded(loaded(version), version)
    assert loaded(version).dump() == folded(version).dump()


@pytest.mark.parametrize("version", VERSIONS)
def test_recovery_from_a_snapshot_in_the_middle(version):
    """A snapshot taken anywhere, and the entries after it, lead to the same state."""
    ledger = Ledger(SHARD, SHARDS)
    for at, entry in enumerate(entries_of(version)):
        if at % 37 == 0:
            ledger = Ledger.load(ledger.dump())
        ledger.fold_entry(entry)
    assert ledger.dump() == loaded(version).dump()


def test_the_recordings_have_a_bit_of_everything():
    """Each ledger event there is, or a later version's change to it would go unseen: then record one more."""
    events = [event for version in VERSIONS for entry in entries_of(version) for event in entry.events]
    assert {type(event) for event in events} == set(get_args(LedgerEvent))
    asked = {
        name
        for event in events
        if isinstance(event, Accepted) and event.conditions is not None
        for name in event.conditions.__struct_fields__
        if getattr(event.conditions, name)
    }
    assert asked == {
        "stop", "stop_price", "trail", "trail_bps", "expires", "display_quantity", "min_quantity",
    }  # fmt: skip


def test_the_newest_recording_ends_in_the_middle_of_things():
    """Orders of all states are open at its end: amends on their way, rivals, children that wait to be funded."""
    orders = list(loaded(VERSIONS[-1]).orders)
    for what in ("amends", "rival", "due", "children", "conditions", "filled", "client_id"):
        assert any(getattr(order, what) for order in orders), what
    assert loaded(VERSIONS[-1]).blocks


@pytest.mark.parametrize("seed", range(3))
def test_a_seeded_flow_gives_the_same_bytes_twice(seed):
    """The same inputs, the same log and the same snapshot: nothing depends on the process."""
    first, second = flow(seed, 60), flow(seed, 60)
    assert first.logs == second.logs
    assert [one.dump() for one in first.ledgers] == [one.dump() for one in second.ledgers]


def test_a_recording_is_the_same_bytes_twice():
    """What is recorded depends on nothing but the code that records it."""
    first, second = everything(), everything()
    assert [tag.log for tag in first.ledgers.values()] == [tag.log for tag in second.ledgers.values()]
    assert first.ledgers[SHARD].handler.ledger.dump() == second.ledgers[SHARD].handler.ledger.dump()
