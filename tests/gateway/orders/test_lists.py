"""POST /order-lists against real workers: the lives of OCO, OTO and OTOCO, and that a list is all or nothing."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from tests.gateway.browser import wait_until

pytestmark = pytest.mark.slow

ETH = {"product_id": "ETH-USD", "size": "1"}
ENTRY = ETH | {"side": "buy", "price": "98.00"}
PROFIT = ETH | {"side": "sell", "price": "110.00"}
STOP = ETH | {"side": "sell", "type": "market", "stop_price": "90.00"}


def place(user, kind, *orders, **more):
    answer = user.call("POST", "/order-lists/", {"type": kind, "orders": list(orders), **more})
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert found["type"] == kind
    return found["orders"]


def sell(floor, price, size="1"):
    """Bob sells to whoever buys at ``price``."""
    order = floor.bob.order("sell", price, size, "ETH-USD")
    floor.until(floor.bob, order["id"], "done")


def test_one_cancels_the_other(floor):
    """Both are live and share one hold; the fill of one cancels the other with reject_reason linked_order."""
    profit, stop = place(floor.alice, "oco", PROFIT, STOP)
    assert (profit["oco_order_id"], stop["oco_order_id"]) == (stop["id"], profit["id"])
    assert floor.until(floor.alice, profit["id"], "open")["oco_order_id"] == stop["id"]
    assert floor.until(floor.alice, stop["id"], "active")["oco_order_id"] == profit["id"]
    assert floor.balance(floor.alice, "ETH") == (Decimal(99), Decimal(1))
    buyer = floor.bob.order("buy", "110.00", "0.4", "ETH-USD")
    floor.until(floor.bob, buyer["id"], "done")
    done = floor.until(floor.alice, stop["id"], "done")
    assert (done["done_reason"], done["reject_reason"]) == ("canceled", "linked_order")
    rest = floor.show(floor.alice, profit["id"])
    assert (rest["status"], rest["filled_size"], "oco_order_id" in rest) == ("open", "0.4000", False)
    assert floor.balance(floor.alice, "ETH")[1] == Decimal("0.6")


def test_the_trigger_of_the_stop_cancels_the_other(floor):
    """The stop takes; the limit is gone."""
    bid = floor.bob.order("buy", "88.00", "1", "ETH-USD")
    profit, stop = place(floor.alice, "oco", PROFIT, STOP)
    floor.until(floor.alice, stop["id"], "active")
    floor.trade("90.00")
    assert floor.until(floor.alice, stop["id"], "done")["done_reason"] == "filled"
    assert floor.until(floor.alice, profit["id"], "done")["reject_reason"] == "linked_order"
    assert floor.until(floor.bob, bid["id"], "done")["done_reason"] == "filled"


@pytest.mark.parametrize("leg", [0, 1])
def test_the_end_of_one_leg_is_that_of_both(floor, leg):
    """Canceling either leg cancels the other, and nothing stays held."""
    legs = place(floor.alice, "oco", PROFIT, STOP)
    floor.until(floor.alice, legs[0]["id"], "open")
    assert floor.alice.call("DELETE", f"/orders/{legs[leg]['id']}").status_code == 200
    assert "reject_reason" not in floor.until(floor.alice, legs[leg]["id"], "done")
    assert floor.until(floor.alice, legs[1 - leg]["id"], "done")["reject_reason"] == "linked_order"
    assert floor.balance(floor.alice, "ETH") == (Decimal(100), Decimal(0))


def test_one_triggers_the_other(floor):
    """The child is pending and names its parent until that is filled; then it is live."""
    parent, child = place(floor.alice, "oto", ENTRY, PROFIT)
    floor.until(floor.alice, parent["id"], "open")
    waiting = floor.show(floor.alice, child["id"])
    assert (waiting["status"], waiting["parent_order_id"]) == ("pending", parent["id"])
    assert [row["id"] for row in floor.alice.call("GET", "/orders?status=pending").json()] == [child["id"]]
    sell(floor, "98.00", "0.5")
    assert floor.show(floor.alice, child["id"])["status"] == "pending"
    sell(floor, "98.00", "0.5")
    live = floor.until(floor.alice, child["id"], "open")
    assert "parent_order_id" not in live
    assert floor.show(floor.alice, parent["id"])["done_reason"] == "filled"
    assert floor.book() == {"bids": [], "asks": [["110.00", "1.0000", 1]]}


def test_the_first_fill_may_trigger(floor):
    """With trigger first_fill the child does not wait for all of the parent."""
    parent, child = place(floor.alice, "oto", ENTRY, PROFIT, trigger="first_fill")
    sell(floor, "98.00", "0.1")
    floor.until(floor.alice, child["id"], "open")
    assert floor.show(floor.alice, parent["id"])["status"] == "open"


def test_the_end_of_the_parent_is_that_of_its_children(floor):
    """A parent that is canceled takes its children along."""
    parent, profit, stop = place(floor.alice, "otoco", ENTRY, PROFIT, STOP)
    assert profit["oco_order_id"] == stop["id"]
    floor.until(floor.alice, parent["id"], "open")
    assert floor.alice.call("DELETE", f"/orders/{parent['id']}").status_code == 200
    for child in (profit, stop):
        assert floor.until(floor.alice, child["id"], "done")["reject_reason"] == "linked_order"
    assert floor.balance(floor.alice, "ETH") == (Decimal(100), Decimal(0))
    assert floor.balance(floor.alice, "USD") == (Decimal(10000), Decimal(0))


def test_a_bracket(floor):
    """Entry, then its two exits at once, of which one ends the other."""
    _, profit, stop = place(floor.alice, "otoco", ENTRY, PROFIT, STOP)
    sell(floor, "98.00")
    floor.until(floor.alice, profit["id"], "open")
    floor.until(floor.alice, stop["id"], "active")
    buyer = floor.bob.order("buy", "110.00", "1", "ETH-USD")
    floor.until(floor.bob, buyer["id"], "done")
    assert floor.until(floor.alice, profit["id"], "done")["done_reason"] == "filled"
    assert floor.until(floor.alice, stop["id"], "done")["reject_reason"] == "linked_order"
    assert floor.balance(floor.alice, "USD") == (Decimal(10012), Decimal(0))


def test_a_bracket_of_one_who_has_only_money(floor):
    """The exits are paid with what the entry brings: they are accepted before there is anything to sell."""
    user = floor.cluster.user(USD="98")
    parent, profit, stop = place(user, "otoco", ENTRY, PROFIT, STOP)
    assert floor.until(user, parent["id"], "open")["status"] == "open"
    assert floor.balance(user, "ETH") == (Decimal(0), Decimal(0))
    sell(floor, "98.00")
    floor.until(user, profit["id"], "open")
    assert floor.balance(user, "ETH") == (Decimal(0), Decimal(1))
    bid = floor.bob.order("buy", "88.00", "1", "ETH-USD")
    floor.trade("90.00")
    assert floor.until(user, stop["id"], "done")["done_reason"] == "filled"
    assert floor.until(floor.bob, bid["id"], "done")["done_reason"] == "filled"
    assert floor.balance(user, "USD") == (Decimal(88), Decimal(0))


def test_a_list_is_all_or_nothing(floor):
    """If one order is refused, the message names it, and none was placed."""
    answer = floor.alice.call("POST", "/order-lists", b"[]")
    assert (answer.status_code, answer.json()["message"]) == (
        400, "the request body must be a JSON object, not an array",
    )  # fmt: skip
    for orders, says in (
        ([PROFIT | {"size": "200"}, STOP], "order 1 of the list: Insufficient funds"),
        ([PROFIT, STOP | {"size": "200"}], "order 2 of the list: Insufficient funds"),
        ([PROFIT, STOP | {"stop_price": "100.00"}], "order 2 of the list: stop_price 100.00 must be below the last"),
        ([PROFIT, PROFIT], "do not straddle"),
    ):
        answer = floor.alice.call("POST", "/order-lists", {"type": "oco", "orders": orders})
        assert (answer.status_code, set(answer.json())) == (400, {"message"}), answer.text
        assert says in answer.json()["message"]
    assert floor.alice.call("GET", "/orders").json() == []
    assert floor.balance(floor.alice, "ETH") == (Decimal(100), Decimal(0))


def test_an_order_of_a_list_expires(floor):
    """Though it expired before its book came to it: the list is over, by the reasons of its orders."""
    floor.cluster.kill("engine:ETH-USD")
    instant = datetime.now(UTC) + timedelta(seconds=3)
    expires = {"time_in_force": "GTT", "cancel_after": instant.strftime("%Y-%m-%dT%H:%M:%S.%fZ")}
    legs = place(floor.alice, "oco", PROFIT | expires, STOP)
    assert [leg["status"] for leg in legs] == ["pending", "pending"]
    wait_until(lambda: datetime.now(UTC) > instant)
    floor.cluster.start("engine:ETH-USD")
    floor.cluster.wait_ready("engine:ETH-USD")
    done = [floor.until(floor.alice, leg["id"], "done") for leg in legs]
    assert [leg["reject_reason"] for leg in done] == ["expired", "linked_order"]
    assert floor.balance(floor.alice, "ETH") == (Decimal(100), Decimal(0))


def test_a_repeated_list_answers_the_first_one(floor):
    """Ten times at once with the same client_oids: one list, ten equal answers; also when it is done."""
    orders = [PROFIT | {"client_oid": "up"}, STOP | {"client_oid": "down"}]
    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(lambda _: place(floor.alice, "oco", *orders), range(10)))
    assert len({(one["id"], other["id"]) for one, other in answers}) == 1
    assert len(floor.alice.call("GET", "/orders").json()) == 2
    floor.alice.call("DELETE", "/orders/client:up")
    again = place(floor.alice, "oco", *orders)
    assert [order["id"] for order in again] == [order["id"] for order in answers[0]]
    answer = floor.alice.call("POST", "/order-lists", {"type": "oco", "orders": [orders[0], STOP]})
    assert (answer.status_code, answer.json()) == (400, {"message": "an order of the list was placed before"})


def test_mass_cancel_by_side(floor):
    """DELETE /orders?side= takes the buys or the sells, asleep or waiting ones included, and answers their ids."""
    profit, stop = place(floor.alice, "oco", PROFIT, STOP)
    parent, child = place(floor.alice, "oto", ENTRY, PROFIT | {"price": "111.00"})
    lone = floor.alice.order("buy", "50.00", "1", "ETH-USD")
    floor.until(floor.alice, lone["id"], "open")
    assert floor.alice.call("DELETE", "/orders?side=up").status_code == 400
    assert floor.alice.call("DELETE", "/orders?side=buy&product_id=BTC-USD").json() == []
    gone = floor.alice.call("DELETE", "/orders?side=sell&product_id=ETH-USD").json()
    assert sorted(gone) == sorted([profit["id"], stop["id"], child["id"]])
    assert {row["id"] for row in floor.alice.call("GET", "/orders").json()} == {parent["id"], lone["id"]}
    gone = floor.alice.call("DELETE", "/orders", {"side": "buy"}).json()
    assert sorted(gone) == sorted([parent["id"], lone["id"]])
    assert floor.balance(floor.alice, "ETH")[1] == floor.balance(floor.alice, "USD")[1] == 0
