"""A wrong value in each field of each message, one at a time: each is answered with a reason; nothing has changed."""

import json
from functools import partial

import pytest

from tests.gateway.browser import wait_until

pytestmark = pytest.mark.slow


class Literal(str):
    """JSON as it stands: what no value of Python becomes."""


NO_TEXT = [True, 7, 1.5, [], {}, ["a"], Literal("1e400"), Literal("NaN")]
NO_FLAG = [0, 1, 1.5, "true", "", [], {}]
NO_LIST = [True, 7, "a", {}, [7], [None], [["a"]]]
NO_DECIMAL = [
    True, [], {}, ["1"], "x", " 1", "1 ", "1_0", "\u0661", "NaN", "-NaN", "Infinity", "-Infinity", "-1", "-0.01", "0",
    "0x1", "1,5", "--1", ".", "1e400", "-1e400", "1e-400", "9" * 400, "1\u0000", -1, 0, 2**64 - 1, -(2**63),
    *map(Literal, ("NaN", "1e400", "-1e400", "1e-400", "-0.0", "9" * 400, "01")),
]  # fmt: skip
TOO_PRECISE = ["100.001", "0.000000001", Literal("100.0000000001"), Literal("1e-9")]
NO_ID = [*NO_TEXT, "x" * 129, "a\u0000b", "\ud800"]
NO_WORD = [*NO_TEXT, "x", "BUY ", "\u0000"]

ORDER = {"product_id": "BTC-USD", "side": "buy", "price": "50.00", "size": "0.01"}
SELL = ORDER | {"side": "sell", "price": "150.00"}
STOP = ORDER | {"side": "sell", "price": "39.00", "stop_price": "40.00"}
_ORDER_FIELDS: dict[str, list] = {
    "product_id": [*NO_WORD, None, "", "BTC", "btc-usd", "XXX-USD"],
    "side": [*NO_WORD, None, ""],
    "price": [*NO_DECIMAL, *TOO_PRECISE, None, ""],
    "size": [*NO_DECIMAL, TOO_PRECISE[1], TOO_PRECISE[3], None, ""],
    "funds": [*NO_DECIMAL, "1"],
    "time_in_force": NO_WORD,
    "cancel_after": [*NO_WORD, "hour", "0000-00-00", "2000-01-01T00:00:00Z"],
    "post_only": NO_FLAG,
    "stop": NO_WORD,
    "stop_price": [*NO_DECIMAL, TOO_PRECISE[0]],
    "trail_price": [*NO_DECIMAL, TOO_PRECISE[0]],
    "trail_bps": [*NO_DECIMAL, 10_001, 1.5],
    "display_size": [*NO_DECIMAL, TOO_PRECISE[1], "0.02"],
    "min_size": [*NO_DECIMAL, TOO_PRECISE[1], "0.02"],
    "stp": NO_WORD,
    "client_oid": NO_ID,
    "unheard_of": [1, "", [], {}, False],
}
_ONE_LIST = {"list_type": "oco", "orders": [SELL, STOP]}
FIELDS: dict[str, tuple[dict, dict[str, list]]] = {
    "order": (ORDER, _ORDER_FIELDS | {"order_type": NO_WORD, "id": [*NO_TEXT, "", "x" * 129]}),
    "amend": (
        {"size": "0.02"},
        {
            "price": [*NO_DECIMAL, *TOO_PRECISE],
            "size": [*NO_DECIMAL, TOO_PRECISE[1], None, ""],
            "stop_price": [*NO_DECIMAL, "40.00"],
            "product_id": [*NO_TEXT, "ETH-USD"],
            "order_id": [*NO_TEXT, "x", None, ""],
            "client_oid": NO_ID,
            "unheard_of": [1],
        },
    ),
    "cancel": (
        {},
        {"order_id": [*NO_TEXT, "x", None, ""], "client_oid": NO_ID, "product_id": NO_TEXT, "side": ["buy"]},
    ),
    "cancel_all": ({}, {"product_id": [*NO_WORD, ""], "side": [*NO_WORD, ""], "unheard_of": [1], "order_id": ["x"]}),
    "order_list": (
        _ONE_LIST,
        {
            "list_type": [*NO_WORD, None, "otoco"],
            "orders": [*NO_LIST, None, [], [SELL], [SELL, SELL], [SELL, STOP, STOP], [SELL, ORDER], [SELL, _ONE_LIST]],
            "trigger": [*NO_WORD, "first_fill"],
            "unheard_of": [1],
        },
    ),
    "subscribe": (
        {"product_ids": ["BTC-USD"], "channels": ["heartbeat"]},
        {
            "product_ids": [*NO_LIST, ["BTC"], ["\u0000"]],
            "channels": [*NO_LIST, ["x"], [{"name": 7}], [{"name": "full", "product_ids": 7}], [{}]],
            "key": NO_TEXT,
            "timestamp": [*NO_DECIMAL, "", "9" * 12],
        },
    ),
    "unsubscribe": ({}, {"channels": NO_LIST, "product_ids": NO_LIST}),
    "authenticate": (
        {},
        {
            "key": [*NO_TEXT, "", "\ud800", "x" * 10_000],
            "signature": [*NO_TEXT, "", "=", "\ud800", "x" * 10_000],
            "passphrase": [*NO_TEXT, "", "\ud800", "x" * 10_000],
            "timestamp": [*NO_DECIMAL, "", "9" * 12, "\u0661" * 10],
        },
    ),
    "cancel_on_disconnect": ({}, {"enabled": [*NO_FLAG, None]}),
}


def written(fields):
    """JSON with the literals in it as they stand, and surrogates as escapes."""
    text = json.dumps(fields)
    for value in fields.values():
        if isinstance(value, Literal):
            text = text.replace(json.dumps(value), value)
    return text


def situation(cluster, user):
    """All that a message could have changed."""
    book = cluster.http.get("/products/BTC-USD/book?level=3").json()
    del book["time"]
    return book, user.call("GET", "/accounts").json(), user.call("GET", "/orders?status=all&limit=1000").json()


def rests(user):
    return user.call("GET", "/orders/client:rests").json()["status"] == "open"


@pytest.fixture
def alice(cluster):
    """A user with money, an order that rests, and one of somebody else beside it."""
    user, other = cluster.user(USD="1000", BTC="1"), cluster.user(USD="1000")
    for one in (user, other):
        one.order(**ORDER, client_oid="rests")
        wait_until(partial(rests, one))
    yield user
    for one in (user, other):
        one.call("DELETE", "/orders")


@pytest.mark.parametrize("kind", FIELDS)
def test_each_field_of_each_message_may_be_wrong(cluster, ws, alice, kind):
    """Answered under the message's id with a short reason; the socket stays, the book, orders and money, too."""
    good, fields = FIELDS[kind]
    if kind in ("amend", "cancel"):
        good = good | {"order_id": alice.call("GET", "/orders/client:rests").json()["id"]}
    if kind in ("authenticate", "subscribe"):
        good = good | alice.login()
    client = ws()
    client.sign_in(alice)
    before = situation(cluster, alice)
    for name, values in fields.items():
        for number, value in enumerate(values):
            message = {"type": kind, "id": f"{name}-{number}"} | good | {name: value}
            client.socket.send(written(message))
            answer = client.hear()
            assert answer["type"] == "error", (name, value, answer)
            assert 0 < len(answer["reason"]) < 600, (name, value, answer)
            assert "Internal" not in answer["reason"], (name, value, answer)
    assert situation(cluster, alice) == before


@pytest.mark.parametrize(
    ("kind", "method", "path"),
    [
        ("order", "POST", "/orders"),
        ("amend", "PATCH", "/orders/client:rests"),
        ("order_list", "POST", "/order-lists"),
        ("cancel_all", "DELETE", "/orders"),
    ],
)
def test_each_field_of_each_body_may_be_wrong(cluster, alice, kind, method, path):
    """The same over REST: 400 with a message."""
    good, fields = FIELDS[kind]
    own = {"order_type": "type", "list_type": "type"}
    before = situation(cluster, alice)
    for name, values in fields.items():
        if (kind, name) in (
            ("amend", "order_id"),
            ("amend", "client_oid"),
            ("order", "id"),
            ("cancel_all", "order_id"),
        ):
            continue
        for value in values:
            body = {own.get(one, one): some for one, some in (good | {name: value}).items()}
            answer = alice.call(method, path, written(body).encode())
            assert answer.status_code == 400, (name, value, answer.text)
            assert 0 < len(answer.json()["message"]) < 600, (name, value, answer.text)
    assert situation(cluster, alice) == before


@pytest.mark.parametrize("kind", ["order", "amend", "cancel", "cancel_all", "order_list"])
def test_a_field_that_is_there_twice_is_refused(cluster, ws, alice, kind):
    """Even if both say the same: nobody has to guess which one counts."""
    good = {"type": kind, "id": "1", "client_oid": "rests"} | FIELDS[kind][0]
    client = ws()
    client.sign_in(alice)
    before = situation(cluster, alice)
    for name, value in good.items():
        client.socket.send(f'{json.dumps(good)[:-1]}, "{name}": {json.dumps(value)}}}')
        assert f'the field "{name}" twice' in client.until("error")["reason"]
    assert situation(cluster, alice) == before
