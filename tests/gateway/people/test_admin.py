"""Admin routes: who gets in, what they change, and the kill switch under fire."""

import json
import re
import secrets
import threading
import time
from functools import partial

import httpx
import pytest
from websockets.sync.client import connect

from shared.credentials import create_user
from shared.passwords import Hasher
from tests.gateway.browser import PASSWORD, wait_until
from tests.gateway.people.test_funding import DEPOSITS, WITHDRAWALS
from tests.harness import HTTP_S

pytestmark = pytest.mark.slow

ORDER = {"product_id": "BTC-USD", "side": "buy", "price": "100.00", "size": "0.01"}


@pytest.fixture
def admin(cluster, browser):
    """An admin, logged in; as "matchbox user create --role admin" makes one."""
    name = f"admin-{secrets.token_hex(4)}"
    create_user(cluster.database, name, "admin", Hasher(cluster.settings).hash(PASSWORD))
    person = browser().log_in(name)
    yield person
    for one in person.call("GET", "/admin/halts").json():
        person.call("DELETE", f"/admin/halts/{one['id']}")


@pytest.fixture
def pair(cluster):
    """Two traders with money."""
    return [cluster.user(USD="100000", BTC="10") for _ in range(2)]


def is_done(trader, order):
    return trader.call("GET", f"/orders/{order['id']}").json()["status"] == "done"


def has_none(trader):
    return trader.call("GET", "/orders").json() == []


ROUTES = [
    ("GET", "/admin/products", None),
    ("POST", "/admin/products", {"product_id": "XXX-USD", "quote_increment": "1", "base_increment": "1"}),
    ("PATCH", "/admin/products/BTC-USD", {"mode": "halted"}),
    ("GET", "/admin/users", None),
    ("PATCH", "/admin/users/1", {"role": "admin"}),
    ("GET", "/admin/halts", None),
    ("POST", "/admin/halts", {"everybody": True}),
    ("DELETE", "/admin/halts/all", None),
]


def test_nobody_but_admins_comes_in(cluster, browser, pair):
    """Traders with every scope they can have, sessions and strangers: 401 on each route, and nothing has changed."""
    trader = browser().register()
    bodies = [None if body is None else json.dumps(body).encode() for *_, body in ROUTES]
    for (method, target, body), raw in zip(ROUTES, bodies, strict=True):
        for answer in (
            pair[0].call(method, target, body),
            trader.call(method, target, body),
            cluster.http.request(method, target, content=raw),
            cluster.http.request(method, target, content=raw, headers={"CB-ACCESS-KEY": "admin"}),
        ):
            assert answer.status_code == 401, (method, target, answer.text)
            assert set(answer.json()) == {"message"}
        for target_of_old in (f"{target}/", f"/admin/../{target}", target.upper(), f"{target}%2f.."):
            answer = pair[0].call(method, target_of_old, body)
            assert answer.status_code in (401, 404, 400), (method, target_of_old, answer.status_code)
    assert cluster.http.get("/products/BTC-USD").json()["status"] == "online"
    assert pair[0].order("buy", "100.00", "0.01")["id"]
    pair[0].call("DELETE", "/orders")


def test_an_admin_lists_users_page_by_page(cluster, admin, pair):
    """Newest first, without what is nobody's business."""
    everyone, after = [], ""
    while True:
        page = admin.call("GET", f"/admin/users?limit=2{after}")
        assert "$argon2" not in page.text
        everyone += page.json()
        if "CB-AFTER" not in page.headers:
            break
        after = f"&after={page.headers['CB-AFTER']}"
    accounts = [row["account"] for row in everyone]
    assert accounts == sorted(accounts, reverse=True)
    assert {one.account for one in pair} < set(accounts)
    (row,) = [row for row in everyone if row["account"] == admin.account]
    assert (row["name"], row["role"], row["blocked"]) == (admin.name, "admin", False)


def test_an_admin_adds_a_product_and_changes_its_mode(cluster, admin, pair):
    """It is there at once, with its rules; a second one of the name is refused; modes are what orders meet."""
    body = {
        "product_id": "ACME-USD", "quote_increment": "0.05", "base_increment": "1", "taker_fee_bps": "2.5",
        "base_max_size": "500", "mode": "limit-only",
    }  # fmt: skip
    made = admin.call("POST", "/admin/products", body)
    assert made.status_code == 200, made.text
    product = cluster.http.get("/products/ACME-USD").json()
    assert product == made.json()
    assert (product["quote_increment"], product["base_max_size"], product["limit_only"]) == ("0.05", "500", True)
    assert product["fees"]["taker"] == "0.000250"
    assert "exists already" in admin.call("POST", "/admin/products", body).json()["message"]
    market = {"product_id": "ACME-USD", "side": "buy", "type": "market", "funds": "100"}
    assert "Limit only" in pair[0].call("POST", "/orders", market).json()["message"]
    assert admin.call("PATCH", "/admin/products/ACME-USD", {"mode": "cancel-only"}).json()["cancel_only"] is True
    assert (
        pair[0].call("POST", "/orders", ORDER | {"product_id": "ACME-USD", "size": "1"}).json()["message"]
        == "Cancel only mode"
    )


@pytest.mark.parametrize(
    ("method", "target", "body", "code", "says"),
    [
        ("POST", "/admin/products", {"product_id": "lower-usd"}, 400, "in capitals"),
        ("POST", "/admin/products", {"product_id": "A-B; rm -rf"}, 400, "in capitals"),
        ("POST", "/admin/products", {"product_id": "QQQ-USD"}, 400, "tick"),
        (
            "POST", "/admin/products",
            {"product_id": "QQQ-USD", "quote_increment": "1", "base_increment": "1", "quote_scale": 2}, 400, "decimals",
        ),
        (
            "POST", "/admin/products",
            {"product_id": "QQQ-USD", "quote_increment": "1e-99", "base_increment": "1"}, 400, "QQQ-USD",
        ),
        ("POST", "/admin/products", {"product_id": "QQQ-USD", "base_scale": "x"}, 400, "base_scale"),
        ("POST", "/admin/products", {"product_id": "QQQ-USD", "tick": "1"}, 400, 'unknown field "tick"'),
        ("POST", "/admin/products", {"product_id": "QQQ-USD", "mode": "delisted"}, 400, "mode"),
        ("PATCH", "/admin/products/BTC-USD", {"mode": "delisted"}, 400, "mode"),
        ("PATCH", "/admin/products/BTC-USD", {}, 400, "mode is missing"),
        ("PATCH", "/admin/products/NOPE-USD", {"mode": "online"}, 404, "Product not found"),
        ("PATCH", "/admin/users/999999", {"role": "admin"}, 404, "user not found"),
        ("PATCH", f"/admin/users/{10**30}", {"blocked": True}, 404, "user not found"),
        ("PATCH", "/admin/users/-1", {"blocked": True}, 404, "user not found"),
        ("PATCH", "/admin/users/1", {"role": "root"}, 400, "role"),
        ("PATCH", "/admin/users/1", {"blocked": "yes"}, 400, "true or false"),
        ("PATCH", "/admin/users/1", {}, 400, "say what to change"),
        ("PATCH", "/admin/users/1", {"password_hash": "x"}, 400, "unknown field"),
        ("POST", "/admin/halts", {}, 400, "exactly one"),
        ("POST", "/admin/halts", {"everybody": False}, 400, "exactly one"),
        ("POST", "/admin/halts", {"everybody": True, "account": 1}, 400, "exactly one"),
        ("POST", "/admin/halts", {"account": 10**40}, 404, "user not found"),
        ("POST", "/admin/halts", {"account": True}, 400, "number of an account"),
        ("POST", "/admin/halts", {"account": 0}, 400, "number of an account"),
        ("POST", "/admin/halts", {"account": 999999}, 404, "user not found"),
        ("POST", "/admin/halts", {"product_id": "NOPE-USD"}, 404, "Product not found"),
        ("POST", "/admin/halts", {"key": "nope"}, 404, "API key not found"),
        ("POST", "/admin/halts", {"everybody": True, "reason": "x" * 129}, 400, "reason is longer"),
        ("POST", "/admin/halts", {"product_id": "BTC-USD", "reason": "x" * 129}, 400, "is longer than 128"),
        ("DELETE", "/admin/halts/all", None, 404, "no such halt"),
        ("DELETE", "/admin/halts/account:x", None, 404, "no such halt"),
        ("DELETE", "/admin/halts/%00", None, 404, "no such halt"),
    ],
)  # fmt: skip
def test_what_an_admin_gets_wrong_is_said(admin, method, target, body, code, says):
    """A 4xx with the reason, and nothing is halted."""
    answer = admin.call(method, target, body)
    assert (answer.status_code, says in answer.json()["message"]) == (code, True), answer.text
    assert admin.call("GET", "/admin/halts").json() == []


def test_each_example_of_the_description_runs(cluster, browser, admin):
    """What the API's document shows about users, keys, money, products and halts can be sent as it stands there."""
    alice = browser()
    steps = [
        ("POST", "/users", alice, ""), ("POST", "/sessions", alice, ""), ("POST", "/api-keys", alice, ""),
        *(("POST", path, alice, "") for path in (*DEPOSITS, DEPOSITS[0], *WITHDRAWALS)),
        ("POST", "/admin/products", admin, ""), ("PATCH", "/admin/products/{product_id}", admin, "BTC-USD"),
        ("PATCH", "/admin/users/{account}", admin, str(cluster.user().account)), ("POST", "/admin/halts", admin, ""),
    ]  # fmt: skip
    api = cluster.http.get("/openapi.json").json()["paths"]
    bodied = {
        (method.upper(), path)
        for path, methods in api.items()
        for method, about in methods.items()
        if "requestBody" in about and not path.startswith("/order")
    }
    assert bodied == {(method, path) for method, path, *_ in steps}
    for method, path, who, which in steps:
        (content,) = api[path][method.lower()]["requestBody"]["content"].values()
        for example in content["examples"].values():
            answer = who.call(method, re.sub(r"{\w+}", which, path), example["value"])
            assert answer.status_code == 200, (path, answer.text)
            alice.csrf = answer.json()["session"]["csrf_token"] if path == "/sessions" else alice.csrf


# --- the kill switch ---


def test_a_halted_account_trades_no_more_until_it_may(admin, pair):
    """Its orders are canceled, new ones refused with the reason; it still sees and cancels; others go on."""
    alice, bob = pair
    mine, his = alice.order("buy", "100.00", "0.01"), bob.order("buy", "100.00", "0.01")
    halts = admin.call("POST", "/admin/halts", {"account": alice.account, "reason": "runaway bot"}).json()
    assert [(one["id"], one["reason"]) for one in halts] == [(f"account:{alice.account}", "runaway bot")]
    refused = alice.call("POST", "/orders", ORDER)
    assert (refused.status_code, refused.json()["message"]) == (
        400,
        "trading is blocked for this account: runaway bot",
    )
    wait_until(lambda: alice.call("GET", f"/orders/{mine['id']}").json()["status"] == "done")
    assert bob.call("GET", f"/orders/{his['id']}").json()["status"] == "open"
    assert alice.call("GET", "/accounts").status_code == 200
    assert admin.call("DELETE", f"/admin/halts/account:{alice.account}").json() == []
    assert alice.order("buy", "100.00", "0.01")["id"]
    for one in pair:
        one.call("DELETE", "/orders")


def test_a_halted_product_is_empty_and_closed(cluster, admin, pair):
    """Everybody's orders on it are canceled, others go on; who tries is told why; taken back, it trades."""
    orders = [one.order("buy", "100.00", "0.01") for one in pair]
    other = pair[0].order("buy", "100.00", "0.01", "ETH-USD")
    wait_until(lambda: pair[0].call("GET", f"/orders/{other['id']}").json()["status"] == "open")
    halts = admin.call("POST", "/admin/halts", {"product_id": "BTC-USD", "reason": "a fork"}).json()
    assert halts == [{"id": "product:BTC-USD", "reason": "a fork"}]
    assert pair[0].call("POST", "/orders", ORDER).json()["message"] == "BTC-USD is halted, under maintenance: a fork"
    wait_until(lambda: cluster.http.get("/products/BTC-USD").json()["status_message"] == "halted: a fork")
    for one, order in zip(pair, orders, strict=True):
        wait_until(partial(is_done, one, order))
    assert cluster.http.get("/products/BTC-USD/book?level=3").json()["bids"] == []
    assert pair[0].call("GET", f"/orders/{other['id']}").json()["status"] == "open"
    assert admin.call("DELETE", "/admin/halts/product:BTC-USD").json() == []
    assert pair[0].order("buy", "100.00", "0.01")["id"]
    pair[0].call("DELETE", "/orders")


def test_a_killed_key_is_gone_with_its_accounts_orders(cluster, admin, pair):
    """The key signs nothing more and its socket closes; the account's other key may go on trading."""
    alice, _ = pair
    order = alice.order("buy", "100.00", "0.01")
    other = cluster.key(alice.account)
    with connect(cluster.url.replace("http", "ws"), close_timeout=0.2) as socket:
        socket.send(json.dumps({"type": "subscribe", "channels": ["user"], **alice.login()}))
        assert json.loads(socket.recv(timeout=15))["type"] == "subscriptions"
        assert admin.call("POST", "/admin/halts", {"key": alice.key.key}).status_code == 200
        assert wait_until(lambda: json.loads(socket.recv(timeout=15))["type"] == "error")
    assert alice.call("GET", "/accounts").status_code == 401
    alice.key = other
    wait_until(lambda: alice.call("GET", f"/orders/{order['id']}").json()["status"] == "done")
    assert alice.order("buy", "100.00", "0.01")["id"]
    alice.call("DELETE", "/orders")


def test_the_switch_for_all_under_fire_leaves_nothing(cluster, admin, pair):
    """Traders place orders all the while: once it answers, none is accepted, and the books run empty."""
    stop, accepted_at, errors = threading.Event(), [], set()

    def fire(trader):
        with httpx.Client(base_url=cluster.url, timeout=HTTP_S) as http:
            while not stop.is_set():
                body = json.dumps(ORDER).encode()
                sent = time.monotonic()
                answer = http.post("/orders", content=body, headers=trader.headers("POST", "/orders", body))
                if answer.status_code == 200:
                    accepted_at.append(sent)
                else:
                    errors.add(answer.json()["message"])

    threads = [threading.Thread(target=fire, args=(one,)) for one in pair]
    for thread in threads:
        thread.start()
    wait_until(lambda: len(accepted_at) > 20)
    assert admin.call("POST", "/admin/halts", {"everybody": True, "reason": "drill"}).status_code == 200
    answered = time.monotonic()
    wait_until(lambda: errors)
    stop.set()
    for thread in threads:
        thread.join()
    assert max(accepted_at) <= answered
    assert errors == {"trading is halted for everyone, under maintenance: drill"}
    for one in pair:
        wait_until(partial(has_none, one))
    assert admin.call("GET", "/admin/halts").json()[0].items() >= {"id": "all", "reason": "drill"}.items()
    assert admin.call("DELETE", "/admin/halts/all").json() == []
    assert pair[0].order("buy", "100.00", "0.01")["id"]
    pair[0].call("DELETE", "/orders")


def test_a_switch_survives_every_process(cluster, admin, pair):
    """The block is in the ledger's log: whoever dies, it holds; also in gateways that start later."""
    admin.call("POST", "/admin/halts", {"account": pair[0].account})
    for name in ("ledger:0", "gateway:0"):
        cluster.restart(name)
    wait_until(lambda: pair[1].call("GET", "/accounts").status_code == 200)
    assert "trading is blocked" in pair[0].call("POST", "/orders", ORDER).json()["message"]
    assert [one["id"] for one in admin.call("GET", "/admin/halts").json()] == [f"account:{pair[0].account}"]


def test_a_blocked_user_is_out_and_their_orders_with_them(cluster, browser, admin):
    """No session, key or login any more, no order on the books; unblocked, all is as before."""
    alice = browser().register()
    cluster.deposit(alice.account, "USD", "1000")
    bot = alice.key()
    bot.order("buy", "100.00", "0.01")
    answer = admin.call("PATCH", f"/admin/users/{alice.account}", {"blocked": True}).json()
    assert (answer["blocked"], answer["trading_blocked"]) == (True, "trading is blocked for this account")
    assert {one.call("GET", "/accounts").status_code for one in (alice, bot)} == {401}
    wait_until(lambda: cluster.http.get("/products/BTC-USD/book?level=3").json()["bids"] == [])
    again = admin.call("PATCH", f"/admin/users/{alice.account}", {"blocked": False}).json()
    assert (again["blocked"], "trading_blocked" in again) == (False, False)
    assert bot.order("buy", "100.00", "0.01")["id"]
    assert alice.call("DELETE", "/orders").status_code == 200


def test_roles_change_at_once(cluster, browser, admin):
    """A trader becomes an admin and is one no longer, in the same session."""
    alice = browser().register()
    assert alice.call("GET", "/admin/users").status_code == 401
    assert admin.call("PATCH", f"/admin/users/{alice.account}", {"role": "admin"}).json()["role"] == "admin"
    assert alice.call("GET", "/admin/users").status_code == 200
    admin.call("PATCH", f"/admin/users/{alice.account}", {"role": "trader"})
    assert alice.call("GET", "/admin/users").status_code == 401


def test_an_admins_page_of_others_changes_nothing(cluster, admin):
    """Cookies of admins are worth most: without token, or from a foreign page, nothing is halted."""
    admin.page = "http://127.0.0.1:1"
    assert admin.call("POST", "/admin/halts", {"everybody": True}).status_code == 401
    admin.page, admin.csrf, token = cluster.url, "", admin.csrf
    assert admin.call("POST", "/admin/halts", {"everybody": True}).status_code == 401
    assert admin.call("GET", "/admin/halts").json() == []
    admin.csrf = token
