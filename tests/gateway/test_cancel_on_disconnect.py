"""What was placed over a socket is canceled when it ends: closed, cut off, silent, or its gateway stopped or killed."""

import asyncio
import base64
import contextlib
import json
import os
import secrets
import signal
import socket
import struct
import time

import msgspec
import pytest

from shared import keys
from shared.connections import connect_async, open_database_async
from shared.credentials import server_key
from tests.gateway.browser import wait_until
from tests.harness import free_port
from workers.gateway.app import create_gateway
from workers.gateway.feed.cancel_on_disconnect import Promise

pytestmark = pytest.mark.slow
ORDER = {"product_id": "BTC-USD", "side": "buy", "price": "100.00", "size": "0.1"}
SELL = ORDER | {"side": "sell", "price": "150.00"}


@pytest.fixture
def alice(cluster):
    """A user with money, and no order left afterwards."""
    user = cluster.user(USD="10000", BTC="10")
    yield user
    user.call("DELETE", "/orders")


def protected(ws, user):
    """A socket that has been promised it."""
    client = ws()
    client.sign_in(user)
    answer = client.ask(type="cancel_on_disconnect", id="p", enabled=True)
    assert answer == {"type": "cancel_on_disconnect", "enabled": True, "id": "p"}
    return client


def place(client, number, **fields):
    answer = client.ask(type="order", id=number, **ORDER | fields)
    assert answer["type"] == "order_result", answer
    return answer["order"]["id"]


def open_orders(user):
    return sorted(order["id"] for order in user.call("GET", "/orders?limit=1000").json())


def done_orders(user):
    return user.call("GET", "/orders?status=done&limit=1000").json()


def wait_open(user, expected, timeout_s=15.0):
    """Until exactly these orders are open."""
    started = time.monotonic()
    while open_orders(user) != sorted(expected):
        assert time.monotonic() - started < timeout_s, (open_orders(user), expected)
        time.sleep(0.02)


def promises(cluster):
    return {
        name.decode(): msgspec.json.decode(text, type=Promise)
        for name, text in cluster.client.hgetall(keys.CANCEL_ON_DISCONNECT).items()
    }


def wait_kept(cluster, timeout_s=15.0):
    """Until no promise is left."""
    end = time.monotonic() + timeout_s
    while promises(cluster):
        assert time.monotonic() < end
        time.sleep(0.02)


def start_again(cluster, user):
    """Start the gateway that was killed."""
    cluster.start("gateway:0")
    wait_answered(cluster, user)


def wait_answered(cluster, user):
    """Until the gateway runs, and has the keys: before that, what is signed is a 503."""
    cluster.wait_ready("gateway:0")
    wait_until(lambda: user.call("GET", "/accounts").status_code == 200)


# --- the socket ends -------------------------------------------------------------------------------


def test_a_closed_socket_takes_its_own_orders_along_and_no_others(cluster, ws, alice):
    """Stops, lists' children and those placed before it was switched on, too; not what came over REST or elsewhere."""
    other, rest = ws(), alice.order(**ORDER, client_oid="rest")["id"]
    other.sign_in(alice)
    elsewhere = place(other, "1")
    client = ws()
    client.sign_in(alice)
    place(client, "before")
    client.ask(type="cancel_on_disconnect", id="p", enabled=True)
    place(client, "limit", product_id="ETH-USD")
    place(client, "stop", **SELL | {"stop_price": "50.00", "price": "49.00"})
    legs = [ORDER, SELL, SELL | {"stop_price": "50.00", "price": "49.00"}]
    assert client.ask(type="order_list", id="list", list_type="otoco", orders=legs)["type"] == "order_list_result"
    client.ask(type="amend", id="a", order_id=rest, size="0.05")
    assert client.ask(type="order", id="again", **ORDER, client_oid="rest")["order"]["id"] == rest
    assert len(open_orders(alice)) == 8
    assert len(promises(cluster)) == 1
    client.socket.close()
    wait_open(alice, [rest, elsewhere])
    wait_kept(cluster)
    rows = {row["currency"]: row for row in alice.call("GET", "/accounts").json()}
    assert [float(rows[name]["hold"]) for name in ("BTC", "USD")] == [0, 15.03]


def test_a_cut_connection_is_noticed_and_what_was_on_its_way_goes_too(cluster, ws, alice):
    """Reset in the midst of two hundred requests without an answer: nothing of them is left on the book."""
    client = protected(ws, alice)
    for number in range(200):
        client.send(type="order", id=str(number), **ORDER | {"size": "0.001"})
    client.hear()
    raw = client.socket.socket
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    os.close(raw.detach())
    wait_kept(cluster)
    wait_open(alice, [])
    assert len(alice.call("GET", "/orders?status=done&limit=1000").json()) > 0


def test_switched_off_the_orders_stay(cluster, ws, alice):
    """Off is off, and its answer says so; a socket that never asked for it leaves its orders, too."""
    client, plain = protected(ws, alice), ws()
    plain.sign_in(alice)
    left = [place(client, "1"), place(plain, "1")]
    assert client.ask(type="cancel_on_disconnect", id="off", enabled=False)["enabled"] is False
    assert promises(cluster) == {}
    client.socket.close()
    plain.socket.close()
    time.sleep(0.3)
    assert open_orders(alice) == sorted(left)


def test_enabled_is_true_or_false(ws, alice):
    """Anything else is refused, and changes nothing."""
    client = ws()
    client.sign_in(alice)
    wrong: list[dict] = [{}, {"enabled": 1}, {"enabled": "true"}, {"enabled": None}]
    for number, fields in enumerate(wrong):
        answer = client.ask(type="cancel_on_disconnect", id=str(number), **fields)
        assert (answer["message"], answer["reason"]) == ("Invalid message", "enabled must be true or false")


# --- the gateway ends ------------------------------------------------------------------------------


def test_a_gateway_that_is_told_to_stop_cancels_first(cluster, ws, alice):
    """SIGTERM: exit code 0, and the promise is kept before the process is gone."""
    client = protected(ws, alice)
    place(client, "1")
    assert cluster.kill("gateway:0", signal.SIGTERM) == 0
    assert promises(cluster) == {}
    start_again(cluster, alice)
    wait_open(alice, [])


def test_a_killed_gateway_cancels_when_it_is_back(cluster, ws, alice):
    """After kill -9 whoever starts under its name keeps its promises; orders of other sockets stay."""
    client, plain = protected(ws, alice), ws()
    plain.sign_in(alice)
    left = place(plain, "1")
    gone = [place(client, "1"), place(client, "2", **SELL)]
    cluster.kill("gateway:0")
    assert len(promises(cluster)) == 1
    start_again(cluster, alice)
    wait_open(alice, [left])
    wait_kept(cluster)
    assert all(alice.call("GET", f"/orders/{number}").json()["done_reason"] == "canceled" for number in gone)


def test_what_the_killed_gateway_had_just_sent_is_canceled_too(cluster, ws, alice):
    """Orders that the ledger had not even read when the gateway died: they are accepted, and canceled at once."""
    client = protected(ws, alice)
    os.kill(cluster.processes["ledger:0"].pid, signal.SIGSTOP)
    try:
        inbox = keys.inbox(0)
        before = cluster.client.xlen(inbox)
        for number in range(20):
            client.send(type="order", id=str(number), **ORDER | {"size": "0.001"})
        wait_until(lambda: cluster.client.xlen(inbox) == before + 20)
        cluster.kill("gateway:0")
        cluster.start("gateway:0")
        time.sleep(2)
    finally:
        os.kill(cluster.processes["ledger:0"].pid, signal.SIGCONT)
    wait_answered(cluster, alice)
    wait_kept(cluster)
    wait_open(alice, [])
    wait_until(lambda: len(done_orders(alice)) == 20)
    assert {row["done_reason"] for row in done_orders(alice)} == {"canceled"}


def test_a_gateway_that_never_comes_back_is_stood_in_for(cluster, alice):
    """Any other gateway keeps its promises, but only once it has shown no sign of life twice."""
    order = alice.order(**ORDER)["id"]  # its request id is not known: the promise is for what begins like any

    async def stand_in():
        client, engine = connect_async(cluster.settings.redis_url), open_database_async(cluster.settings.database_url)
        gateway = create_gateway(9, cluster.settings, client, engine, server_key(cluster.settings))
        running = [
            asyncio.create_task(one)
            for one in (gateway.replicas.follow_forever(), gateway.inbox.send_forever(), gateway.inbox.expire_forever())
        ]
        assert await gateway.replicas.wait_followed(15)  # or it misses the answer to what it asks
        look, kept = gateway.cancel_on_disconnect._keep_for_others, []
        gone, alive = keys.own_beat("gateway:8", "elsewhere", 1), keys.own_beat("gateway:9", "elsewhere", 2)
        twin = keys.own_beat("gateway:9", socket.gethostname(), os.getppid())  # of another cluster's folder on our host
        for living in (alive, twin):
            await client.set(living, b"{}", ex=60)
        for session, owner in (("g0-", gone), ("g1-", alive), ("g2-", twin)):
            await client.hset(keys.CANCEL_ON_DISCONNECT, session, msgspec.json.encode(Promise(alice.account, owner)))
        suspects = await look(set())
        kept.append((suspects, await client.hkeys(keys.CANCEL_ON_DISCONNECT)))
        suspects = await look(suspects)
        kept.append((suspects, await client.hkeys(keys.CANCEL_ON_DISCONNECT)))
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await client.delete(keys.CANCEL_ON_DISCONNECT, alive, twin)
        await client.aclose()
        await engine.dispose()
        return kept

    first, second = asyncio.run(stand_in())
    assert first == ({"g0-"}, [b"g0-", b"g1-", b"g2-"])
    assert second == (set(), [b"g1-", b"g2-"])
    wait_open(alice, [])
    assert alice.call("GET", f"/orders/{order}").json()["done_reason"] == "canceled"


# --- the client falls silent -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def impatient(cluster):
    """The port of a gateway that pings often."""
    port = free_port()
    cluster.constants["gateway:5"] = {"workers.gateway.process": {"PING_S": 0.2, "PONG_S": 2.0}}
    cluster.start("gateway:5", port=port)
    cluster.wait_ready("gateway:5")
    yield port
    cluster.kill("gateway:5", signal.SIGTERM)


class Mute:
    """A WebSocket of which only the sending half works: it never answers a ping."""

    def __init__(self, port):
        self.raw = socket.socket()
        self.raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.raw.connect(("127.0.0.1", port))
        key = base64.b64encode(secrets.token_bytes(16)).decode()
        self.raw.sendall(
            f"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        assert self.raw.recv(4096).startswith(b"HTTP/1.1 101")

    def send(self, **fields):
        text = json.dumps(fields).encode()
        self.raw.sendall(struct.pack("!BBHI", 0x81, 0x80 | 126, len(text), 0) + text)


@pytest.mark.parametrize("flood", [0, 20_000], ids=["quiet", "with unsent messages"])
def test_a_client_that_answers_no_ping_is_disconnected(cluster, alice, impatient, flood):
    """A lost network: the pings go unanswered; however much is still unsent, the orders are canceled soon after."""
    mute = Mute(impatient)
    mute.send(type="authenticate", **alice.login())
    mute.send(type="cancel_on_disconnect", enabled=True)
    mute.send(type="order", id="1", **ORDER)
    wait_until(lambda: alice.call("GET", "/orders?status=all").json())
    with contextlib.suppress(OSError):  # it may be cut off while it still talks
        for _ in range(flood):
            mute.send(type="cancel", id="x" * 100)
    wait_open(alice, [])
    wait_kept(cluster)
    mute.raw.close()
