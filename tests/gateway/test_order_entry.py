"""Orders over the WebSocket, against real workers: each is answered under its id, and reaches the ledger in turn."""

import asyncio
import contextlib
import json
import random

import pytest
from websockets.exceptions import ConnectionClosed

from shared.messages import CancelRequest
from tests.gateway.browser import wait_until
from workers.gateway.feed.session import Session
from workers.gateway.inbox import Inbox

slow = pytest.mark.slow
ORDER = {"product_id": "BTC-USD", "side": "buy", "price": "100.00", "size": "0.1"}


@pytest.fixture
def alice(cluster):
    """A user with money, and no order left afterwards."""
    user = cluster.user(USD="10000", BTC="10")
    wait_until(lambda: {row["balance"][:5] for row in user.call("GET", "/accounts").json()} >= {"10000", "10.00"})
    yield user
    user.call("DELETE", "/orders")


@pytest.fixture
def client(ws, alice):
    """A socket that has signed in."""
    found = ws()
    found.sign_in(alice)
    return found


def open_orders(user):
    return [order["id"] for order in user.call("GET", "/orders").json()]


# --- what is done ----------------------------------------------------------------------------------


@slow
def test_signing_in_says_who_one_is(ws, alice):
    """Without subscribing to anything: authenticated, with the user's id and what the key may do."""
    client = ws()
    client.send(type="authenticate", id="hello", **alice.login())
    answer = client.until("authenticated")
    mine = alice.call("GET", "/accounts").json()[0]["profile_id"]
    assert (answer["user_id"], answer["profile_id"], answer["id"]) == (mine, mine, "hello")
    assert "trade" in answer["scopes"]


@slow
def test_an_order_is_placed_amended_and_canceled(client, alice):
    """Each is answered with the order as REST shows it."""
    placed = client.ask(type="order", id="1", **ORDER, client_oid="mine")
    assert (placed["type"], placed["order"]["client_oid"]) == ("order_result", "mine")
    number = placed["order"]["id"]
    amended = client.ask(type="amend", id="2", order_id=number, size="0.05")
    assert (amended["type"], amended["order"]["size"]) == ("amend_result", "0.05000000")
    assert amended["order"] == alice.call("GET", f"/orders/{number}").json()
    again = client.ask(type="amend", id="3", client_oid="mine", price="99.00")
    assert (again["order"]["price"], again["order"]["status"]) == ("99.00", "open")
    canceled = client.ask(type="cancel", id="4", client_oid="mine")
    assert (canceled["type"], canceled["order"]["status"]) == ("cancel_result", "done")
    assert canceled["order"] == alice.call("GET", f"/orders/{number}").json()


@slow
def test_every_kind_of_order_can_be_placed(client, alice):
    """The order's own type is order_type here; all other fields are those of POST /orders."""
    sell = ORDER | {"side": "sell", "price": "150.00"}
    stop = client.ask(type="order", id="1", **sell | {"stop": "loss", "stop_price": "50.00", "price": "49.00"})
    iceberg = client.ask(type="order", id="2", order_type="limit", **sell, display_size="0.01")
    market = client.ask(type="order", id="3", order_type="market", product_id="BTC-USD", side="buy", funds="3.00")
    assert (stop["order"]["stop"], stop["order"]["stop_price"]) == ("loss", "50.00")
    assert (iceberg["order"]["size"], iceberg["order"]["display_size"]) == ("0.10000000", "0.01000000")
    assert market["order"]["type"] == "market"


@slow
def test_a_list_is_placed_as_one(client, alice):
    """The list's type is list_type here; its orders are those of POST /order-lists."""
    legs = [ORDER | {"side": "sell", "price": "150.00"}, ORDER | {"side": "sell", "price": "49.00", "stop_price": "50"}]
    answer = client.ask(type="order_list", id="1", list_type="otoco", orders=[ORDER | {"client_oid": "in"}, *legs])
    assert (answer["type"], answer["list_type"], answer["trigger"]) == ("order_list_result", "otoco", "full_fill")
    assert [order["id"] for order in answer["orders"]] == open_orders(alice)[::-1]
    assert client.ask(type="cancel", id="2", client_oid="in")["type"] == "cancel_result"
    assert open_orders(alice) == []


@slow
def test_a_mass_cancel_takes_what_it_names(client, alice):
    """All, or those of a product and side; answers the ids of what was canceled."""
    rows = [ORDER, ORDER | {"product_id": "ETH-USD"}, ORDER | {"side": "sell", "price": "150"}]
    numbers = [client.ask(type="order", id=str(at), **row)["order"]["id"] for at, row in enumerate(rows)]
    assert client.ask(type="cancel_all", id="a", product_id="ETH-USD")["order_ids"] == [numbers[1]]
    assert client.ask(type="cancel_all", id="b", side="sell")["order_ids"] == [numbers[2]]
    assert client.ask(type="cancel_all", id="c")["order_ids"] == [numbers[0]]
    assert client.ask(type="cancel_all", id="d")["order_ids"] == []


@slow
def test_a_repeated_client_oid_answers_the_first_order(client, alice):
    """Whoever is unsure sends the order again, over either way: there is one."""
    first = client.ask(type="order", id="1", **ORDER, client_oid="once")["order"]["id"]
    assert client.ask(type="order", id="2", **ORDER, client_oid="once")["order"]["id"] == first
    assert alice.order(**{**ORDER, "client_oid": "once"})["id"] == first
    assert open_orders(alice) == [first]


@slow
def test_requests_keep_their_order_without_waiting_for_answers(client, alice):
    """Hundreds under way at once: ids are given in the order of the messages, and a cancel finds what came before."""
    for number in range(300):
        client.send(type="order", id=f"o{number}", **ORDER, client_oid=f"p{number}")
        if number % 3 == 0:
            client.send(type="amend", id=f"a{number}", client_oid=f"p{number}", size="0.05")
            client.send(type="cancel", id=f"c{number}", client_oid=f"p{number}")
    answers: dict[str, dict] = {}
    while len(answers) < 500:
        message = client.hear()
        answers[message["id"]] = message
    assert {message["type"] for message in answers.values()} == {"order_result", "amend_result", "cancel_result"}
    ids = [answers[f"o{number}"]["order"]["id"] for number in range(300)]
    assert ids == sorted(ids)
    left = [number for at, number in enumerate(ids) if at % 3]
    assert {row["id"] for row in alice.call("GET", "/orders?limit=1000").json()} == set(left)
    assert len(client.ask(type="cancel_all", id="end")["order_ids"]) == 200


@slow
def test_answers_and_the_feed_share_a_socket(client, alice):
    """A subscriber to user and full hears its own order once, besides the answer."""
    client.subscribe("user", "full")
    number = client.ask(type="order", id="1", **ORDER)["order"]["id"]
    client.ask(type="cancel", id="2", order_id=number)
    while number not in [message["order_id"] for message in client.of("done")]:
        client.hear()
    kinds = [message["type"] for message in client.heard if message.get("order_id") == number]
    assert kinds == ["received", "open", "done"]


def test_a_request_is_queued_before_the_next_one_begins():
    """Even if it has to be looked for first: what was started earlier is asked earlier; answers are not waited for."""
    queued = []

    class Recorder(Inbox):
        def __init__(self):
            self._prefix, self._count = "g0-", 0

        async def ask_each(self, shard, request, ids):
            queued.append((request.request_id, request.client_id))
            await asyncio.sleep(0.05)
            return []

    async def scenario():
        session = Session(Recorder())

        async def work(name, seconds, *, asks=True):
            await asyncio.sleep(seconds)
            if asks:
                await session.ask_each(0, CancelRequest(session.request_id(), 1, client_id=name), ())

        tasks = [await session.start(work(*one)) for one in (("a", 0.02), ("b", 0), ("c", 0.01), ("d", 0))]
        tasks.append(await session.start(work("e", 0, asks=False)))
        assert not tasks[-2].done()
        await asyncio.gather(*tasks)
        assert session.name == "g0-1-"

    asyncio.run(scenario())
    assert queued == [("g0-1-1", "a"), ("g0-1-2", "b"), ("g0-1-3", "c"), ("g0-1-4", "d")]


# --- what is refused -------------------------------------------------------------------------------


BAD: list[tuple[dict, str, str]] = [
    ({}, "Invalid message", "id must be a string"),
    ({"id": 7}, "Invalid message", "id must be a string"),
    ({"id": ""}, "Invalid message", "id must be a string"),
    ({"id": "x" * 129}, "Invalid message", "id must be a string"),
    ({"id": None}, "Invalid message", "id must be a string"),
]
REFUSED: list[tuple[dict, int, str]] = [
    ({"type": "order"}, 400, "product_id is missing"),
    ({"type": "order", **ORDER, "product_id": "NO-NO"}, 400, "Product not found"),
    ({"type": "order", **ORDER, "side": "up"}, 400, "side"),
    ({"type": "order", **ORDER, "side": ["buy"]}, 400, "side must be a string"),
    ({"type": "order", **ORDER, "price": "NaN"}, 400, "price"),
    ({"type": "order", **ORDER, "price": "1e400"}, 400, "price"),
    ({"type": "order", **ORDER, "price": True}, 400, "price must be a decimal number"),
    ({"type": "order", **ORDER, "price": "100.001"}, 400, "price too precise"),
    ({"type": "order", **ORDER, "size": "0"}, 400, "size is too small"),
    ({"type": "order", **ORDER, "size": "-1"}, 400, "size"),
    ({"type": "order", **ORDER, "size": "1000"}, 400, "Insufficient funds"),
    ({"type": "order", **ORDER, "order_type": "magic"}, 400, "type"),
    ({"type": "order", **ORDER, "colour": "red"}, 400, 'unknown field "colour"'),
    ({"type": "order", **ORDER, "client_oid": "x" * 129}, 400, "client_oid has 129 characters"),
    ({"type": "order", **ORDER, "order_type": "market"}, 400, "price does not belong here"),
    ({"type": "order", **ORDER, "display_size": "0.2"}, 400, "display_size"),
    ({"type": "order_list", "list_type": "oco"}, 400, "orders must be an array"),
    ({"type": "order_list", "list_type": "oco", "orders": [1, 2]}, 400, "order 1 of the list"),
    ({"type": "order_list", "orders": []}, 400, "type"),
    ({"type": "order_list", "list_type": "oto", "orders": [ORDER, ORDER | {"side": 1}]}, 400, "order 2 of the list"),
    ({"type": "cancel"}, 400, "send order_id or client_oid"),
    ({"type": "cancel", "order_id": "a", "client_oid": "b"}, 400, "send order_id or client_oid"),
    ({"type": "cancel", "order_id": "a"}, 400, "Invalid order id"),
    ({"type": "cancel", "order_id": 5}, 400, "order_id must be a string"),
    ({"type": "cancel", "client_oid": "never"}, 404, "order not found"),
    ({"type": "cancel", "client_oid": "a\u0000b"}, 400, "U+0000"),
    ({"type": "cancel", "client_oid": "x", "why": "so"}, 400, 'unknown field "why"'),
    ({"type": "cancel_all", "side": "up"}, 400, "side"),
    ({"type": "cancel_all", "side": ""}, 400, 'side is "": say which, or leave it out to mean all'),
    ({"type": "cancel_all", "product_id": ""}, 400, 'product_id is ""'),
    ({"type": "cancel_all", "product_id": "NO-NO"}, 400, "Product not found"),
    ({"type": "cancel_all", "product_id": {}}, 400, "product_id must be a string"),
    ({"type": "amend", "client_oid": "never", "size": "1"}, 404, "order not found"),
    ({"type": "amend", "size": "1"}, 400, "send order_id or client_oid"),
]


@slow
@pytest.mark.parametrize("kind", ["order", "order_list", "amend", "cancel", "cancel_all"])
def test_a_request_needs_an_id(client, kind):
    """Without one that can be sent back, nothing is done, and the socket goes on."""
    for fields, message, reason in BAD:
        client.send(type=kind, **ORDER | fields)
        answer = client.until("error")
        assert (answer["message"], reason in answer["reason"]) == (message, True)
    assert client.ask(type="cancel_all", id="x")["order_ids"] == []


@slow
def test_what_cannot_be_done_is_refused_with_a_reason(client, alice):
    """Each is answered under its id with the status and the sentence that REST would give; nothing has changed."""
    before = alice.call("GET", "/accounts").json()
    for at, (fields, status, reason) in enumerate(REFUSED):
        answer = client.ask(id=f"r{at}", **fields)
        assert (answer["type"], answer["message"], answer["status"]) == ("error", "Request refused", status), answer
        assert reason in answer["reason"], answer
    assert alice.call("GET", "/accounts").json() == before
    assert open_orders(alice) == []


@slow
def test_without_signing_in_nothing_is_done(ws):
    """Each request says how to sign in, and so does cancel_on_disconnect."""
    client = ws()
    for kind in ("order", "order_list", "amend", "cancel", "cancel_all", "cancel_on_disconnect"):
        answer = client.ask(type=kind, id=kind, **ORDER)
        assert (answer["type"], answer["message"]) == ("error", "Authentication Failed")
        assert "authenticate" in answer["reason"]


@slow
def test_a_key_that_may_not_trade_is_refused(cluster, ws):
    """With view alone one may listen, but not trade; with trade alone one may trade, but not listen to user."""
    for scopes, wrong in ((["view"], "trade"), (["trade"], "view")):
        user, client = cluster.user(scopes, USD="1000"), ws()
        client.sign_in(user)
        answer = client.ask(type="order", id="1", **ORDER)
        assert (answer["type"] == "error") == (wrong == "trade")
        client.send(type="subscribe", product_ids=["BTC-USD"], channels=["user"])
        heard = client.until("error", "subscriptions")
        assert (heard["type"] == "error") == (wrong == "view")
        refused = answer if wrong == "trade" else heard
        assert f'lacks the scope "{wrong}"' in refused["reason"]
        client.ask(type="cancel_all", id="2")


@slow
def test_a_revoked_key_trades_no_more(cluster, ws, alice):
    """A socket that is signed in with it is closed, whatever it asks; one that has changed to another key stays."""
    from shared import keys
    from shared.credentials import revoke_key

    client, careful = ws(), ws()
    for one in (client, careful):
        one.sign_in(alice)
    number = client.ask(type="order", id="1", **ORDER)["order"]["id"]
    revoked, alice.key = alice.key, cluster.key(alice.account)
    careful.sign_in(alice)
    revoke_key(cluster.database, revoked.key)
    cluster.client.publish(keys.KEYS_CHANNEL, revoked.key)
    with contextlib.suppress(ConnectionClosed):
        for attempt in range(1000):
            client.ask(type="cancel", id=f"c{attempt}", client_oid="none")
    with contextlib.suppress(ConnectionClosed):
        while True:
            client.hear()  # sending may have failed before all was heard
    assert client.socket.close_code == 1008
    assert client.heard[-1]["message"] == "Authentication Failed"
    assert careful.ask(type="cancel", id="y", order_id=number)["type"] == "cancel_result"


@slow
def test_another_users_orders_are_not_there(cluster, ws, client, alice):
    """By id or client id: not found, and as it was. A socket stays the user's whose it is."""
    bob = cluster.user(USD="1000")
    theirs = bob.order(**ORDER, client_oid="theirs")
    wait_until(lambda: bob.call("GET", f"/orders/{theirs['id']}").json()["status"] == "open")
    for number, fields in enumerate(({"order_id": theirs["id"]}, {"client_oid": "theirs"})):
        for kind, more in (("cancel", {}), ("amend", {"size": "0.05"})):
            answer = client.ask(type=kind, id=f"{kind}{number}", **fields, **more)
            assert (answer["status"], answer["reason"]) == (404, "order not found")
    assert client.ask(type="cancel_all", id="all")["order_ids"] == []
    assert bob.call("GET", f"/orders/{theirs['id']}").json()["status"] == "open"
    client.send(type="authenticate", id="bob", **bob.login())
    assert "another user" in client.answer("bob")["reason"]
    assert client.ask(type="order", id="1", **ORDER)["order"]["profile_id"] != theirs["profile_id"]
    bob.call("DELETE", "/orders")


@slow
def test_a_message_that_is_too_long_ends_the_socket_and_places_nothing(client, alice):
    """More than 64 KiB: close code 1009."""
    client.send(type="order", id="1", **ORDER, client_oid="x" * 70_000)
    with pytest.raises(ConnectionClosed) as error:
        client.answer("1")
    assert error.value.rcvd
    assert error.value.rcvd.code == 1009
    assert open_orders(alice) == []


VALUES: list[object] = [
    None, True, 0, -1, 2**63, 2**70, 1.5, "", "0", "-1", "1e400", "NaN", "Infinity", "\x00", "ü" * 50, [], {}, [[]],
    {"a": 1}, "buy", "BTC-USD", "client:x", "order", "oco", "6d617463-6862-8000-8000-000000000100", "x" * 500,
]  # fmt: skip
NAMES = [
    "id", "product_id", "side", "price", "size", "funds", "order_type", "type", "client_oid", "order_id", "orders",
    "list_type", "trigger", "stop", "stop_price", "trail_bps", "display_size", "min_size", "time_in_force",
    "cancel_after", "post_only", "stp", "enabled", "key", "signature", "timestamp", "passphrase", "channels",
    "product_ids",
]  # fmt: skip
KINDS = ["order", "order_list", "amend", "cancel", "cancel_all", "cancel_on_disconnect", "authenticate", "subscribe"]


@slow
@pytest.mark.parametrize("seed", range(4))
def test_no_message_makes_a_fault(cluster, ws, seed):
    """Seeded nonsense: one answer to each with a message and a reason, the socket stays open, no money is held."""
    dice, user, client = random.Random(seed), cluster.user(USD="1000", BTC="1"), ws()
    client.sign_in(user)
    good = ORDER | {"price": "0.01", "client_oid": "a", "channels": ["status"], "enabled": False}
    for number in range(250):
        fields = {name: good[name] for name in dice.sample(sorted(good), 5)}
        fields |= {name: dice.choice(VALUES) for name in dice.sample(NAMES, dice.randint(1, 4))}
        fields |= {"type": dice.choice(KINDS), "id": f"f{number}"}
        text = json.dumps(fields)
        if dice.random() < 0.2:
            text = text[: dice.randrange(len(text))] + dice.choice(["", "}", "\ud800", "NaN"])
        client.socket.send(
            text.encode("utf-8", "surrogatepass") if dice.random() < 0.3 else text.encode(errors="replace")
        )
        heard = client.until("error", "subscriptions", "cancel_all_result", "cancel_on_disconnect", "order_result")
        if heard["type"] == "error":
            assert heard["message"], heard
            assert heard["reason"], heard
            assert "Internal" not in heard["reason"], (text, heard)
    client.ask(type="cancel_all", id="end")
    rows = {row["currency"]: row for row in user.call("GET", "/accounts").json()}
    assert [float(rows[name]["available"]) for name in ("USD", "BTC")] == [1000, 1]
