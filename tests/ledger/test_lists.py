"""Order lists: all orders are accepted or none, and two that cancel each other hold together what the dearer needs."""

from typing import Any

import msgspec
import pytest

from shared.errors import RejectReason
from shared.messages import (
    Accepted,
    AmendRequest,
    CancelRequest,
    Conditions,
    Duplicate,
    OrderListRequest,
    OrderRequest,
    PlaceList,
    Rejected,
    decode_command,
)
from tests.ledger.test_risk import a_limit, a_market, world
from workers.ledger.risk import Limits

R = RejectReason
STOP = Conditions(stop="entry", stop_price=12)
LOSS = Conditions(stop="loss", stop_price=8)


def legs(*orders: OrderRequest) -> list[OrderRequest]:
    """With request ids of their own."""
    for number, order in enumerate(orders):
        order.request_id = f"leg {number}"
    return list(orders)


def a_list(*orders, kind: Any = "oco", **changes):
    return OrderListRequest(**({
        "request_id": "list", "account": 1, "instrument": "BTC-USD", "kind": kind, "orders": legs(*orders)
    } | changes))  # fmt: skip


def buy_either(quantity=5, high=13):
    """Buy at 10 (100 USD), or behind a stop at 12 for ``high`` at most (130 USD)."""
    return a_list(a_limit(quantity=quantity), a_limit(price=high, quantity=quantity, conditions=STOP))


def open_world(request, **changes):
    """A world without fees with an accepted list in it; its orders are ``made.legs``."""
    made = world(taker_fee=0, **changes)
    events = made.requested(request)
    assert {type(one) for one in events} == {Accepted}, events
    made.legs = [made.ledgers[0].order(one.order_id) for one in events]
    return made


def sell(made, quantity, price, name="s"):
    made.deposit(8, BTC=1000)
    return made.request(a_limit(request_id=name, account=8, side="sell", price=price, quantity=quantity))


def held(made, currency="USD"):
    return made.ledgers[0].balances(1)[currency].held


def test_a_list_is_accepted_and_sent_as_one():
    """An order id for each, one entry in the log, one command."""
    made = world(taker_fee=0)
    length = len(made.logs[0])
    first, second = made.requested(buy_either())
    assert (first.order_id, second.order_id) == (256, 512)
    assert (first.rival, second.rival) == (512, 256)
    assert (first.request_id, second.request_id) == ("leg 0", "leg 1")
    assert len(made.logs[0]) == length + 1
    [payload] = made.commands["BTC-USD"]
    command = decode_command(payload)
    assert isinstance(command, PlaceList)
    assert (command.kind, [one.order_id for one in command.orders]) == ("oco", [256, 512])
    assert command.orders[1].conditions == STOP
    made.drain()
    made.check()
    made.check_settled()


def test_rivals_hold_together_what_the_dearer_needs():
    """100 and 130 USD: 130, in either order; sells of 10 and 6 BTC: 10."""
    made = open_world(buy_either())
    assert ([one.hold for one in made.legs], held(made)) == ([100, 30], 130)
    made = open_world(a_list(a_limit(price=13, conditions=STOP), a_limit()))
    assert ([one.hold for one in made.legs], held(made)) == ([130, 0], 130)
    made = open_world(a_list(a_limit(side="sell", price=12), a_limit(side="sell", quantity=3, conditions=LOSS)))
    assert held(made, "BTC") == 10


def test_exactly_what_the_dearer_needs_is_enough():
    """1000 USD cover 50 lots at 10 or at 10, not at 11."""
    orders = (a_limit(quantity=50), a_limit(quantity=50, conditions=Conditions(stop="entry", stop_price=9)))
    made = open_world(a_list(*orders))
    assert made.ledgers[0].balances(1)["USD"].available == 0
    orders[1].price = 11
    made = world(taker_fee=0)
    [refused] = made.requested(a_list(*orders))
    assert (refused.reason, refused.message) == (R.INSUFFICIENT_FUNDS, "order 2 of the list: Insufficient funds")
    assert held(made) == 0


def a_bracket(**changes):
    """Buy 5 at 10, then sell them at 12, or 3 of them at 8 or worse."""
    profit, loss = a_limit(side="sell", price=12), a_limit(side="sell", quantity=3, conditions=LOSS)
    return a_list(a_limit(), profit, loss, kind="otoco", **changes)


def test_a_child_beside_its_parent_holds_from_the_start():
    """It goes live at a moment when nobody could ask the ledger, and a buy brings nothing to pay a buy with."""
    made = open_world(a_list(a_limit(), a_limit(price=9, quantity=4), kind="oto"))
    assert held(made) == 100 + 72
    made = open_world(a_bracket(first_fill=True))
    assert (held(made), held(made, "BTC")) == (100, 10)


def test_a_bracket_sells_what_it_buys():
    """Who has no BTC can have one: each fill of the parent is held for the children at once, till they are done."""
    made = open_world(a_bracket())
    assert [(one.rival, one.hold, one.due) for one in made.legs] == [(0, 100, 0), (768, 0, 10), (512, 0, 0)]
    assert (held(made), held(made, "BTC")) == (100, 0)
    sell(made, 2, 10)
    made.drain()
    assert (held(made, "BTC"), made.ledgers[0].order(512).due) == (4, 6)
    made.check()
    sell(made, 3, 10, "s2")
    made.drain()
    assert [made.ledgers[0].order(one.order_id) is None for one in made.legs] == [True, False, False]
    made.check_settled()
    made.request(CancelRequest("x", 1, 512))
    made.drain()
    assert (held(made), held(made, "BTC"), made.ledgers[0].open_orders(1)) == (0, 0, [])
    made.check_settled()


def test_what_a_parent_has_brought_is_free_when_it_is_canceled():
    """Two of five lots are there; the children end with it."""
    made = open_world(a_bracket())
    sell(made, 2, 10)
    made.drain()
    free = made.ledgers[0].balances(1)["BTC"].available
    made.request(CancelRequest("x", 1, 256))
    made.drain()
    assert (held(made, "BTC"), made.ledgers[0].balances(1)["BTC"].available) == (0, free + 4)
    made.check_settled()


@pytest.mark.parametrize("leg", [512, 768])
def test_a_waiting_order_may_be_canceled_before_it_is_paid_for(leg):
    """Its rival goes with it; the parent lives on, and what it brings is free."""
    made = open_world(a_bracket())
    sell(made, 2, 10)
    made.request(CancelRequest("x", 1, leg))
    made.drain()
    assert [one.order_id for one in made.ledgers[0].open_orders(1)] == [256]
    sell(made, 3, 10, "s2")
    made.drain()
    assert held(made, "BTC") == 0
    made.check()
    made.check_settled()


@pytest.mark.parametrize(("price", "first"), [(9, 0), (10, 0), (13, 30)])
def test_a_sale_pays_for_buying_back(price, first):
    """As far as it surely brings enough; the rest is held from the start."""
    made = open_world(a_list(a_limit(side="sell"), a_limit(price=price), kind="oto"))
    assert (held(made), made.legs[1].due) == (first, 10 * price - first)
    made.deposit(8, USD=1000)
    made.request(a_limit(request_id="b", account=8, price=11, quantity=5))
    made.drain()
    assert (held(made), made.legs[1].due) == (10 * price, 0)
    made.check()
    made.check_settled()


def test_a_fee_is_taken_off_what_a_sale_pays_for():
    """5 lots at 10 bring 100 USD less 20 for the fee at a fifth, and buying back at 9 costs 90 and 18."""
    made = world(taker_fee=200_000)
    made.requested(a_list(a_limit(side="sell"), a_limit(price=9), kind="oto"))
    assert (held(made), made.ledgers[0].order(512).due) == (28, 80)


def test_a_parent_may_not_be_amended_to_bring_too_little():
    """What waits behind it counts on it; and what waits for it cannot be amended itself."""
    made = open_world(a_bracket())
    made.drain()
    changes: tuple[dict[str, Any], ...] = ({"quantity": 4}, {"price": 11, "quantity": 4})
    for change in changes:
        assert "count on more than it would bring" in made.request(AmendRequest("a", 1, 256, **change)).message
    for leg in (512, 768):
        assert "waits behind another" in made.request(AmendRequest("a", 1, leg, price=13)).message
    assert made.request(AmendRequest("a", 1, 256, price=11, quantity=6)).hold == 32
    made.drain()
    sell(made, 6, 11)
    made.drain()
    assert held(made, "BTC") == 10
    made.check_settled()


def test_a_parent_that_met_its_own_order_cancels_its_children():
    """Self-trade prevention took a lot of it: it brought less than they count on, though nothing is left of it."""
    made = open_world(a_bracket())
    made.drain()
    made.request(a_limit(request_id="own", side="sell", quantity=1))
    sell(made, 4, 10)
    made.drain()
    assert (held(made), held(made, "BTC"), made.ledgers[0].open_orders(1)) == (0, 0, [])
    made.check()
    made.check_settled()


@pytest.mark.parametrize("at", [10, 12])
def test_the_filled_one_is_paid_out_of_what_both_hold(at):
    """Whichever it is, the other ends in the same moment and what it held is free."""
    made = open_world(buy_either())
    made.drain()
    if at == 12:
        made.deposit(9, USD=1000)
        sell(made, 5, 12)
        made.request(a_limit(request_id="b", account=9, price=12, quantity=1))
    else:
        sell(made, 4, 10)
    made.drain()
    [left] = made.ledgers[0].open_orders(1)
    assert (left.filled, left.rival) == (4, 0)
    assert left.hold == held(made) == (26 if at == 12 else 20)
    made.check()
    made.check_settled()


def test_an_amended_rival_holds_more_only_beyond_what_both_hold():
    """Raised to 12 (120 of 130 USD), then to 14 (140); and down again."""
    made = open_world(buy_either())
    made.drain()
    extras = []
    for price in (12, 14, 9):
        extras.append(made.request(AmendRequest("a", 1, 256, price=price)).hold)
        made.drain()
        made.check()
    assert (extras, held(made)) == ([0, 10, 0], 130)
    made.request(AmendRequest("a", 1, 512, quantity=2))
    made.drain()
    assert held(made) == 90
    made.check_settled()


def test_a_repeated_list_is_answered_with_the_first():
    """One answer for each order, nothing sent; an id that another order has refuses the list."""
    made = open_world(buy_either())
    made.commands["BTC-USD"].clear()
    assert made.requested(buy_either()) == [Duplicate("leg 0", 1, 256), Duplicate("leg 1", 1, 512)]
    orders = (a_limit(client_id="mine"), a_limit(conditions=STOP))
    [refused] = made.requested(a_list(*orders))
    assert (refused.request_id, refused.message) == ("list", "an order of the list was placed before")
    assert not made.commands["BTC-USD"]


REFUSALS = [
    (a_list(a_limit()), R.INVALID_ORDER, "a list of kind oco has 2 orders, not 1"),
    (a_list(a_limit(), a_limit(), kind="otoco"), R.INVALID_ORDER, "a list of kind otoco has 3 orders, not 2"),
    (a_list(a_limit(), a_limit(side="sell")), R.INVALID_ORDER, "must be on the same side"),
    (a_list(a_limit(), a_market(quantity=5)), R.INVALID_ORDER, "order 2 of the list: of two that cancel"),
    (a_list(a_limit(), a_limit(time_in_force="IOC")), R.INVALID_ORDER, "order 2 of the list: of two that cancel"),
    (a_list(a_limit(time_in_force="FOK"), a_limit()), R.INVALID_ORDER, "order 1 of the list: of two that cancel"),
    (
        a_list(a_limit(conditions=Conditions(min_quantity=2)), a_limit()),
        R.INVALID_ORDER,
        "order 1 of the list: of two that cancel",
    ),
    (a_list(a_limit(), a_limit(account=2)), R.INVALID_ORDER, "order 2 of the list: it must be of the list's account"),
    (a_list(a_limit(), a_limit(instrument="X-Y")), R.INVALID_ORDER, "order 2 of the list: it must be of the list's"),
    (a_list(a_limit(client_id="a"), a_limit(client_id="a")), R.INVALID_ORDER, "ids of their own"),
    (a_list(a_limit(), a_limit(), request_id=""), R.INVALID_ORDER, "request id is missing"),
    (a_list(a_limit(), a_limit(), account=0), R.INVALID_ORDER, "account 0 is not a user's account"),
    (a_list(a_limit(instrument="X-Y"), a_limit(instrument="X-Y"), instrument="X-Y"), R.UNKNOWN_INSTRUMENT, "Product"),
    (a_list(a_limit(), a_limit(quantity=0)), R.INVALID_ORDER, "order 2 of the list: size is too small"),
    (
        a_list(a_limit(), a_limit(conditions=Conditions(min_quantity=9)), kind="oto"),
        R.INVALID_ORDER,
        "order 2 of the list: min_",
    ),
    (a_list(a_limit(), a_limit(price=1000)), R.INSUFFICIENT_FUNDS, "order 2 of the list: Insufficient funds"),
    (a_list(a_limit(quantity=30), a_limit(quantity=30), kind="oto"), R.INSUFFICIENT_FUNDS, "order 2 of the list"),
    (a_list(a_limit(), a_limit(), a_limit(), kind="otoco"), R.TOO_MANY_OPEN_ORDERS, "order 3 of the list: too many"),
]


@pytest.mark.parametrize(("request_", "reason", "says"), REFUSALS, ids=range(len(REFUSALS)))
def test_a_refused_list_leaves_nothing(request_, reason, says):
    """One refusal for all of it, which names the order."""
    made = world(limits=Limits(max_open_orders=2), taker_fee=0)
    before = made.ledgers[0].dump()
    [event] = made.requested(request_, shard=0)
    assert isinstance(event, Rejected)
    assert (event.reason, event.request_id, says in event.message) == (reason, request_.request_id, True)
    assert made.ledgers[0].accounts.rows() == type(made.ledgers[0]).load(before).accounts.rows()
    assert not made.commands["BTC-USD"]


def test_the_mode_matters_to_a_child_only_when_it_goes_live():
    """A market order waits behind its parent in limit-only mode."""
    made = open_world(a_list(a_limit(), a_market(side="sell", quantity=5), kind="oto"), mode="limit-only")
    made.drain()
    assert len(made.ledgers[0].open_orders(1)) == 2
    made.check_settled()


def test_a_list_that_the_book_refuses_holds_nothing_any_more():
    """The mode changed before it came."""
    made = open_world(buy_either())
    behind = made.commands["BTC-USD"].popleft()
    made.set_instrument(msgspec.structs.replace(made.ledgers[0].instruments["BTC-USD"], mode="halted"))
    made.commands["BTC-USD"].append(behind)
    made.drain()
    assert (held(made), made.ledgers[0].open_orders(1)) == (0, [])
    made.check()
    made.check_settled()
