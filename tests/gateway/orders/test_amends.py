"""PATCH /orders against real workers: what becomes of the order, and each refusal in words."""

from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import pytest

pytestmark = pytest.mark.slow


def amend(user, order, **changes):
    answer = user.call("PATCH", f"/orders/{order['id']}", changes)
    assert answer.status_code == 200, answer.text
    return answer.json()


def rests(floor, user, side, price, size, **more):
    """An order on the book."""
    order = user.order(side, price, size, "ETH-USD", **more)
    return floor.until(user, order["id"], "open")


def test_less_size_keeps_the_place_and_anything_else_goes_to_the_back(floor):
    """The answer is the order after the amend, and so is the next GET; holds follow."""
    first = rests(floor, floor.alice, "sell", "110.00", "1", client_oid="amend/me")
    second = rests(floor, floor.bob, "sell", "110.00", "1")
    smaller = floor.alice.call("PATCH", "/orders/client:amend%2Fme", {"size": "0.4"}).json()
    assert smaller == floor.show(floor.alice, first["id"])
    assert (smaller["id"], smaller["status"], smaller["size"]) == (first["id"], "open", "0.4000")
    assert floor.book(3)["asks"] == [["110.00", "0.4000", first["id"]], ["110.00", "1.0000", second["id"]]]
    assert floor.balance(floor.alice, "ETH")[1] == Decimal("0.4")
    assert amend(floor.alice, first, size="0.7")["size"] == "0.7000"
    assert floor.book(3)["asks"] == [["110.00", "1.0000", second["id"]], ["110.00", "0.7000", first["id"]]]
    moved = amend(floor.alice, first, price="109.00", size=0.5, product_id="ETH-USD")
    assert (moved["price"], moved["size"], moved["status"]) == ("109.00", "0.5000", "open")
    assert floor.book(3)["asks"] == [["109.00", "0.5000", first["id"]], ["110.00", "1.0000", second["id"]]]
    assert amend(floor.alice, first, size="0.5") == moved


def test_an_amend_that_crosses_trades(floor):
    """The order takes what it meets at its new price; the answer tells what was filled."""
    rests(floor, floor.bob, "sell", "105.00", "0.6")
    order = rests(floor, floor.alice, "buy", "100.00", "1")
    crossed = amend(floor.alice, order, price="105.00")
    assert (crossed["status"], crossed["filled_size"], crossed["executed_value"]) == ("open", "0.6000", "63.0000000000")
    assert floor.balance(floor.alice, "USD")[1] == 42
    rests(floor, floor.bob, "sell", "106.00", "1")
    done = amend(floor.alice, order, price="106.00")
    assert (done["status"], done["done_reason"], done["filled_size"]) == ("done", "filled", "1.0000")
    assert floor.balance(floor.alice, "USD") == (10000 - Decimal("63") - Decimal("42.4"), Decimal(0))


def test_size_counts_what_is_filled(floor):
    """The new total: below what is filled is refused, exactly that ends the order, more leaves the difference."""
    order = rests(floor, floor.alice, "buy", "100.00", "1")
    rested = floor.bob.order("sell", "100.00", "0.4", "ETH-USD")
    floor.until(floor.bob, rested["id"], "done")
    answer = floor.alice.call("PATCH", f"/orders/{order['id']}", {"size": "0.3"})
    assert (answer.status_code, answer.json()["message"]) == (
        400,
        "size is too small: 0.3000 is below what is filled of the order already, 0.4000; send at least that",
    )
    assert amend(floor.alice, order, size="0.9")["filled_size"] == "0.4000"
    assert floor.book()["bids"] == [["100.00", "0.5000", 1]]
    ended = amend(floor.alice, order, size="0.4")
    assert (ended["status"], ended["done_reason"], ended["filled_size"]) == ("done", "canceled", "0.4000")
    assert floor.balance(floor.alice, "USD") == (Decimal(9960), Decimal(0))


def test_what_self_trade_prevention_took_is_no_part_of_the_size(floor):
    """GET and PATCH show the total as it was reduced: a price alone does not bring it back, and it is not grown."""
    order = rests(floor, floor.alice, "sell", "110.00", "1")
    taken = floor.bob.order("buy", "110.00", "0.2", "ETH-USD")
    floor.until(floor.bob, taken["id"], "done")
    own = floor.alice.order("buy", "110.00", "0.3", "ETH-USD")
    floor.until(floor.alice, own["id"], "done")
    shown = floor.show(floor.alice, order["id"])
    assert (shown["size"], shown["filled_size"]) == ("0.7000", "0.2000")
    assert floor.book()["asks"] == [["110.00", "0.5000", 1]]
    moved = amend(floor.alice, order, price="111.00")
    assert (moved["size"], moved["filled_size"]) == ("0.7000", "0.2000")
    assert floor.book()["asks"] == [["111.00", "0.5000", 1]]
    assert amend(floor.alice, order, size=shown["size"])["size"] == "0.7000"
    assert floor.book()["asks"] == [["111.00", "0.5000", 1]]


def test_a_sleeping_stop_is_amended(floor):
    """Its stop_price, price and size; if its condition holds then, it triggers."""
    order = floor.alice.order("sell", "94.00", "1", "ETH-USD", stop_price="95.00")
    floor.until(floor.alice, order["id"], "active")
    changed = amend(floor.alice, order, stop_price="96.00", price="93.00", size="0.5")
    assert (changed["stop_price"], changed["price"], changed["size"]) == ("96.00", "93.00", "0.5000")
    assert changed["status"] == "active"
    triggered = amend(floor.alice, order, stop_price="101.00")
    assert triggered["stop_price"] == "101.00"
    assert floor.until(floor.alice, order["id"], "open")["price"] == "93.00"
    answer = floor.alice.call("PATCH", f"/orders/{order['id']}", {"stop_price": "99.00"})
    assert (answer.status_code, answer.json()["message"]) == (
        400,
        "stop_price 99.00 comes too late: the stop has triggered already",
    )


def test_an_amended_iceberg_hides_the_rest(floor):
    """Its display_size stays; more than 1000 parts are refused."""
    order = rests(floor, floor.alice, "sell", "110.00", "1", display_size="0.1")
    assert amend(floor.alice, order, size="2")["display_size"] == "0.1000"
    assert floor.book()["asks"] == [["110.00", "0.1000", 1]]
    small = rests(floor, floor.alice, "sell", "111.00", "0.1", display_size="0.0001")
    answer = floor.alice.call("PATCH", f"/orders/{small['id']}", {"size": "0.2"})
    assert answer.status_code == 400
    assert "size 0.2000 does not go with the order's display_size" in answer.json()["message"]


REFUSED = [
    ({}, 400, "an amend needs something to change: send price, size or stop_price"),
    ({"price": None, "size": ""}, 400, "an amend needs something to change"),
    ({"size": "0"}, 400, "size is too small"),
    ({"size": "-1"}, 400, "size is too small"),
    ({"size": "0.00001"}, 400, "size is too small"),
    ({"size": "0.50005"}, 400, "size is too precise"),
    ({"size": "x"}, 400, 'size "x" is not a decimal number'),
    ({"size": [1]}, 400, "size must be a decimal number"),
    ({"price": "0"}, 400, "price too small"),
    ({"price": "100.001"}, 400, "price too precise"),
    ({"price": "1e40"}, 400, "price too large"),
    ({"stop_price": "99.00"}, 400, "stop_price goes with a stop only"),
    ({"stop_price": "99.001"}, 400, "stop_price is too precise"),
    ({"time_in_force": "IOC"}, 400, 'unknown field "time_in_force"; an amend has price, size, stop_price, product_id'),
    ({"size": "1", "product_id": "BTC-USD"}, 400, 'product_id "BTC-USD" is not the order\'s, which is ETH-USD'),
    ({"size": "1000"}, 400, "Insufficient funds"),
    ({"price": "9999999", "size": "90"}, 400, "too large"),
    ({"price": "101.00"}, 400, "price 101.00 would take, and the order is post_only: send a price that rests"),
]


@pytest.mark.parametrize(("changes", "status", "says"), REFUSED, ids=[str(number) for number in range(len(REFUSED))])
def test_a_refused_amend_changes_nothing(floor, changes, status, says):
    """A sentence that names the field; order, book and money stay as they were."""
    rests(floor, floor.bob, "sell", "101.00", "1")
    order = rests(floor, floor.alice, "buy", "100.00", "1", post_only=True)
    before = order, floor.book(3), floor.balance(floor.alice, "USD")
    answer = floor.alice.call("PATCH", f"/orders/{order['id']}", changes)
    assert (answer.status_code, set(answer.json())) == (status, {"message"}), answer.text
    assert says in answer.json()["message"]
    assert (floor.show(floor.alice, order["id"]), floor.book(3), floor.balance(floor.alice, "USD")) == before


def test_what_cannot_be_amended(floor):
    """Somebody else's, an unknown, a done order, a child that waits, a trailing stop's price: 404 or a sentence."""
    order = rests(floor, floor.alice, "buy", "100.00", "1")
    assert floor.bob.call("PATCH", f"/orders/{order['id']}", {"size": "2"}).status_code == 404
    assert floor.alice.call("PATCH", "/orders/nonsense", {"size": "2"}).json() == {"message": "Invalid order id"}
    assert floor.alice.call("PATCH", "/orders/client:none", {"size": "2"}).status_code == 404
    assert floor.alice.call("PATCH", f"/orders/{order['id']}", b"[]").status_code == 400
    child = {"product_id": "ETH-USD", "side": "sell", "price": "120.00", "size": "1"}
    parent = {"product_id": "ETH-USD", "side": "buy", "price": "90.00", "size": "1"}
    legs = floor.alice.call("POST", "/order-lists", {"type": "oto", "orders": [parent, child]}).json()["orders"]
    others = floor.alice.call("POST", "/order-lists", {"type": "oto", "orders": [parent, parent]}).json()["orders"]
    for parent_leg in (legs[0], others[0]):
        floor.until(floor.alice, parent_leg["id"], "open")
    for waiting in (legs[1], others[1]):
        answer = floor.alice.call("PATCH", f"/orders/{waiting['id']}", {"size": "2"})
        assert (answer.status_code, answer.json()["message"]) == (
            400,
            "an order that waits behind another cannot be amended; cancel it instead",
        )
    answer = floor.alice.call("PATCH", f"/orders/{legs[0]['id']}", {"size": "0.5"})
    assert answer.status_code == 400
    assert "the orders that wait behind it count on more than it would bring" in answer.json()["message"]
    trailing = floor.market_order(floor.alice, "sell", trail_bps=100)
    answer = floor.alice.call("PATCH", f"/orders/{trailing['id']}", {"stop_price": "99.00"})
    assert (answer.status_code, answer.json()["message"]) == (400, "stop_price does not go with a trailing stop")
    floor.alice.call("DELETE", f"/orders/{order['id']}")
    for reference in (order["id"], legs[0]["id"]):
        floor.alice.call("DELETE", f"/orders/{reference}")
        answer = floor.alice.call("PATCH", f"/orders/{reference}", {"size": "2"})
        assert (answer.status_code, answer.json()) == (404, {"message": "Order already done"})


@pytest.mark.parametrize(
    ("mode", "says"), [("halted", "under maintenance"), ("cancel-only", "Cancel only mode"), ("post-only", "Post only")]
)
def test_amends_in_other_modes(floor, mode, says):
    """A book that takes no orders amends none, and says so."""
    order = rests(floor, floor.alice, "buy", "100.00", "1")
    floor.configure(mode=mode)
    answer = floor.alice.call("PATCH", f"/orders/{order['id']}", {"size": "2"})
    floor.configure()
    assert answer.status_code == 400
    assert says in answer.json()["message"]


def test_many_amends_at_once_all_come_to_an_answer(floor):
    """Amends race each other and a fill; each is answered, and the order ends as the last of them, holds and all."""
    order = rests(floor, floor.alice, "buy", "90.00", "1")
    with ThreadPoolExecutor(8) as pool:
        answers = list(
            pool.map(
                lambda at: floor.alice.call("PATCH", f"/orders/{order['id']}", {"price": f"{at}.00"}), range(50, 90)
            )
        )
    assert {answer.status_code for answer in answers} <= {200, 400}
    assert all("under way" in answer.text for answer in answers if answer.status_code == 400)
    final = floor.show(floor.alice, order["id"])
    assert floor.book()["bids"] == [[final["price"], "1.0000", 1]]
    assert floor.balance(floor.alice, "USD")[1] == Decimal(final["price"])
