"""Snapshots of books and ledgers with everything: a good one has no violation, and each part of it is compared."""

import random
from typing import Any

import msgspec
import pytest

from shared.chain import advance
from tests.audit.features import Features
from tests.audit.recorded import Tag
from workers.audit.history import History
from workers.audit.invariants import Findings, Invariant
from workers.audit.settlement_checks import SettlementChecks
from workers.audit.snapshot_checks import compare_at_position
from workers.store import Snapshot


def found(recorded: Features, snapshots: list[tuple[Tag, int, bytes]]) -> Findings:
    """Audit everything, with these snapshots behind these entries of these logs."""
    findings = Findings()
    history = History(findings, SettlementChecks(findings))
    followed: dict[int, Any] = {}
    for shard, tag in recorded.ledgers.items():
        view = recorded.view(tag, findings)
        followed[id(tag)] = view, history.add_ledger(shard, view)
    for symbol, tag in recorded.books.items():
        view = recorded.view(tag, findings)
        followed[id(tag)] = view, history.add_book(symbol, view)
    for tag, number, state in snapshots:
        view, checks = followed[id(tag)]
        compare_at_position(Snapshot(number, advance("", tag.log[:number]), "", state), view, checks, findings)
    for _ in history.follow():
        pass
    history.end()
    return findings


@pytest.mark.parametrize("seed", range(6))
def test_good_snapshots_pass(seed):
    """What a machine dumps anywhere is the fold of its log up to there, with stops, lists, amends and dues."""
    recorded, rng = Features.fresh(seed, 400), random.Random(seed)
    snapshots = []
    for number in (rng.randint(1, len(recorded.ledgers[0].log)) for _ in range(5)):
        snapshots.append((recorded.ledgers[0], number, recorded.ledger_at(0, number).dump()))
    for symbol, tag in recorded.books.items():
        for number in (rng.randint(1, len(tag.log)) for _ in range(5)):
            snapshots.append((tag, number, recorded.book_at(symbol, number).dump()))
    findings = found(recorded, snapshots)
    assert [str(one) for one in findings.violations] == []
    assert findings.checked[Invariant.SNAPSHOTS] > 100


def _first(rows: list[Any], at: int, value: Any) -> bool:
    """Put another value into the first row that has another one there."""
    for row in rows:
        if len(row) > at and row[at] and row[at] != value:
            row[at] = value
            return True
    return False


BOOK_PARTS = {
    "hidden": lambda state: _first(state["asks"] + state["bids"], 10, 1),
    "stop price": lambda state: _first(state["sleeping"], 2, 1),
    "sleeping": lambda state: bool(state["sleeping"]) and state["sleeping"].pop(),
    "pending": lambda state: bool(state["pending"]) and state["pending"].pop(),
    "lists": lambda state: bool(state["lists"]) and state["lists"].pop(),
    "last price": lambda state: state.update(last_price=1) or True,
}
LEDGER_PARTS = {
    "price": lambda state: _first(state["orders"], 5, 1),
    "conditions": lambda state: _first(state["orders"], 23, None),
    "amends": lambda state: _first(state["orders"], 24, []),
    "rival": lambda state: _first(state["orders"], 25, 256),
    "due": lambda state: _first(state["orders"], 26, 1),
    "last prices": lambda state: state.update(last_prices={"BTC-USD": 1}) or True,
    "kill switches": lambda state: state.update(blocks=[[1, "", 5]]) or True,
}


@pytest.mark.parametrize("part", [*BOOK_PARTS, *LEDGER_PARTS])
def test_a_snapshot_that_differs_is_found(part):
    """One part of a state is not what the log says."""
    spoil = (BOOK_PARTS | LEDGER_PARTS)[part]
    for seed in range(100):
        recorded = Features.fresh(seed % 10, 400)
        tag = recorded.books["BTC-USD"] if part in BOOK_PARTS else recorded.ledgers[0]
        number = random.Random(seed).randint(50, len(tag.log))
        machine: Any = recorded.book_at("BTC-USD", number) if part in BOOK_PARTS else recorded.ledger_at(0, number)
        state = msgspec.json.decode(machine.dump())
        if spoil(state):
            break
    else:
        pytest.fail(f"no state has any {part}")
    findings = found(recorded, [(tag, number, msgspec.json.encode(state))])
    assert set(findings.violated) == {Invariant.SNAPSHOTS}
