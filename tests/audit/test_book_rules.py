"""Each rule of the book finds what breaks it, and no other rule does: scene by scene, on what a real book did."""

from collections.abc import Sequence
from typing import NamedTuple

import pytest

from shared.errors import RejectReason
from shared.messages import (
    Activate,
    AllCanceled,
    AmendRefused,
    BookEntry,
    CancelAll,
    CancelRefused,
    Change,
    Command,
    Configured,
    Done,
    ListPlaced,
    Match,
    Open,
    Received,
    Tick,
)
from tests.audit.scenes import (
    Scene,
    Spoil,
    add,
    all_of,
    amend,
    at_time,
    audited,
    buy,
    cancel,
    change,
    drop,
    instead,
    linked,
    move,
    renumber,
    rules,
    sell,
)
from workers.audit.invariants import Invariant
from workers.engine.book import OrderBook

I = Invariant  # noqa: E741  # the tables below are about nothing else
R = RejectReason


class Case(NamedTuple):
    """A rule as its violation says it, the scene, and what spoils its log."""

    invariant: Invariant
    rule: str
    commands: Sequence[Command]
    spoil: Spoil


def comes(order_id: int, price: int, quantity: int, account: int) -> list[Received | Open]:
    """A sell order that comes and rests."""
    first = Received(
        0, order_id, account, "sell", "limit", price, quantity, maker_fee=1, taker_fee=2,
    )  # fmt: skip
    return [first, Open(0, order_id, account, "sell", price, quantity)]


def trade_at(price: int, order_id: int = 90) -> list[Command]:
    """Somebody trades one lot at a price."""
    return [sell(order_id, 1, price), buy(order_id + 1, 1, price)]


EXPIRY = [
    Case(I.EXPIRY, "the time of a book never goes back", [buy(1, 5, 99), buy(2, 5, 98)], at_time(-1, 5)),
    Case(
        I.EXPIRY, "what has expired is gone before anything can meet it, the earliest first",
        [buy(1, 5, 99, time_in_force="GTT", expires=25), buy(2, 5, 98)], move(Done, 1, to=2),
    ),
    Case(
        I.EXPIRY, "what has expired is gone before anything can meet it, the earliest first",
        [buy(1, 5, 99, time_in_force="GTT", expires=25), Tick(30)], drop(Done, 1),
    ),
    Case(
        I.EXPIRY, "what has expired is gone before anything can meet it, the earliest first",
        [buy(1, 5, 99, time_in_force="GTT", expires=34), buy(2, 5, 98, time_in_force="GTT", expires=33), Tick(50)],
        move(Done, 1, to=0),
    ),
    Case(
        I.EXPIRY, "an order expires when its time has come, and no sooner",
        [buy(1, 5, 99, time_in_force="GTT", expires=100), cancel(1)], change(Done, 1, cause=R.EXPIRED),
    ),
    Case(
        I.EXPIRY, "an order that has expired is not taken up",
        [buy(1, 5, 99, time_in_force="GTT", expires=100)], change(Received, 1, conditions={"expires": 20}),
    ),
]  # fmt: skip

STOP = sell(3, 5, 90, stop="loss", stop_price=95)
TRIGGERED: list[Command] = [buy(1, 9, 80), *trade_at(100), STOP, *trade_at(95, 92)]

STOPS = [
    Case(
        I.STOPS, "a stop triggers only when the last trade has passed its stop price", TRIGGERED,
        all_of(*(change(kind, 3, conditions={"stop_price": 94}) for kind in (Activate, Received)),
               change(Activate, 3, stop_price=94)),
    ),
    Case(
        I.STOPS, "a stop triggers in the entry in which the last trade passes its stop price", TRIGGERED,
        all_of(drop(Received, 3), drop(Open, 3)),
    ),
    Case(
        I.STOPS, "stops trigger one by one, the oldest first",
        [*trade_at(100), STOP, sell(4, 5, 90, stop="loss", stop_price=96), *trade_at(95, 92)],
        all_of(move(Received, 4, to=4), move(Open, 4, to=5)),
    ),
    Case(
        I.STOPS, "stops trigger only while the instrument is online",
        [*trade_at(100), STOP, rules(mode="limit-only"), *trade_at(95, 92), rules()],
        change(Configured, nth=2, instrument=rules(mode="limit-only").instrument),
    ),
    Case(
        I.STOPS, "a stop sleeps before it comes", [sell(1, 5, 99)],
        change(Received, 1, conditions={"stop": "loss", "stop_price": 95}),
    ),
    Case(I.STOPS, "a stop stands where it was asked to", [STOP], change(Activate, 3, stop_price=96)),
    Case(
        I.STOPS, "a stop stands where it was asked to",
        [*trade_at(100), sell(3, 5, stop="loss", trail_bps=150)], change(Activate, 3, stop_price=99),
    ),
    Case(
        I.STOPS, "a stop triggers in the entry in which the last trade passes its stop price",
        [*trade_at(100), sell(3, 5, stop="loss", trail=3), *trade_at(110, 92), buy(7, 1, 98), *trade_at(107, 94)],
        all_of(drop(Received, 3), drop(Match, nth=3), drop(Done, 7), drop(Done, 3)),
    ),
    Case(
        I.STOPS, "a trailing stop follows the best trade since",
        [*trade_at(100), sell(3, 5, stop="loss", trail=3), *trade_at(110, 92), amend(3, quantity=4)],
        change(Change, 3, stop_price=97),
    ),
    Case(
        I.STOPS, "only a stop is activated", [STOP],
        all_of(change(Activate, 3, conditions={"stop": "", "stop_price": 0}), change(Activate, 3, stop_price=0)),
    ),
]  # fmt: skip

ICEBERG = sell(1, 10, 100, display_quantity=4)

ICEBERGS = [
    Case(
        I.ICEBERGS, "an order shows all it has, an iceberg its display quantity", [ICEBERG],
        change(Open, 1, remaining=5, hidden=5),
    ),
    Case(
        I.ICEBERGS, "an order shows all it has, an iceberg its display quantity", [sell(1, 10, 100)],
        change(Open, 1, remaining=5, hidden=5),
    ),
    Case(
        I.ICEBERGS, "at one price all that is shown fills before what is hidden", [ICEBERG, buy(2, 7, 100)],
        all_of(change(Match, quantity=7), drop(Open, 1, nth=1), drop(Match, nth=1)),
    ),
    Case(
        I.ICEBERGS, "the next part of an iceberg comes at once, to the back of its level", [ICEBERG, buy(2, 4, 100)],
        drop(Open, 1, nth=1),
    ),
    Case(
        I.ICEBERGS, "the next part of an iceberg comes at once, to the back of its level",
        [ICEBERG, sell(3, 5, 100), buy(2, 6, 100)], move(Open, 1, nth=1, to=3),
    ),
    Case(
        I.ICEBERGS, "an order that gets smaller hides less before it shows less", [ICEBERG, amend(1, quantity=8)],
        change(Change, 1, hidden=5),
    ),
    Case(
        I.PRIORITY, "the maker is the first in the best level", [ICEBERG, sell(3, 5, 100), buy(2, 6, 100)],
        change(Match, nth=1, maker_order_id=1, maker_account=1),
    ),
]  # fmt: skip

MINIMUM = [sell(1, 4, 100), buy(2, 10, 100, min_quantity=3)]
SHORT = [sell(1, 4, 100), buy(2, 10, 100, time_in_force="FOK")]

TERMS = [
    Case(
        I.TERMS, "an order with a minimum quantity gets it at once, or nothing", MINIMUM,
        change(Received, 2, conditions={"min_quantity": 5}),
    ),
    Case(
        I.TERMS, "an order with a minimum quantity gets it at once, or nothing",
        [sell(1, 4, 100), buy(2, 10, 0, min_quantity=3)], change(Received, 2, conditions={"min_quantity": 5}),
    ),
    Case(
        I.TERMS, "fill-or-kill and minimum quantity end an order only if there is too little",
        [sell(1, 4, 100), buy(2, 10, 100, min_quantity=5)], change(Received, 2, conditions={"min_quantity": 4}),
    ),
    Case(
        I.TERMS, "fill-or-kill and minimum quantity end an order only if there is too little", SHORT,
        all_of(change(Received, 2, quantity=4), change(Done, 2, remaining=4)),
    ),
    Case(
        I.TERMS, "fill-or-kill trades all or nothing", [sell(1, 4, 100), buy(2, 10, 100, time_in_force="IOC")],
        change(Received, 2, time_in_force="FOK"),
    ),
    Case(
        I.TERMS, "no order trades beyond its limit, and none that is post-only takes",
        [sell(1, 4, 100), buy(2, 4, 100)], change(Received, 2, post_only=True),
    ),
    Case(
        I.TERMS, "no order trades beyond its limit, and none that is post-only takes",
        [sell(1, 4, 100), buy(2, 4, 100)], all_of(change(Received, 2, price=99), change(Done, 2, price=99)),
    ),
    Case(
        I.TERMS, "post-only is refused only where it would take", [sell(1, 4, 100), buy(2, 4, 100, post_only=True)],
        all_of(change(Received, 2, price=99), change(Done, 2, price=99)),
    ),
    Case(
        I.TERMS, "an order trades on while somebody is there to trade with",
        [sell(1, 4, 100), buy(2, 4, 99, time_in_force="IOC")],
        all_of(change(Received, 2, price=100), change(Done, 2, price=100)),
    ),
    Case(
        I.TERMS, "only limit orders without IOC or FOK rest, at their price", [sell(1, 4, 100)],
        change(Received, 1, time_in_force="IOC"),
    ),
    Case(
        I.TERMS, "an order that comes does not end without a cause", [buy(2, 4, 99, time_in_force="IOC")],
        change(Done, 2, cause=None),
    ),
    *(
        Case(I.TERMS, "what does not go together is refused", [one], change(kind, 1, **wrong))
        for one, kind, wrong in (
            (buy(1, 10, 99), Received, {"conditions": {"display_quantity": 11}}),
            (buy(1, 10, 99), Received, {"conditions": {"trail": 3}}),
            (buy(1, 10, 99), Received, {"time_in_force": "GTT"}),
            (buy(1, 10), Received, {"post_only": True}),
            (buy(1, 10, 99, time_in_force="IOC"), Received, {"post_only": True}),
            (buy(1, 10, stop="entry", trail=3), Activate, {"conditions": {"trail_bps": 3}}),
            (sell(1, 5, 90, stop="loss", stop_price=95), Activate, {"post_only": True}),
            (sell(1, 5, stop="loss", stop_price=95), Activate, {"conditions": {"trail": 2}}),
        )
    ),
]  # fmt: skip

MODES = [
    Case(
        I.MODES, "a mode lets in only what it admits", [rules(mode="post-only"), buy(1, 5, 99, post_only=True)],
        change(Received, 1, post_only=False),
    ),
    Case(
        I.MODES, "a mode lets in only what it admits", [rules(), buy(1, 5, 99)],
        change(Configured, nth=1, instrument=rules(mode="halted").instrument),
    ),
    Case(
        I.MODES, "a mode lets in only what it admits", [rules(), STOP],
        change(Configured, nth=1, instrument=rules(mode="cancel-only").instrument),
    ),
    Case(
        I.MODES, "a mode lets in only what it admits",
        [rules(), linked("oto", buy(1, 5, 99, stop="entry", stop_price=120, account=1), sell(2, 5, 120, account=1))],
        change(Configured, nth=1, instrument=rules(mode="halted").instrument),
    ),
    Case(
        I.MODES, "a mode lets amend only what it lets in", [buy(1, 5, 99), rules(), amend(1, quantity=4)],
        change(Configured, nth=1, instrument=rules(mode="post-only").instrument),
    ),
    Case(
        I.MODES, "there is trade only while the instrument is online or limit-only",
        [sell(1, 5, 100), buy(2, 5, 99), rules(), amend(2, price=100)],
        change(Configured, nth=1, instrument=rules(mode="halted").instrument),
    ),
    Case(
        I.MODES, "what goes live in a mode that keeps it out ends at once",
        [
            rules(mode="limit-only"), buy(8, 5, 90), linked("oto", buy(1, 5, 99, account=1), sell(2, 5, account=1)),
            sell(9, 5, 99),
        ],
        instead(
            Done, 2, Match(0, 0, 8, 2, 8, 1, "buy", 90, 5, 1, 2), Done(0, 8, 8, "buy", "filled", 90),
            Done(0, 2, 1, "sell", "filled"),
        ),
    ),
    Case(
        I.MODES, "what goes live in a mode that keeps it out ends at once",
        [
            rules(mode="auction"), linked("oto", buy(1, 5, 99, account=1), sell(2, 5, 120, account=1)),
            sell(9, 5, 99), rules(mode="post-only"),
        ],
        instead(Done, 2, *comes(2, 120, 5, 1)[1:]),
    ),
    Case(
        I.MODES, "a refusal names the mode in force", [rules(mode="halted"), buy(1, 5, 99)],
        change(Done, 1, cause=R.CANCEL_ONLY),
    ),
]  # fmt: skip

COLLARED: list[Command] = [*trade_at(100), sell(1, 4, 103), sell(2, 4, 110)]

TRAILED: list[Command] = [
    *trade_at(100), sell(3, 5, 0, stop="loss", trail=3), *trade_at(110, 92), buy(7, 1, 98), *trade_at(107, 94),
]  # fmt: skip
TRAILED_BUY: list[Command] = [
    *trade_at(100), buy(3, 5, 0, stop="entry", trail=3), *trade_at(50, 92), sell(7, 1, 58), *trade_at(53, 94),
]  # fmt: skip

COLLAR = [
    *(
        Case(
            I.COLLAR, "a trailing stop goes at most the collar away from the trade that wakes it", scene,
            change(Received, 3, price=price),
        )
        for scene, price in ((TRAILED, 95), (TRAILED, 97), (TRAILED_BUY, 60), (TRAILED_BUY, 58))
    ),
    Case(
        I.COLLAR, "no trade is beyond the collar", [rules(), *COLLARED, buy(3, 6)],
        change(Configured, nth=1, instrument=rules(price_collar=50_000).instrument),
    ),
    Case(
        I.COLLAR, "the collar ends only an order that could trade beyond it",
        [rules(price_collar=50_000), *COLLARED, buy(3, 6)],
        change(Configured, nth=1, instrument=rules().instrument),
    ),
]  # fmt: skip

OCO = linked("oco", sell(1, 5, 110, account=1), sell(2, 5, 80, account=1, stop="loss", stop_price=90))
OTO = linked("oto", buy(1, 5, 99, account=1), sell(2, 5, 120, account=1))
BRACKET = linked(
    "otoco", buy(1, 5, 99, account=1), sell(2, 5, 120, account=1), sell(3, 5, 80, account=1, stop="loss", stop_price=85)
)
ENDS = "one leg's fill, trigger or end cancels the other in the same entry"

LISTS = [
    Case(I.LISTS, ENDS, [OCO, buy(9, 3, 110)], drop(Done, 2)),
    Case(I.LISTS, ENDS, [OCO, buy(7, 5, 70), *trade_at(90)], drop(Done, 1)),
    Case(I.LISTS, ENDS, [OCO, cancel(1)], drop(Done, 2)),
    Case(I.LISTS, ENDS, [OCO, buy(8, 1, 95), cancel(8)],
         add(-1, Done(0, 2, 1, "sell", "canceled", 80, 5, R.LINKED_ORDER))),
    Case(I.LISTS, ENDS, [OCO, sell(3, 5, 111), buy(9, 7, 111)], move(Done, 2, to=4)),
    Case(I.LISTS, ENDS, [OTO, cancel(1)], drop(Done, 2)),
    Case(
        I.LISTS, "only what belongs to a list is canceled for another order's sake", [buy(1, 5, 99), cancel(1)],
        change(Done, 1, cause=R.LINKED_ORDER),
    ),
    Case(
        I.LISTS, "a child goes live only when all of its parent is filled", [OTO, sell(9, 3, 99)],
        add(-1, *comes(2, 120, 5, 1)),
    ),
    Case(
        I.LISTS, "children go live in the entry in which their parent is filled", [OTO, sell(9, 5, 99)],
        all_of(drop(Received, 2), drop(Open, 2)),
    ),
    Case(
        I.LISTS, "children come in the order of their list, before any stop", [BRACKET, sell(9, 5, 99)],
        move(Activate, 3, to=4),
    ),
    Case(
        I.LISTS, "a list has the orders of its kind, of one account, its legs on one side", [OCO],
        change(ListPlaced, account=2),
    ),
    Case(
        I.LISTS, "a list is refused for what one of its orders is refused for",
        [linked("oco", sell(1, 5, 110, account=1), sell(2, 5, 90, account=1, display_quantity=6))],
        change(Done, 2, cause=R.LIST_REFUSED),
    ),
    Case(
        I.LISTS, "a child goes live only when all of its parent is filled",
        [sell(7, 2, 99, account=1), linked("oto", buy(1, 5, 99, account=1), sell(2, 5, 120, account=1)),
         sell(9, 3, 99)],
        all_of(drop(Done, 2), add(-1, *comes(2, 120, 5, 1))),
    ),
]  # fmt: skip

TWO: list[Command] = [sell(1, 5, 100), sell(2, 5, 100)]

AMENDS = [
    Case(I.AMENDS, "an amend tells of the order as it was", [*TWO, amend(1, quantity=3)],
         change(Change, 1, old_quantity=6)),
    Case(I.AMENDS, "an amend tells of the order as it was", [*TWO, amend(1, price=101)],
         change(Change, 1, old_price=99)),
    Case(
        I.AMENDS, "an amend never goes below what is filled", [*TWO, amend(1, quantity=3)],
        change(Change, 1, new_quantity=0),
    ),
    Case(
        I.AMENDS, "only what rests or sleeps is amended", [OTO, amend(2, quantity=3)],
        instead(AmendRefused, 2, Change(0, 2, 1, "sell", 120, 5, 3, "amend", 120, request_id="a")),
    ),
    Case(
        I.AMENDS, "an amend is refused for what is so", [*TWO, amend(7, quantity=3)],
        change(AmendRefused, 7, order_id=1),
    ),
    Case(
        I.AMENDS, "an amend is refused for what is so", [*TWO, amend(7, quantity=3)],
        change(AmendRefused, 7, reason=R.HALTED),
    ),
    Case(
        I.PRIORITY, "the maker is the first in the best level", [*TWO, amend(1, quantity=3), buy(3, 2, 100)],
        change(Match, maker_order_id=2, maker_account=2),
    ),
    Case(
        I.PRIORITY, "the maker is the first in the best level", [*TWO, amend(1, quantity=6), buy(3, 2, 100)],
        change(Match, maker_order_id=1, maker_account=1),
    ),
    Case(
        I.DONE, "an order that comes rests or is done in the same entry", [*TWO, amend(1, quantity=6)],
        drop(Open, 1, nth=1),
    ),
]  # fmt: skip

COLLECTED: list[Command] = [
    rules(mode="auction"), buy(1, 5, 103), buy(2, 5, 102), sell(3, 4, 100), sell(4, 4, 101), buy(5, 1, 90), rules(),
]  # fmt: skip

AUCTION = [
    Case(
        I.AUCTION, "an auction trades at the price of most volume, then least left over, then nearest", COLLECTED,
        all_of(*(change(Match, nth=nth, price=102) for nth in range(3))),
    ),
    Case(
        I.AUCTION, "in an auction both sides pay their maker's rate, and the seller stands as the maker", COLLECTED,
        change(Match, taker_fee=2),
    ),
    Case(
        I.PRIORITY, "an auction is between the first of each side",
        [rules(mode="auction"), buy(1, 5, 103), buy(2, 5, 103), sell(3, 2, 100), rules()],
        change(Match, taker_order_id=2, taker_account=2),
    ),
]  # fmt: skip

OWN: list[Command] = [sell(1, 4, 100, account=1), sell(2, 4, 101)]

SELF_TRADE = [
    Case(
        I.SELF_TRADE, "self-trade prevention touches two orders of one account that meet",
        [*OWN, buy(3, 6, 101, account=1, stp="co")], change(Received, 3, stp="cn"),
    ),
    Case(
        I.SELF_TRADE, "self-trade prevention touches two orders of one account that meet",
        [OWN[0], buy(3, 10, 100, account=1)], all_of(change(Change, new_quantity=5), change(Open, 3, remaining=5)),
    ),
    Case(
        I.SELF_TRADE, "self-trade prevention touches two orders of one account that meet",
        [OWN[0], buy(3, 10, 99, time_in_force="IOC")], change(Done, 3, cause=R.SELF_TRADE),
    ),
    Case(
        I.SELF_TRADE, "self-trade prevention touches two orders of one account that meet",
        [*OWN, buy(3, 4, 101, account=1, stp="cn")],
        all_of(change(Received, 1, account=9), change(Open, 1, account=9)),
    ),
]  # fmt: skip

ENDINGS = [
    Case(I.DONE, "a cancel is refused only for what is gone", [buy(1, 5, 99), cancel(7)],
         change(CancelRefused, 7, order_id=1)),
    Case(I.DONE, "a mass-cancel counts whom it ended", [buy(1, 5, 99), CancelAll(1, 0)], change(AllCanceled, count=2)),
    Case(I.DONE, "an order comes once", [sell(1, 5, 99), Tick(0)], add(-1, *comes(1, 99, 5, 1))),
    Case(I.DONE, "an order that is filled is done", [sell(1, 5, 99), buy(2, 5, 99)], drop(Done, 1)),
    Case(I.DONE, "only what is on the book is done", [sell(1, 5, 99), Tick(0)],
         add(-1, Done(0, 7, 7, "sell", "canceled", 99, 5))),
    Case(I.DONE, "an order opens when it comes, or with its next part", [sell(1, 5, 99), Tick(0)],
         add(-1, Open(0, 1, 1, "sell", 99, 5))),
    Case(I.DONE, "only what is on the book is changed", [*TWO, amend(1, quantity=3)], change(Change, 1, order_id=7)),
    Case(I.QUANTITY, "a trade takes no more than there is", [sell(1, 5, 99), buy(2, 2, 99)], all_of(
        change(Match, quantity=0), change(Received, 2, quantity=0), change(Received, 2, order_type="market", funds=9),
        change(Done, 2, price=0))),
    Case(I.QUANTITY, "self-trade prevention takes lots off what is left", [OWN[0], buy(3, 10, 100, account=1)],
         all_of(change(Change, old_quantity=11, new_quantity=7), change(Open, 3, remaining=7))),
    Case(I.ACCEPTED, "an order that waited comes with the terms it had", TRIGGERED, change(Received, 3, client_id="x")),
    Case(I.CROSSED, "the book is never crossed outside an auction", [rules(mode="auction"), *TWO, buy(3, 5, 100)],
         change(Configured, nth=1, instrument=rules(mode="limit-only").instrument)),
]  # fmt: skip

CASES = [
    *EXPIRY, *STOPS, *ICEBERGS, *TERMS, *MODES, *COLLAR, *LISTS, *AMENDS, *AUCTION, *SELF_TRADE, *ENDINGS,
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=[f"{case.invariant.name}-{number}" for number, case in enumerate(CASES)])
def test_a_broken_rule_is_found_by_itself(case: Case):
    """What the book did is good; spoilt, the log breaks the rule that the case names, and no other invariant."""
    scene = Scene(*case.commands)
    assert [str(one) for one in audited(scene.log).violations] == []
    case.spoil(scene.log)
    renumber(scene.log)
    findings = audited(scene.log)
    said = [one.what for one in findings.violations]
    assert set(findings.violated) == {case.invariant}, said
    assert any(one.startswith(case.rule) for one in said), said


def test_an_auction_that_leaves_somebody_is_found():
    """Nobody may be left who would trade at the auction's price; who is left crosses the book, too."""
    scene = Scene(rules(mode="auction"), buy(1, 5, 103), sell(3, 5, 100), rules())
    assert not audited(scene.log).violations
    scene.log[-1].events[1:] = []
    assert set(audited(scene.log).violated) == {I.AUCTION, I.CROSSED}


def test_an_auction_without_an_end_is_found():
    """A trade cannot be called an auction's where none ends: then nobody would look who took."""
    scene = Scene(sell(1, 5, 99), buy(2, 5, 99))
    change(Match, auction=True)(scene.log)
    assert I.AUCTION in audited(scene.log).violated


def test_an_amend_may_come_before_the_rules():
    """Only a book that knows no rules yet says that it knows no such instrument: shard 1 may be faster than shard 0."""
    answer = AmendRefused(7, 7, R.UNKNOWN_INSTRUMENT, "a")
    assert OrderBook().apply(amend(7, quantity=3)) == [answer]
    early = [BookEntry("{a:1}:to:BTC-USD 1-0", 10, [answer])]
    assert [str(one) for one in audited(early).violations] == []
    answer.reason = R.HALTED
    assert set(audited(early).violated) == {I.AMENDS}
    scene = Scene(amend(7, quantity=3))
    change(AmendRefused, 7, reason=R.UNKNOWN_INSTRUMENT)(scene.log)
    assert set(audited(scene.log).violated) == {I.AMENDS}


def test_a_violation_says_all_that_is_needed():
    """The instrument, the entry, the order, what was expected and found, and what to do next."""
    scene = Scene(STOP)
    change(Activate, 3, stop_price=96)(scene.log)
    [found] = audited(scene.log).violations
    assert str(found) == (
        "STOPS: BTC-USD entry 2: a stop stands where it was asked to, a trailing one at its distance from the last "
        'trade: order 3: expected 95, found 96; halt it ("matchbox instrument halt BTC-USD") and read the entry '
        '("redis-cli XRANGE {i:BTC-USD}:log 2-0 2-0")'
    )
