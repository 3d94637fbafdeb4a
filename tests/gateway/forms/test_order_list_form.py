"""The body of POST /order-lists: what is understood, and what is refused, naming the order."""

from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.instrument import make_instrument
from workers.gateway.errors import ApiError
from workers.gateway.forms.order_list_form import check_expiries, check_market, read_order_list

BTC, ETH = make_instrument("BTC-USD", "0.01", "0.001"), make_instrument("ETH-USD", "0.01", "0.001")
NOW = 1_700_000_000_000_000_000
KNOWN = {one.symbol: one for one in (BTC, ETH)}
BUY = {"product_id": "BTC-USD", "side": "buy", "price": "100", "size": "1"}
PROFIT = {"product_id": "BTC-USD", "side": "sell", "price": "110", "size": "1"}
STOP = {"product_id": "BTC-USD", "side": "sell", "type": "market", "stop_price": "90", "size": "1"}
TAKE = STOP | {"stop": "entry", "stop_price": "110"}
TRAIL = {"product_id": "BTC-USD", "side": "sell", "type": "market", "trail_bps": 100, "size": "1"}
DIP = {"product_id": "BTC-USD", "side": "buy", "price": "90", "size": "1"}
BREAK = {"product_id": "BTC-USD", "side": "buy", "price": "115", "stop_price": "110", "size": "1"}


def read(fields, last=100):
    numbers = count(1)
    request = read_order_list(fields, KNOWN, lambda: f"r{next(numbers)}", 7, NOW)
    check_expiries(request, NOW)
    check_market(request, BTC, last * 100)
    return request


def a_list(kind, *orders, **more):
    return {"type": kind, "orders": list(orders), **more}


@pytest.mark.parametrize(
    "fields",
    [
        a_list("oco", PROFIT, STOP),
        a_list("oco", STOP, PROFIT),
        a_list("oco", TAKE, STOP),
        a_list("oco", PROFIT, TRAIL),
        a_list("oco", DIP, BREAK),
        a_list("oco", PROFIT, STOP | {"time_in_force": "IOC", "min_size": "1"}),
        a_list("oto", BUY, STOP),
        a_list("oto", BUY, BUY),
        a_list("oto", {**BUY, "type": "market", "price": None}, STOP),
        a_list("otoco", BUY, PROFIT, STOP),
        a_list("otoco", BUY, {**PROFIT, "price": "95"}, STOP),
    ],
    ids=str,
)
def test_lists_that_make_sense(fields):
    """The orders come through in their order, each with a request id of its own; the list has that of the first."""
    request = read(fields)
    assert [order.request_id for order in request.orders] == [f"r{at}" for at in range(1, len(fields["orders"]) + 1)]
    assert (request.request_id, request.kind, request.account, request.first_fill) == ("r1", fields["type"], 7, False)
    assert [order.side for order in request.orders] == [one["side"] for one in fields["orders"]]


def test_the_first_fill_may_trigger():
    """It is the whole parent's fill unless trigger says first_fill; a market without a trade yet has no sides."""
    assert read(a_list("oto", BUY, STOP, trigger="first_fill")).first_fill
    assert not read(a_list("oto", BUY, STOP, trigger="full_fill")).first_fill
    assert read(a_list("oco", PROFIT, STOP), last=0).kind == "oco"


REFUSED = [
    ({}, "type is missing: send one of oco, oto, otoco"),
    (a_list("bracket", BUY, STOP), 'type "bracket" is not one of oco, oto, otoco'),
    (a_list("oco", PROFIT, STOP, name="x"), 'unknown field "name"; an order list has type, orders, trigger'),
    ({"type": "oco"}, "orders must be an array of orders"),
    ({"type": "oco", "orders": {}}, "orders must be an array of orders"),
    (a_list("oco"), "orders has 0 of them: a list of type oco has 2"),
    (a_list("oco", PROFIT, STOP, STOP), "orders has 3 of them: a list of type oco has 2"),
    (a_list("otoco", BUY, STOP), "orders has 2 of them: a list of type otoco has 3"),
    (a_list("oco", PROFIT, 5), "order 2 of the list: it must be a JSON object"),
    (a_list("oco", PROFIT, None), "order 2 of the list: it must be a JSON object"),
    (a_list("oco", PROFIT, STOP, trigger="first_fill"), "trigger does not go with type oco"),
    (a_list("oto", BUY, STOP, trigger="never"), 'trigger "never" is not one of full_fill, first_fill'),
    (a_list("oco", PROFIT, STOP | {"size": "0"}), "order 2 of the list: size is too small"),
    (a_list("oco", PROFIT | {"stop": "x"}, STOP), 'order 1 of the list: stop "x" is not one of loss, entry'),
    (a_list("oco", PROFIT, STOP | {"product_id": "X-Y"}), "order 2 of the list: Product not found"),
    (
        a_list("oco", PROFIT, STOP | {"product_id": "ETH-USD"}),
        "order 2 of the list: product_id ETH-USD differs from the first order's, BTC-USD",
    ),
    (
        a_list("oto", BUY | {"client_oid": "a"}, STOP | {"client_oid": "a"}),
        'order 2 of the list: client_oid "a" is that of order 1',
    ),
    (
        a_list("oco", STOP, PROFIT | {"time_in_force": "GTT", "cancel_after": "2023-01-01T00:00:00Z"}),
        "order 2 of the list: cancel_after 2023-01-01T00:00:00.000000Z is not in the future",
    ),
    (a_list("oco", PROFIT, BREAK), "order 2 of the list: side buy differs from order 1's, sell"),
    (a_list("otoco", BUY, PROFIT, BREAK), "order 3 of the list: side buy differs from order 2's, sell"),
    (a_list("oco", {**PROFIT, "type": "market", "price": None}, STOP), "order 1 of the list: type market never waits"),
    (a_list("oco", PROFIT | {"time_in_force": "IOC"}, STOP), "order 1 of the list: time_in_force IOC never waits"),
    (a_list("oco", STOP, PROFIT | {"time_in_force": "FOK"}), "order 2 of the list: time_in_force FOK never waits"),
    (a_list("otoco", BUY, PROFIT | {"min_size": "1"}, STOP), "order 2 of the list: min_size has to fill as"),
    (a_list("oco", PROFIT, PROFIT), "orders 1 and 2 of the list both wait above the market"),
    (a_list("oco", STOP, TRAIL), "orders 1 and 2 of the list both wait below the market"),
    (a_list("otoco", BUY, DIP, DIP), "orders 2 and 3 of the list both wait below the market"),
    (
        a_list("otoco", BUY, PROFIT | {"price": "90"}, STOP),
        "order 2 of the list: price 90.00 must be above order 3's stop_price, 90.00",
    ),
    (
        a_list("oco", STOP, TAKE | {"stop_price": "80"}),
        "order 2 of the list: stop_price 80.00 must be above order 1's stop_price, 90.00",
    ),
    (
        a_list("oco", PROFIT | {"price": "100"}, STOP),
        "order 1 of the list: price 100.00 must be above the last trade, 100.00",
    ),
    (
        a_list("oco", PROFIT, STOP | {"stop_price": "100.00"}),
        "order 2 of the list: stop_price 100.00 must be below the last trade, 100.00",
    ),
    (a_list("oco", DIP | {"price": "105"}, BREAK), "order 1 of the list: price 105.00 must be below the last trade"),
    (a_list("oco", PROFIT | {"price": "95"}, TRAIL), "order 1 of the list: price 95.00 must be above the last trade"),
]


@pytest.mark.parametrize(("fields", "says"), REFUSED, ids=[str(number) for number in range(len(REFUSED))])
def test_what_is_no_list_is_said(fields, says):
    """Each is a 400 with a sentence that names the order and the field."""
    with pytest.raises(ApiError, match=says) as error:
        read(fields)
    assert error.value.status == 400


JSON = st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda one: st.lists(one) | st.dictionaries(
    st.sampled_from(["product_id", "side", "price", "size", "stop_price"]), one), max_leaves=5)  # fmt: skip


@given(st.dictionaries(st.sampled_from(["type", "orders", "trigger", "x"]), JSON | st.just("oco")))
def test_whatever_comes_it_is_a_list_or_a_400(fields):
    """No value of any field gives anything but a list or an ``ApiError`` 400."""
    try:
        status = read(fields) and 200
    except ApiError as error:
        status = error.status
    assert status in (200, 400)
