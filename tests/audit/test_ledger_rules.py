"""Each rule of the ledger, and between ledger and book, finds what breaks it in logs of all that orders ask for."""

from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec
import pytest

from shared import keys
from shared.errors import RejectReason
from shared.messages import (
    Accepted,
    Amended,
    AmendFailed,
    AmendRefused,
    AmendRequested,
    Closed,
    Done,
    Filled,
    HoldFunded,
    HoldMoved,
    HoldReduced,
    InstrumentSet,
    LastPrice,
    Match,
    Ticked,
)
from shared.order_id import shard_of_order
from tests.audit.features import Features
from tests.audit.spoiling import but, edit, entries, more, no, twice
from workers.audit.invariants import Invariant

I = Invariant  # noqa: E741  # the tables below are about nothing else
R = RejectReason


def ledger_events(recorded: Features, shard: int = 0) -> list[Any]:
    return [event for entry in entries(recorded.ledgers[shard]) for event in entry.events]


@pytest.mark.parametrize("shards", [1, 2, 3])
@pytest.mark.parametrize("seed", range(4))
def test_good_logs_with_everything_pass(seed, shards):
    """No violation in flows of all features, at their end or in the middle of them."""
    findings = Features.fresh(seed, 600, shards, finish=seed % 2 == 0).audit()
    assert [str(one) for one in findings.violations] == []


def test_the_flows_try_everything():
    """Over a few seeds every invariant is looked at often, and every kind of ledger event occurs."""
    checked: Counter[Invariant] = Counter()
    kinds: Counter[type] = Counter()
    for seed in range(12):
        recorded = Features.fresh(seed, 600, 1 + seed % 2)
        checked += recorded.audit().checked
        kinds.update(type(event) for event in ledger_events(recorded))
    assert {one for one in Invariant if checked[one] < 50} <= {I.SNAPSHOTS, I.POSTGRESQL, I.CONSERVED}
    wanted = (HoldMoved, HoldFunded, HoldReduced, AmendRequested, Amended, AmendFailed, LastPrice, Closed)
    assert {kind.__name__: kinds[kind] for kind in wanted if kinds[kind] < 20} == {}


# --- one event is not what it should be --------------------------------------------------------------


class Case(NamedTuple):
    """Which event is spoilt how, and the invariants that this breaks: just these, or ``at_least``.

    An amount that is wrong is moved all the same, so an account that has too little besides may become negative.
    """

    kind: type
    change: Callable[[Any], Any]
    rule: str
    broken: set[Invariant]
    wanted: Callable[[Any], bool] = lambda _event: True
    at_least: bool = False


def second_rival(event: Accepted) -> bool:
    return 0 < event.rival < event.order_id


def other_side(event: Any) -> Any:
    return but(side="sell" if event.side == "buy" else "buy")(event)


def shows_more(event: Accepted) -> Accepted:
    assert event.conditions is not None
    shown = event.conditions.display_quantity + 1
    conditions = msgspec.structs.replace(event.conditions, display_quantity=shown)
    return msgspec.structs.replace(event, conditions=conditions)


def and_amended(event: Accepted) -> list[Any]:
    return [event, AmendRequested("x", event.account, event.order_id, event.instrument, event.side, 0, 0, 1)]


def less_money(event: Accepted) -> Accepted:
    return msgspec.structs.replace(event, due=event.due + 10**12, hold=event.hold - 10**12)


MONEY = {I.HOLDS, I.NEGATIVE}
ONCE = "each amend is answered once, in the order of asking"
AT_ONCE = "what a parent's fill brings is held for whom it is due to, at once"
RIVALS = "rivals are two orders of one account, instrument and side, each the other's"
HOLDS = [
    Case(Accepted, but(hold=more), "two rivals hold together what the dearer of them needs", MONEY, second_rival),
    Case(Accepted, but(rival=0), RIVALS, {I.LISTS, I.HOLDS}, second_rival),
    Case(Accepted, but(rival=256), RIVALS, {I.LISTS, I.HOLDS}, second_rival),
    Case(Accepted, less_money, "what waits behind an order counts on no more than that surely brings", MONEY,
         lambda event: event.due),
    Case(Accepted, but(parent=256), "what waits behind an order is of its account and instrument", {I.LISTS},
         lambda event: event.due, at_least=True),
    Case(HoldMoved, but(amount=lambda amount: amount + 10**15), "a rival gives no more than it holds", {I.HOLDS}),
    Case(HoldMoved, but(amount=more), "", {I.HOLDS}),
    Case(HoldMoved, no, "order ", {I.HOLDS}),
    Case(HoldMoved, but(from_order_id=256), "a hold moves only between two rivals", {I.LISTS, I.HOLDS}),
    Case(HoldFunded, but(amount=lambda amount: amount - 1), AT_ONCE, MONEY),
    Case(HoldFunded, no, AT_ONCE, MONEY),
    Case(HoldFunded, twice, AT_ONCE, MONEY),
    Case(HoldFunded, other_side, "order ", {I.ACCEPTED}),
    Case(Closed, other_side, "order ", {I.ACCEPTED}),
    Case(AmendRequested, but(hold=more), "", MONEY),
    Case(Amended, but(released=more), "an order holds what it needs", MONEY, lambda event: event.side == "sell"),
    Case(AmendFailed, but(released=more), ONCE, {I.AMENDS}),
]  # fmt: skip

AMENDS = [
    Case(AmendRequested, but(request_id="x"), ONCE, {I.AMENDS}),
    Case(AmendRequested, but(price=0, quantity=0, stop_price=0), "an amend asks for something", {I.AMENDS},
         lambda event: not event.hold),
    Case(Amended, but(remaining=more), "an amend does what was asked for", {I.AMENDS, I.SETTLED, I.HOLDS}),
    Case(Amended, but(stop_price=more), "an amend does what was asked for", {I.AMENDS, I.SETTLED}),
    Case(Amended, twice, ONCE, {I.SETTLED, I.AMENDS}, at_least=True),
    Case(Accepted, and_amended, "what waits behind another order is not amended", {I.AMENDS},
         lambda event: event.due, at_least=True),
    Case(AmendFailed, twice, ONCE, {I.SETTLED, I.AMENDS}, at_least=True),
    Case(AmendFailed, but(request_id="x"), ONCE, {I.SETTLED, I.AMENDS}, at_least=True),
]  # fmt: skip

ACROSS = [
    Case(Accepted, shows_more, "order ", {I.ACCEPTED}, lambda event: event.conditions is not None
         and event.conditions.display_quantity and event.order_id % 3),
    Case(InstrumentSet, but(instrument=lambda rules: msgspec.structs.replace(rules, price_collar=7)),
         "the book follows", {I.ACCEPTED}),
    Case(Amended, no, "change of order ", {I.SETTLED}, at_least=True),
    Case(AmendFailed, no, "amendrefused of order ", {I.SETTLED}, at_least=True),
    Case(AmendFailed, but(reason=R.HALTED), "order ", {I.SETTLED}),
    Case(HoldReduced, no, "", {I.SETTLED}, at_least=True),
]  # fmt: skip
CASES = [*HOLDS, *AMENDS, *ACROSS]


@pytest.mark.parametrize("case", CASES, ids=[f"{case.kind.__name__}-{number}" for number, case in enumerate(CASES)])
@pytest.mark.parametrize("nth", range(2))
def test_a_spoilt_ledger_event_is_found(case: Case, nth):
    """One event of a good ledger's log is another, missing or repeated: the case's rule is broken, and no other."""
    recorded = Features.fresh(4, 600)
    edit(recorded.ledgers[0], case.kind, case.change, case.wanted, nth)
    findings = recorded.audit()
    said = [str(one) for one in findings.violations]
    assert any(one.what.startswith(case.rule) for one in findings.violations), said
    if case.at_least:
        assert case.broken <= set(findings.violated), said
    else:
        assert set(findings.violated) <= case.broken, said
        assert set(findings.violated) & (case.broken - {I.NEGATIVE}), said


# --- what only two events together show ---------------------------------------------------------------


def book_events(recorded: Features, kind: type, wanted: Callable[[Any], bool] = lambda _event: True) -> list[Any]:
    """Events of the book that is spoilt below."""
    events = (event for entry in entries(recorded.books["BTC-USD"]) for event in entry.events)
    return [event for event in events if isinstance(event, kind) and wanted(event)]


def where(wanted: Callable[[Features], Any], shards: int = 1) -> tuple[Features, Any]:
    """The first recording in which there is what is wanted, and that."""
    for seed in range(40):
        recorded = Features.fresh(seed, 600, shards)
        if found := wanted(recorded):
            return recorded, found
    pytest.fail("no recording has what this test spoils")


def violated(recorded: Features) -> set[Invariant]:
    return set(recorded.audit().violated)


def test_an_amend_that_does_something_else_is_found():
    """A sell order gets another price than it asked for."""
    recorded, [name, *_] = where(_sells_with_another_price)
    edit(recorded.ledgers[0], AmendRequested, but(price=more), lambda event: event.request_id == name, 0)
    assert violated(recorded) == {I.AMENDS}


def _sells_with_another_price(recorded: Features) -> list[str]:
    asked = {one.request_id: one for one in ledger_events(recorded) if isinstance(one, AmendRequested)}
    amended = [one for one in ledger_events(recorded) if isinstance(one, Amended) and one.side == "sell"]
    return [one.request_id for one in amended if asked[one.request_id].price]


def test_a_taker_in_an_auction_is_found():
    """In an auction both sides are makers: who pays the taker's rate is found."""
    recorded, [trade, *_] = where(lambda one: book_events(one, Match, lambda event: event.auction))
    edit(
        recorded.ledgers[0], Filled, but(liquidity="T"),
        lambda event: (event.instrument, event.trade_id, event.side) == ("BTC-USD", trade.trade_id, "buy"), 0,
    )  # fmt: skip
    assert {I.TRADES, I.FEES} <= violated(recorded)


def test_a_refusal_as_expired_before_the_time_is_found():
    """An order that its book refused as expired would not have expired yet."""
    expired = lambda event: event.reason == "rejected" and event.cause is R.EXPIRED  # noqa: E731
    recorded, [refused, *_] = where(lambda one: book_events(one, Done, expired), 3)
    ledger = recorded.ledgers[shard_of_order(refused.order_id)]
    later = lambda conditions: msgspec.structs.replace(conditions, expires=10**15)  # noqa: E731
    edit(ledger, Accepted, but(conditions=later), lambda event: event.order_id == refused.order_id, 0)
    assert violated(recorded) == {I.EXPIRY}


def test_a_rival_that_stays_open_is_found():
    """One of two rivals is filled, and the other's end is missing."""
    recorded, [order_id, *_] = where(_whose_rival_was_filled)
    edit(recorded.ledgers[0], Closed, no, lambda event: event.order_id == order_id, 0)
    found = recorded.audit().violations
    assert any(one.what.startswith("of two rivals only one is filled: the other closes") for one in found)


def _whose_rival_was_filled(recorded: Features) -> list[int]:
    rivals = {one.order_id: one.rival for one in ledger_events(recorded) if isinstance(one, Accepted) and one.rival}
    found = []
    for entry in entries(recorded.ledgers[0]):
        filled = {rivals.get(event.order_id) for event in entry.events if isinstance(event, Filled)}
        found += [event.order_id for event in entry.events if isinstance(event, Closed) and event.order_id in filled]
    return found


def test_a_refusal_of_somebody_elses_order_is_found():
    """A book refuses an order as that of another account."""
    rejected = lambda event: event.reason == "rejected"  # noqa: E731
    recorded, _ = where(lambda one: book_events(one, Done, rejected), 3)
    edit(recorded.books["BTC-USD"], Done, but(account=more), rejected, 0)
    assert violated(recorded) == {I.ACCEPTED}


def test_an_amend_that_nobody_answers_is_found():
    """Neither the book nor the ledger ever tells what became of an amend of an order that is still open."""
    recorded, [lost, *_] = where(_failed_amends_of_open_orders)
    for tag in (recorded.ledgers[0], recorded.books[lost.instrument]):
        edit(tag, AmendFailed | AmendRefused, no, lambda event: event.request_id == lost.request_id, 0)
    assert violated(recorded) == {I.AMENDS}


def _failed_amends_of_open_orders(recorded: Features) -> list[AmendFailed]:
    still_open = recorded.ledgers[0].handler.ledger.orders
    answers = [one for one in ledger_events(recorded) if isinstance(one, AmendFailed)]
    return [one for one in answers if still_open.get(one.order_id) and not one.released]


def test_a_wrong_last_price_is_found():
    """A ledger none of whose accounts took part in the last trade knows another price than the book."""
    recorded, [shard, *_] = where(_bystanders_of_the_last_trade, 3)
    told = [one for one in ledger_events(recorded, shard) if isinstance(one, LastPrice) and one.instrument == "BTC-USD"]
    edit(
        recorded.ledgers[shard], LastPrice, but(price=more), lambda event: event.instrument == "BTC-USD", len(told) - 1
    )  # fmt: skip
    assert violated(recorded) == {I.SETTLED}


def _bystanders_of_the_last_trade(recorded: Features) -> list[int]:
    """Shards that know of the last trade only from its price (a list that is not empty, though the shard be 0)."""
    found = []
    for shard in recorded.ledgers:
        told = [one for one in ledger_events(recorded, shard) if isinstance(one, LastPrice | Filled)]
        last = [one for one in told if one.instrument == "BTC-USD"][-1:]
        found += [shard for one in last if isinstance(one, LastPrice)]
    return found


def test_a_command_that_no_ledger_sent_is_found():
    """An outbox has one command more than its ledger's log tells of; ticks, of which only books tell, are counted."""
    recorded, _ = where(lambda one: book_events(one, Ticked))
    outbox = keys.outbox(0, "BTC-USD")
    recorded.ledgers[0].standing.lengths[outbox] += 1
    recorded.books["BTC-USD"].standing.positions[outbox] = f"{recorded.ledgers[0].standing.lengths[outbox]}-0"
    assert violated(recorded) == {I.SOURCES}
