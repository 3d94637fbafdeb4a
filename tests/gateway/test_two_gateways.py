"""Two gateway processes on one port: what is done, counted, ended or blocked in one holds in the other."""

import contextlib
import json
import os
import secrets
import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import httpx
import msgspec
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from shared import keys
from shared.credentials import create_user
from shared.messages import FIELD, CancelRequest, encode
from shared.passwords import Hasher
from tests.gateway.browser import PASSWORD, Browser, wait_until
from tests.gateway.conftest import running_cluster
from tests.harness import HTTP_S

pytestmark = pytest.mark.slow
ORDER = {"product_id": "BTC-USD", "side": "buy", "price": "100.00", "size": "0.01"}
SELL = ORDER | {"side": "sell", "price": "150.00"}
STOP = ORDER | {"side": "sell", "price": "49.00", "stop_price": "50.00"}


@pytest.fixture(scope="module")
def cluster(redis_server, database_server):
    """Two gateways; who connects anew lands on either."""
    yield from running_cluster(redis_server, database_server, gateways=2)


def anew(cluster, method, target, body=None, **headers):
    """A request by a connection of its own; answers which gateway it met, too."""
    with httpx.Client(base_url=cluster.url, timeout=HTTP_S) as http:
        met = http.get("/health").json()["gateway"]
        return http.request(method, target, json=body, headers=headers), met


def test_guessing_through_both_is_five_guesses(cluster, browser):
    """A password is guessed by fresh connections, which meet either process: the sixth is refused by both."""
    alice = browser().register()
    found = [anew(cluster, "POST", "/sessions", {"name": alice.name, "password": f"guess {n}"}) for n in range(24)]
    assert {met for _, met in found} == {0, 1}, "chance: both were met"
    assert [answer.status_code for answer, _ in found] == [401] * 5 + [429] * 19
    for _ in range(8):
        answer, _ = anew(cluster, "POST", "/sessions", {"name": alice.name, "password": PASSWORD})
        assert answer.status_code == 429


def test_a_session_is_known_to_both_and_ends_in_both(cluster, browser):
    """Logged in at one it is good at the other; logged out, no connection and no socket of either has it."""
    alice = browser().register()
    cookie = {"Cookie": f"matchbox_{cluster.settings.port}={alice.cookie}"}
    found = [anew(cluster, "GET", "/users/self", **cookie) for _ in range(16)]
    assert {met for _, met in found} == {0, 1}
    assert {answer.status_code for answer, _ in found} == {200}
    with contextlib.ExitStack() as closing:
        feeds = []
        for _ in range(10):
            feed = closing.enter_context(
                connect(cluster.url.replace("http", "ws"), close_timeout=0.2, additional_headers=cookie)
            )
            feed.send(json.dumps({"type": "subscribe", "channels": ["user"]}))
            assert json.loads(feed.recv(timeout=15))["type"] == "subscriptions"
            feeds.append(feed)
        alice.call("DELETE", "/sessions")
        for feed in feeds:
            assert json.loads(feed.recv(timeout=15))["type"] == "error"
            with pytest.raises(ConnectionClosed):
                feed.recv(timeout=15)
    assert {anew(cluster, "GET", "/users/self", **cookie)[0].status_code for _ in range(16)} == {401}


def answers_to(cluster, bot):
    return {anew(cluster, "GET", "/accounts", **bot.headers("GET", "/accounts"))[0].status_code for _ in range(8)}


def is_refused(cluster, bot):
    return answers_to(cluster, bot) == {401}


def test_a_key_works_at_once_everywhere_and_ends_everywhere(cluster, browser):
    """Made through one process, used through both directly after; revoked through one, refused by both."""
    alice = browser().register()
    for _ in range(3):
        bot = alice.key()
        assert answers_to(cluster, bot) == {200}
        alice.call("DELETE", f"/api-keys/{bot.key.key}")
        wait_until(partial(is_refused, cluster, bot))


def test_a_new_user_is_known_to_both(cluster):
    """Registered at one, logged in at the other, asked for at either: no 401 in between."""
    for number in range(6):
        person = Browser(cluster)
        name = f"new-{number}"
        assert anew(cluster, "POST", "/users", {"name": name, "password": PASSWORD})[0].status_code == 200
        answer, _ = anew(cluster, "POST", "/sessions", {"name": name, "password": PASSWORD})
        assert answer.status_code == 200
        cookie = answer.headers["Set-Cookie"].partition(";")[0]
        assert {anew(cluster, "GET", "/accounts", Cookie=cookie)[0].status_code for _ in range(4)} == {200}
        person.close()


# --- orders and money ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def doors(cluster):
    """A connection to each gateway that stays at it: the process is chosen when a connection is made."""
    found = [door_of(cluster, number) for number in (0, 1)]
    yield found
    for one in found:
        one.close()


def door_of(cluster, number):
    """A connection to this gateway."""
    while True:
        http = httpx.Client(base_url=cluster.url, timeout=HTTP_S)
        if http.get("/health").json()["gateway"] == number:
            return http
        http.close()


@pytest.fixture
def both(cluster, doors):
    """A user with money, at one gateway and at the other."""
    user = cluster.user(USD="10000", BTC="10")
    yield [msgspec.structs.replace(user, http=door) for door in doors]
    user.call("DELETE", "/orders")


def fills_of(user, order):
    return user.call("GET", f"/fills?order_id={order['id']}").json()


def balances(user):
    return {
        row["currency"]: (float(row["available"]), float(row["hold"])) for row in user.call("GET", "/accounts").json()
    }


def test_one_client_oid_sent_to_both_at_once_is_one_order(both):
    """Whichever ledger entry comes first, both answer the same order; its funds are held once."""
    with ThreadPoolExecutor(2) as pool:
        for number in range(40):
            body = ORDER | {"client_oid": f"once-{number}"}
            first, second = pool.map(lambda one, body=body: one.call("POST", "/orders", body), both)
            assert (first.status_code, second.status_code) == (200, 200), (first.text, second.text)
            assert first.json()["id"] == second.json()["id"]
        lists = {"type": "oco", "orders": [SELL | {"client_oid": "a"}, STOP | {"client_oid": "b"}]}
        first, second = pool.map(lambda one: one.call("POST", "/order-lists", lists).json(), both)
    assert [one["id"] for one in first["orders"]] == [one["id"] for one in second["orders"]]
    for one in both:
        assert len(one.call("GET", "/orders?limit=1000").json()) == 42
        held = balances(one)
        assert held["USD"] == (pytest.approx(10000 - 40 * 1.002), pytest.approx(40 * 1.002))
        assert held["BTC"][1] == 0.01


def test_what_was_done_at_one_is_seen_at_the_other_directly(both):
    """Orders, lists of them, balances and holds, without a pause in between: a POST's answer holds everywhere."""
    for number in range(60):
        here, there = both[number % 2], both[1 - number % 2]
        order = here.order(**ORDER, client_oid=f"seen-{number}")
        usd, *others = (row for row in there.call("GET", "/accounts").json() if row["currency"] == "USD")
        assert (float(usd["hold"]), others) == (1.002, [])
        assert there.call("GET", f"/accounts/{usd['id']}").json() == usd
        assert [row["ref"] for row in there.call("GET", f"/accounts/{usd['id']}/holds").json()] == [order["id"]]
        assert [row["id"] for row in there.call("GET", "/orders").json()] == [order["id"]]
        assert there.call("GET", f"/orders/{order['id']}").json()["client_oid"] == f"seen-{number}"
        assert here.call("DELETE", f"/orders/{order['id']}").status_code == 200
        assert balances(there)["USD"] == (10000, 0)
        assert there.call("GET", "/orders").json() == []
        assert there.call("GET", "/orders?status=done&limit=1").json()[0]["id"] == order["id"]


@contextlib.contextmanager
def behind(cluster, user, number):
    """The gateway has hundreds of log entries to read when it goes on, and requests that came meanwhile."""
    pid = cluster.processes[f"gateway:{number}"].pid
    os.kill(pid, signal.SIGSTOP)
    try:
        with cluster.client.pipeline(transaction=False) as pipe:
            for count in range(1500):
                asked = CancelRequest(f"behind-{secrets.token_hex(6)}-{count}", user.account)
                pipe.xadd(keys.inbox(0), {FIELD: encode(asked)})
            pipe.execute()
        with ThreadPoolExecutor(4) as pool:
            yield pool
            time.sleep(0.05)  # what was asked is in the stopped gateway's sockets
            os.kill(pid, signal.SIGCONT)
    finally:
        os.kill(pid, signal.SIGCONT)


@pytest.mark.parametrize("number", [0, 1])
def test_a_gateway_that_is_behind_reads_on_before_it_answers(cluster, both, number):
    """However late it is, what the other one has answered an account is in its answers."""
    here, there = both[1 - number], both[number]
    usd = next(row["id"] for row in here.call("GET", "/accounts").json() if row["currency"] == "USD")
    targets = ("/accounts", f"/accounts/{usd}", f"/accounts/{usd}/holds", "/orders")
    there = [msgspec.structs.replace(there, http=door_of(cluster, number)) for _ in targets]
    with behind(cluster, cluster.user(), number) as pool:
        order = here.order(**ORDER)
        found = [pool.submit(one.call, "GET", target) for one, target in zip(there, targets, strict=True)]
    accounts, account, holds, orders = (one.result().json() for one in found)
    assert [float(row["hold"]) for row in accounts if row["currency"] == "USD"] == [1.002]
    assert float(account["hold"]) == 1.002
    assert [row["ref"] for row in holds] == [row["id"] for row in orders] == [order["id"]]


def test_fills_and_test_money_are_seen_at_both(both, cluster, doors):
    """A trade is two fills wherever they are asked for, a deposit is there at once, and given back at the other."""
    here, there = both
    seller = msgspec.structs.replace(cluster.user(BTC="1"), http=doors[1])
    bought = here.order(**ORDER)
    sold = seller.order(**ORDER | {"side": "sell"})
    wait_until(lambda: there.call("GET", f"/orders/{bought['id']}").json()["status"] == "done")
    assert balances(there)["BTC"][0] == balances(here)["BTC"][0] == 10.01
    for one, order in ((here, bought), (there, bought), (seller, sold)):
        (fill,) = wait_until(partial(fills_of, one, order))
        assert (fill["price"], fill["size"], fill["order_id"]) == ("100.00", "0.01000000", order["id"])
    for one, other in ((here, there), (there, here)):
        before = balances(other)["USD"][0]
        transfer = {"currency": "USD", "amount": "7"}
        assert one.call("POST", "/deposits", transfer).status_code == 200
        assert balances(other)["USD"][0] == pytest.approx(before + 7)
        assert other.call("POST", "/withdrawals", transfer).status_code == 200
        assert balances(one)["USD"][0] == pytest.approx(before)


def test_an_accounts_requests_keep_their_order_through_both(both):
    """Placed at one, then amended and canceled by its client_oid at the other: each finds what was answered before."""
    for number in range(40):
        here, there = both[number % 2], both[1 - number % 2]
        own = f"/orders/client:turn-{number}"
        order = here.order(**ORDER, client_oid=f"turn-{number}")
        assert there.call("PATCH", own, {"price": "99.00"}).json()["price"] == "99.00"
        assert here.call("GET", own).json()["price"] == "99.00"
        assert there.call("DELETE", own).json() == order["id"]
        assert here.call("DELETE", own).json() == {"message": "Order already done"}
        assert here.call("GET", own).json()["status"] == "done"


def socket_at(cluster, closing, number):
    """A WebSocket to this gateway: the connection says by a request first whom it has met."""
    while True:
        raw = closing.enter_context(socket.create_connection((cluster.settings.host, cluster.settings.port)))
        raw.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = b""
        while b'"gateway":' not in answer or not answer.endswith(b"}"):
            answer += raw.recv(4096)
        if f'"gateway":{number},'.encode() in answer:
            url = cluster.url.replace("http", "ws")
            return closing.enter_context(connect(url, sock=raw, close_timeout=0.2, compression=None))


def asked(feed, **fields):
    """A message's answer."""
    feed.send(json.dumps(fields))
    return json.loads(feed.recv(timeout=15))


@pytest.mark.parametrize("number", [0, 1])
def test_a_socket_at_one_takes_its_orders_along_at_both(cluster, both, number):
    """Cancel on disconnect: what was placed over it is gone, asked for at either; the other gateway's orders stay."""
    here, there = both[number], both[1 - number]
    with contextlib.ExitStack() as closing:
        feed = socket_at(cluster, closing, number)
        assert asked(feed, type="authenticate", **here.login())["type"] == "authenticated"
        assert asked(feed, type="cancel_on_disconnect", id="p", enabled=True)["enabled"] is True
        placed = asked(feed, type="order", id="1", **ORDER)["order"]["id"]
        stays = there.order(**ORDER)["id"]
        assert asked(feed, type="amend", id="2", order_id=stays, price="99.00")["order"]["price"] == "99.00"
        assert {row["id"] for row in there.call("GET", "/orders").json()} == {placed, stays}
    wait_until(lambda: [row["id"] for row in there.call("GET", "/orders").json()] == [stays])
    assert [row["id"] for row in here.call("GET", "/orders").json()] == [stays]


def test_a_feed_at_either_tells_of_orders_at_the_other(cluster, both, doors):
    """The user channel and the book's messages are the same from both, sequence by sequence."""
    wait_until(lambda: len({one.get("/products/BTC-USD/book").json()["sequence"] for one in doors}) == 1)
    with contextlib.ExitStack() as closing:
        feeds = [socket_at(cluster, closing, number) for number in (0, 1)]
        for feed, user in zip(feeds, both, strict=True):
            wish = {"type": "subscribe", "product_ids": ["BTC-USD"], "channels": ["full", "user"]}
            assert asked(feed, **wish, **user.login())["type"] == "subscriptions"
        for number in range(6):
            here, there = both[number % 2], both[1 - number % 2]
            there.call("DELETE", f"/orders/{here.order(**ORDER)['id']}")
        heard = [[json.loads(feed.recv(timeout=15)) for _ in range(18)] for feed in feeds]
    assert [message["type"] for message in heard[0]] == ["received", "open", "done"] * 6
    assert heard[0] == heard[1]


def test_a_kill_switch_thrown_at_one_is_on_at_the_other(cluster, both, browser, doors):
    """Directly after its answer: it is listed, keeps orders off and can be taken back, wherever one asks."""
    create_user(cluster.database, "boss", "admin", Hasher(cluster.settings).hash(PASSWORD))
    admin = browser().log_in("boss")
    token = {"Cookie": f"matchbox_{cluster.settings.port}={admin.cookie}", "X-CSRF-Token": admin.csrf}
    for number, user in enumerate(both):
        one, other, halt = doors[1 - number], doors[number], f"account:{user.account}"
        with behind(cluster, user, number) as pool:
            made = one.post("/admin/halts", json={"account": user.account, "reason": "test"}, headers=token)
            assert made.status_code == 200, made.text
            listed = pool.submit(other.get, "/admin/halts", headers=token)
        assert [row["id"] for row in listed.result().json()] == [halt]
        assert "test" in user.call("POST", "/orders", ORDER).json()["message"]
        assert other.delete(f"/admin/halts/{halt}", headers=token).json() == []
        assert one.get("/admin/halts", headers=token).json() == []
        assert user.call("POST", "/orders", ORDER).status_code == 200


# --- a gateway that comes back: last, since the doors to the one before it lead nowhere now -----------


def test_a_gateway_that_starts_is_met_when_it_knows_the_exchange(cluster):
    """Until then every new connection meets the other one: nobody hears that one of two is starting."""
    cluster.kill("gateway:1")
    cluster.start("gateway:1")
    met: set[int] = set()
    end = time.monotonic() + 30
    while met != {0, 1}:
        assert time.monotonic() < end, met
        with httpx.Client(base_url=cluster.url, timeout=HTTP_S) as http:
            answer = http.get("/health")
        assert answer.status_code == 200, answer.text
        met.add(answer.json()["gateway"])
