"""Stops, ends, icebergs, smallest fills, modes: each from POST to its end, against real workers."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

pytestmark = pytest.mark.slow


# --- stops -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("side", "more", "counter"),
    [
        ("sell", {"stop_price": "95.00"}, "94.00"),
        ("sell", {"stop": "entry", "stop_price": "110.00"}, "104.00"),
        ("buy", {"stop_price": "110.00"}, "111.00"),
        ("buy", {"stop": "loss", "stop_price": "95.00"}, "97.00"),
    ],
    ids=["stop, sell", "take-profit, sell", "stop, buy", "take-profit, buy"],
)
def test_a_stop_sleeps_until_it_triggers(floor, side, more, counter):
    """Active and holding, off the book, until the trade at its stop price; then it takes what rests."""
    alice, bob = floor.alice, floor.bob
    other = bob.order("buy" if side == "sell" else "sell", counter, "1", "ETH-USD")
    order = floor.market_order(alice, side, **more)
    assert order["stop"] == more.get("stop", "loss" if side == "sell" else "entry")
    assert (order["type"], order["stop_price"], order["settled"]) == ("market", more["stop_price"], False)
    assert "price" not in floor.until(alice, order["id"], "active")
    assert [row["id"] for row in alice.call("GET", "/orders?status=active").json()] == [order["id"]]
    assert alice.call("GET", "/orders?status=open,pending").json() == []
    assert floor.balance(alice, "ETH" if side == "sell" else "USD")[1] > 0
    floor.until(bob, other["id"], "open")
    assert len(floor.book()["bids"] + floor.book()["asks"]) == 1
    floor.trade(more["stop_price"])
    done = floor.until(alice, order["id"], "done")
    assert (done["done_reason"], done["filled_size"]) == ("filled", "1.0000")
    assert Decimal(done["executed_value"]) == Decimal(counter)
    assert (done["stop"], done["stop_price"]) == (order["stop"], more["stop_price"])
    assert floor.balance(alice, "ETH")[1] == floor.balance(alice, "USD")[1] == 0


def test_a_stop_limit_rests_when_it_has_triggered(floor):
    """Its limit price shows all the time; after the trigger it is open, with its stop still told."""
    order = floor.alice.order("sell", "94.50", "1", "ETH-USD", stop="loss", stop_price="95.00")
    active = floor.until(floor.alice, order["id"], "active")
    assert (active["type"], active["price"], active["stop_price"]) == ("limit", "94.50", "95.00")
    floor.trade("95.00")
    opened = floor.until(floor.alice, order["id"], "open")
    assert (opened["stop"], opened["stop_price"]) == ("loss", "95.00")
    assert floor.book() == {"bids": [], "asks": [["94.50", "1.0000", 1]]}


@pytest.mark.parametrize(
    ("side", "more", "says"),
    [
        ("sell", {"stop_price": "100.00"}, "100.00 is on the wrong side: a sell with stop loss waits below the last"),
        ("sell", {"stop": "entry", "stop_price": "99.00"}, "99.00 is on the wrong side: a sell with stop entry waits"),
        ("buy", {"stop_price": "99.99"}, "99.99 is on the wrong side: a buy with stop entry waits above the last"),
        ("buy", {"stop": "loss", "stop_price": "100.01"}, "100.01 is on the wrong side: a buy with stop loss waits"),
    ],
)
def test_a_stop_on_the_wrong_side_of_the_last_trade_is_refused(floor, side, more, says):
    """It would be no stop: a 400 that names stop_price and the last trade, 100.00, and holds nothing."""
    body = {"product_id": "ETH-USD", "side": side, "type": "market", "size": "1", **more}
    answer = floor.alice.call("POST", "/orders", body)
    assert answer.status_code == 400
    assert answer.json()["message"].startswith(f"stop_price {says}")
    assert floor.balance(floor.alice, "USD")[1] == floor.balance(floor.alice, "ETH")[1] == 0


def test_a_sleeping_stop_can_be_canceled(floor):
    """It is gone, and what it held is available again."""
    order = floor.market_order(floor.alice, "buy", stop_price="120.00")
    floor.until(floor.alice, order["id"], "active")
    assert floor.alice.call("DELETE", f"/orders/{order['id']}").json() == order["id"]
    assert floor.balance(floor.alice, "USD") == (Decimal(10000), 0)
    done = floor.show(floor.alice, order["id"])
    assert (done["status"], done["done_reason"]) == ("done", "canceled")
    assert "reject_reason" not in done


@pytest.mark.parametrize(
    ("more", "stands"), [({"trail_price": "2.50"}, ["97.50", "107.50"]), ({"trail_bps": 150}, ["98.50", "108.35"])]
)
def test_a_trailing_stop_follows_the_trades(floor, more, stands):
    """stop_price shows where it stands: behind the best trade since, never back; a trade there triggers it."""
    floor.bob.order("buy", "98.00", "1", "ETH-USD")
    order = floor.market_order(floor.alice, "sell", **more)
    assert order.items() >= (more | {"stop": "loss"}).items()
    for price, stand in (("100.00", stands[0]), ("110.00", stands[1]), ("109.00", stands[1])):
        floor.trade(price)
        assert floor.until(floor.alice, order["id"], "active")["stop_price"] == stand
    floor.trade(stands[1])
    done = floor.until(floor.alice, order["id"], "done")
    assert (done["done_reason"], Decimal(done["executed_value"])) == ("filled", Decimal(98))


# --- their end -------------------------------------------------------------------------------------


def test_an_order_expires_while_nobody_trades(floor):
    """At its instant and by itself: done, with what it held available, though no command comes to its book."""
    instant = (datetime.now(UTC) + timedelta(seconds=3)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    order = floor.alice.order("buy", "50.00", "1", "ETH-USD", time_in_force="GTT", cancel_after=instant)
    sleeping = floor.market_order(floor.alice, "buy", stop_price="120", time_in_force="GTD", cancel_after=instant)
    assert (order["time_in_force"], order["expire_time"]) == ("GTT", instant)
    floor.until(floor.alice, order["id"], "open")
    floor.until(floor.alice, sleeping["id"], "active")
    for one in (order, sleeping):
        done = floor.until(floor.alice, one["id"], "done")
        assert (done["done_reason"], done["reject_reason"], done["expire_time"]) == ("canceled", "expired", instant)
    assert floor.balance(floor.alice, "USD") == (Decimal(10000), 0)
    assert floor.book() == {"bids": [], "asks": []}


@pytest.mark.parametrize(("word", "seconds"), [("min", 60), ("hour", 3600), ("day", 86400)])
def test_an_order_may_last_a_minute_an_hour_or_a_day(floor, word, seconds):
    """expire_time says when that ends."""
    lasts, before = timedelta(seconds=seconds), datetime.now(UTC)
    order = floor.alice.order("buy", "50.00", "1", "ETH-USD", time_in_force="GTT", cancel_after=word)
    ends = datetime.fromisoformat(order["expire_time"])
    assert before - timedelta(milliseconds=1) <= ends - lasts <= datetime.now(UTC)


# --- sizes -----------------------------------------------------------------------------------------


def test_an_iceberg_shows_a_part_at_a_time(floor):
    """The book tells only the part that shows; the next one comes at the back of its level; size is all of it."""
    iceberg = floor.alice.order("sell", "105.00", "1", "ETH-USD", display_size="0.3")
    assert (iceberg["size"], iceberg["display_size"]) == ("1.0000", "0.3000")
    floor.until(floor.alice, iceberg["id"], "open")
    other = floor.alice.order("sell", "105.00", "0.5", "ETH-USD")
    floor.until(floor.alice, other["id"], "open")
    assert floor.book()["asks"] == [["105.00", "0.8000", 2]]
    taker = floor.bob.order("buy", "105.00", "0.4", "ETH-USD")
    floor.until(floor.bob, taker["id"], "done")
    assert floor.book(3)["asks"] == [["105.00", "0.4000", other["id"]], ["105.00", "0.3000", iceberg["id"]]]
    shown = floor.show(floor.alice, iceberg["id"])
    assert (shown["status"], shown["filled_size"], shown["size"]) == ("open", "0.3000", "1.0000")
    assert floor.balance(floor.alice, "ETH")[1] == Decimal("1.1")


@pytest.mark.parametrize(
    ("more", "reason", "filled"),
    [
        ({"time_in_force": "FOK"}, "fill_or_kill", "0.0000"),
        ({"time_in_force": "IOC"}, "immediate_or_cancel", "0.5000"),
        ({"time_in_force": "IOC", "min_size": "0.5"}, "immediate_or_cancel", "0.5000"),
        ({"time_in_force": "IOC", "min_size": "0.6"}, "minimum_quantity", "0.0000"),
        ({"min_size": "0.6"}, "minimum_quantity", "0.0000"),
        ({"post_only": True}, "post_only", "0.0000"),
    ],
    ids=str,
)
def test_what_its_terms_forbid_ends_an_order(floor, more, reason, filled):
    """Accepted, then done by its book, with the reason and what was filled."""
    ask = floor.bob.order("sell", "100.00", "0.5", "ETH-USD")
    floor.until(floor.bob, ask["id"], "open")
    order = floor.alice.order("buy", "100.00", "1", "ETH-USD", **more)
    done = floor.until(floor.alice, order["id"], "done")
    assert (done["done_reason"], done["reject_reason"], done["filled_size"]) == ("canceled", reason, filled)
    assert floor.balance(floor.alice, "USD") == (10000 - 100 * Decimal(filled), Decimal(0))


def test_a_minimum_that_is_met_leaves_the_rest_on_the_book(floor):
    """min_size asks only for the first moment."""
    ask = floor.bob.order("sell", "100.00", "0.5", "ETH-USD")
    floor.until(floor.bob, ask["id"], "open")
    order = floor.alice.order("buy", "100.00", "1", "ETH-USD", min_size="0.5")
    assert order["min_size"] == "0.5000"
    floor.until(floor.bob, ask["id"], "done")
    assert floor.until(floor.alice, order["id"], "open")["filled_size"] == "0.5000"
    assert floor.book()["bids"] == [["100.00", "0.5000", 1]]


# --- the instrument --------------------------------------------------------------------------------


def test_an_auction_collects_and_trades_at_one_price(floor):
    """The product and its book say so, and what it would trade; orders that cannot wait are refused in words."""
    floor.configure(mode="auction")
    product = floor.product()
    assert (product["auction_mode"], product["status"], product["trading_disabled"]) == (True, "online", False)
    auction = floor.cluster.http.get("/products/ETH-USD/book").json()["auction"]
    assert auction.items() >= {"open_price": "0.00", "open_size": "0.0000", "can_open": "no"}.items()
    for more in ({"type": "market", "price": None}, {"time_in_force": "IOC"}, {"min_size": "0.1"}):
        body = {"product_id": "ETH-USD", "side": "buy", "price": "100", "size": "1", **more}
        answer = floor.alice.call("POST", "/orders", body)
        assert (answer.status_code, answer.json()["message"][:13]) == (400, "Auction mode:")
    buy = floor.alice.order("buy", "102.00", "2", "ETH-USD")
    sell = floor.bob.order("sell", "98.00", "1.5", "ETH-USD")
    for user, order in ((floor.alice, buy), (floor.bob, sell)):
        floor.until(user, order["id"], "open")
    book = floor.cluster.http.get("/products/ETH-USD/book").json()
    assert (book["bids"], book["asks"]) == ([["102.00", "2.0000", 1]], [["98.00", "1.5000", 1]])
    assert book["auction_mode"] is True
    price = book["auction"]["open_price"]
    assert book["auction"].items() >= {
        "open_size": "1.5000", "imbalance": "0.5000", "can_open": "yes", "auction_state": "collection",
    }.items()  # fmt: skip
    floor.configure()
    done = floor.until(floor.bob, sell["id"], "done")
    assert Decimal(done["executed_value"]) == Decimal(price) * Decimal("1.5")
    book = floor.cluster.http.get("/products/ETH-USD/book").json()
    assert (book["auction_mode"], "auction" in book, book["bids"]) == (False, False, [["102.00", "0.5000", 1]])


def test_a_price_collar_ends_what_goes_too_far(floor):
    """The product tells the collar; an order trades as far as it lets it, and is done with price_collar."""
    floor.configure(price_collar=50_000)
    assert floor.product()["price_collar"] == "0.050000"
    for price in ("104.00", "106.00"):
        ask = floor.bob.order("sell", price, "1", "ETH-USD")
        floor.until(floor.bob, ask["id"], "open")
    order = floor.alice.order("buy", "110.00", "2", "ETH-USD")
    done = floor.until(floor.alice, order["id"], "done")
    assert (done["reject_reason"], done["filled_size"]) == ("price_collar", "1.0000")
    floor.configure()
