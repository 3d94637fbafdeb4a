"""Stops, orders with an end, icebergs and minimum quantities: which are refused, and what the others hold."""

import pytest

from shared.errors import RejectReason
from shared.messages import (
    Accepted,
    CancelRequest,
    Closed,
    Conditions,
    Filled,
    OrderListRequest,
    Place,
    Rejected,
    Tick,
    decode_command,
)
from tests.ledger.test_risk import a_limit, a_market, terms, world
from tests.ledger.world import World, coarse
from workers.ledger.ledger import Ledger

LOSS = {"stop": "loss", "stop_price": 8}
ENTRY = {"stop": "entry", "stop_price": 12}


def conditional(order=a_limit, *, ask, **changes):
    return order(conditions=Conditions(**ask), **changes)


REFUSALS = [
    (a_limit, {"stop_price": 8}, {}, "stop_price goes with stop loss or entry only"),
    (a_limit, {"trail": 8}, {}, "trail goes with stop loss or entry only"),
    (a_limit, {"stop": "loss"}, {}, "stop_price too small"),
    (a_limit, {"stop": "loss", "stop_price": 100}, {}, "stop_price is too large: at most 99"),
    (a_limit, {"stop": "loss", "stop_price": -1}, {}, "stop_price must not be negative"),
    (a_limit, {"stop": "loss", "stop_price": 10**30}, {}, "stop_price is too large"),
    (a_limit, LOSS, {"post_only": True}, "post_only does not go with a stop"),
    (a_market, LOSS | {"trail": 1}, {"quantity": 5, "side": "sell"}, "stop_price does not go with a trail"),
    (a_market, {"stop": "loss", "trail": 1, "trail_bps": 1}, {"quantity": 5, "side": "sell"}, "not both"),
    (a_market, {"stop": "loss", "trail": 100}, {"quantity": 5, "side": "sell"}, "trail_price is too large: at most 99"),
    (a_market, {"stop": "loss", "trail_bps": 10_001}, {"quantity": 5, "side": "sell"}, "trail_bps is too large"),
    (a_limit, {"stop": "loss", "trail": 1}, {"side": "sell"}, "a trailing stop is a market order"),
    (a_market, {"stop": "entry", "trail": 1}, {"quantity": 5, "side": "sell"}, "a trailing sell has stop loss"),
    (a_market, {"stop": "loss", "trail": 1}, {"quantity": 5}, "a trailing buy has stop entry"),
    (a_limit, {"expires": 10**12}, {}, "cancel_after goes with time_in_force GTT only"),
    (a_limit, {"expires": 1}, {"time_in_force": "GTT"}, "cancel_after must be in the future"),
    (a_limit, {"expires": -1}, {"time_in_force": "GTT"}, "cancel_after must not be negative"),
    (a_limit, {}, {"time_in_force": "GTT"}, "GTT needs cancel_after"),
    (
        a_market,
        {"expires": 10**12},
        {"time_in_force": "GTT", "quantity": 5},
        "cancel_after does not go with a market order",
    ),
    (a_market, {"display_quantity": 1}, {"quantity": 5}, "display_size goes with limit orders only"),
    (a_limit, {"display_quantity": 1}, {"time_in_force": "IOC"}, "display_size does not go with time_in_force IOC"),
    (a_limit, {"display_quantity": 6}, {}, "display_size is too large"),
    (a_limit, {"display_quantity": 1}, {"quantity": 1001, "price": 1}, "display_size is too small: at least a 1000th"),
    (a_limit, {"min_quantity": 6}, {}, "min_size is too large"),
    (a_limit, {"min_quantity": 1}, {"post_only": True}, "min_size does not go with post_only"),
    (a_market, {"min_quantity": 1}, {"funds": 50}, "min_size goes with a size only"),
]


@pytest.mark.parametrize(("order", "ask", "changes", "says"), REFUSALS, ids=[row[3] for row in REFUSALS])
def test_conditions_that_do_not_go_together_are_refused_by_name(order, ask, changes, says):
    """With the words for people that the book, which refuses the same, does not have."""
    made = world(max_price=99)
    event = made.request(conditional(order, ask=ask, **changes))
    assert event.reason == RejectReason.INVALID_ORDER
    assert says in event.message
    assert not made.commands["BTC-USD"]


@pytest.mark.parametrize(
    ("last_price", "order", "ask", "changes", "expected"),
    [
        # a stop that becomes a limit: its limit and 10 % fee, or its lots of 2
        (10, a_limit, ENTRY, {"price": 13}, (143, 13, 5, 0)),
        (10, a_limit, LOSS, {"side": "sell"}, (10, 10, 5, 0)),
        # at market, by size: 25 % beyond the stop price, wherever the last trade was
        (10, a_market, ENTRY, {"quantity": 5}, (165, 15, 5, 0)),
        (0, a_market, ENTRY, {"quantity": 5}, (165, 15, 5, 0)),
        (10, a_market, LOSS, {"quantity": 5, "side": "sell"}, (10, 6, 5, 0)),
        # by funds
        (10, a_market, ENTRY, {"funds": 500}, (500, 15, 0, 454)),
        (10, a_market, LOSS, {"funds": 30, "side": "sell"}, (6, 6, 3, 30)),
        # trailing: from where it would stand now; before the first trade without bound
        (10, a_market, {"stop": "entry", "trail": 2}, {"quantity": 5}, (165, 15, 5, 0)),
        (10, a_market, {"stop": "entry", "trail_bps": 1001}, {"quantity": 5}, (165, 15, 5, 0)),
        (10, a_market, {"stop": "loss", "trail": 2}, {"quantity": 5, "side": "sell"}, (10, 6, 5, 0)),
        (10, a_market, {"stop": "loss", "trail": 20}, {"quantity": 5, "side": "sell"}, (10, 1, 5, 0)),
        (0, a_market, {"stop": "loss", "trail": 2}, {"quantity": 5, "side": "sell"}, (10, 0, 5, 0)),
        (0, a_market, {"stop": "entry", "trail": 2}, {"funds": 500}, (500, 0, 0, 454)),
        # icebergs hold for all of it, a minimum changes nothing
        (10, a_limit, {"display_quantity": 1}, {}, (110, 10, 5, 0)),
        (10, a_limit, {"min_quantity": 2}, {}, (110, 10, 5, 0)),
    ],
)
def test_terms_of_conditional_orders(last_price, order, ask, changes, expected):
    """Hold, price bound, quantity and funds with a fee of 10 % and a collar of 25 %; the book gets the conditions."""
    made = world(last_price, collar=250_000)
    event = made.request(conditional(order, ask=ask, **changes))
    assert terms(event) == expected
    assert event.conditions == Conditions(**ask)
    place = decode_command(made.commands["BTC-USD"][0])
    assert isinstance(place, Place)
    assert (place.price, place.quantity, place.funds, place.conditions) == (*expected[1:], event.conditions)


@pytest.mark.parametrize(
    ("order", "ask", "changes", "reason"),
    [
        # a plain market buy may spend what there is; a stop has to be covered from the start
        (a_market, ENTRY, {"quantity": 31}, RejectReason.INSUFFICIENT_FUNDS),
        (a_market, {"stop": "entry", "trail": 2}, {"quantity": 5}, RejectReason.NO_REFERENCE_PRICE),
    ],
)
def test_a_stop_is_covered_when_it_is_placed(order, ask, changes, reason):
    """Or refused."""
    assert world(collar=250_000).request(conditional(order, ask=ask, **changes)).reason == reason


@pytest.mark.parametrize(
    ("side", "stop", "stop_price", "waits"),
    [
        ("sell", "loss", 9, True), ("sell", "loss", 10, False), ("sell", "loss", 11, False),
        ("sell", "entry", 11, True), ("sell", "entry", 10, False), ("sell", "entry", 9, False),
        ("buy", "entry", 11, True), ("buy", "entry", 10, False), ("buy", "entry", 9, False),
        ("buy", "loss", 9, True), ("buy", "loss", 10, False), ("buy", "loss", 11, False),
    ],
)  # fmt: skip
def test_a_stop_waits_on_its_side_of_the_last_trade(side, stop, stop_price, waits):
    """What the last trade, at 10, would trigger at once is refused, also as a leg, unless it waits behind another."""
    ask = {"stop": stop, "stop_price": stop_price}
    order = conditional(a_market, ask=ask, quantity=1, side=side)
    event = world(10).request(order)
    assert isinstance(event, Accepted if waits else Rejected), event
    if isinstance(event, Rejected):
        where = "below" if stop == "loss" else "above"
        assert (event.reason, event.message.partition(";")[0]) == (
            RejectReason.INVALID_ORDER,
            f"stop_price {stop_price} is on the wrong side: a {side} with stop {stop} waits {where} the last trade, 10",
        )
    assert isinstance(world(0).request(conditional(a_limit, ask=ask, quantity=1, side=side)), Accepted)
    for kind in ("oco", "oto"):
        first = a_limit(side=side, quantity=1, request_id="first")
        leg = conditional(a_limit, ask=ask, quantity=1, side=side)
        [*_, last] = world(10).requested(OrderListRequest("list", 1, "BTC-USD", kind, [first, leg]))
        assert isinstance(last, Accepted if waits or kind == "oto" else Rejected), last


def test_a_market_stop_is_paid_out_of_its_hold():
    """Bought below its bound: what it held too much comes back as it fills."""
    made = world(10, collar=250_000)
    stop = made.request(conditional(a_market, ask={"stop": "entry", "stop_price": 11}, quantity=5, request_id="stop"))
    assert stop.hold == 154
    made.deposit(8, BTC=100)
    made.deposit(9, USD=1000)
    for number, price in enumerate((11, 12)):
        made.request(a_limit(request_id=f"s{number}", account=8, side="sell", price=price, quantity=3))
    made.request(a_limit(request_id="b", account=9, price=11, quantity=1))
    fills = [event for event in made.drain() if isinstance(event, Filled) and event.account == 1]
    assert [(fill.price, fill.quantity) for fill in fills] == [(11, 2), (12, 3)]
    assert made.ledgers[0].balances(1)["USD"].available == 1000 - 116 - 12
    made.check()
    made.check_settled()


@pytest.mark.parametrize(
    ("mode", "order", "ask", "changes", "reason"),
    [
        ("auction", a_limit, {}, {}, None),
        ("auction", a_limit, {}, {"time_in_force": "IOC"}, RejectReason.AUCTION_MODE),
        ("auction", a_limit, {"min_quantity": 1}, {}, RejectReason.AUCTION_MODE),
        ("auction", a_market, {}, {"quantity": 1}, RejectReason.AUCTION_MODE),
        ("auction", a_market, LOSS, {"quantity": 1, "side": "sell"}, None),
        ("post-only", a_limit, LOSS, {"side": "sell"}, None),
        ("limit-only", a_market, LOSS, {"quantity": 1, "side": "sell"}, None),
        ("halted", a_limit, LOSS, {"side": "sell"}, RejectReason.HALTED),
    ],
)
def test_modes(mode, order, ask, changes, reason):
    """A stop may go to sleep wherever orders come in at all; an auction takes what can wait for it."""
    event = world(mode=mode).request(conditional(order, ask=ask, **changes))
    assert (event.reason if reason else type(event)) == (reason or Accepted)


def test_orders_that_nobody_meets_expire_by_a_tick():
    """The shard that accepted them tells each book once, also after it came back from a snapshot."""
    made = World(coarse("BTC-USD"), coarse("ETH-USD"))
    made.deposit(1, USD=1000)
    for number, (symbol, expires) in enumerate((("BTC-USD", 50), ("BTC-USD", 60), ("ETH-USD", 90), ("ETH-USD", 50))):
        order = conditional(ask={"expires": expires}, instrument=symbol, request_id=f"{number}", time_in_force="GTT")
        assert isinstance(made.request(order), Accepted)
    made.request(CancelRequest("x", 1, made.ledgers[0].open_orders(1)[3].order_id))
    made.drain()
    again = Ledger.load(made.ledgers[0].dump())
    assert made.ledgers[0].due(49) == []
    for ledger in (made.ledgers[0], again):
        assert ledger.due(70) == [("BTC-USD", Tick(70))]
        assert ledger.due(70) == []
    made.tick(0, 1000)
    assert [type(one) for one in made.drain()] == [Closed]
    made.reload(0)
    made.tick(0, 1)
    closed = made.drain()
    assert [(one.instrument, one.cause) for one in closed] == [("BTC-USD", RejectReason.EXPIRED)] * 2
    assert made.ledgers[0].open_orders(1) == []
    made.check_settled()
