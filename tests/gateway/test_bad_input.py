"""Every route of the API's own description, with values nobody should send: a 4xx that says why, never a fault."""

import contextlib
import json
import random
import re
import socket
import time
from urllib.parse import quote

import httpx
import pytest
from websockets.sync.client import connect

from workers.gateway.http_protocol import HEAD_BYTES_MAX

pytestmark = pytest.mark.slow

VALUES = [
    "",
    "0",
    "-1",
    "1",
    "2.5",
    "1e400",
    "9" * 25,
    "NaN",
    "null",
    "true",
    "[]",
    "{}",
    "\x00",
    "a\x00b",
    "\ud7ff",
    "ü",
    "%",
    "../..",
    "BTC-USD",
    "ETH-USD",
    "BTC/USD",
    "client:",
    "client:x",
    "2025-01-01",
    "0001-01-01",
    "9999-12-31T23:59:59+14:00",
    "2025-W01",
    "6d617463-6862-8000-8000-000000000100",
    "6d617463-6862-8000-bfff-ffffffffffff",
    "all",
    "open",
    "' OR 1=1 --",
    "x" * 3000,
]
BODIES = [
    b"",
    b"{}",
    b"[]",
    b"0",
    b"\x00",
    b"\xff",
    b'"',
    b'{"product_id":"BTC-USD"}',
    b'{"product_id":5}',
    b'{"product_id":null}',
    b'{"product_id":"BTC-USD","side":"buy","price":"1","size":"\xc3\xbc"}',
    b'{"product_id":"\\u0000"}',
    b'{"product_id":"BTC-USD","side":"buy","price":1e308,"size":1e-308}',
    b'{"product_id":"BTC-USD","side":"buy","type":"market","funds":"0.0000000001"}',
    b'{"client_oid":"\\u0000","product_id":"BTC-USD","side":"sell","price":"1","size":"1"}',
    b'{"product_id":"BTC-USD","side":"sell","size":"1e-8","type":"market","trail_bps":1e400}',
    b'{"product_id":"BTC-USD","side":"sell","size":"1e-8","price":1,"stop_price":-0.0}',
    b'{"product_id":"BTC-USD","side":"buy","size":"1","price":"0.01","time_in_force":"GTT","cancel_after":"0000-00-00"}',
    b'{"product_id":"BTC-USD","side":"buy","size":"1","price":"0.01","display_size":{},"min_size":[]}',
    b'{"price":"1e400"}',
    b'{"size":"1e-400","price":null}',
    b'{"stop_price":99999999999999999999999999}',
    b'{"type":"oco","orders":[[],{}]}',
    b'{"type":"oco","orders":"xx"}',
    b'{"type":"otoco","orders":[{"orders":[]},null,{"type":"oco"}],"trigger":true}',
    b'{"type":"oto","orders":[{"product_id":"BTC-USD"},{"product_id":"BTC-USD"}]}',
    b'{"side":["buy"]}',
]


@pytest.fixture(scope="module")
def routes(cluster):
    """(method, path, names of query parameters) of every documented route."""
    api = cluster.http.get("/openapi.json").json()
    return [
        (method.upper(), path, [one["name"] for one in about.get("parameters", []) if one["in"] == "query"])
        for path, methods in api["paths"].items()
        for method, about in methods.items()
    ]


@pytest.mark.parametrize("seed", range(12))
def test_no_request_makes_a_fault(cluster, routes, seed):
    """Seeded nonsense in path, query and body, rightly signed: never 5xx, a message for each error, no money moved."""
    dice = random.Random(seed)
    user = cluster.user(USD="1000", BTC="1")
    for method, path, names in routes * 3:
        target = re.sub(r"{[^}]+}", lambda _: quote(dice.choice(VALUES), safe=":"), path)
        query = [f"{name}={quote(dice.choice(VALUES))}" for name in names if dice.random() < 0.4]
        if query:
            target += "?" + "&".join(query)
        body = dice.choice(BODIES) if method in ("POST", "PATCH", "DELETE") or dice.random() < 0.1 else b""
        answer = user.http.request(method, target, content=body, headers=user.headers(method, target, body))
        assert answer.status_code < 500, (method, target, body, answer.text)
        if answer.status_code >= 400:
            assert set(answer.json()) == {"message"}, (method, target, answer.text)
            assert answer.json()["message"]
    balance = {row["currency"]: float(row["balance"]) for row in user.call("GET", "/accounts").json()}
    assert (balance["USD"], balance["BTC"]) == (1000, 1)


def test_a_request_that_is_no_http_ends_with_400(cluster):
    """Bytes that are no HTTP are answered, or the connection is closed; the gateway goes on."""
    for text in (
        b"\x00\x01\x02\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST /orders HTTP/1.1\r\nContent-Length: x\r\n\r\n",
    ):
        with socket.create_connection((cluster.settings.host, cluster.settings.port), timeout=15) as raw:
            raw.sendall(text)
            assert raw.recv(4096)[:12] in (b"", b"HTTP/1.1 400")
    assert cluster.http.get("/time").status_code == 200


def talk(cluster, *parts, pause_s=0.0):
    """Send bytes, and read until the other side hangs up or has answered."""
    with socket.create_connection((cluster.settings.host, cluster.settings.port), timeout=15) as raw:
        try:
            for part in parts:
                raw.sendall(part)
                time.sleep(pause_s)
            return raw.recv(65536)
        except ConnectionError:  # it hung up while we still talked
            return b""


@pytest.mark.parametrize("size", [HEAD_BYTES_MAX + 200_000, 8 * 1024 * 1024])
@pytest.mark.parametrize("shape", [b"X-Long: %b\r\n", b"GET /%b HTTP/1.1\r\n"])
def test_a_head_without_end_is_cut_off(cluster, size, shape):
    """One endless header, or an endless path: refused while it comes, and not kept."""
    start = b"" if shape.startswith(b"GET") else b"GET /time HTTP/1.1\r\nHost: x\r\n"
    answer = talk(cluster, start + shape.replace(b"%b", b"x" * size))
    assert answer[:12] in (b"HTTP/1.1 431", b"")
    assert cluster.http.get("/time").status_code == 200


def test_many_headers_are_one_long_head(cluster):
    """Each is short; together they are too long."""
    lines = [b"GET /time HTTP/1.1\r\nHost: x\r\n", *(b"X-%d: %b\r\n" % (n, b"y" * 1000) for n in range(400))]
    assert talk(cluster, *lines, pause_s=0.0005)[:12] in (b"HTTP/1.1 431", b"")


def test_a_usual_head_in_pieces_is_a_request(cluster):
    """Byte by byte, if need be; and a connection may be used for many."""
    request = b"GET /time HTTP/1.1\r\nHost: x\r\nX-Some: " + b"y" * 8000 + b"\r\n\r\n"
    for parts in ([request], [request[n : n + 100] for n in range(0, len(request), 100)]):
        assert talk(cluster, *parts)[:15] == b"HTTP/1.1 200 OK"
    for _ in range(300):  # more than the bound, all together
        assert cluster.http.get("/time", headers={"X-Some": "y" * 500}).status_code == 200


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("target", ["/orders", "/users", "/sessions", "/api-keys", "/admin/halts"])
def test_a_large_body_is_not_taken(cluster, target, chunked):
    """More than 64 KiB: 413, announced or not, before it is parsed; 64 KiB are looked at."""
    user = cluster.user()
    for size, large in ((64 * 1024, False), (64 * 1024 + 1, True), (1024 * 1024, True)):
        body = b'{"name": "' + b"x" * (size - 12) + b'"}'
        content = (part for part in (body[:1000], body[1000:])) if chunked else body
        try:
            answer = httpx.post(
                cluster.url + target, content=content, headers=user.headers("POST", target, body), timeout=15
            )
        except httpx.TransportError:
            assert large  # it hung up while we were still talking
            continue
        assert (answer.status_code == 413) is large, (size, answer.text)
        assert set(answer.json()) == {"message"}


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 60_000,
        b'{"a":' * 10_000,
        b'{"price":' + b"[" * 30_000 + b"]" * 30_000 + b"}",
        b'{"price":' + b"9" * 60_000 + b"}",
        b'{"price":1e' + b"9" * 60_000 + b"}",
        b'{"price":"' + b"9" * 60_000 + b'"}',
        b'{"size":-0.' + b"0" * 60_000 + b"1}",
        b'{"name":"\\ud800"}',
        b"\xff\xfe" * 1000,
        b'{"name":"a","name":"b","password":"12345678"}' + b" " * 60_000,
    ],
    ids=lambda body: body[:12].decode("latin-1"),
)
def test_what_is_made_to_hurt_a_parser_is_a_400(cluster, body):
    """Deep nesting, endless numbers, broken text: answered quickly, in signed routes and in open ones."""
    user = cluster.user()
    for target in ("/orders", "/users", "/sessions"):
        started = time.monotonic()
        answer = cluster.http.post(target, content=body, headers=user.headers("POST", target, body))
        assert answer.status_code in (400, 401, 200), answer.text
        assert time.monotonic() - started < 5
        if answer.status_code != 200:
            assert len(answer.json()["message"]) < 300
    with contextlib.closing(connect(cluster.url.replace("http", "ws"), close_timeout=0.2, legacy=True)) as feed:
        feed.send(body.decode("latin-1"))
        assert json.loads(feed.recv(timeout=15))["type"] == "error"
