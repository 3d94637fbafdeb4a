"""The WebSocket feed against real workers: what is heard is what the books did, and bad messages are answered."""

import contextlib
import json
import socket
import struct
import threading
import time
from contextlib import contextmanager
from decimal import Decimal
from functools import partial

import msgspec
import pytest
from websockets.exceptions import ConnectionClosed

from shared import keys
from shared.messages import FIELD, OrderRequest, encode
from tests.gateway.browser import wait_until
from tests.gateway.ear import Levels, Orders
from tests.harness import BTC_USD

pytestmark = pytest.mark.slow


@pytest.fixture
def pair(cluster):
    """Two users with money, and no order of anybody on the books afterwards."""
    users = cluster.user(USD="10000", BTC="10"), cluster.user(USD="10000", BTC="10")
    for user in users:
        wait_until(partial(has_money, user))
    yield users
    for user in users:
        user.call("DELETE", "/orders")


def has_money(user):
    return {row["currency"]: float(row["balance"]) for row in user.call("GET", "/accounts").json()}["BTC"] == 10


@contextmanager
def trading(pair, seconds=2.0):
    """The two users trade meanwhile."""
    stop = threading.Event()

    def trade():
        alice, bob = pair
        count = 0
        while not stop.is_set():
            count += 1
            alice.order("sell", f"{100 + count % 3}.00", "0.003")
            bob.order("buy", f"{99 + count % 3}.00", "0.002", **({"stp": "co"} if count % 2 else {}))
            if count % 7 == 0:
                alice.call("DELETE", "/orders")

    thread = threading.Thread(target=trade)
    thread.start()
    try:
        yield
        time.sleep(seconds)
    finally:
        stop.set()
        thread.join()


@pytest.mark.parametrize("path", ["/", "/ws", "/?", "/ws/"])
def test_the_feed_is_where_clients_look_for_it(cluster, ws, path):
    """At / and /ws, with an empty query as ccxt asks for it."""
    answer = ws(path).subscribe("heartbeat")
    assert answer["channels"] == [{"name": "heartbeat", "product_ids": ["BTC-USD"]}]


def test_an_order_on_all_channels(cluster, ws, pair):
    """One trade is heard on each channel, in Coinbase's words, and the user's messages are its own."""
    alice, bob = pair
    client, owner = ws(), ws("/?")
    client.subscribe("full", "ticker", "heartbeat")
    levels, matches = ws(), ws()
    levels.subscribe("level2")
    levels.until("snapshot")
    matches.subscribe("matches")
    owner.subscribe("user", **bob.login())
    sell = alice.order("sell", "120.00", "0.5")
    buy = bob.order("buy", "121.00", "0.2", client_oid="mine")
    match = client.until("match", maker_order_id=sell["id"])
    assert (
        match.items() >= {"taker_order_id": buy["id"], "price": "120.00", "size": "0.20000000", "side": "sell"}.items()
    )
    assert client.of("received")[0]["order_id"] == sell["id"]
    assert client.of("open")[0].items() >= {"order_id": sell["id"], "remaining_size": "0.50000000"}.items()
    assert client.until("done")["reason"] == "filled"
    ticker = client.until("ticker")
    assert (ticker["price"], ticker["side"], ticker["best_ask_size"]) == ("120.00", "buy", "0.30000000")
    assert client.until("heartbeat")["last_trade_id"] == match["trade_id"]
    assert matches.until("match")["trade_id"] == match["trade_id"]
    assert levels.until("l2update")["changes"] == [["sell", "120.00", "0.50000000"]]
    assert levels.until("l2update")["changes"] == [["sell", "120.00", "0.30000000"]]
    owner.until("done", order_id=buy["id"])
    assert [message["type"] for message in owner.heard[1:]] == ["received", "match", "done"]
    received, own = owner.of("received", "match")
    assert (received["client_oid"], own["taker_fee_rate"]) == ("mine", "0.002000")
    assert "maker_fee_rate" not in own


def still_book(cluster, pair):
    """The whole book, once it has taken up all that the two have placed."""
    for user in pair:
        wait_until(partial(has_none_pending, user))
    return cluster.http.get("/products/BTC-USD/book?level=3").json()


def has_none_pending(user):
    return user.call("GET", "/orders?status=pending").json() == []


def test_full_and_level2_stay_the_book_under_load(cluster, ws, pair):
    """Subscribed in the middle of trading, with a snapshot by REST: no gap, first in first out, the same in the end."""
    full, level2 = ws(), ws()
    with trading(pair):
        full.subscribe("full")
        full.until("received", "open", "match", "done", "change")
        book = Orders(cluster.http.get("/products/BTC-USD/book?level=3").json())
        level2.subscribe("level2", "heartbeat")
    mirror, final = Levels(), Orders(still_book(cluster, pair))
    while max(message.get("sequence", 0) for message in full.heard) < final.sequence:
        full.hear()
    level2.until("heartbeat", sequence=final.sequence)
    for message in full.of("received", "open", "match", "change", "done"):
        book.take(message)
    for message in level2.heard:
        mirror.take(message)
    assert (book.sequence, book.sides) == (final.sequence, final.sides)
    assert len(full.heard) > 100
    sums = {
        side: {p: sum(one[1] for one in queue) for p, queue in prices.items()} for side, prices in final.sides.items()
    }
    assert mirror.sides == sums


@pytest.mark.parametrize(
    ("text", "message", "reason"),
    [
        ("{", "Invalid message", "not valid JSON"),
        ("[]", "Invalid message", "must be a JSON object"),
        ("", "Invalid message", "not valid JSON"),
        ('{"type": "dance"}', "Invalid message", "type must be one of"),
        ('{"type": ["subscribe"]}', "Invalid message", "type must be one of"),
        ('{"type": "subscribe"}', "Failed to subscribe", "product_ids is missing"),
        ('{"type": "subscribe", "product_ids": ["NO-NO"]}', "Failed to subscribe", '"NO-NO" is not a valid product'),
        (
            '{"type": "subscribe", "product_ids": ["BTC-USD"], "channels": ["x"]}',
            "Failed to subscribe",
            "valid channel",
        ),
        ('{"type": "subscribe", "channels": ["user"]}', "Authentication Failed", "the user channel needs"),
        ('{"type": "subscribe", "channels": ["user"], "key": "a"}', "Authentication Failed", "is missing"),
        (
            '{"type":"subscribe","channels":["status"],"key":"a","signature":"b","passphrase":"c","timestamp":1}',
            "Authentication Failed",
            "expired",
        ),
        ('{"type": "unsubscribe", "channels": {}}', "Failed to subscribe", "channels must be"),
    ],
)
def test_a_bad_message_is_answered_and_changes_nothing(cluster, ws, text, message, reason):
    """Each error has a message and a reason, and the connection goes on as before."""
    client = ws()
    client.socket.send(text)
    answer = client.until("error")
    assert answer["message"] == message
    assert reason in answer["reason"]
    assert client.subscribe("heartbeat")["channels"] == [{"name": "heartbeat", "product_ids": ["BTC-USD"]}]


def test_a_login_may_be_wrong_in_each_part(cluster, ws):
    """Wrong signature, passphrase or key: Authentication Failed, with the reason."""
    login = cluster.user().login()
    for field in ("signature", "passphrase", "key"):
        client = ws()
        client.send(type="subscribe", product_ids=["BTC-USD"], channels=["user"], **(login | {field: "abcd"}))
        assert client.until("error")["message"] == "Authentication Failed"


def test_balances_are_told_as_they_change(cluster, ws, pair):
    """How they stand first; then each order, fill and cancel, as the accounts have it then, and to nobody else."""
    alice, bob = pair
    client, narrow, other = ws(), ws(), ws()
    client.subscribe("balance", products=(), **alice.login())
    other.subscribe("balance", "heartbeat", **bob.login())
    assert [client.until("balance")["currency"] for _ in range(3)] == ["BTC", "ETH", "USD"]
    usd = _account(alice, "USD")
    answer = narrow.subscribe("balance", products=(), account_ids=[usd["id"]], **alice.login())
    assert answer["channels"] == [{"name": "balance", "product_ids": [], "account_ids": [usd["id"]]}]
    assert _pair(narrow.until("balance")) == (10000, 0)
    order = alice.order("buy", "100.00", "0.5")
    for one in (client, narrow):
        assert _pair(one.until("balance", account_id=usd["id"])) == (Decimal("9949.9"), Decimal("50.1"))
    bob.order("sell", "100.00", "0.2")
    assert _pair(client.until("balance", currency="BTC")) == (Decimal("10.2"), 0)
    alice.call("DELETE", f"/orders/{order['id']}")
    usd = _account(alice, "USD")
    narrow.until("balance", available=usd["available"], holds=usd["hold"])
    assert {message["currency"] for message in narrow.of("balance")} == {"USD"}
    other.until("heartbeat")
    own = {row["id"] for row in bob.call("GET", "/accounts").json()}
    assert {message["account_id"] for message in other.of("balance")} == own


def _account(trader, currency):
    return next(row for row in trader.call("GET", "/accounts").json() if row["currency"] == currency)


def _pair(message):
    return Decimal(message["available"]), Decimal(message["holds"])


def test_balances_are_their_owners_business(cluster, ws, pair):
    """Unsigned, or with the id of somebody else's account: an error with a reason."""
    alice, bob = pair
    for fields, reason in (
        ({}, "the balance channel needs"),
        ({"account_ids": [_account(alice, "USD")["id"]], **bob.login()}, "is not the id of an account of yours"),
    ):
        client = ws()
        client.send(type="subscribe", channels=["balance"], **fields)
        assert reason in client.until("error")["reason"]


def test_who_signs_without_a_key_is_nobody(cluster, ws):
    """Some clients always sign, be it with an empty key: what needs no key is theirs, what needs one is not."""
    nobody = {"key": "", "passphrase": "", "signature": "abcd", "timestamp": 1.5}
    assert ws().subscribe("heartbeat", **nobody)["channels"][0]["name"] == "heartbeat"
    client = ws()
    client.send(type="subscribe", channels=["user"], **nobody)
    assert client.until("error")["message"] == "Authentication Failed"


def test_a_subscription_is_idempotent_and_can_be_ended(cluster, ws, pair):
    """Twice the same brings one snapshot and each message once; after unsubscribing nothing comes."""
    client = ws()
    client.subscribe("level2")
    client.subscribe("level2")
    pair[0].order("buy", "10.00", "1")
    client.until("l2update")
    assert len(client.of("snapshot")) == 1
    client.send(type="unsubscribe", product_ids=["BTC-USD"], channels=["level2"])
    assert client.until("subscriptions")["channels"] == []
    pair[0].order("buy", "10.00", "1")
    with pytest.raises(TimeoutError):
        client.until("l2update", timeout_s=0.5)
    assert len(client.of("l2update")) == 1


def test_level2_batch_brings_all_changes_in_fewer_messages(cluster, ws, pair):
    """A batch tells what became of every level since the last one."""
    client, mirror = ws(), Levels()
    client.subscribe("level2_batch")
    client.until("snapshot")
    placed = [pair[0].order("buy", f"{10 + index}.00", "1") for index in range(5)]
    pair[0].call("DELETE", f"/orders/{placed[2]['id']}")
    book = cluster.http.get("/products/BTC-USD/book?level=2").json()
    wanted = {float(row[0]) for row in book["bids"]}
    for _ in range(20):
        client.until("l2update")
        mirror = Levels()
        for message in client.heard:
            mirror.take(message)
        if {float(price) for price in mirror.sides["buy"]} == wanted:
            break
    assert {float(price) for price in mirror.sides["buy"]} == wanted


def test_status_tells_of_a_halt(cluster, ws):
    """A change of mode is told at once."""
    client = ws()
    client.subscribe("status", products=())
    assert client.until("status")["products"][0]["id"] == "BTC-USD"
    cluster.configure(msgspec.structs.replace(BTC_USD, mode="halted"))
    try:
        while not client.until("status")["products"][0]["trading_disabled"]:
            pass
    finally:
        cluster.configure(BTC_USD)


def test_a_message_that_is_too_long_ends_the_connection(cluster, ws):
    """More than 64 KiB in one message: close code 1009."""
    client = ws()
    client.socket.send("x" * 70_000)
    with pytest.raises(ConnectionClosed) as error:
        client.until("nothing")
    assert error.value.rcvd
    assert error.value.rcvd.code == 1009


def test_who_does_not_read_is_cut_off_and_the_others_are_not(cluster, ws, pair):
    """A client that never reads loses its connection instead of the gateway its memory; a reader hears everything."""
    for number in range(5000):
        order = OrderRequest(f"deep-{number}", pair[0].account, "BTC-USD", "buy", "limit", 1 + number, 1)
        cluster.client.xadd(keys.inbox(0), {FIELD: encode(order)})
    end = time.monotonic() + 30
    while len(cluster.http.get("/products/BTC-USD/book?level=2").json()["bids"]) < 5000:
        assert time.monotonic() < end
        time.sleep(0.1)
    host, port = cluster.settings.host, cluster.settings.port
    deaf = socket.create_connection((host, port))
    deaf.sendall(
        f"GET / HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    subscribe, unsubscribe = (
        json.dumps({"type": word, "product_ids": ["BTC-USD"], "channels": ["level2"]}).encode()
        for word in ("subscribe", "unsubscribe")
    )
    reader = ws()
    reader.subscribe("heartbeat")
    deaf.settimeout(10)
    assert b"101" in deaf.recv(4096)
    frames = b"".join(struct.pack("!BBHI", 0x81, 0x80 | 126, len(text), 0) + text for text in (subscribe, unsubscribe))
    with contextlib.suppress(OSError):  # it may be cut off while it still talks
        for _ in range(20_000):
            deaf.sendall(frames)
    end = time.monotonic() + 30
    while "matchbox_gateway_cut_off_total 1.0" not in cluster.http.get("/metrics").text:
        assert time.monotonic() < end
        reader.until("heartbeat")
    with contextlib.suppress(OSError):
        while deaf.recv(1 << 20):
            pass
    deaf.close()
    reader.until("heartbeat")
