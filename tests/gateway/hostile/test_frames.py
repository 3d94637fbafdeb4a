"""WebSocket frames that no client sends: the connection ends with a code that says why, and nobody else notices."""

import json
import random
import time

import httpx
import psutil
import pytest

from tests.gateway.browser import wait_until
from tests.gateway.hostile.raw_socket import (
    BINARY,
    CLOSE,
    CONT,
    FIN,
    HELLO,
    PING,
    PONG,
    TEXT,
    RawSocket,
    answer_to,
    frame,
)
from workers.gateway.feed.protocol import PIECES_MAX

pytestmark = pytest.mark.slow
WISH = json.dumps({"type": "subscribe", "product_ids": ["BTC-USD"], "channels": ["status"]}).encode()
LONGEST_WAIT_S = 1.0
"""What others may have to wait while somebody floods, or so many times what they did before; it was 10 s."""
SLOWER_MAX = 20
MEMORY_MAX = 16 * 1024 * 1024
"""How much more a flood may take, in bytes."""

BROKEN = {
    "not masked": (1002, [frame(FIN | TEXT, WISH, masked=False)]),
    "a reserved bit": (1002, [frame(FIN | TEXT | 0x40, WISH)]),
    "an unknown kind": (1002, [frame(FIN | 0x3, WISH)]),
    "an unknown control frame": (1002, [frame(FIN | 0xB)]),
    "the next piece of nothing": (1002, [frame(FIN | CONT, WISH)]),
    "a message in a message": (1002, [frame(TEXT, WISH), frame(FIN | TEXT, WISH)]),
    "a ping in pieces": (1002, [frame(PING)]),
    "a long ping": (1002, [frame(FIN | PING, b"x" * 126)]),
    "a close without a whole code": (1002, [frame(FIN | CLOSE, b"x")]),
    "a close with a code that is none": (1002, [frame(FIN | CLOSE, (999).to_bytes(2))]),
    "a close that is no text": (1007, [frame(FIN | CLOSE, (1000).to_bytes(2) + b"\xff")]),
    "no text": (1007, [frame(FIN | TEXT, b"\xff\xfe" + WISH)]),
    "no text, in pieces": (1007, [frame(TEXT, b'{"type":"\xc3'), frame(FIN | CONT, b'("}')]),
    "too long": (1009, [frame(FIN | TEXT, b"x" * 65_537)]),
    "too long, and more to come": (1009, [frame(FIN | TEXT, length=1 << 40)]),
    "of a length that is none": (1009, [frame(FIN | TEXT, length=1 << 63)]),
    "too long, in pieces": (1009, [frame(TEXT, b"x" * 40_000), frame(FIN | CONT, b"x" * 40_000)]),
    "of too many pieces": (1009, [frame(TEXT), frame(CONT) * (PIECES_MAX + 1)]),
}


@pytest.fixture(scope="module", autouse=True)
def nothing_failed(cluster):
    """Whatever was sent, the gateway has nothing to complain of, and has no connection left."""
    yield
    assert "Exception in ASGI" not in cluster.log("gateway:0").read_text()
    wait_until(lambda: "matchbox_gateway_sockets 0.0" in cluster.http.get("/metrics").text)


def works(cluster):
    """Whether the feed answers somebody else."""
    with RawSocket(cluster) as other:
        other.send(frame(FIN | TEXT, WISH))
        return json.loads(other.message())["type"] == "subscriptions"


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_frame_ends_its_connection(cluster, what):
    """With the close code of RFC 6455; others go on."""
    code, parts = BROKEN[what]
    with RawSocket(cluster) as client:
        client.send(*parts)
        assert client.close_code() == code
    assert works(cluster)


@pytest.mark.parametrize("seed", range(5))
def test_random_bytes_do_nothing(cluster, seed):
    """What begins by chance like a long frame waits for its end; all else is closed or answered with an error."""
    dice = random.Random(seed)
    for _ in range(40):
        with RawSocket(cluster) as client:
            client.raw.settimeout(0.05)
            client.send(dice.randbytes(dice.choice((1, 2, 6, 14, 100, 5000))))
            try:
                for first, data in client.frames():
                    assert first == FIN | CLOSE or json.loads(data)["type"] == "error", data
            except TimeoutError:
                pass
    assert works(cluster)


def test_a_message_may_come_in_any_pieces(cluster):
    """Byte by byte, pings between them, as binary; or hundreds at once: each is answered."""
    bytewise = [frame(CONT, bytes([one])) for one in WISH[1:-1]]
    pings = frame(FIN | PING, b"are you there")
    for parts in (
        [frame(TEXT, WISH[:1]), *bytewise, frame(FIN | CONT, WISH[-1:])],
        [frame(TEXT, WISH[:1]), pings, *bytewise, pings, frame(FIN | CONT, WISH[-1:])],
        [bytes([one]) for one in frame(FIN | TEXT, WISH)],
        [frame(FIN | BINARY, WISH)],
    ):
        with RawSocket(cluster) as client:
            client.send(*parts)
            assert json.loads(client.message())["type"] == "subscriptions"
    with RawSocket(cluster) as client:
        client.send(b"".join(frame(FIN | TEXT, b'{"type":%d}' % number) for number in range(1500)), frame(FIN | TEXT))
        for _ in range(1501):
            assert json.loads(client.message())["type"] == "error"


@pytest.mark.parametrize(
    "hello",
    [
        HELLO.replace(b": 13", b": 99"),
        HELLO.replace(b"A==", b""),
        HELLO.replace(b"Host: x", b"X: " + b"y" * 20_000),
        HELLO.replace(b"Host: x", b"\r\n".join(b"X-%d: y" % number for number in range(200))),
        HELLO.replace(b"GET / ", b"GET /" + b"y" * 20_000 + b" "),
        HELLO.replace(b"GET / ", b"GET /orders "),
        HELLO.replace(b"GET / ", b"GET /%ff "),
        HELLO.replace(b"GET / ", b"GET /\xff "),
    ],
    ids=lambda hello: hello.decode("latin-1")[:30],
)
def test_a_handshake_that_is_none_is_refused(cluster, hello):
    """At once, with a 4xx that no client tries again, and the connection is closed."""
    answer = answer_to(cluster, hello)
    assert answer[:12] in (b"HTTP/1.1 400", b"HTTP/1.1 404", b"HTTP/1.1 414", b"HTTP/1.1 431"), answer


FLOODS = {
    "pings": frame(FIN | PING, b"x" * 125),
    "pongs": frame(FIN | PONG),
    "empty pieces": frame(TEXT) + frame(CONT) * (PIECES_MAX // 2) + frame(FIN | CONT),
    "empty messages": frame(FIN | TEXT),
    "messages": frame(FIN | TEXT, b"{}"),
}


@pytest.mark.parametrize("what", FLOODS)
def test_a_flood_of_frames_is_cut_off(cluster, what):
    """Sent as fast as they go by one who never reads: it loses its connection, others hardly wait, memory stays."""
    gateway = psutil.Process(cluster.processes["gateway:0"].pid)
    before, flood = gateway.memory_info().rss, FLOODS[what]
    flood *= 1_000_000 // len(flood)
    with RawSocket(cluster, receive_bytes=4096) as client, httpx.Client(base_url=cluster.url, timeout=15) as http:
        http.get("/time")
        calm = max(wait_of(http, gateway) for _ in range(20))
        client.raw.setblocking(False)
        waits, at, end = [], 0, time.monotonic() + 15
        while at >= 0 and time.monotonic() < end:
            at = pour(client.raw, flood, at)
            waits.append(wait_of(http, gateway))
            assert gateway.memory_info().rss - before < MEMORY_MAX
    assert at < 0, "it was cut off"
    assert max(waits) < max(LONGEST_WAIT_S, SLOWER_MAX * calm)
    assert works(cluster)


def wait_of(http, gateway):
    """How long another client waits for an answer while the gateway works, in seconds of its CPU.

    While the machine does something else, nobody is to blame.
    """
    before = gateway.cpu_times()
    assert http.get("/time").status_code == 200
    after = gateway.cpu_times()
    return after.user + after.system - before.user - before.system


def pour(raw, flood, at):
    """Send as much as the connection takes, from byte ``at`` on; answers where to go on, -1 if it is cut."""
    try:
        for _ in range(20):
            at = (at + raw.send(flood[at:])) % len(flood)
    except BlockingIOError:
        return at
    except (ConnectionResetError, BrokenPipeError):
        return -1
    return at
