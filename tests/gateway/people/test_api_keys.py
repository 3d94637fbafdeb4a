"""API keys made over the API: what they may do, from where, and that none does more than it was made for."""

import json
import time
from contextlib import contextmanager
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from shared import keys
from shared.credentials import KEYS_MAX, create_key, server_key, set_role
from shared.errors import InvalidInput
from tests.gateway.browser import PASSWORD, wait_until

pytestmark = pytest.mark.slow

ORDER = {"product_id": "BTC-USD", "side": "buy", "price": "100.00", "size": "0.01"}
MONEY = {"currency": "USD", "amount": "1"}


@pytest.fixture
def alice(cluster, browser):
    """A person with money, logged in."""
    person = browser().register()
    cluster.deposit(person.account, "USD", "1000")
    return person


@contextmanager
def listen(cluster, bot, *channels):
    with connect(cluster.url.replace("http", "ws"), close_timeout=0.2) as socket:
        socket.send(json.dumps({"type": "subscribe", "product_ids": ["BTC-USD"], "channels": channels, **bot.login()}))
        assert json.loads(socket.recv(timeout=15))["type"] == "subscriptions"
        yield socket


def must_close(socket, code=1008):
    """It is told why, and then closed."""
    assert json.loads(socket.recv(timeout=15))["type"] == "error"
    with pytest.raises(ConnectionClosed) as closed:
        socket.recv(timeout=15)
    assert closed.value.rcvd
    assert closed.value.rcvd.code == code


# --- their life ---


def test_a_key_is_made_shown_once_listed_and_ended(cluster, alice):
    """Its secret is in the first answer and in no other; ended, it signs nothing more."""
    answer = alice.call("POST", "/api-keys", {"scopes": ["trade", "view"], "label": "my bot"})
    made = answer.json()
    assert answer.headers["Cache-Control"] == "no-store"
    assert (made["scopes"], made["label"], made["allowed_ips"]) == (["trade", "view"], "my bot", [])
    listing = alice.call("GET", "/api-keys")
    (row,) = [one for one in listing.json() if one["key"] == made["key"]]
    assert set(row) == {"key", "scopes", "label", "allowed_ips", "created_at"}
    assert made["secret"] not in listing.text
    assert made["passphrase"] not in listing.text
    bot = alice.key()
    assert bot.call("GET", "/users/self").json()["api_key"] == bot.key.key
    assert alice.call("DELETE", f"/api-keys/{bot.key.key}").json() == bot.key.key
    assert bot.call("GET", "/accounts").status_code == 401
    assert alice.call("DELETE", f"/api-keys/{bot.key.key}").status_code == 404


def test_what_is_stored_of_a_secret_is_encrypted(cluster, alice):
    """Whoever reads the table has neither secret nor passphrase."""
    bot = alice.key()
    with cluster.database.connect() as connection:
        rows = str(connection.exec_driver_sql("SELECT * FROM api_keys").all())
    assert bot.key.key in rows
    for text in (bot.key.secret, bot.key.passphrase):
        assert text not in rows


def test_an_ended_key_takes_its_sockets_along(cluster, alice):
    """Over the API or on the command line: the feed is closed at once, that of another key of the user stays."""
    first, second, third = alice.key(), alice.key(), alice.key()
    with (
        listen(cluster, first, "user") as one,
        listen(cluster, second, "user") as two,
        listen(cluster, third, "user") as three,
    ):
        alice.call("DELETE", f"/api-keys/{first.key.key}")
        must_close(one)
        with cluster.database.begin() as connection:
            connection.exec_driver_sql("UPDATE api_keys SET revoked_at = 1 WHERE key = %s", (second.key.key,))
        cluster.client.publish(keys.KEYS_CHANNEL, second.key.key)
        must_close(two)
        order = third.order("buy", "100.00", "0.01")
        assert json.loads(three.recv(timeout=15))["order_id"] == order["id"]
        alice.call("DELETE", "/orders")


def test_nobody_ends_or_sees_the_keys_of_others(browser, alice):
    """Somebody else's key is 404, like one that never was; the listing has only one's own."""
    bot, mallory = alice.key(), browser().register()
    for key in (bot.key.key, "0" * 32, "x", "%00", "a%20b"):
        answer = mallory.call("DELETE", f"/api-keys/{key}")
        assert (answer.status_code, answer.json()) == (404, {"message": "API key not found"}), key
    assert mallory.call("GET", "/api-keys").json() == []
    assert bot.call("GET", "/accounts").status_code == 200


# --- scopes ---


SCOPED: dict[str, list[tuple[str, str, Any]]] = {
    "view": [("GET", "/accounts", None), ("GET", "/orders", None), ("GET", "/users/self", None)],
    "trade": [("POST", "/orders", ORDER), ("DELETE", "/orders", None)],
    "transfer": [("POST", "/deposits", MONEY), ("POST", "/withdrawals/crypto", MONEY)],
}


@pytest.mark.parametrize("scope", ["view", "trade", "transfer"])
def test_a_key_does_what_its_scope_says_and_nothing_else(alice, scope):
    """Each scope alone: its own requests go through, all others are 401, which names what is missing."""
    bot = alice.key([scope])
    for needed, requests in SCOPED.items():
        for method, target, body in requests:
            answer = bot.call(method, target, body)
            if needed == scope:
                assert answer.status_code == 200, (method, target, answer.text)
            else:
                assert answer.status_code == 401
                assert f'lacks the scope "{needed}"' in answer.json()["message"]
    alice.call("DELETE", "/orders")


@pytest.mark.parametrize("scopes", [["view"], ["trade"], ["view", "trade", "transfer"]])
def test_no_key_makes_another(alice, scopes):
    """A stolen key cannot grow: with no scope does it make, list or end keys."""
    bot = alice.key(scopes)
    for method, target, body in (
        ("POST", "/api-keys", {"scopes": ["view", "trade", "transfer"]}),
        ("GET", "/api-keys", None),
        ("DELETE", f"/api-keys/{bot.key.key}", None),
        ("DELETE", "/sessions", None),
    ):
        assert bot.call(method, target, body).status_code == 401
    assert len(alice.call("GET", "/api-keys").json()) == 1


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"scopes": []}, "choose from view, trade, transfer"),
        ({}, "choose from"),
        ({"scopes": ["admin"]}, 'scopes "admin": choose from view, trade, transfer'),
        ({"scopes": ["view", "ADMIN"]}, "choose from"),
        ({"scopes": ["view\x00"]}, "choose from"),
        ({"scopes": "view"}, "array of strings"),
        ({"scopes": [["view"]]}, "array of strings"),
        ({"scopes": [1.5]}, "array of strings"),
        ({"scopes": ["view"], "account": 1}, 'unknown field "account"'),
        ({"scopes": ["view"], "label": "x" * 129}, "label"),
        ({"scopes": ["view"], "label": "a\x00b"}, "label"),
        ({"scopes": ["view"], "allowed_ips": ["here"]}, 'allowed address "here"'),
        ({"scopes": ["view"], "allowed_ips": ["10.0.0.0/33"]}, "allowed address"),
        ({"scopes": ["view"], "allowed_ips": [f"10.0.0.{n}" for n in range(40)]}, "at most 32"),
        ({"scopes": ["view"], "allowed_ips": ["1.2.3.4/8;"]}, "allowed address"),
    ],
)
def test_a_key_that_cannot_be_is_refused(alice, body, says):
    """A trader has no admin scope to give; nothing is made."""
    answer = alice.call("POST", "/api-keys", body)
    assert answer.status_code == 400
    assert says in answer.json()["message"]
    assert alice.call("GET", "/api-keys").json() == []


def test_the_admin_scope_goes_with_the_role(cluster, browser, alice):
    """A key of an admin with that scope works until its user is one no longer; nothing has to be revoked."""
    with cluster.database.begin() as connection:
        set_role(connection, alice.account, "admin")
    cluster.client.publish(keys.KEYS_CHANNEL, keys.user_changed(alice.account))
    wait_until(lambda: alice.call("GET", "/users/self").json()["role"] == "admin")
    assert "admin" in alice.call("GET", "/users/self").json()["scopes"]
    bot, plain = alice.key(["view", "admin"]), alice.key(["view"])
    assert bot.call("GET", "/admin/users").status_code == 200
    assert plain.call("GET", "/admin/users").status_code == 401, "the role alone is not the scope"
    with listen(cluster, bot, "user") as socket:
        with cluster.database.begin() as connection:
            set_role(connection, alice.account, "trader")
        cluster.client.publish(keys.KEYS_CHANNEL, keys.user_changed(alice.account))
        must_close(socket)
    assert bot.call("GET", "/admin/users").status_code == 401
    assert bot.call("GET", "/accounts").status_code == 200
    assert alice.call("GET", "/admin/users").status_code == 401


def test_an_account_has_so_many_keys_and_no_more(cluster, browser):
    """Also when the last ones are asked for at once."""
    person = browser().register()
    for _ in range(KEYS_MAX - 1):
        create_key(cluster.database, person.account, ["view"], server_key(cluster.settings))
    assert person.call("POST", "/api-keys", {"scopes": ["view"]}).status_code == 200
    answer = person.call("POST", "/api-keys", {"scopes": ["view"]})
    assert (answer.status_code, "100 API keys already" in answer.text) == (400, True)
    with pytest.raises(InvalidInput):
        create_key(cluster.database, person.account, ["view"], server_key(cluster.settings))
    first = person.call("GET", "/api-keys").json()[0]["key"]
    person.call("DELETE", f"/api-keys/{first}")
    assert person.call("POST", "/api-keys", {"scopes": ["view"]}).status_code == 200


# --- from where ---


def test_a_bound_key_is_of_no_use_elsewhere(cluster, alice):
    """Stolen and used from another address it is 401, on REST and on the feed, whatever the headers say."""
    near = alice.key(allowed_ips=["127.0.0.0/8", "10.1.2.3"])
    far = alice.key(allowed_ips=["10.0.0.0/8", "2001:db8::/32"])
    assert near.call("GET", "/accounts").status_code == 200
    for spoofed in ({}, {"X-Forwarded-For": "10.0.0.1"}, {"X-Real-IP": "10.0.0.1"}, {"Forwarded": "for=10.0.0.1"}):
        answer = cluster.http.get("/accounts", headers=far.headers("GET", "/accounts") | spoofed)
        assert (answer.status_code, answer.json()) == (
            401,
            {"message": "this API key may not be used from 127.0.0.1"},
        )
    with connect(
        cluster.url.replace("http", "ws"), close_timeout=0.2, additional_headers={"X-Forwarded-For": "10.0.0.1"}
    ) as socket:
        socket.send(json.dumps({"type": "subscribe", "channels": ["user"], **far.login()}))
        answer = json.loads(socket.recv(timeout=15))
        assert (answer["message"], "may not be used from" in answer["reason"]) == ("Authentication Failed", True)
    wrong = far.headers("GET", "/accounts") | {"CB-ACCESS-SIGN": "AAAA"}
    assert "signature" in cluster.http.get("/accounts", headers=wrong).json()["message"], "strangers learn nothing"


# --- signatures ---


def test_an_old_signature_cannot_be_used_again(cluster, alice):
    """Outside the 30 seconds it is refused; inside them it is good for the very same request only."""
    bot = alice.key()
    for age_s, code in ((-20, 200), (-31, 401), (60, 401), (29, 200), (-3600, 401)):
        headers = bot.headers("GET", "/accounts", at=str(int(time.time()) + age_s))
        assert cluster.http.get("/accounts", headers=headers).status_code == code, age_s
    headers = bot.headers("GET", "/accounts")
    assert [cluster.http.get("/accounts", headers=headers).status_code for _ in range(2)] == [200, 200]
    for method, target, body in (
        ("DELETE", "/accounts", b""),
        ("GET", "/orders", b""),
        ("GET", "/accounts?", b"x"),
        ("GET", "/accounts?limit=1", b""),
    ):
        answer = cluster.http.request(method, target, headers=headers, content=body)
        assert answer.status_code in (401, 404), (method, target)


def test_a_replayed_order_is_the_first_one(alice):
    """The same signed bytes twice make one order: the client id protects what the signature does not."""
    bot, body = alice.key(), json.dumps(ORDER | {"client_oid": "once"}).encode()
    headers = bot.headers("POST", "/orders", body)
    first, second = (bot.http.post("/orders", content=body, headers=headers).json() for _ in range(2))
    assert first["id"] == second["id"]
    assert len(alice.call("GET", "/orders").json()) == 1
    alice.call("DELETE", "/orders")


def test_orders_of_others_are_not_there(cluster, browser, alice):
    """By any route, id and client id, with a key or a session: 404, and the order is as it was."""
    order = alice.key().order("buy", "100.00", "0.01", client_oid="mine")
    mallory = browser().register()
    cluster.deposit(mallory.account, "USD", "1000")
    for who in (mallory, mallory.key()):
        for reference in (order["id"], "client:mine"):
            for method, body in (("GET", None), ("DELETE", None), ("PATCH", {"price": "1.00"})):
                answer = who.call(method, f"/orders/{reference}", body)
                assert (answer.status_code, answer.json()) == (404, {"message": "order not found"}), method
        assert who.call("DELETE", "/orders").json() == []
        assert who.call("GET", f"/fills?order_id={order['id']}").json() == []
        assert order["id"] not in who.call("GET", "/orders?status=all").text
    assert alice.call("GET", f"/orders/{order['id']}").json()["price"] == "100.00"
    ids = [row["id"] for row in alice.call("GET", "/accounts").json()]
    for tail in ("", "/ledger", "/holds", "/transfers"):
        assert mallory.call("GET", f"/accounts/{ids[0]}{tail}").status_code == 404
    alice.call("DELETE", "/orders")


def test_a_blocked_user_comes_in_by_no_door(cluster, browser):
    """Neither password nor session nor key, and what is open is closed; with a wrong secret nobody learns of it."""
    alice = browser().register()
    bot = alice.key()
    with listen(cluster, bot, "user") as socket:
        with cluster.database.begin() as connection:
            connection.exec_driver_sql("UPDATE users SET blocked_at = 1 WHERE account = %s", (alice.account,))
        cluster.client.publish(keys.KEYS_CHANNEL, keys.user_changed(alice.account))
        must_close(socket)
    for answer in (
        bot.call("GET", "/accounts"),
        alice.call("GET", "/accounts"),
        browser().call("POST", "/sessions", {"name": alice.name, "password": PASSWORD}),
    ):
        assert (answer.status_code, answer.json()["message"]) == (
            401,
            "this user is blocked; ask who runs this exchange",
        )
    wrong = browser().call("POST", "/sessions", {"name": alice.name, "password": "another one"})
    assert wrong.json()["message"] == "wrong name or password"
