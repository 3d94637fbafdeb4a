"""What a gateway tells of orders before it was started is what the one before it told."""

from datetime import UTC, datetime, timedelta

import pytest

from tests.gateway.browser import wait_until

pytestmark = pytest.mark.slow

ETH = {"product_id": "ETH-USD", "size": "1"}
SOON_S = 3.0
"""When an order ends: it must have come to its gateway by then."""


def soon():
    return (datetime.now(UTC) + timedelta(seconds=SOON_S)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def make_orders(floor):
    """Orders of every kind, done and not; answers their ids."""
    alice = floor.alice
    kinds = [
        alice.order("sell", "120.00", "1", "ETH-USD", display_size="0.1", client_oid="ice"),
        alice.order("sell", "120.00", "1", "ETH-USD", stop_price="90.00", min_size="0.2"),
        alice.order("buy", "50.00", "1", "ETH-USD", time_in_force="GTT", cancel_after=soon()),
        alice.order("buy", "50.00", "1", "ETH-USD", time_in_force="GTT", cancel_after="day"),
        floor.market_order(alice, "sell", trail_bps=200),
        floor.market_order(alice, "sell", trail_price="3.00"),
        floor.market_order(alice, "buy", stop="entry", stop_price="110.00"),
        alice.order("buy", "101.00", "1", "ETH-USD", time_in_force="FOK"),
    ]
    exits = [ETH | {"side": "sell", "price": "130"}, ETH | {"side": "sell", "type": "market", "stop_price": "80"}]
    entry = ETH | {"side": "buy", "price": "70"}
    for body in ({"type": "oco", "orders": exits}, {"type": "otoco", "orders": [entry, *exits]}):
        kinds += alice.call("POST", "/order-lists", body).json()["orders"]
    kinds += alice.call("POST", "/order-lists", {"type": "oco", "orders": exits}).json()["orders"]
    ids = [order["id"] for order in kinds]
    assert alice.call("PATCH", f"/orders/{ids[0]}", {"price": "121.00", "size": "0.9"}).status_code == 200
    assert alice.call("PATCH", f"/orders/{ids[6]}", {"stop_price": "111.00"}).status_code == 200
    for number in (ids[1], ids[5], ids[-1]):
        assert alice.call("DELETE", f"/orders/{number}").status_code == 200
    floor.until(alice, ids[2], "done")
    return ids


def shown(floor, ids):
    return {number: floor.show(floor.alice, number) for number in ids}


def test_a_new_gateway_tells_the_same(floor):
    """Open, asleep, waiting and done orders show the same fields: from the snapshots, the logs and PostgreSQL."""
    ids = make_orders(floor)
    before = shown(floor, ids)
    assert {order["status"] for order in before.values()} == {"open", "active", "pending", "done"}
    floor.cluster.restart("gateway:0")
    wait_until(lambda: floor.alice.call("GET", "/accounts").status_code == 200)  # until it has the keys: a 503
    assert shown(floor, ids) == before
    listed = floor.alice.call("GET", "/orders?status=all&limit=1000").json()
    assert {order["id"]: order for order in listed} == before
