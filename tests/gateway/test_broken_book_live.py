"""Somebody writes into one book's log of a running exchange: the other instruments trade on, and status says why."""

import json
from functools import partial

import pytest
from websockets.exceptions import ConnectionClosed

from shared import keys
from tests.gateway.browser import wait_until

pytestmark = pytest.mark.slow

until = partial(wait_until, timeout_s=15.0)

BTC, ETH = "BTC-USD", "ETH-USD"
LOG = keys.log(keys.instrument_tag(BTC))


def write_nonsense(client):
    """An entry that nothing can follow, behind the last one."""
    last = int(client.xrevrange(LOG, count=1)[0][0].partition(b"-")[0])
    client.xadd(LOG, {"d": b"{nonsense"}, id=f"{last + 1}-0")


def last_beat(cluster):
    return json.loads(cluster.client.get(keys.beat("gateway:0")))


def test_one_broken_book_stops_nobody_elses_trading(cluster, ws):
    """Orders, feed, fills and balances of the others go on in the same process, which names the broken one and why."""
    alice, bob = cluster.user(USD="1000", BTC="1"), cluster.user(USD="1000", ETH="1")
    broken, other = (alice.order("buy", "100.00", "0.1", symbol)["id"] for symbol in (BTC, ETH))
    until(lambda: alice.call("GET", f"/orders/{broken}").json()["status"] == "open")
    gone, stays, trader = ws(), ws(), ws()
    gone.subscribe("heartbeat", products=[BTC, ETH])
    stays.subscribe("matches", products=[ETH])
    trader.sign_in(bob)

    write_nonsense(cluster.client)
    with pytest.raises(ConnectionClosed) as closed:
        gone.until("never")
    assert closed.value.rcvd
    assert closed.value.rcvd.code == 1012
    assert BTC in closed.value.rcvd.reason

    sold = trader.ask(type="order", id="1", product_id=ETH, side="sell", price="100.00", size="0.05")
    assert sold["type"] == "order_result"
    assert stays.until("match", product_id=ETH)["size"] == "0.0500"
    assert bob.order("sell", "100.00", "0.05", ETH)
    assert stays.until("match", product_id=ETH)["size"] == "0.0500"
    until(lambda: alice.call("GET", f"/orders/{other}").json()["status"] == "done")
    until(lambda: len(alice.call("GET", f"/fills?product_id={ETH}").json()) == 2)
    assert cluster.http.get(f"/products/{ETH}/ticker").json()["price"] == "100.00"
    assert {one["currency"]: one["balance"] for one in bob.call("GET", "/accounts").json()}["ETH"].startswith("0.9")

    refused = trader.ask(type="order", id="2", product_id=BTC, side="buy", price="100.00", size="0.1")
    assert (refused["type"], refused["status"]) == ("error", 503)
    assert f"{BTC} is not available just now" in refused["reason"]
    for path in ("book", "ticker", "trades", "stats", "candles"):
        answer = cluster.http.get(f"/products/{BTC}/{path}")
        assert answer.status_code == 503
        assert f"{BTC} is not available just now" in answer.json()["message"]
    order = {"product_id": BTC, "side": "buy", "price": "90.00", "size": "0.1"}
    assert alice.call("POST", "/orders", order).status_code == 503

    assert alice.call("GET", f"/orders/{broken}").json()["status"] == "unknown"
    for filters in ("", "?status=open", "?status=all"):
        assert broken in [one["id"] for one in alice.call("GET", f"/orders{filters}").json()]
    listed = {one["id"]: one["status_message"] for one in cluster.http.get("/products").json()}
    assert sorted(listed) == [BTC, ETH]
    assert listed[ETH] == ""
    assert listed[BTC] == cluster.http.get(f"/products/{BTC}").json()["status_message"]
    assert "cannot be followed" in listed[BTC]

    late = ws()
    late.send(type="subscribe", product_ids=[BTC, ETH], channels=["full"])
    assert f"{BTC} is not available just now" in late.until("error")["reason"]
    late.subscribe("user", products=[], **bob.login())
    assert f"{BTC} is not available just now" in late.until("error")["reason"]
    assert late.of("subscriptions")[-1]["channels"] == [{"name": "user", "product_ids": [ETH]}]

    health = cluster.http.get("/health")
    assert (health.status_code, health.json()["status"]) == (200, "impaired")
    assert any(LOG in reason and "matchbox audit" in reason for reason in health.json()["reasons"])
    until(lambda: LOG in last_beat(cluster)["error"])
    beat = last_beat(cluster)
    assert (beat["state"], beat["pid"]) == ("running", cluster.processes["gateway:0"].pid)
