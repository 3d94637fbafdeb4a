"""The arithmetic of fees and holds, and what each event moves."""

from fractions import Fraction
from math import ceil
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import CorruptState, RejectReason
from shared.messages import (
    Accepted,
    CancelRequested,
    Closed,
    Done,
    Duplicate,
    Filled,
    HoldReduced,
    LastPrice,
    Match,
    Rejected,
    Transferred,
)
from tests.ledger.world import coarse
from workers.ledger.holds import MILLION, buy_hold, charge, spendable, with_fee
from workers.ledger.orders import OpenOrder
from workers.ledger.settlement import (
    Movement,
    closure,
    fill,
    hold_currency,
    movements,
    reduction,
    taken_from_hold,
)

RATE = st.integers(0, 500_000)
COST = st.integers(1, 10**19)
REST = st.integers(0, MILLION - 1)
BTC = coarse("BTC-USD", lot="3")  # 3 USD and 3 BTC in a lot


def an_order(**changes):
    """A buy limit of 10 lots at 7, holding 210 and a fee of 10 %."""
    fields: dict[str, Any] = {
        "order_id": 256, "account": 1, "instrument": "BTC-USD", "side": "buy", "order_type": "limit", "price": 7,
        "quantity": 10, "funds": 0, "specified_funds": 0, "time_in_force": "GTC", "post_only": False, "stp": "dc",
        "maker_fee": 0, "taker_fee": 100_000, "client_id": "", "request_id": "r", "time": 1, "hold": 231,
        "remaining": 10,
    }  # fmt: skip
    return OpenOrder(**(fields | changes))


def a_match(price, quantity, side="sell"):
    return Match(9, 4, 512, 256, 2, 1, side, price, quantity)


# --- fees and holds --------------------------------------------------------------------------------


@given(st.lists(st.tuples(COST, RATE), max_size=20))
def test_fees_are_rounded_up_once_per_order(fills):
    """After every fill, whatever its rate, the fees so far are the exact sum so far, rounded up once."""
    rest, fees, exact = 0, 0, Fraction(0)
    for cost, rate in fills:
        fee, rest = charge(cost, rate, rest)
        fees += fee
        exact += Fraction(cost * rate, MILLION)
        assert 0 <= fee <= cost
        assert 0 <= rest < MILLION
        assert fees == ceil(exact)


@given(st.integers(0, 10**19), RATE)
def test_spendable_is_the_largest_cost_that_a_hold_covers(hold, rate):
    """One unit more, with its fee, would be more than the hold."""
    funds = spendable(hold, rate)
    assert funds + ceil(Fraction(funds * rate, MILLION)) <= hold
    assert funds + 1 + ceil(Fraction((funds + 1) * rate, MILLION)) > hold


@given(COST, RATE, REST)
def test_a_hold_is_the_cost_and_the_fee_still_to_come(cost, rate, rest):
    """What rounding has charged ahead is not held again."""
    assert with_fee(cost, rate, rest) == cost + max(0, ceil(Fraction(cost * rate - rest, MILLION)))


@given(
    price=st.integers(1, 10**9),
    rates=st.tuples(RATE, RATE),
    fills=st.lists(st.tuples(st.integers(1, 10**6), st.integers(0, 10**9), st.booleans()), min_size=1, max_size=15),
    left=st.integers(0, 10**6),
)
def test_a_hold_covers_every_fill_at_the_limit_or_better(price, rates, fills, left):
    """A fill never needs more than the hold, never releases less than nothing, and leaves exactly what is needed."""
    instrument = coarse("BTC-USD", maker_fee=rates[0], taker_fee=rates[1])
    quantity = sum(lots for lots, _, _ in fills) + left
    hold = buy_hold(instrument, price, quantity, max(rates))
    order = an_order(
        price=price, quantity=quantity, remaining=quantity, hold=hold, maker_fee=rates[0], taker_fee=rates[1]
    )
    for lots, better, is_maker in fills:
        match = a_match(max(1, price - better), lots, "buy" if is_maker else "sell")
        event = fill(order, instrument, match, "M" if is_maker else "T")
        assert event.released >= 0
        order.hold -= taken_from_hold(event)
        order.remaining -= lots
        order.fee_rest = event.fee_rest
        assert order.hold == buy_hold(instrument, price, order.remaining, max(rates), order.fee_rest)
    assert left or order.hold == 0


def test_price_improvement_is_released_at_once():
    """10 lots at 7 hold 231; 4 of them at 5 cost 60 + 6, and the 6 that are left need 126 + 13 less 0 charged ahead."""
    event = fill(an_order(), BTC, a_match(5, 4), "T")
    assert (event.cost, event.fee, event.base_amount, event.fee_rest) == (60, 6, 12, 0)
    assert event.released == 231 - 66 - 139


def test_the_rate_is_the_makers_or_the_takers():
    """The order's own rates, fixed when it was accepted, not those of the match or the instrument."""
    assert fill(an_order(), BTC, a_match(7, 1, "buy"), "M").fee == 0
    assert fill(an_order(), BTC, a_match(7, 1, "sell"), "T").fee == 3


def test_a_market_buy_keeps_its_hold_until_it_is_done():
    """What it does not spend is released when it closes, in the same entry of its book's log."""
    order = an_order(order_type="market", price=9, funds=210)
    event = fill(order, BTC, a_match(5, 4), "T")
    assert (event.cost, event.fee, event.released) == (60, 6, 0)
    assert reduction(order, BTC, 3) == HoldReduced(1, 256, "BTC-USD", 3, 0, "buy", 3)


def test_a_sell_holds_its_lots():
    """A decrement of a sell releases base currency."""
    order = an_order(side="sell", hold=30)
    assert reduction(order, BTC, 4) == HoldReduced(1, 256, "BTC-USD", 4, 18, "sell", 4)


def test_a_decrement_does_not_hold_again_what_rounding_charged_ahead():
    """With 0.5 charged ahead, the fee of 5 lots at 7 (10.5) is covered by 10."""
    order = an_order(hold=231, fee_rest=500_000)
    assert reduction(order, BTC, 5).released == 231 - (105 + 10)
    assert reduction(an_order(), BTC, 5).released == 231 - (105 + 11)


def test_closing_releases_all_that_is_held():
    """Whatever the order still holds."""
    done = Done(3, 256, 1, "buy", "canceled", 7, 10, RejectReason.SELF_TRADE)
    assert closure(an_order(), done) == Closed(
        1, 256, "BTC-USD", "canceled", 231, 10, RejectReason.SELF_TRADE, "buy"
    )  # fmt: skip


@pytest.mark.parametrize(
    ("contradiction", "says"),
    [
        (lambda: fill(an_order(), BTC, a_match(8, 1), "T"), "its limit is 7"),
        (lambda: fill(an_order(side="sell", hold=30), BTC, a_match(6, 1, "buy"), "T"), "its limit is 7"),
        (lambda: fill(an_order(order_type="market", price=9), BTC, a_match(10, 1), "T"), "its limit is 9"),
        (lambda: fill(an_order(), BTC, a_match(7, 11), "T"), "it has 10 left"),
        (lambda: fill(an_order(), BTC, a_match(7, 1, "buy"), "T"), "but a buy"),
        (lambda: fill(an_order(hold=5), BTC, a_match(7, 1), "T"), "it holds 5"),
        (lambda: fill(an_order(hold=5, order_type="market"), BTC, a_match(7, 1), "T"), "it holds 5"),
        (lambda: reduction(an_order(), BTC, 11), "it has 10 left"),
        (lambda: reduction(an_order(), BTC, -1), "reduced to -1"),
        (lambda: closure(an_order(), Done(3, 256, 1, "buy", "filled", 7, 0)), "the ledger has 10"),
    ],
)
def test_a_book_that_contradicts_the_ledger_stops_it(contradiction, says):
    """A price beyond the limit, too many lots, the wrong side, more money than was held: a person has to look."""
    with pytest.raises(CorruptState, match=says) as found:
        contradiction()
    assert "order 256 of account 1" in str(found.value)


# --- what events move ------------------------------------------------------------------------------

BUY = Filled(1, 256, "BTC-USD", 4, 9, "buy", "T", 5, 4, cost=60, base_amount=12, fee=6, released=26)
SELL = Filled(2, 512, "BTC-USD", 4, 9, "sell", "M", 5, 4, cost=60, base_amount=12, fee=1)


@pytest.mark.parametrize(
    ("event", "moves"),
    [
        (Transferred("r", 1, "USD", -5), [(1, "USD", -5, 0, "transfer")]),
        (Accepted("r", 1, 256, "BTC-USD", "buy", "limit", 231), [(1, "USD", -231, 231, "hold")]),
        (Accepted("r", 1, 256, "BTC-USD", "sell", "limit", 30), [(1, "BTC", -30, 30, "hold")]),
        (
            BUY,
            [
                (1, "USD", 26, -86, "match"),
                (1, "BTC", 12, 0, "match"),
                (1, "USD", 0, -6, "fee"),
                (0, "USD", 6, 0, "fee"),
            ],
        ),
        (
            SELL,
            [
                (2, "BTC", 0, -12, "match"),
                (2, "USD", 60, 0, "match"),
                (2, "USD", -1, 0, "fee"),
                (0, "USD", 1, 0, "fee"),
            ],
        ),
        (HoldReduced(1, 256, "BTC-USD", 4, 18, "sell"), [(1, "BTC", 18, -18, "hold")]),
        (HoldReduced(1, 256, "BTC-USD", 4, 0, "buy"), []),
        (Closed(1, 256, "BTC-USD", "canceled", 231, side="buy"), [(1, "USD", 231, -231, "hold")]),
        (Closed(1, 256, "BTC-USD", "filled", side="buy"), []),
        (Duplicate("r", 1, 256), []),
        (Rejected("r", 1, RejectReason.HALTED), []),
        (CancelRequested("r", 1, 256, "BTC-USD"), []),
        (LastPrice("BTC-USD", 5), []),
    ],
)
def test_movements(event, moves):
    """What each event moves, from whom to whom, and why."""
    assert movements(event) == [Movement(*move) for move in moves]


def test_without_a_fee_nobody_pays_one():
    """No movement of nothing."""
    free = Filled(2, 512, "BTC-USD", 4, 9, "sell", "M", 5, 4, cost=60, base_amount=12)
    assert [move.kind for move in movements(free)] == ["match", "match"]


def test_a_trade_creates_nothing():
    """Both sides and their fees add up to zero in each currency."""
    for currency in ("BTC", "USD"):
        moves = [move for event in (BUY, SELL) for move in movements(event) if move.currency == currency]
        assert sum(move.available + move.held for move in moves) == 0


@pytest.mark.parametrize(("event", "taken"), [(BUY, 92), (SELL, 12), (HoldReduced(1, 2, "A-B", 3, 4), 4)])
def test_what_an_event_takes_from_its_orders_hold(event, taken):
    """For those who follow an order's hold from events alone: it is what leaves ``held``."""
    assert taken_from_hold(event) == taken
    account = event.account
    assert -sum(move.held for move in movements(event) if move.account == account) == taken


def test_a_buy_holds_quote_and_a_sell_holds_base():
    """The currency of a hold is in the instrument's symbol."""
    assert (hold_currency("buy", "BTC-USD"), hold_currency("sell", "BTC-USD")) == ("USD", "BTC")
