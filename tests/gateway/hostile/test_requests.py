"""HTTP by those who ask for what is not theirs, do not say what they mean, or never come to the end of a request."""

import contextlib
import json
import socket
import statistics
import time
from urllib.parse import quote

import psutil
import pytest

from shared.order_id import from_uuid, to_uuid
from tests.gateway.browser import wait_until
from tests.gateway.hostile.raw_socket import CONT, HELLO, TEXT, RawSocket, frame

pytestmark = pytest.mark.slow
ORDER = {"product_id": "BTC-USD", "side": "buy", "price": "50.00", "size": "0.01"}
HALF_OPEN = 300


@pytest.fixture
def alice(cluster):
    """A user with an order, a trade and a transfer."""
    user, other = cluster.user(USD="1000", BTC="1"), cluster.user(BTC="1")
    user.order(**ORDER | {"price": "60.00"})
    other.order(**ORDER | {"price": "60.00", "side": "sell"})
    user.order(**ORDER, client_oid="hers")
    wait_until(lambda: user.call("GET", "/orders/client:hers").json()["status"] == "open")
    user.call("POST", "/deposits", {"currency": "USD", "amount": "5", "idem": "hers"})
    wait_until(lambda: user.call("GET", "/fills").json())
    wait_until(lambda: len(user.call("GET", "/transfers").json()) == 3)
    yield user
    user.call("DELETE", "/orders")


def situation(user):
    """All that is hers."""
    return [user.call("GET", target).json() for target in ("/accounts", "/orders?status=all", "/fills", "/transfers")]


def test_what_is_others_reads_like_what_is_not_there(cluster, alice):
    """Every route that takes an id says of hers, byte for byte, what it says of one that nobody has; she keeps it."""
    mallory, before = cluster.user(USD="1000"), situation(alice)
    accounts, orders, fills, transfers = before
    nobody = "00000000-0000-5000-8000-000000000000"
    order = next(one["id"] for one in orders if one.get("client_oid") == "hers")
    pairs = [(order, to_uuid(from_uuid(order) + (100_000 << 8))), ("client:hers", "client:nobodys")]
    for hers, none in pairs:
        for method, body in (("GET", None), ("DELETE", None), ("PATCH", {"price": "49.00"})):
            check_alike(mallory, method, f"/orders/{hers}", f"/orders/{none}", body)
        check_alike(mallory, "DELETE", f"/orders/{hers}?product_id=BTC-USD", f"/orders/{none}?product_id=BTC-USD")
    for one in accounts:
        for part in ("", "/ledger", "/holds", "/transfers"):
            check_alike(mallory, "GET", f"/accounts/{one['id']}{part}", f"/accounts/{nobody}{part}")
    for one in transfers:
        check_alike(mallory, "GET", f"/transfers/{quote(one['id'])}", f"/transfers/{nobody}")
    check_alike(mallory, "GET", f"/profiles/{accounts[0]['profile_id']}", f"/profiles/{nobody}")
    for query in (f"order_id={fills[0]['order_id']}", "product_id=BTC-USD", "limit=1000"):
        assert mallory.call("GET", f"/fills?{query}").json() == []
    assert mallory.call("GET", "/orders?status=all").json() == []
    assert mallory.call("DELETE", "/orders").json() == []
    assert situation(alice) == before


def check_alike(user, method, hers, nobodys, body=None):
    """Both are not found, in the same words and with the same headers."""
    answers = [user.call(method, target, body) for target in (hers, nobodys)]
    assert [answer.status_code for answer in answers] == [404, 404], (method, hers, answers[0].text)
    assert answers[0].content == answers[1].content
    assert sorted(answers[0].headers) == sorted(answers[1].headers)


@pytest.mark.parametrize("query", ["?product=BTC-USD", "?productId=ETH-USD", "?product_id=ETH-USD&sides=sell", "?side"])
def test_a_mass_cancel_that_is_misread_cancels_nothing(alice, query):
    """What was to narrow it down, and is not understood, is refused: in the query as in the body."""
    before = situation(alice)
    answer = alice.call("DELETE", f"/orders{query}")
    assert answer.status_code == 400, answer.text
    assert alice.call("DELETE", "/orders", {"product": "ETH-USD"}).status_code == 400
    assert situation(alice) == before


def test_those_who_never_finish_do_not_keep_others_waiting(cluster, alice):
    """Hundreds of half requests, drop by drop: orders go through as quickly as before; what they held is given back."""
    gateway = psutil.Process(cluster.processes["gateway:0"].pid)
    files, before = gateway.num_fds(), time_of_orders(alice)
    with contextlib.ExitStack() as closing:
        drops = [begin(closing, cluster, number) for number in range(HALF_OPEN)]
        wait_until(lambda: gateway.num_fds() >= files + HALF_OPEN)
        for _ in range(5):
            for raw, drop in drops:
                raw.sendall(drop)
            assert time_of_orders(alice) < 10 * before + 0.05
    wait_until(lambda: gateway.num_fds() <= files + 5)
    assert cluster.http.get("/health").status_code == 200


def time_of_orders(user):
    """Seconds that an order takes, in the middle of 20."""
    times = []
    for _ in range(20):
        started = time.perf_counter()
        user.order(**ORDER)
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def begin(closing, cluster, number):
    """A request or message that is under way, and what is sent of it now and then."""
    body = b"POST /orders HTTP/1.1\r\nHost: x\r\nContent-Length: 60000\r\n\r\n{"
    starts = [
        (b"GET /orders HTTP/1.1\r\nX-A: ", b"y"),
        (body, b" "),
        (b"POST /orders HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
        (HELLO[:-4], b"y"),
        (frame(TEXT, b"{"), frame(CONT, b" ")),
        (frame(TEXT, b"{", length=60_000), b" "),
    ]
    start, drop = starts[number % len(starts)]
    if number % len(starts) < 4:
        raw = closing.enter_context(
            socket.create_connection((cluster.settings.host, cluster.settings.port), timeout=15)
        )
    else:
        raw = closing.enter_context(RawSocket(cluster)).raw
    raw.sendall(start)
    return raw, drop


@pytest.mark.parametrize("late_s", [-45, -3600, 31.5, 3600, 10**9])
def test_a_skewed_clock_or_another_request_places_nothing(cluster, alice, late_s):
    """A right signature, but too old or from the future; in time, but of another method, path or body: 401."""
    before, body = situation(alice), json.dumps(ORDER).encode()
    stamp = f"{time.time() - late_s:.3f}"
    requests = [("POST", "/orders", body, alice.headers("POST", "/orders", body, at=stamp))]
    taken = alice.headers("POST", "/orders", body)
    requests += [
        ("POST", "/orders", body.replace(b"0.01", b"0.10"), taken),
        ("POST", "/orders", body + b" ", taken),
        ("POST", "/orders?x", body, taken),
        ("POST", "/orders/", body, taken),
        ("DELETE", "/orders", body, taken),
        ("POST", "/orders", body, taken | {"CB-ACCESS-TIMESTAMP": str(int(taken["CB-ACCESS-TIMESTAMP"]) + 1)}),
        ("POST", "/orders", body, taken | {"CB-ACCESS-KEY": cluster.user().key.key}),
    ]
    for method, target, content, headers in requests:
        answer = alice.http.request(method, target, content=content, headers=headers)
        assert answer.status_code == 401, (method, target, answer.text)
        assert answer.json()["message"]
    assert situation(alice) == before
