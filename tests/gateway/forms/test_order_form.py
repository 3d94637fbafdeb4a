"""The body of POST /orders: what is understood, and what is refused in which words."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.instrument import make_instrument
from workers.gateway.errors import ApiError
from workers.gateway.forms.json_input import decode_object
from workers.gateway.forms.order_bodies import OrderBody
from workers.gateway.forms.order_form import read_order

BTC = make_instrument("BTC-USD", "0.01", "0.00000001", min_quantity=1000)
NOW = 1_700_000_000_000_000_000
KNOWN = {"BTC-USD": BTC}
LIMIT = {"product_id": "BTC-USD", "side": "buy", "price": "100.25", "size": "0.5"}


def read(body):
    fields = decode_object(body) if isinstance(body, str | bytes) else body
    return read_order(fields, KNOWN, "r1", 7, NOW)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ('{"product_id":"BTC-USD","side":"buy","price":"100.25","size":"0.5"}', (10025, 50_000_000, 0)),
        ('{"product_id":"BTC-USD","side":"buy","price":100.25,"size":0.50}', (10025, 50_000_000, 0)),
        ('{"product_id":"BTC-USD","side":"buy","price":100,"size":1e-1}', (10000, 10_000_000, 0)),
        ('{"product_id":"BTC-USD","side":"sell","type":"market","size":"1.0"}', (0, 100_000_000, 0)),
        ('{"product_id":"BTC-USD","side":"buy","type":"market","funds":25.5}', (0, 0, 255_000_000_000)),
        ('{"product_id":"BTC-USD","side":"buy","price":0.07,"size":0.00000014e3}', (7, 14_000, 0)),
    ],
)
def test_amounts_are_exact_as_strings_and_as_numbers(body, expected):
    """A JSON number is read as the decimal it is written as, never as a float."""
    order = read(body)
    assert (order.price, order.quantity, order.funds) == expected


@pytest.mark.parametrize(
    ("fields", "time_in_force", "post_only"),
    [
        ({}, "GTC", False),
        ({"time_in_force": "IOC"}, "IOC", False),
        ({"timeInForce": "PO"}, "GTC", True),
        ({"time_in_force": "GTX"}, "GTC", True),
        ({"post_only": True}, "GTC", True),
        ({"time_in_force": None, "post_only": None, "client_oid": None}, "GTC", False),
    ],
)
def test_time_in_force_has_several_spellings(fields, time_in_force, post_only):
    """What ccxt and others call it ends as time in force and post_only."""
    order = read(LIMIT | fields)
    assert (order.time_in_force, order.post_only) == (time_in_force, post_only)


BAD = [
    ("", "not valid JSON"),
    ("{", "not valid JSON"),
    ("[]", "must be a JSON object, not an array"),
    ('"x"', "must be a JSON object, not a string"),
    ("null", "must be a JSON object, not null"),
    (b"\xff", "not valid JSON"),
    (b'{"a": "\xff"}', "not valid JSON"),
    ('{"a": NaN}', "not valid JSON"),
    ("[" * 30_000, "not usable JSON"),
    ('{"price": ' + "1" * 10_000 + "}", "JSON"),
    ({}, "product_id is missing"),
    (LIMIT | {"product_id": 5}, "product_id must be a string, not a number"),
    (LIMIT | {"product_id": "X-Y"}, "^Product not found$"),
    (LIMIT | {"side": None}, "side is missing: send one of buy, sell"),
    (LIMIT | {"side": "hold"}, 'side "hold" is not one of buy, sell'),
    (LIMIT | {"type": "stop"}, 'type "stop" is not one of limit, market'),
    (LIMIT | {"type": ["limit"]}, "type must be a string, not an array"),
    (LIMIT | {"price": None}, "price is missing"),
    (LIMIT | {"price": ""}, "price is missing"),
    (LIMIT | {"price": "abc"}, 'price "abc" is not a decimal number'),
    (LIMIT | {"price": "NaN"}, 'price "NaN" is not a decimal number'),
    (LIMIT | {"price": "Infinity"}, "is not a decimal number"),
    (LIMIT | {"price": "1_000"}, "is not a decimal number"),
    (LIMIT | {"price": " 1"}, "is not a decimal number"),
    (LIMIT | {"price": "\u0663"}, "is not a decimal number"),
    (LIMIT | {"price": "1" * 50}, "is not a decimal number"),
    (LIMIT | {"price": True}, "price must be a decimal number"),
    (LIMIT | {"price": {"a": 1}}, "price must be a decimal number, .* not an object"),
    (LIMIT | {"price": "0"}, "price too small"),
    (LIMIT | {"price": "-1"}, "price too small"),
    (LIMIT | {"price": "0.001"}, "price too small"),
    (LIMIT | {"price": "100.001"}, "price too precise"),
    (LIMIT | {"price": "1e90"}, "price too large"),
    (LIMIT | {"price": "99999999999999999999"}, "price too large"),
    (LIMIT | {"size": None}, "size is missing"),
    (LIMIT | {"size": "0"}, "size is too small"),
    (LIMIT | {"size": "-0.5"}, "size is too small"),
    (LIMIT | {"size": "0.000000001"}, "size is too small"),
    (LIMIT | {"size": "0.00000999"}, "size is too small: .* below the minimum 0.00001000"),
    (LIMIT | {"size": "0.500000001"}, "size is too precise"),
    (LIMIT | {"size": "1e30"}, "size is too large"),
    (LIMIT | {"funds": "5"}, "funds does not belong here"),
    (LIMIT | {"type": "market"}, "price does not belong here"),
    ({"product_id": "BTC-USD", "side": "buy", "type": "market"}, "needs size or funds"),
    ({"product_id": "BTC-USD", "side": "buy", "type": "market", "size": "1", "funds": "1"}, "and not both"),
    ({"product_id": "BTC-USD", "side": "buy", "type": "market", "funds": "0.00000000001"}, "funds is too small"),
    ({"product_id": "BTC-USD", "side": "buy", "type": "market", "funds": "1", "post_only": True}, "post_only"),
    (LIMIT | {"time_in_force": "DAY"}, 'time_in_force "DAY" is not one of'),
    (LIMIT | {"time_in_force": "IOC", "post_only": True}, "post_only true does not go with time_in_force IOC"),
    (LIMIT | {"timeInForce": "FOK", "post_only": True}, "post_only true does not go with timeInForce FOK"),
    (LIMIT | {"post_only": "yes"}, "post_only must be true or false, not a string"),
    (LIMIT | {"stp": "xx"}, 'stp "xx" is not one of dc, co, cn, cb'),
    (LIMIT | {"client_oid": "x" * 129}, "client_oid has 129 characters; at most 128"),
    (LIMIT | {"client_oid": "a\x00b"}, "U\\+0000"),
    (LIMIT | {"client_oid": 17}, "client_oid must be a string, not a number"),
    (LIMIT | {"post_onyl": True}, 'unknown field "post_onyl"; an order has .*, display_size,'),
    (LIMIT | {"stop_limit_price": "90"}, 'unknown field "stop_limit_price"'),
]


@pytest.mark.parametrize(("body", "says"), BAD, ids=[str(number) for number in range(len(BAD))])
def test_what_is_wrong_is_said_with_400(body, says):
    """Each malformed order is a 400 that names the field, its value and what is allowed."""
    with pytest.raises(ApiError, match=says) as error:
        read(body)
    assert error.value.status == 400


JSON = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), st.lists, max_leaves=3)
FIELDS = st.sampled_from([*OrderBody.__struct_fields__, "x"])


def status_of(body):
    try:
        read(body)
    except ApiError as error:
        return error.status
    return 200


@settings(suppress_health_check=[HealthCheck.too_slow])  # the first run makes tables of characters
@given(st.dictionaries(FIELDS, JSON))
def test_whatever_stands_in_a_field_it_is_an_order_or_a_400(fields):
    """No value of any field gives anything but an order or an ``ApiError`` 4xx."""
    assert status_of(LIMIT | fields) in (200, 400)


@given(st.binary(max_size=60))
def test_whatever_bytes_come_they_are_an_order_or_a_400(body):
    """No bytes give anything but an order or an ``ApiError`` 4xx."""
    assert status_of(body) in (200, 400)
