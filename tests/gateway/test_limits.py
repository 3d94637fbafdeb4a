"""Limits against real workers, with settings so low that a test can reach them, and attempts to get past each."""

import contextlib
import json
import socket
import time

import psycopg
import pytest
import redis
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from shared.schema import metadata
from tests.gateway.browser import wait_until
from tests.harness import BTC_USD, Cluster

pytestmark = pytest.mark.slow

RATE = 2
BURST = 2 * RATE
ORDER = {"product_id": "BTC-USD", "side": "buy", "price": "100.00", "size": "0.01"}


@pytest.fixture(scope="module")
def cluster(redis_server, database_server):
    """One gateway that lets through very little."""
    with redis.Redis.from_url(redis_server.url) as client:
        client.flushall()
    with psycopg.connect(database_server.url) as connection:
        connection.execute(f"TRUNCATE {', '.join(metadata.tables)} RESTART IDENTITY")
    with Cluster(
        redis_server.url, database_server.url, [BTC_USD], private_rate=RATE, cancel_rate=RATE, public_rate=RATE,
        sockets_max=6, sockets_per_address=4, sockets_per_account=2,
    ) as running:  # fmt: skip
        yield running


@pytest.fixture(autouse=True)
def rested():
    """All buckets are full again: two seconds' worth."""
    time.sleep(2.1)


def codes(ask, tries=30):
    return [ask().status_code for _ in range(tries)]


def first_refusal(ask):
    return wait_until(lambda: (answer := ask()).status_code == 429 and answer)


def check_refused(answer, what):
    assert answer.status_code == 429
    assert int(answer.headers["Retry-After"]) >= 1
    assert answer.json()["message"].startswith(f"{what} rate limit exceeded: {RATE} a second")


# --- requests ---


def test_an_account_sends_so_many_and_no_more(cluster):
    """Refused with 429 and when to come again; whoever waits that long is let in; others are not concerned."""
    alice, bob = cluster.user(USD="1000"), cluster.user(USD="1000")
    found = codes(lambda: alice.call("POST", "/orders", ORDER))
    assert found[:BURST] == [200] * BURST
    refused = first_refusal(lambda: alice.call("POST", "/orders", ORDER))
    check_refused(refused, "Private")
    assert bob.call("GET", "/accounts").status_code == 200
    time.sleep(int(refused.headers["Retry-After"]))
    assert alice.call("POST", "/orders", ORDER).status_code == 200


def test_a_refused_order_was_not_placed(cluster):
    """429 comes before anything is written."""
    alice = cluster.user(USD="1000")
    placed = codes(lambda: alice.call("POST", "/orders", ORDER)).count(200)
    time.sleep(2.1)
    assert len(alice.call("GET", "/orders").json()) == placed


def test_cancels_go_through_when_orders_do_not(cluster):
    """Whoever has used up their requests can still get out of the market; that has an end, too."""
    alice = cluster.user(USD="1000")
    order = alice.order("buy", "100.00", "0.01")
    assert 429 in codes(lambda: alice.call("GET", "/accounts"))
    assert alice.call("DELETE", f"/orders/{order['id']}").status_code == 200
    check_refused(first_refusal(lambda: alice.call("DELETE", "/orders")), "Cancel")


def test_more_keys_or_sessions_are_not_more_requests(cluster, browser):
    """The bucket is the account's: with three keys and a session it sends no more than with one."""
    person = browser().register()
    callers = [person, *(person.key() for _ in range(3))]
    time.sleep(2.1)
    started = time.monotonic()
    found = [one.call("GET", "/accounts").status_code for _ in range(10) for one in callers]
    assert found.count(200) <= BURST + RATE * (time.monotonic() - started) + 1


def test_headers_do_not_make_a_request_somebody_elses(cluster):
    """Neither a made-up address nor a made-up key, cookie or path gives a stranger more public requests."""
    tries = 0

    def ask():
        nonlocal tries
        tries += 1
        disguise = [
            {"X-Forwarded-For": f"203.0.113.{tries}"},
            {"X-Real-IP": f"203.0.113.{tries}", "Forwarded": f"for=203.0.113.{tries}"},
            {"CB-ACCESS-KEY": f"{tries:032x}"},
            {"Cookie": f"matchbox_{cluster.settings.port}={tries:043}"},
        ][tries % 4]
        target = ["/products", "/products/", "/time", "/products?x=1", "/openapi.json"][tries % 5]
        return cluster.http.get(target, headers=disguise)

    started = time.monotonic()
    found = codes(ask)
    assert BURST <= found.count(200) <= BURST + RATE * (time.monotonic() - started) + 1
    check_refused(first_refusal(ask), "Public")


def test_whoever_is_refused_is_counted(cluster):
    """Wrong signatures, unknown keys, dead sessions, logins, registrations: each takes from its address's bucket."""
    user = cluster.user()
    wrong = user.headers("GET", "/accounts") | {"CB-ACCESS-SIGN": "AAAA"}
    requests = [
        lambda: cluster.http.get("/accounts", headers=wrong),
        lambda: cluster.http.get("/accounts", headers=wrong | {"CB-ACCESS-KEY": "0" * 32}),
        lambda: cluster.http.get("/accounts"),
        lambda: cluster.http.get("/accounts", headers={"Cookie": f"matchbox_{cluster.settings.port}={'a' * 43}"}),
        lambda: cluster.http.post("/sessions", content=b"{}"),
        lambda: cluster.http.post("/users", content=b"{}"),
    ]
    for ask in requests:
        assert set(codes(ask, BURST)) <= {400, 401}
        assert first_refusal(ask)
        time.sleep(2.1)
    assert user.call("GET", "/accounts").status_code == 200, "who signs rightly does not stand behind strangers"


# --- sockets ---


def opened(cluster, closing, **headers):
    """An open socket, or the status with which it was refused."""
    try:
        return closing.enter_context(
            connect(cluster.url.replace("http", "ws"), close_timeout=0.2, additional_headers=headers)
        )
    except InvalidStatus as error:
        return error.response.status_code


def test_an_address_opens_so_many_sockets(cluster):
    """The fifth is 429, whatever it says about itself; one that closes makes room."""
    with contextlib.ExitStack() as closing:
        found = []
        for number in range(6):
            found.append(opened(cluster, closing, **{"X-Forwarded-For": f"203.0.113.{number}"}))
            time.sleep(1 / RATE)
        assert [one for one in found if one == 429] == [429, 429]
        with pytest.raises(InvalidStatus) as refused:
            connect(cluster.url.replace("http", "ws"), legacy=True)
        assert (
            "too many WebSockets are open from your address"
            in json.loads(refused.value.response.body or b"{}")["message"]
        )
        assert int(refused.value.response.headers["Retry-After"]) >= 1
        found[0].close()
        time.sleep(2.1)
        assert opened(cluster, closing) != 429


def test_a_user_signs_in_on_so_many_sockets(cluster):
    """With one key or several: on the third the user channel is refused, the public ones are not."""
    alice = cluster.user()
    keys = [alice.key, cluster.key(alice.account), cluster.key(alice.account)]
    answers = []
    with contextlib.ExitStack() as closing:
        for key in keys:
            alice.key = key
            feed = opened(cluster, closing)
            feed.send(json.dumps({"type": "subscribe", "channels": ["user"], **alice.login()}))
            answers.append(json.loads(feed.recv(timeout=5)))
        assert [one["type"] for one in answers] == ["subscriptions", "subscriptions", "error"]
        assert "too many WebSockets of yours" in answers[2]["reason"]
        feed.send(json.dumps({"type": "subscribe", "product_ids": ["BTC-USD"], "channels": ["ticker"]}))
        assert json.loads(feed.recv(timeout=5))["type"] == "subscriptions"
    time.sleep(0.5)
    with contextlib.ExitStack() as closing:
        feed = opened(cluster, closing)
        feed.send(json.dumps({"type": "subscribe", "channels": ["user"], **alice.login()}))
        assert json.loads(feed.recv(timeout=5))["type"] == "subscriptions"


def test_sockets_that_die_are_not_counted_for_ever(cluster):
    """Cut without a word, refused in the handshake, hung up at once: their places are free again."""
    host, port = cluster.settings.host, cluster.settings.port
    hello = (
        f"GET / HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    ).encode()
    for _ in range(4):
        for tail in (hello, hello[:-10], hello.replace(b": 13", b": 99")):
            with socket.create_connection((host, port)) as raw:
                raw.sendall(tail)
        time.sleep(3 / RATE)
    time.sleep(2.1)
    with contextlib.ExitStack() as closing:
        assert all(opened(cluster, closing) != 429 for _ in range(4))


def test_whoever_floods_the_feed_is_shown_out(cluster):
    """More subscriptions a second than anybody needs, or nothing but nonsense: 1008, and the gateway goes on."""
    for flood in ({"type": "unsubscribe", "channels": ["status"]}, {"type": "nonsense"}):
        with connect(cluster.url.replace("http", "ws"), close_timeout=0.2, max_queue=None) as feed:
            with contextlib.suppress(ConnectionClosed):
                for _ in range(5_000):
                    feed.send(json.dumps(flood))
            heard = []
            with contextlib.suppress(ConnectionClosed):
                while True:
                    heard.append(json.loads(feed.recv(timeout=5)))
            assert heard[-1]["message"] == "Too many messages"
            assert feed.close_code == 1008
    assert cluster.http.get("/time").status_code == 200


def test_repeating_a_wish_is_no_work(cluster):
    """A message of 64 KiB that names one channel thousands of times is one subscription."""
    with contextlib.ExitStack() as closing:
        feed = opened(cluster, closing)
        wish = {"type": "subscribe", "product_ids": ["BTC-USD"] * 1000, "channels": ["ticker"] * 4000}
        feed.send(json.dumps(wish))
        answer = json.loads(feed.recv(timeout=5))
        assert answer["channels"] == [{"name": "ticker", "product_ids": ["BTC-USD"]}]


def test_orders_over_the_feed_are_counted_like_those_over_rest(cluster, ws):
    """The account's bucket is one, on whichever socket; cancels have their own there, too; refusals close nothing."""
    alice = cluster.user(USD="1000")
    first, second = ws(), ws()
    for one in (first, second):
        one.sign_in(alice)
    found = [
        one.ask(type="order", id=str(n), **ORDER, client_oid=f"{n}").get("status", 200)
        for n, one in enumerate([first, second] * 15)
    ]
    assert found[:BURST] == [200] * BURST
    assert 429 in found
    check_refused(first_refusal(lambda: alice.call("GET", "/accounts")), "Private")
    assert first.ask(type="cancel", id="c", client_oid="0")["type"] == "cancel_result"
    for n in range(100):
        first.send(type="order", id=f"x{n}", **ORDER)
    time.sleep(2.1)
    assert first.ask(type="order", id="again", **ORDER)["type"] == "order_result"
    alice.call("DELETE", "/orders")
