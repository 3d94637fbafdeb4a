"""Limits against real workers, with settings so low that a test can reach them, and attempts to get past each."""

import contextlib
import json
import secrets
import socket
import time

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from shared.credentials import create_user
from shared.passwords import Hasher
from tests.gateway.browser import PASSWORD, wait_until
from tests.gateway.conftest import running_cluster

pytestmark = pytest.mark.slow

RATE = 5
BURST = 2 * RATE
ORDER = {"product_id": "BTC-USD", "side": "buy", "price": "100.00", "size": "0.01"}


@pytest.fixture(scope="module")
def cluster(redis_server, database_server):
    """One gateway that lets through very little."""
    yield from running_cluster(
        redis_server, database_server, private_rate=RATE, cancel_rate=RATE, public_rate=RATE,
        sockets_max=6, sockets_per_address=4, sockets_per_account=2, registration="closed",
    )  # fmt: skip


def codes(ask, tries=30):
    return [ask().status_code for _ in range(tries)]


def first_refusal(ask):
    return wait_until(lambda: (answer := ask()).status_code == 429 and answer)


def first_passed(ask):
    """The answer once a bucket that is empty has a drop again: the tests share their address."""
    return wait_until(lambda: (answer := ask()).status_code != 429 and answer)


def check_refused(answer, what):
    assert answer.status_code == 429
    assert int(answer.headers["Retry-After"]) >= 1
    assert answer.json()["message"].startswith(f"{what} rate limit exceeded: {RATE} a second")


# --- requests ---


def test_an_account_sends_so_many_and_no_more(cluster):
    """Refused before anything is written, with when to come again; whoever waits is let in; others do not notice."""
    alice, bob = cluster.user(USD="1000"), cluster.user(USD="1000")
    found = []

    def ask():
        answer = alice.call("POST", "/orders", ORDER)
        found.append(answer.status_code)
        return answer

    codes(ask)
    assert found[:BURST] == [200] * BURST
    refused = first_refusal(ask)
    check_refused(refused, "Private")
    assert bob.call("GET", "/accounts").status_code == 200
    time.sleep(int(refused.headers["Retry-After"]))
    assert len(alice.call("GET", "/orders?limit=1000").json()) == found.count(200)


def test_cancels_go_through_when_orders_do_not(cluster):
    """Whoever has used up their requests can still get out of the market; that has an end, too."""
    alice = cluster.user(USD="1000")
    order = alice.order("buy", "100.00", "0.01")
    first_refusal(lambda: alice.call("GET", "/accounts"))
    assert alice.call("DELETE", f"/orders/{order['id']}").status_code == 200
    check_refused(first_refusal(lambda: alice.call("DELETE", "/orders")), "Cancel")


def test_more_keys_or_sessions_are_not_more_requests(cluster, browser):
    """The bucket is the account's: with three keys and a session it sends no more than with one."""
    name = f"person-{secrets.token_hex(4)}"
    create_user(cluster.database, name, password_hash=Hasher(cluster.settings).hash(PASSWORD))
    person = browser().log_in(name)
    callers = [person, *(person.key() for _ in range(3))]
    started = time.monotonic()
    found = [one.call("GET", "/accounts").status_code for _ in range(10) for one in callers]
    assert 0 < found.count(200) <= BURST + RATE * (time.monotonic() - started) + 1


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

    first_passed(ask)
    started = time.monotonic()
    found = codes(ask)
    assert found.count(200) <= BURST + RATE * (time.monotonic() - started) + 1
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
    first_refusal(lambda: cluster.http.get("/time"))
    for ask in requests:
        assert first_passed(ask).status_code in (400, 401)
        first_refusal(ask)
    assert user.call("GET", "/accounts").status_code == 200, "who signs rightly does not stand behind strangers"


def test_a_closed_exchange_registers_nobody(cluster):
    """With MATCHBOX_REGISTRATION=closed, users are made by who runs it."""
    body = {"name": "mallory", "password": PASSWORD}
    answer = first_passed(lambda: cluster.http.post("/users", json=body))
    assert (answer.status_code, "registration is closed" in answer.text) == (400, True)


# --- sockets ---


def opened(cluster, closing, **headers):
    """An open socket, or the answer with which it was refused: because of too many sockets, not handshakes."""
    while True:
        try:
            return closing.enter_context(
                connect(
                    cluster.url.replace("http", "ws"), close_timeout=0.2, max_queue=None, additional_headers=headers
                )
            )
        except InvalidStatus as error:
            if b"rate limit exceeded" not in (error.response.body or b""):
                return error.response
            time.sleep(1 / RATE)


def entered(cluster, closing):
    """An open socket, once those of the test before have left."""
    return wait_until(lambda: isinstance(found := opened(cluster, closing), ClientConnection) and found)


def test_an_address_opens_so_many_sockets(cluster):
    """The fifth is 429, whatever it says about itself; one that closes makes room."""
    with contextlib.ExitStack() as closing:
        found = [entered(cluster, closing) for _ in range(4)]
        for disguise in ({}, {"X-Forwarded-For": "203.0.113.7"}, {"X-Real-IP": "203.0.113.7"}):
            refused = opened(cluster, closing, **disguise)
            assert refused.status_code == 429
            assert "too many WebSockets are open from your address" in json.loads(refused.body)["message"]
            assert int(refused.headers["Retry-After"]) >= 1
        found[0].close()
        assert entered(cluster, closing)


def test_a_user_signs_in_on_so_many_sockets(cluster):
    """With one key or several: on the third the user channel is refused, the public ones are not."""
    alice = cluster.user()
    keys = [alice.key, cluster.key(alice.account), cluster.key(alice.account)]
    answers = []
    with contextlib.ExitStack() as closing:
        for key in keys:
            alice.key = key
            feed = entered(cluster, closing)
            feed.send(json.dumps({"type": "subscribe", "channels": ["user"], **alice.login()}))
            answers.append(json.loads(feed.recv(timeout=15)))
        assert [one["type"] for one in answers] == ["subscriptions", "subscriptions", "error"]
        assert "too many WebSockets of yours" in answers[2]["reason"]
        feed.send(json.dumps({"type": "subscribe", "product_ids": ["BTC-USD"], "channels": ["ticker"]}))
        assert json.loads(feed.recv(timeout=15))["type"] == "subscriptions"

    def signs_in():
        with contextlib.ExitStack() as closing:
            feed = entered(cluster, closing)
            feed.send(json.dumps({"type": "subscribe", "channels": ["user"], **alice.login()}))
            return json.loads(feed.recv(timeout=15))["type"] == "subscriptions"

    wait_until(signs_in)


def test_sockets_that_die_are_not_counted_for_ever(cluster):
    """Cut without a word, refused in the handshake, hung up at once: their places are free again."""
    host, port = cluster.settings.host, cluster.settings.port
    hello = (
        f"GET / HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    ).encode()
    for tail in (hello, hello, hello, hello, hello, hello[:-10], hello.replace(b": 13", b": 99")):
        with socket.create_connection((host, port)) as raw:
            raw.sendall(tail)
        time.sleep(1 / RATE)
    with contextlib.ExitStack() as closing:
        assert all(entered(cluster, closing) for _ in range(4))


def test_whoever_floods_the_feed_is_shown_out(cluster):
    """More subscriptions a second than anybody needs, or nothing but nonsense: 1008, and the gateway goes on."""
    for flood in ({"type": "unsubscribe", "channels": ["status"]}, {"type": "nonsense"}):
        with contextlib.ExitStack() as closing:
            feed = entered(cluster, closing)
            with contextlib.suppress(ConnectionClosed):
                for _ in range(2_500):
                    feed.send(json.dumps(flood))
            heard = []
            with contextlib.suppress(ConnectionClosed):
                while True:
                    heard.append(json.loads(feed.recv(timeout=15)))
            assert heard[-1]["message"] == "Too many messages"
            assert feed.close_code == 1008
    assert first_passed(lambda: cluster.http.get("/time")).status_code == 200


def test_repeating_a_wish_is_no_work(cluster):
    """A message of 64 KiB that names one channel thousands of times is one subscription."""
    with contextlib.ExitStack() as closing:
        feed = entered(cluster, closing)
        wish = {"type": "subscribe", "product_ids": ["BTC-USD"] * 1000, "channels": ["ticker"] * 4000}
        feed.send(json.dumps(wish))
        answer = json.loads(feed.recv(timeout=15))
        assert answer["channels"] == [{"name": "ticker", "product_ids": ["BTC-USD"]}]


def test_orders_over_the_feed_are_counted_like_those_over_rest(cluster):
    """The account's bucket is one, on whichever socket; cancels have their own there, too; refusals close nothing."""
    alice = cluster.user(USD="1000")
    with contextlib.ExitStack() as closing:
        both = [entered(cluster, closing) for _ in range(2)]
        for one in both:
            tell(one, type="authenticate", **alice.login())
        found: list[int] = []

        def is_refused():
            number = len(found)
            answer = tell(both[number % 2], type="order", id=str(number), **ORDER, client_oid=f"{number}")
            found.append(answer.get("status", 200))
            return found[-1] != 200

        wait_until(is_refused)
        assert found == [200] * (len(found) - 1) + [429]
        assert len(found) > BURST
        check_refused(first_refusal(lambda: alice.call("GET", "/accounts")), "Private")
        assert tell(both[0], type="cancel", id="c", client_oid="0")["type"] == "cancel_result"
        wait_until(lambda: tell(both[0], type="order", id="again", **ORDER)["type"] == "order_result")


def tell(feed, **fields):
    """Send a message; answers the answer."""
    feed.send(json.dumps(fields))
    return json.loads(feed.recv(timeout=15))
