"""The audit itself: good logs have no violation, and each way to spoil them breaks just the invariants it should."""

import random
from typing import Any

import msgspec
import pytest

from shared.chain import advance
from shared.errors import RejectReason
from shared.messages import (
    Accepted,
    AllCanceled,
    Blocked,
    Change,
    Closed,
    Done,
    Filled,
    HoldReduced,
    Match,
    Open,
    Received,
    Transferred,
)
from tests.audit.features import Features
from tests.audit.recorded import Recorded, Tag
from tests.audit.spoiling import but, edit, entries, find, more, no, rewrite, twice
from workers.audit.history import History
from workers.audit.invariants import Findings, Invariant
from workers.audit.settlement_checks import SettlementChecks

I = Invariant  # noqa: E741  # the tables below are about nothing else
ASKED_FOR = {I.EXPIRY, I.STOPS, I.ICEBERGS, I.LISTS, I.AMENDS, I.AUCTION, I.COLLAR, I.MODES}
"""What plain orders while an instrument is online never touch: test_features.py is about that."""


@pytest.mark.parametrize("shards", [1, 2, 3])
@pytest.mark.parametrize("finish", [True, False])
def test_good_logs_pass(shards, finish):
    """No violation at the end of a run or in the middle of one, on one or several shards, and every rule was tried."""
    findings = Recorded.fresh(7, 600, shards, finish=finish).audit()
    assert [str(one) for one in findings.violations] == []
    tried = {invariant for invariant, count in findings.checked.items() if count > 2}
    assert tried >= set(Invariant) - {I.SNAPSHOTS, I.POSTGRESQL} - ASKED_FOR


BOOK_EVENTS = [
    (Match, but(quantity=more), {I.QUANTITY, I.TRADES}),
    (Match, but(price=more), {I.PRIORITY, I.TRADES}),
    (Match, but(trade_id=more), {I.SEQUENCE, I.SETTLED}),
    (Match, but(sequence=more), {I.SEQUENCE, I.TRADES}),
    (Match, but(maker_account=more), {I.ACCEPTED, I.TRADES}),
    (Match, but(taker_fee=more), {I.ACCEPTED}),
    (Match, no, {I.SEQUENCE, I.QUANTITY, I.SETTLED}),
    (Match, twice, {I.SEQUENCE, I.QUANTITY}),
    (Open, but(remaining=more), {I.QUANTITY}),
    (Open, but(price=more), {I.TERMS}),
    (Open, no, {I.SEQUENCE, I.DONE}),
    (Done, but(remaining=more), {I.QUANTITY, I.SETTLED}),
    (Done, twice, {I.SEQUENCE, I.DONE}),
    (Done, but(reason="rejected"), {I.SETTLED}),
    (Done, no, {I.SEQUENCE, I.SETTLED}),
    (Received, but(price=more), {I.ACCEPTED}),
    (Received, but(quantity=more), {I.ACCEPTED, I.QUANTITY}),
    (Received, but(account=more), {I.ACCEPTED}),
    (Change, but(new_quantity=more), {I.QUANTITY, I.SETTLED}),
    (AllCanceled, but(count=more), {I.DONE}),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "change", "broken"), BOOK_EVENTS)
def test_a_spoilt_book_event_is_found(kind, change, broken):
    """One event of a book's log is changed, dropped or repeated: the rules it breaks are named."""
    recorded = Recorded.fresh()
    edit(recorded.books["BTC-USD"], kind, change)
    findings = recorded.audit()
    assert broken <= set(findings.violated), [str(one) for one in findings.violations[:10]]
    assert not set(findings.violated) & {I.CHAIN, I.ENTRIES, I.CLIENT_IDS, I.FEES, I.CONSERVED, I.HOLDS, I.NEGATIVE}


LEDGER_EVENTS = [
    (Accepted, but(hold=more), {I.HOLDS}),
    (Accepted, but(order_id=lambda one: one + 256), {I.SEQUENCE, I.ACCEPTED}),
    (Accepted, but(price=more), {I.ACCEPTED, I.HOLDS}),
    (Accepted, no, {I.SEQUENCE, I.ACCEPTED, I.DONE}),
    (Accepted, twice, {I.SEQUENCE, I.CLIENT_IDS, I.HOLDS}),
    (Filled, but(quantity=more), {I.TRADES}),
    (Filled, but(cost=more), {I.TRADES}),
    (Filled, but(base_amount=more), {I.TRADES}),
    (Filled, but(sequence=more), {I.TRADES}),
    (Filled, but(liquidity=lambda one: "T" if one == "M" else "M"), {I.TRADES}),
    (Filled, no, {I.SETTLED}),
    (Filled, twice, {I.SETTLED}),
    (HoldReduced, but(released=more), {I.HOLDS}),
    (HoldReduced, but(remaining=more), {I.SETTLED, I.HOLDS}),
    (HoldReduced, but(quantity=more), {I.QUANTITY}),
    (HoldReduced, no, {I.SETTLED}),
    (HoldReduced, twice, {I.SETTLED}),
    (Closed, but(released=more), {I.HOLDS}),
    (Closed, but(reason="rejected"), {I.SETTLED}),
    (Closed, no, {I.SETTLED}),
    (Closed, twice, {I.SETTLED, I.DONE}),
    (Transferred, but(request_id="in-USD", account=1), {I.CLIENT_IDS}),
    (Transferred, twice, {I.CLIENT_IDS}),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "change", "broken"), LEDGER_EVENTS)
def test_a_spoilt_ledger_event_is_found(kind, change, broken):
    """One event of a ledger's log is changed, dropped or repeated: the rules it breaks are named."""
    recorded = Recorded.fresh()
    edit(recorded.ledgers[0], kind, change, lambda event: getattr(event, "instrument", "BTC-USD") == "BTC-USD")
    findings = recorded.audit()
    assert broken <= set(findings.violated), [str(one) for one in findings.violations[:10]]
    assert not set(findings.violated) & {I.CHAIN, I.ENTRIES, I.PRIORITY, I.CROSSED, I.SELF_TRADE}


@pytest.mark.parametrize("change", [but(fee=more), but(fee_rest=more)])
def test_a_wrong_fee_is_found(change):
    """A fee that is not the exact one, rounded up once an order, breaks that rule."""
    recorded = Recorded.fresh()
    edit(recorded.ledgers[0], Filled, change, lambda event: event.fee)
    assert recorded.audit().violated[I.FEES]


def test_money_from_nowhere_is_found():
    """A payment that its counterpart did not make breaks bought = sold, and the sum of all money."""
    recorded = Recorded.fresh(shards=2)
    edit(recorded.ledgers[0], Filled, but(cost=more), lambda event: event.side == "sell")
    assert {I.TRADES, I.CONSERVED} <= set(recorded.audit().violated)


def test_an_order_of_a_blocked_account_is_found():
    """Orders that were accepted although a kill switch was on, of their account or of all."""
    for blocked in (Blocked("kill", 1, []), Blocked("kill", 0, [])):
        recorded = Recorded()
        log = entries(recorded.ledgers[0])
        log[find(recorded.ledgers[0], Transferred)[0]].events.append(blocked)
        rewrite(recorded.ledgers[0], log)
        assert set(recorded.audit().violated) == {I.BLOCKED}


def test_an_overdraft_is_found():
    """A withdrawal of more than there is breaks nothing-negative."""
    recorded = Recorded.fresh()
    edit(recorded.ledgers[0], Transferred, but(amount=-(10**18)), lambda event: event.amount == 5000)
    assert set(recorded.audit().violated) == {I.NEGATIVE}


def test_swapped_makers_are_found():
    """Two makers of one price change their turns: only priority is broken, and what follows from it."""
    recorded = Recorded.fresh(3)
    tag = recorded.books["BTC-USD"]
    log = entries(tag)
    for entry in log:
        matches = [place for place, event in enumerate(entry.events) if isinstance(event, Match)]
        if len(matches) > 1 and entry.events[matches[0]].price == entry.events[matches[1]].price:
            first, second = (entry.events[place] for place in matches[:2])
            for one, other in ((first, second), (second, first)):
                place = entry.events.index(one)
                entry.events[place] = msgspec.structs.replace(
                    one, maker_order_id=other.maker_order_id, maker_account=other.maker_account
                )
            break
    else:
        pytest.fail("no entry with two makers of one price")
    rewrite(tag, log)
    violated = recorded.audit().violated
    assert violated[I.PRIORITY]
    assert not violated[I.SEQUENCE]


def test_a_self_trade_is_found():
    """Buyer and seller are one account."""
    recorded = Recorded.fresh()
    edit(
        recorded.books["BTC-USD"],
        Match,
        lambda event: msgspec.structs.replace(event, taker_account=event.maker_account),
    )
    assert recorded.audit().violated[I.SELF_TRADE] == 1


def test_a_crossed_book_is_found():
    """An order that rests where it could have traded."""
    recorded = Recorded.fresh()
    tag = recorded.books["BTC-USD"]
    log = entries(tag)
    number, _ = find(tag, Match)
    received = next(event for event in log[number].events if isinstance(event, Received))
    opened = Open(
        received.sequence + 1, received.order_id, received.account, received.side, received.price, received.quantity
    )
    log[number].events = [received, opened]
    rewrite(tag, log[: number + 1])
    violated = recorded.audit().violated
    assert violated[I.CROSSED] == 1


def test_an_early_end_is_found():
    """An immediate-or-cancel order that ends although somebody was there to trade with."""
    recorded = Recorded.fresh()
    tag = recorded.books["BTC-USD"]
    log = entries(tag)
    number, _ = find(tag, Received, lambda event: event.time_in_force == "IOC" and _trades(tag, event.order_id))
    received = log[number].events[0]
    end = Done(
        received.sequence + 1, received.order_id, received.account, received.side, "canceled", received.price,
        received.quantity, RejectReason.IMMEDIATE_OR_CANCEL,
    )  # fmt: skip
    log[number].events = [received, end]
    rewrite(tag, log[: number + 1])
    assert recorded.audit().violated[I.TERMS] == 1


def _trades(tag: Tag, order_id: int) -> bool:
    events = (event for entry in entries(tag) for event in entry.events)
    return any(isinstance(event, Match) and event.taker_order_id == order_id for event in events)


@pytest.mark.parametrize("book", [True, False])
def test_a_missing_entry_is_found(book):
    """An entry is gone from the stream: its number is missing, and the chain is not the stored one."""
    recorded = Recorded.fresh()
    tag = recorded.books["BTC-USD"] if book else recorded.ledgers[0]
    good = recorded.view

    def view(one, findings, start=0, chain=""):
        log = good(one, findings, start, chain)
        if one is tag:
            log._entries = (entry for entry in log._entries if entry[0] != b"40-0")
        return log

    recorded.view = view  # type: ignore[method-assign]  # the stream that lost an entry
    assert {I.ENTRIES, I.CHAIN} <= set(recorded.audit().violated)


def test_a_broken_chain_is_found():
    """One byte of an entry changes without changing what it says: only the chain breaks."""
    recorded = Recorded.fresh()
    tag = recorded.ledgers[0]
    tag.log[50] = tag.log[50].replace(b'"source":', b'"source": ')
    assert set(recorded.audit().violated) == {I.CHAIN}


def test_a_shortened_log_is_found():
    """The log ends before the length that its owner has written."""
    recorded = Recorded.fresh()
    del recorded.ledgers[0].log[-1]
    assert I.ENTRIES in recorded.audit().violated


def test_an_unreadable_entry_is_found():
    """An entry that is no message is named, and the rest is still read."""
    recorded = Recorded.fresh()
    recorded.books["BTC-USD"].log[-1] = b'{"source": 5}'
    findings = recorded.audit()
    assert "is unreadable" in next(one.what for one in findings.violations if one.invariant is I.ENTRIES)


def test_a_command_handled_twice_or_out_of_order_is_found():
    """Two entries of one command, or in another order than in its outbox."""
    for change in (lambda log: [*log[:30], log[29], *log[30:]], lambda log: [*log[:29], log[30], log[29], *log[31:]]):
        recorded = Recorded.fresh()
        rewrite(recorded.books["BTC-USD"], change(entries(recorded.books["BTC-USD"])))
        assert I.SOURCES in recorded.audit().violated


def test_a_source_that_is_none_is_found():
    """An entry that does not say what it answers."""
    for tags in ("books", "ledgers"):
        recorded = Recorded.fresh()
        tag = next(iter(getattr(recorded, tags).values()))
        log = entries(tag)
        log[20].source = "somewhere"
        rewrite(tag, log)
        assert I.SOURCES in recorded.audit().violated


def test_a_lost_order_is_found():
    """An accepted order that its book never received, although it took up later ones, or all there are."""
    recorded = Recorded.fresh()
    tag = recorded.books["BTC-USD"]
    log = entries(tag)
    last = max(number for number, entry in enumerate(log) if isinstance(entry.events[0], Received))
    rewrite(tag, log[:last])
    assert I.DONE in recorded.audit().violated


def test_what_is_on_its_way_is_no_violation():
    """Logs cut in the middle: orders not received, trades not settled."""
    for seed in range(5):
        findings = Recorded.fresh(seed, 300, 2, finish=False).audit()
        assert not findings.violations


@pytest.mark.parametrize("kind", [Recorded, Features])
@pytest.mark.parametrize("seed", range(30))
def test_an_audit_may_begin_anywhere(kind, seed):
    """Each log may begin behind a snapshot of its own, as after a trim: no violation, whatever the cuts."""
    rng = random.Random(seed)
    recorded = kind.fresh(seed, 200, rng.choice((1, 2, 3)), finish=rng.random() < 0.5)
    findings = Findings()
    history = History(findings, SettlementChecks(findings))
    for shard, tag in recorded.ledgers.items():
        number = rng.choice((0, len(tag.log), rng.randint(1, len(tag.log))))
        view = recorded.view(tag, findings, number, advance("", tag.log[:number]))
        checks = history.add_ledger(shard, view)
        if number:
            checks.start_from(number, recorded.ledger_at(shard, number))
    for symbol, tag in recorded.books.items():
        number = rng.choice((0, len(tag.log), rng.randint(1, len(tag.log))))
        view = recorded.view(tag, findings, number, advance("", tag.log[:number]))
        book_checks = history.add_book(symbol, view)
        if number:
            book_checks.start_from(number, recorded.book_at(symbol, number))
    for _ in history.follow():
        pass
    history.end()
    assert [str(one) for one in findings.violations] == []


@pytest.mark.parametrize("kind", [Recorded, Features])
@pytest.mark.parametrize("seed", range(10))
def test_any_damage_is_read_to_the_end(kind, seed):
    """Entries dropped, moved, repeated, events changed at random: the audit says what it finds, and never stumbles."""
    rng = random.Random(seed)
    recorded = kind.fresh(seed, 120, rng.choice((1, 2)))
    for _ in range(30):
        tag = rng.choice([*recorded.ledgers.values(), *recorded.books.values()])
        good, log = list(tag.log), entries(tag)
        one, other = (rng.randrange(len(log)) for _ in range(2))
        events = log[one].events
        match rng.randint(0, 5):
            case 0:
                del log[one]
            case 1:
                log.insert(one, log[other])
            case 2:
                log[one], log[other] = log[other], log[one]
            case 3:
                rng.shuffle(events)
            case 4 if events:
                events.insert(rng.randrange(len(events)), rng.choice(log[other].events or events))
            case _ if events:
                at = rng.randrange(len(events))
                events[at] = _disturbed(events[at], rng)
        rewrite(tag, log)
        recorded.audit()
        tag.log[:] = good
        tag.restate()


OTHERS = {"buy": "sell", "sell": "buy", "limit": "market", "market": "limit", True: False, False: True}


def _disturbed(event: Any, rng: random.Random) -> Any:
    """One of its fields is another one, in the depth of it perhaps."""
    name = rng.choice(event.__struct_fields__)
    value = getattr(event, name)
    if isinstance(value, msgspec.Struct):
        new: Any = _disturbed(value, rng)
    elif isinstance(value, list):
        new = [_disturbed(one, rng) if isinstance(one, msgspec.Struct) else one for one in value[1:]]
    elif type(value) is int:
        new = rng.choice((value - 1, value + 1, -value, 0, value + 10**6))
    elif value in OTHERS:
        new = OTHERS[value]
    else:
        new = value
    return msgspec.structs.replace(event, **{name: new})
