"""What clients see while something is away, and that all goes on by itself when it is back."""

import json
import os
import signal
import threading
import time
from functools import partial

import httpx
import pytest
from alembic import command
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

import migrations
from shared import keys
from shared.messages import OrderRequest
from tests.gateway.browser import wait_until
from tests.harness import HTTP_S, STOP_S, Cluster
from tests.servers import PostgreSQL, Valkey

pytestmark = pytest.mark.slow

until = partial(wait_until, timeout_s=15.0)

ORDER = {"product_id": "BTC-USD", "side": "buy", "price": "100.00", "size": "0.01"}


@pytest.fixture(scope="module")
def servers():
    """Servers that these tests may kill: a Redis that keeps what it acknowledged, and a PostgreSQL."""
    valkey, postgresql = Valkey("--appendonly", "yes", "--appendfsync", "always"), PostgreSQL()
    try:
        valkey.start()
        postgresql.start()
        command.upgrade(migrations.config(postgresql.url), "head")
        yield valkey, postgresql
    finally:
        valkey.remove()
        postgresql.remove()


@pytest.fixture(scope="module")
def cluster(servers):
    """Two gateways on one port; short waits."""
    valkey, postgresql = servers
    with Cluster(
        valkey.url,
        postgresql.url,
        gateways=2,
        request_timeout_ms=3000,
        inbox_age_ms=2500,
        snapshot_every=20,
        log_keep=0,
    ) as running:
        yield running


@pytest.fixture
def alice(cluster):
    """A user with money."""
    return cluster.user(USD="10000", BTC="10")


def test_what_one_gateway_answered_the_other_one_finds(cluster, alice):
    """By new connections, which land on either gateway: an order is found, as it was amended, and canceled."""

    def call(method, target, body=None):
        with httpx.Client(base_url=cluster.url, timeout=HTTP_S) as fresh:
            content = b"" if body is None else json.dumps(body).encode()
            return fresh.request(method, target, content=content, headers=alice.headers(method, target, content))

    for number in range(16):
        placed = call("POST", "/orders", ORDER | {"client_oid": f"two-{number}"})
        assert placed.status_code == 200, placed.text
        order = placed.json()
        reference = order["id"] if number % 2 else f"client:two-{number}"
        assert call("GET", f"/orders/{reference}").status_code == 200
        assert call("PATCH", f"/orders/{reference}", {"price": "99.00"}).json()["price"] == "99.00"
        assert call("GET", f"/orders/{reference}").json()["price"] == "99.00"
        assert call("DELETE", f"/orders/{reference}").json() == order["id"]
        done = call("GET", f"/orders/{reference}").json()
        assert (done["id"], done["status"]) == (order["id"], "done")


def test_without_redis_there_is_a_503_and_then_all_goes_on(cluster, servers, alice):
    """Orders and market data say 503 and why, /time still answers; when Redis is back, the order is still there."""
    order = alice.order("buy", "100.00", "0.01")
    servers[0].stop(signal.SIGKILL)
    until(lambda: "Redis is away" in cluster.http.get("/health").text)
    for answer in (
        alice.call("POST", "/orders", ORDER),
        alice.call("GET", f"/orders/{order['id']}"),
        alice.call("GET", "/accounts"),
        alice.call("DELETE", "/orders"),
        cluster.http.get("/products/BTC-USD/book"),
        cluster.http.get("/products"),
    ):
        assert answer.status_code == 503, answer.text
        assert "Redis is away" in answer.json()["message"]
        assert answer.headers["Retry-After"] == "1"
    assert cluster.http.get("/time").status_code == 200
    assert "Redis is away" in cluster.http.get("/health").json()["reasons"]
    servers[0].start()
    until(lambda: cluster.http.get("/health").status_code == 200)
    until(lambda: alice.call("GET", f"/orders/{order['id']}").status_code == 200)
    until(lambda: alice.call("POST", "/orders", ORDER).status_code == 200)
    until(lambda: alice.call("GET", f"/orders/{order['id']}").json().get("status") == "open")


def test_a_ledger_that_stands_still_gets_no_more_orders(cluster, alice):
    """They would only wait: refused at once, with when to come again, and not written; then all goes on."""
    ledger = cluster.processes["ledger:0"].pid
    os.kill(ledger, signal.SIGSTOP)
    try:
        assert "no answer in time" in alice.call("POST", "/orders", ORDER).json()["message"]
        until(lambda: "orders are refused" in cluster.http.get("/health").text)
        length, waited_s = cluster.client.xlen(keys.inbox(0)), []
        for _ in range(3):
            started = time.monotonic()
            refused = alice.call("POST", "/orders", ORDER)
            waited_s.append(time.monotonic() - started)
            assert (refused.status_code, refused.headers["Retry-After"]) == (503, "1")
            assert "takes only cancels; nothing was sent" in refused.json()["message"]
        assert min(waited_s) < 1
        assert cluster.client.xlen(keys.inbox(0)) == length
    finally:
        os.kill(ledger, signal.SIGCONT)
    until(lambda: alice.call("POST", "/orders", ORDER).status_code == 200)
    until(lambda: cluster.http.get("/health").status_code == 200)


def test_without_postgresql_trading_goes_on(cluster, servers, alice):
    """Orders, balances and the market are answered; what only PostgreSQL knows says 503, and comes back by itself."""
    assert alice.call("GET", "/accounts").status_code == 200
    servers[1].stop(signal.SIGKILL)
    order = alice.order("buy", "100.00", "0.01")
    assert alice.call("GET", f"/orders/{order['id']}").status_code == 200
    assert alice.call("DELETE", f"/orders/{order['id']}").json() == order["id"]
    assert alice.call("GET", f"/orders/{order['id']}").json()["status"] == "done"
    assert cluster.http.get("/products/BTC-USD/book").status_code == 200
    assert cluster.http.get("/products/BTC-USD/ticker").status_code == 200
    for answer in (
        alice.call("GET", "/fills"),
        alice.call("GET", "/orders?status=done"),
        cluster.http.get("/products/BTC-USD/candles"),
    ):
        assert answer.status_code == 503
        assert "PostgreSQL" in answer.json()["message"]
    health = cluster.http.get("/health")
    assert health.status_code == 503
    assert "PostgreSQL" in health.json()["reasons"][0]
    servers[1].start()
    until(lambda: cluster.http.get("/health").status_code == 200)
    until(lambda: alice.call("GET", "/fills").status_code == 200)
    until(lambda: order["id"] in [row["id"] for row in alice.call("GET", "/orders?status=done").json()])


def test_a_silent_ledger_is_a_503_that_says_how_to_find_out(cluster, alice):
    """No answer in time: the message tells to look up the client_oid; a repeat makes no second order."""
    cluster.kill("ledger:0")
    body = ORDER | {"client_oid": "unsure"}
    answer = alice.call("POST", "/orders", body)
    assert answer.status_code == 503
    assert "client_oid" in answer.json()["message"]
    cluster.start("ledger:0")
    cluster.wait_ready("ledger:0")
    first = until(lambda: (found := alice.call("POST", "/orders", body)).status_code == 200 and found.json())
    assert alice.call("GET", "/orders/client:unsure").json()["id"] == first["id"]
    until(lambda: alice.call("GET", f"/orders/{first['id']}").json()["status"] == "open")
    assert len([row for row in alice.call("GET", "/orders").json() if row.get("client_oid") == "unsure"]) == 1


def test_a_killed_gateway_comes_back_knowing_everything(cluster, alice):
    """Open and just done orders are found directly after a restart, whatever PostgreSQL has by then."""
    for name in ("gateway:0", "gateway:1"):
        opened, done = alice.order("buy", "100.00", "0.01"), alice.order("buy", "100.00", "0.01")
        assert alice.call("DELETE", f"/orders/{done['id']}").status_code == 200
        until(partial(shows, cluster, alice, opened, "open"))
        cluster.restart(name)
        for order, status in ((opened, "open"), (done, "done")):
            for _ in range(4):
                assert until(partial(freshly, cluster, alice, order)).json()["status"] == status


def shows(cluster, alice, order, status):
    found = freshly(cluster, alice, order)
    return found is not None and found.json()["status"] == status


def freshly(cluster, alice, order):
    """The answer to a new connection, once it is none that says to try again: a gateway loads the keys last."""
    target = f"/orders/{order['id']}"
    with httpx.Client(base_url=cluster.url, timeout=HTTP_S) as fresh:
        answer = fresh.get(target, headers=alice.headers("GET", target))
    return answer if answer.status_code != 503 else None


def test_a_gateway_that_lost_the_log_loads_anew_and_sends_its_listeners_away(cluster, alice):
    """Behind a log that was trimmed meanwhile, it loads a snapshot; who listened is told to connect again."""
    cluster.kill("gateway:1", signal.SIGTERM)
    with connect(cluster.url.replace("http", "ws"), close_timeout=0.2) as listener:
        listener.send(json.dumps({"type": "subscribe", "product_ids": ["BTC-USD"], "channels": ["level2"]}))
        while json.loads(listener.recv(timeout=15))["type"] != "subscriptions":
            pass
        log, snapshots = (name(keys.instrument_tag("BTC-USD")) for name in (keys.log, keys.snapshot))
        before = int(cluster.client.xinfo_stream(log)["last-generated-id"].partition(b"-")[0])
        os.kill(cluster.processes["gateway:0"].pid, signal.SIGSTOP)
        try:
            place_without_gateway(cluster.submitter, alice.account, cluster.user(USD="1000").account)
            newest = until(lambda: (last := max(map(int, cluster.client.hkeys(snapshots)))) > before + 5 and last)
            until(lambda: stored_by_pusher(cluster.client, log) >= newest)
            cluster.client.xtrim(log, minid=newest, approximate=False)
        finally:
            os.kill(cluster.processes["gateway:0"].pid, signal.SIGCONT)
        with pytest.raises(ConnectionClosed) as closed:
            hear_out(listener)
        assert closed.value.rcvd
        assert closed.value.rcvd.code == 1012
    book = until(lambda: (found := cluster.http.get("/products/BTC-USD/book?level=3")).status_code == 200 and found)
    assert book.json()["sequence"] > 20
    assert alice.order("buy", "50.00", "0.01")["product_id"] == "BTC-USD"
    cluster.start("gateway:1")
    cluster.wait_ready("gateway:1")


def test_who_subscribes_while_the_gateway_starts_is_served(cluster):
    """Who connects again as soon as somebody listens gets the feed a moment later, not an error and then silence."""
    for name in ("gateway:1", "gateway:0"):
        cluster.kill(name)
    cluster.start("gateway:0")
    with until(lambda: connected(cluster)) as listener:
        listener.send(json.dumps({"type": "subscribe", "product_ids": ["BTC-USD"], "channels": ["heartbeat"]}))
        assert json.loads(listener.recv(timeout=15))["type"] == "subscriptions"
    cluster.start("gateway:1")
    for name in ("gateway:0", "gateway:1"):
        cluster.wait_ready(name)


def connected(cluster):
    """A socket, if somebody listens."""
    try:
        return connect(cluster.url.replace("http", "ws"), close_timeout=0.2)
    except OSError:
        return None


def stored_by_pusher(client, log):
    """Up to which entry PostgreSQL has a log: real trimming never passes that."""
    return int((client.hget(keys.consumers(log), keys.POSTGRESQL) or b"0").partition(b"-")[0])


def hear_out(listener):
    while True:
        listener.recv(timeout=15)


def place_without_gateway(submitter, *accounts):
    """Thirty orders, straight to the ledger."""
    for number in range(30):
        request = OrderRequest(f"direct-{number}", accounts[number % 2], "BTC-USD", "buy", "limit", 1000 + number, 1000)
        submitter.submit(request)


def test_a_gateway_started_without_postgresql_serves_the_market_at_once(cluster, servers, alice):
    """Public data come from Redis alone; signed requests wait for the keys with a 503, and then go on."""
    servers[1].stop(signal.SIGKILL)
    cluster.kill("gateway:1", signal.SIGTERM)
    cluster.restart("gateway:0")
    assert cluster.http.get("/products/BTC-USD/book").status_code == 200
    assert cluster.http.get("/products/BTC-USD/stats").status_code == 503
    answer = alice.call("GET", "/accounts")
    assert answer.status_code == 503
    assert "keys" in answer.json()["message"]
    servers[1].start()
    until(lambda: alice.call("GET", "/accounts").status_code == 200)
    until(lambda: cluster.http.get("/products/BTC-USD/stats").status_code == 200)
    cluster.start("gateway:1")
    cluster.wait_ready("gateway:1")


def test_told_to_stop_it_answers_what_is_under_way_and_ends_quickly(cluster, alice):
    """SIGTERM: the request under way is answered, sockets are closed with 1012, exit code 0 within seconds."""
    cluster.kill("gateway:1", signal.SIGTERM)
    os.kill(cluster.processes["ledger:0"].pid, signal.SIGSTOP)
    answers = []
    asking = threading.Thread(target=lambda: answers.append(alice.call("POST", "/orders", ORDER)))
    with connect(cluster.url.replace("http", "ws"), close_timeout=0.2) as listener:
        before = cluster.client.xlen(keys.inbox(0))
        asking.start()
        until(lambda: cluster.client.xlen(keys.inbox(0)) > before)
        started = time.monotonic()
        os.kill(cluster.processes["gateway:0"].pid, signal.SIGTERM)
        time.sleep(0.3)
        os.kill(cluster.processes["ledger:0"].pid, signal.SIGCONT)
        asking.join()
        assert answers[0].status_code == 200, answers[0].text
        with pytest.raises(ConnectionClosed) as closed:
            listener.recv(timeout=15)
        assert closed.value.rcvd
        assert closed.value.rcvd.code == 1012
    assert cluster.processes.pop("gateway:0").wait(STOP_S) == 0
    assert time.monotonic() - started < 10
    for name in ("gateway:0", "gateway:1"):
        cluster.start(name)
    for name in ("gateway:0", "gateway:1"):
        cluster.wait_ready(name)


def test_a_taken_port_and_a_missing_setting_are_said_in_one_line(cluster):
    """Exit code 3, and the last line names the variable and the next step."""
    alone = Cluster(cluster.settings.redis_url, cluster.settings.database_url, workers=())
    alone.settings = alone.settings.with_changes(port=cluster.settings.port)
    try:
        alone.start("gateway:7")
        assert alone.processes.pop("gateway:7").wait(10.0) == 3
        assert "--port" in alone.log("gateway:7").read_text().splitlines()[-1]
        alone.settings = alone.settings.with_changes(redis_url="")
        alone.start("gateway:7")
        assert alone.processes.pop("gateway:7").wait(10.0) == 3
        assert "MATCHBOX_REDIS_URL" in alone.log("gateway:7").read_text().splitlines()[-1]
    finally:
        alone.close()


def test_a_redis_that_lost_everything_is_noticed(servers):
    """A log that ends before what was read is not followed any further: the gateway loads anew what there is."""
    own, postgresql = Valkey(), servers[1]
    own.start()
    try:
        with Cluster(own.url, postgresql.url, gateways=1) as running:
            assert running.http.get("/products").json()
            running.client.flushall()
            until(lambda: (found := running.http.get("/products")).status_code == 200 and found.json() == [])
    finally:
        own.remove()
