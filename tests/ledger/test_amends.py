"""Amends: what they hold before the book sees them, and what comes back when it has answered."""

import pytest

from shared.errors import CorruptState, RejectReason
from shared.messages import (
    Accepted,
    Amend,
    Amended,
    AmendFailed,
    AmendRefused,
    AmendRequest,
    AmendRequested,
    BookEntry,
    CancelRequest,
    Closed,
    Conditions,
    HoldReduced,
    Rejected,
    decode_command,
)
from tests.ledger.test_risk import a_limit, a_market, world
from workers.ledger.amending import UNDER_WAY_MAX
from workers.ledger.risk import Limits

R = RejectReason


def amend(made, **fields):
    return made.request(AmendRequest("a", 1, **({"order_id": made.order.order_id} | fields)))


def with_order(last_price=0, limits=None, rules=None, **changes):
    """A world without fees, and an order of account 1: 5 lots of 2 at 10 unless changed."""
    made = world(last_price, limits, **({"taker_fee": 0} | (rules or {})))
    accepted = made.request(a_limit(**changes))
    assert isinstance(accepted, Accepted), accepted
    made.drain()
    made.order = made.ledgers[0].order(accepted.order_id)
    return made


def sell(made, quantity, price, name="s"):
    """Somebody sells to account 1."""
    made.deposit(8, BTC=1000)
    return made.request(a_limit(request_id=name, account=8, side="sell", price=price, quantity=quantity))


@pytest.mark.parametrize(
    ("asked", "extra", "after"),
    [
        ({"price": 12}, 20, (12, 5, 120)),
        ({"quantity": 7}, 40, (10, 7, 140)),
        ({"price": 12, "quantity": 7}, 68, (12, 7, 168)),
        ({"price": 8}, 0, (8, 5, 80)),
        ({"quantity": 3}, 0, (10, 3, 60)),
        # five lots may still be bought at 10 before it comes, and five more at 5 behind it
        ({"price": 5, "quantity": 10}, 50, (5, 10, 100)),
        ({"price": 20, "quantity": 2}, 40, (20, 2, 80)),
    ],
)
def test_what_is_needed_more_is_held_before_the_book_sees_it(asked, extra, after):
    """And what is needed less is available when the book has done it."""
    made = with_order()
    requested = amend(made, **asked)
    order = made.order
    assert isinstance(requested, AmendRequested)
    assert (requested.hold, order.hold, order.price, order.quantity) == (extra, 100 + extra, 10, 5)
    command = decode_command(made.commands["BTC-USD"][0])
    assert isinstance(command, Amend)
    assert (command.price, command.quantity) == (asked.get("price", 0), asked.get("quantity", 0))
    made.check()
    [amended] = made.drain()
    assert isinstance(amended, Amended)
    assert (order.price, order.quantity, order.hold) == after
    assert (amended.request_id, amended.remaining, amended.released) == ("a", after[1], 100 + extra - after[2])
    made.check()
    made.check_settled()


def test_a_sell_holds_its_largest_total():
    """2 BTC a lot; a price needs no more."""
    made = with_order(side="sell")
    assert amend(made, price=30).hold == 0
    assert amend(made, quantity=9).hold == 8
    assert amend(made, quantity=7).hold == 0
    assert amend(made, quantity=51).reason == R.INSUFFICIENT_FUNDS
    assert [one.released for one in made.drain()] == [0, 0, 4]
    made.check_settled()


def test_a_price_alone_leaves_the_total_as_self_trade_prevention_reduced_it():
    """3 of 5 lots are left, 1 of them filled before: the total is 4, whatever is amended besides."""
    made = with_order()
    made.deposit(1, BTC=100)
    sell(made, 1, 10)
    made.request(a_limit(request_id="own", side="sell", quantity=1))
    reduced = [one for one in made.drain() if isinstance(one, HoldReduced)]
    assert [(one.remaining, one.quantity) for one in reduced] == [(3, 4)]
    amend(made, price=12)
    [amended] = made.drain()
    assert (amended.quantity, amended.remaining, made.order.quantity) == (4, 3, 4)
    made.check_settled()


def test_a_fill_that_races_with_an_amend_is_paid_at_what_it_was_held_for():
    """Bought 3 of 5 at 10 before the amend to 10 lots at 5 comes: it has 7 left at 5, and nothing was short."""
    made = with_order()
    amend(made, price=5, quantity=10)
    behind = made.commands["BTC-USD"].popleft()
    sell(made, 3, 10)
    made.commands["BTC-USD"].append(behind)
    filled, amended = [one for one in made.drain() if one.account == 1]
    assert (filled.released, filled.cost) == (0, 60)
    assert (amended.quantity, amended.remaining, amended.released) == (10, 7, 150 - 60 - 70)
    made.check()
    made.check_settled()


@pytest.mark.parametrize("quantity", [3, 2])
def test_an_amend_below_what_is_filled_fails_and_one_to_it_ends_the_order(quantity):
    """3 lots were filled while it was under way: what was held for the rest comes back only with the end."""
    made = with_order()
    amend(made, price=12, quantity=quantity)
    behind = made.commands["BTC-USD"].popleft()
    sell(made, 3, 10)
    made.commands["BTC-USD"].append(behind)
    last = [one for one in made.drain() if one.account == 1][-1]
    if quantity == 3:
        assert (type(last), last.reason, last.remaining) == (Closed, "canceled", 2)
        assert made.ledgers[0].balances(1)["USD"].held == 0
    else:
        assert isinstance(last, AmendFailed)
        assert (last.reason, made.order.hold, made.order.amends) == (R.QUANTITY_TOO_SMALL, 40, ())
    made.check()
    made.check_settled()


def test_an_amend_that_comes_too_late_is_answered_and_releases_nothing_twice():
    """The order was canceled before: its end released all, the failure nothing."""
    made = with_order()
    amend(made, price=12)
    cancel = made.request(CancelRequest("x", 1, made.order.order_id))
    made.commands["BTC-USD"].rotate(1)
    closed, failed = made.drain()
    assert (cancel.request_id, closed.released) == ("x", 120)
    assert (failed.request_id, failed.reason, failed.released) == ("a", R.UNKNOWN_ORDER, 0)
    assert amend(made, price=12).reason == R.ORDER_DONE
    made.check_settled()


def test_several_amends_under_way_hold_for_whichever_the_book_does():
    """Raised, enlarged, lowered: until the last answer it holds for the dearest it can come to; then for what it is."""
    made = with_order()
    extras = [amend(made, **asked).hold for asked in ({"price": 12}, {"quantity": 8}, {"price": 5}, {"quantity": 6})]
    assert extras == [20, 72, 0, 0]
    for _ in range(4):
        made.work("BTC-USD")
        made.settle(0, "BTC-USD")
        made.check()
    assert (made.order.price, made.order.remaining, made.order.hold) == (5, 6, 60)


def test_an_amend_that_crosses_trades_and_gets_its_improvement_back():
    """Raised to 12, it buys what waits at 11."""
    made = with_order()
    sell(made, 2, 11)
    made.drain()
    amend(made, price=12)
    events = [one for one in made.drain() if one.account == 1]
    assert [type(one).__name__ for one in events] == ["Amended", "Filled"]
    assert (events[1].liquidity, events[1].released, made.order.hold) == ("T", 4, 72)
    made.check()
    made.check_settled()


def test_the_bound_of_a_market_stop_follows_its_stop_price():
    """At a collar of 25 %; the hold with it."""
    conditions = Conditions(stop="entry", stop_price=12)
    made = with_order(rules={"collar": 250_000}, order_type="market", price=0, conditions=conditions)
    assert (made.order.price, made.order.hold) == (15, 150)
    requested = amend(made, stop_price=20, quantity=6)
    assert (requested.price, requested.hold) == (25, 150)
    [amended] = made.drain()
    assert (amended.price, amended.stop_price, made.order.hold) == (25, 20, 300)
    assert made.order.conditions == Conditions(stop="entry", stop_price=20)
    amend(made, stop_price=8)
    made.drain()
    assert (made.order.price, made.order.hold) == (10, 120)
    made.check()
    made.check_settled()


STOP = Conditions(stop="loss", stop_price=8)
TRAILING = Conditions(stop="loss", trail=2)
REFUSALS = [
    ({}, {}, R.INVALID_ORDER, "an amend needs"),
    ({}, {"price": -1}, R.INVALID_ORDER, "price must not be negative"),
    ({}, {"quantity": 10**30}, R.INVALID_ORDER, "size is too large"),
    ({}, {"price": 100}, R.INVALID_ORDER, "price is too large: at most 99"),
    ({}, {"stop_price": 9}, R.INVALID_ORDER, "stop_price goes with a stop only"),
    ({"conditions": STOP, "side": "sell"}, {"stop_price": 100}, R.INVALID_ORDER, "stop_price is too large"),
    ({}, {"quantity": 1}, R.QUANTITY_TOO_SMALL, "size is too small"),
    ({}, {"quantity": 41}, R.QUANTITY_TOO_LARGE, "size is too large"),
    ({}, {"quantity": 40, "price": 99}, R.NOTIONAL_TOO_LARGE, "order value 7920 USD"),
    ({}, {"price": 99, "quantity": 6}, R.INSUFFICIENT_FUNDS, "Insufficient funds"),
    ({}, {"order_id": 77, "price": 9}, R.UNKNOWN_ORDER, "order not found"),
    ({}, {"instrument": "X-Y", "price": 9}, R.UNKNOWN_ORDER, "order not found"),
    ({"conditions": Conditions(min_quantity=0)}, {"account": 2, "price": 9}, R.UNKNOWN_ORDER, "order not found"),
    ({"conditions": STOP, "side": "sell", "order_type": "market", "price": 0}, {"price": 9}, R.INVALID_ORDER, "price"),
    (
        {"conditions": STOP, "order_type": "market", "price": 0, "quantity": 0, "funds": 50},
        {"quantity": 9}, R.INVALID_ORDER, "size does not go with an order by funds",
    ),
    (
        {"conditions": TRAILING, "side": "sell", "order_type": "market", "price": 0},
        {"stop_price": 9}, R.INVALID_ORDER, "trailing stop",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("order", "asked", "reason", "says"), REFUSALS, ids=range(len(REFUSALS)))
def test_a_refused_amend_changes_nothing(order, asked, reason, says):
    """It names what is wrong; the book hears nothing."""
    rules = {"min_quantity": 2, "max_quantity": 40, "max_price": 99}
    made = with_order(limits=Limits(max_notional="5000"), rules=rules, **order)
    before = made.ledgers[0].accounts.rows()
    event = made.request(AmendRequest(**({"request_id": "a", "account": 1, "order_id": made.order.order_id} | asked)))
    assert isinstance(event, Rejected)
    assert (event.reason, says in event.message) == (reason, True)
    assert made.ledgers[0].accounts.rows() == before
    assert not made.commands["BTC-USD"]


def test_a_trailing_stop_is_worth_what_it_stands_at():
    """It has no stop price of its own, and must not be amended beyond the value that a new order may have."""
    made = with_order(20, Limits(max_notional="200"), conditions=TRAILING, side="sell", order_type="market", price=0)
    too_much, smaller = amend(made, quantity=6), amend(made, quantity=3)
    assert isinstance(too_much, Rejected)
    assert (too_much.reason, too_much.message[:19]) == (R.NOTIONAL_TOO_LARGE, "order value 216 USD")
    assert isinstance(smaller, AmendRequested)


def test_a_plain_market_order_cannot_be_amended():
    """It is on its way to its end."""
    made = world(10)
    order = made.request(a_market(quantity=2))
    event = made.request(AmendRequest("a", 1, order.order_id, quantity=3))
    assert "a market order cannot be amended" in event.message


def test_amends_under_way_are_bounded():
    """What they can lead to is looked at with each fill."""
    made = with_order()
    for _ in range(UNDER_WAY_MAX):
        assert isinstance(amend(made, price=9), AmendRequested)
    assert amend(made, price=9).reason == R.LIMIT_EXCEEDED
    made.work("BTC-USD")
    made.settle(0, "BTC-USD")
    assert isinstance(amend(made, price=9), AmendRequested)


def test_an_order_can_be_amended_by_its_client_id():
    """As it can be canceled."""
    made = with_order(client_id="mine")
    assert amend(made, order_id=0, client_id="mine", price=9).order_id == made.order.order_id


def test_an_answer_that_nobody_waits_for_is_corrupt():
    """The book answers the amends of an order in their order."""
    made = with_order()
    amend(made, price=9)
    stray = AmendRefused(made.order.order_id, 1, R.POST_ONLY, "another")
    with pytest.raises(CorruptState, match="not waiting for the answer to amend another"):
        made.ledgers[0].settle("BTC-USD", BookEntry("x", 1, [stray]), 9)
