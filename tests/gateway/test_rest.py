"""The REST dialect against real workers: what is answered, in which words, and that a refusal changes nothing."""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import msgspec
import pytest

from shared import keys
from shared.credentials import revoke_key
from shared.instrument import make_instrument
from tests.harness import BTC_USD

pytestmark = pytest.mark.slow

ORDER = {"product_id": "BTC-USD", "side": "buy", "price": "100.00", "size": "0.5"}


def get(cluster, path, **params):
    return cluster.http.get(path, params=params)


def eventually(ask, timeout_s=15.0):
    """The first answer that is true: PostgreSQL is a little behind."""
    end = time.monotonic() + timeout_s
    while not (found := ask()) and time.monotonic() < end:
        time.sleep(0.05)
    assert found
    return found


def balances(trader):
    return {
        row["currency"]: (Decimal(row["available"]), Decimal(row["hold"]))
        for row in trader.call("GET", "/accounts").json()
    }


@pytest.fixture
def pair(cluster):
    """Two users with money, and no order of anybody on the books."""
    users = cluster.user(USD="10000", BTC="10"), cluster.user(USD="10000", BTC="10")
    for user in users:
        eventually(lambda user=user: balances(user)["BTC"][0] == 10)
    yield users
    for user in users:
        user.call("DELETE", "/orders")


# --- the public market ---


def test_time_is_iso_and_seconds(cluster):
    """Both say now."""
    answer = get(cluster, "/time").json()
    assert abs(answer["epoch"] - time.time()) < 5
    assert answer["iso"].endswith("Z")


def test_currencies_and_products_have_what_clients_read(cluster):
    """The fields that ccxt parses are there, and one of each can be asked for."""
    assert [row["id"] for row in get(cluster, "/currencies").json()] == ["BTC", "ETH", "USD"]
    assert get(cluster, "/currencies/USD").json()["max_precision"] == "0.0000000001"
    kinds = {row["id"]: row["details"]["type"] for row in get(cluster, "/currencies").json()}
    assert kinds == {"BTC": "crypto", "ETH": "crypto", "USD": "fiat"}
    product = get(cluster, "/products/BTC-USD").json()
    assert product in get(cluster, "/products").json()
    wanted = {"base_increment": "0.00000001", "quote_increment": "0.01", "status": "online", "trading_disabled": False}
    assert wanted.items() <= product.items()
    assert product["fees"] == {"maker": "0.001000", "taker": "0.002000"}


@pytest.mark.parametrize("path", ["", "/book", "/ticker", "/stats", "/trades", "/candles"])
def test_an_unknown_product_is_404(cluster, path):
    """Wherever it is named in the path."""
    answer = get(cluster, f"/products/XXX-USD{path}")
    assert (answer.status_code, answer.json()) == (404, {"message": "Product not found"})


def test_the_book_has_three_levels(cluster, pair):
    """Best prices; price levels with their number of orders; single orders by priority."""
    alice, bob = pair
    first, second = alice.order("sell", "200.00", "1"), bob.order("sell", "200.00", "2")
    third = alice.order("sell", "201.50", "3")
    eventually(lambda: len(get(cluster, "/products/BTC-USD/book", level=3).json()["asks"]) == 3)
    book = get(cluster, "/products/BTC-USD/book").json()
    assert (book["bids"], book["asks"]) == ([], [["200.00", "3.00000000", 2]])
    assert get(cluster, "/products/BTC-USD/book", level=2).json()["asks"] == [
        ["200.00", "3.00000000", 2],
        ["201.50", "3.00000000", 1],
    ]
    level3 = get(cluster, "/products/BTC-USD/book", level=3).json()
    assert [row[2] for row in level3["asks"]] == [first["id"], second["id"], third["id"]]
    assert level3["sequence"] == book["sequence"] >= 6


def test_trades_ticker_stats_candles(cluster, pair):
    """A trade shows in all of them: at once where memory answers, soon where PostgreSQL does."""
    alice, bob = pair
    alice.order("sell", "150.00", "0.5")
    bob.order("buy", "151.00", "0.3")
    bob.order("buy", "152.00", "0.2")
    trades = eventually(
        lambda: (found := get(cluster, "/products/BTC-USD/trades").json()) and found[0]["size"][:3] == "0.2" and found
    )
    assert trades[0].items() >= {"price": "150.00", "side": "sell", "size": "0.20000000"}.items()
    ticker = get(cluster, "/products/BTC-USD/ticker").json()
    assert ticker.items() >= {"price": "150.00", "size": "0.20000000", "trade_id": trades[0]["trade_id"]}.items()
    stats = get(cluster, "/products/BTC-USD/stats").json()
    assert (stats["last"], stats["high"]) == ("150.00", "150.00")
    candles = eventually(
        lambda: (
            (found := get(cluster, "/products/BTC-USD/candles", granularity=86400).json())
            and found[0][-1] >= 0.5
            and found
        )
    )
    start, low, high, opened, close, _ = candles[0]
    assert start % 86400 == 0
    assert (low, high, opened, close) == (150, 150, 150, 150)
    assert get(cluster, "/products/spark-lines").json()["BTC-USD"][0][4] == 150


def test_trades_are_paged(cluster, pair):
    """Newest first; CB-AFTER leads to older ones until there are none; CB-BEFORE to newer ones."""
    alice, bob = pair
    alice.order("sell", "150.00", "1")
    bought = [bob.order("buy", "150.00", "0.1")["id"] for _ in range(5)]
    eventually(lambda: {bob.call("GET", f"/orders/{one}").json()["status"] for one in bought} == {"done"})
    newest = int(get(cluster, "/products/BTC-USD/ticker").json()["trade_id"])
    everything = eventually(
        lambda: len(found := get(cluster, "/products/BTC-USD/trades", limit=1000).json()) >= newest and found
    )
    seen, after = [], None
    while True:
        page = get(cluster, "/products/BTC-USD/trades", limit=2, **({"after": after} if after else {}))
        seen += page.json()
        after = page.headers.get("CB-AFTER")
        if after is None:
            break
    assert seen == everything
    older = get(cluster, "/products/BTC-USD/trades", limit=2, before=everything[4]["trade_id"])
    assert older.json() == everything[2:4]
    assert older.headers["CB-BEFORE"] == str(everything[2]["trade_id"])


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("/products/BTC-USD/book?level=4", "level: "),
        ("/products/BTC-USD/book?level=x", "level: Expected `int`"),
        ("/products/BTC-USD/candles?granularity=61", "granularity"),
        ("/products/BTC-USD/candles?start=yesterday", 'start "yesterday" is not a time; write 2025-01-31T12:00:00Z'),
        ("/products/BTC-USD/candles?start=2500-01-01", 'start "2500-01-01" is out of range: times here are from'),
        ("/products/BTC-USD/candles?start=2025-01-02&end=2025-01-01", "start must not be after end"),
        ("/products/BTC-USD/candles?start=2025-01-01&end=2025-02-01", "granularity too small"),
        ("/products/BTC-USD/trades?limit=0", "limit: "),
        ("/products/BTC-USD/trades?limit=1001", "limit: "),
        ("/products/BTC-USD/trades?before=x", "CB-BEFORE"),
        ("/products/BTC-USD/trades?after=99999999999999999999", "CB-BEFORE"),
    ],
)
def test_a_bad_query_is_400_with_the_reason(cluster, path, says):
    """The message names the parameter and what is wrong with it."""
    answer = cluster.http.get(path)
    assert answer.status_code == 400
    assert says in answer.json()["message"]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/nope"),
        ("POST", "/time"),
        ("PUT", "/orders"),
        ("GET", "/products/BTC-USD/nope"),
        ("PATCH", "/accounts"),
    ],
)
def test_an_unknown_route_or_method_is_404(cluster, method, path):
    """Never 405, which ccxt would try again."""
    answer = cluster.http.request(method, path)
    assert answer.status_code == 404
    assert set(answer.json()) == {"message"}


def test_the_service_describes_itself(cluster):
    """Health, figures, the OpenAPI document and pages that need nothing from elsewhere."""
    assert get(cluster, "/health").json()["status"] == "ok"
    assert "matchbox_gateway_answers_total" in get(cluster, "/metrics").text
    api = get(cluster, "/openapi.json").json()
    assert api["paths"]["/orders"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert not any(
        parameter["name"] == "gateway"
        for path in api["paths"].values()
        for one in path.values()
        for parameter in one.get("parameters", [])
    )
    for page in ("/", "/docs"):
        text = get(cluster, page).text
        assert "<title>" in text
        assert "http://" not in text.replace("ws://</code> in place of <code>http://", "")
        assert "https://" not in text


# --- orders ---


def test_an_order_rests_is_found_and_is_canceled(cluster, pair):
    """Placed, it holds money; it is found at once by both ids; canceled, what it held is free when that is answered."""
    alice, _ = pair
    order = alice.order("buy", "100.00", "0.5", client_oid="a/b c?ü")
    assert order.items() >= {
        "product_id": "BTC-USD", "side": "buy", "type": "limit", "price": "100.00", "size": "0.50000000",
        "time_in_force": "GTC", "post_only": False, "stp": "dc", "filled_size": "0.00000000", "settled": False,
        "executed_value": "0.0000000000", "fill_fees": "0.0000000000", "client_oid": "a/b c?ü",
    }.items()  # fmt: skip
    assert order["status"] in ("pending", "open")
    for reference in (order["id"], "client:a%2Fb%20c%3F%C3%BC"):
        for slash in ("", "/"):
            assert alice.call("GET", f"/orders/{reference}{slash}").json()["id"] == order["id"]
    assert balances(alice)["USD"] == (Decimal("9949.9"), Decimal("50.1"))
    canceled = alice.call("DELETE", f"/orders/{order['id']}")
    assert (canceled.status_code, canceled.json()) == (200, order["id"])
    assert balances(alice)["USD"] == (Decimal(10000), 0)
    done = alice.call("GET", f"/orders/{order['id']}").json()
    assert (done["status"], done["done_reason"], done["settled"]) == ("done", "canceled", True)
    again = alice.call("DELETE", f"/orders/{order['id']}")
    assert (again.status_code, again.json()) == (404, {"message": "Order already done"})


def test_a_trade_settles_both_sides(cluster, pair):
    """Fees included; both orders say what was filled; the fills say who was maker and who was taker."""
    alice, bob = pair
    sell = alice.order("sell", "100.00", "0.5")
    buy = bob.order("buy", "100.00", "0.2")
    eventually(lambda: bob.call("GET", f"/orders/{buy['id']}").json()["settled"])
    eventually(lambda: balances(alice)["USD"][0] == Decimal("10019.98"))
    assert balances(bob) == {"BTC": (Decimal("10.2"), 0), "USD": (Decimal("9979.96"), 0), "ETH": (0, 0)}
    assert balances(alice)["BTC"] == (Decimal("9.5"), Decimal("0.3"))
    found = alice.call("GET", f"/orders/{sell['id']}").json()
    assert (found["status"], found["filled_size"], found["executed_value"]) == ("open", "0.20000000", "20.0000000000")
    for user, order, liquidity, fee in ((alice, sell, "M", "0.02"), (bob, buy, "T", "0.04")):
        (fill,) = eventually(lambda user=user, order=order: user.call("GET", f"/fills?order_id={order['id']}").json())
        assert (fill["liquidity"], Decimal(fill["fee"]), fill["order_id"]) == (liquidity, Decimal(fee), order["id"])
        assert user.call("GET", "/fills?product_id=BTC-USD").json() == [fill]


@pytest.mark.parametrize(
    ("body", "left"),
    [
        ({"side": "buy", "type": "market", "funds": "50.1"}, ("buy", "50.1")),
        ({"side": "buy", "type": "market", "size": "0.5"}, ("buy", "50.1")),
        ({"side": "sell", "type": "market", "size": "0.5"}, ("sell", "49.9")),
    ],
)
def test_market_orders(cluster, pair, body, left):
    """By size and by funds, both sides: what is spent and got is exact, fees included, and nothing stays held."""
    alice, bob = pair
    alice.order("sell" if left[0] == "buy" else "buy", "100.00", "0.5")
    answer = bob.call("POST", "/orders", {"product_id": "BTC-USD", **body}).json()
    done = eventually(lambda: (found := bob.call("GET", f"/orders/{answer['id']}").json())["settled"] and found)
    assert "price" not in done
    assert Decimal(done["executed_value"]) <= 50
    usd = balances(bob)["USD"]
    assert usd[1] == 0
    change = Decimal(left[1]) * (-1 if left[0] == "buy" else 1)
    assert abs(usd[0] - 10000 - change) <= Decimal("0.000002")


def test_a_reused_client_id_answers_the_first_order(cluster, pair):
    """A repeat places nothing, however different it is; not even when the first one is done."""
    alice, _ = pair
    first = alice.order("buy", "100.00", "0.5", client_oid="again")
    second = alice.order("buy", "50.00", "3", client_oid="again")
    assert (second["id"], second["price"]) == (first["id"], "100.00")
    assert len(alice.call("GET", "/orders").json()) == 1
    alice.call("DELETE", "/orders/client:again")
    third = alice.order("buy", "100.00", "0.5", client_oid="again")
    assert (third["id"], third["status"]) == (first["id"], "done")


def test_the_same_client_id_at_the_same_moment_is_one_order(cluster, pair):
    """Ten requests at once with one client id: one order, ten equal answers."""
    alice, _ = pair
    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(lambda _: alice.order("buy", "10.00", "1", client_oid="race")["id"], range(10)))
    assert len(set(answers)) == 1
    assert len(alice.call("GET", "/orders").json()) == 1


REFUSED = [
    ({"size": "200"}, 400, "Insufficient funds"),
    ({"product_id": "XXX-USD"}, 400, "Product not found"),
    ({"price": "100.001"}, 400, "price too precise"),
    ({"price": "0.001"}, 400, "price too small"),
    ({"size": "0.000000001"}, 400, "size is too small"),
    ({"size": "0"}, 400, "size is too small"),
    ({"size": "1e9", "price": "9999999"}, 400, "too large"),
    ({"side": "up"}, 400, "side"),
    ({"stop": "loss"}, 400, "stop_price"),
    ({"time_in_force": "GTT"}, 400, "cancel_after is missing"),
    ({"stop_price": "200", "type": "market", "price": None, "size": "100"}, 400, "Insufficient funds"),
    ({"type": "market"}, 400, "price does not belong here"),
    ({"client_oid": "x" * 200}, 400, "client_oid"),
]


@pytest.mark.parametrize(("changed", "status", "says"), REFUSED)
def test_a_refused_order_changes_nothing(cluster, pair, changed, status, says):
    """The status and words of the table, and the same money and orders as before."""
    alice, _ = pair
    before = balances(alice)
    answer = alice.call("POST", "/orders", ORDER | changed)
    assert answer.status_code == status, answer.text
    assert says in answer.json()["message"]
    assert balances(alice) == before
    assert alice.call("GET", "/orders").json() == []


def test_exact_words():
    """Messages that clients compare in full are these and nothing more."""
    exact = [message for _, _, message in REFUSED[:2]]
    assert exact == ["Insufficient funds", "Product not found"]


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"a":', b"[" * 60_000])
def test_a_malformed_body_is_400(cluster, pair, body):
    """Signed but unreadable: said so, never a 5xx."""
    answer = pair[0].call("POST", "/orders", body)
    assert answer.status_code == 400
    assert "request body" in answer.json()["message"]


def test_a_huge_body_is_413(cluster, pair):
    """More than 64 KiB is not read."""
    answer = pair[0].call("POST", "/orders", b'{"a": "' + b"x" * 70_000 + b'"}')
    assert answer.status_code == 413
    assert "65536" in answer.json()["message"]


@pytest.mark.parametrize(
    ("mode", "refused", "says"),
    [
        ("halted", {}, "under maintenance"),
        ("cancel-only", {}, "Cancel only mode"),
        ("post-only", {}, "Post only mode"),
        ("limit-only", {"type": "market", "price": None}, "Limit only mode"),
    ],
)
def test_modes_of_a_book(cluster, pair, mode, refused, says):
    """A halted or restricted book says so; what rests there can be canceled all the while."""
    alice, _ = pair
    order = alice.order("buy", "100.00", "0.5")
    cluster.configure(msgspec.structs.replace(BTC_USD, mode=mode))
    try:
        answer = alice.call("POST", "/orders", ORDER | refused)
        assert answer.status_code == 400
        assert says in answer.json()["message"]
        product = eventually(
            lambda: (one := get(cluster, "/products/BTC-USD").json())["status_message"] == mode and one
        )
        assert product["trading_disabled"] == (mode == "halted")
        assert alice.call("DELETE", f"/orders/{order['id']}").status_code == 200
    finally:
        cluster.configure(BTC_USD)
    eventually(lambda: get(cluster, "/products/BTC-USD").json()["status"] == "online")
    alice.order("buy", "100.00", "0.5")


def test_post_only_that_would_take_is_done_with_a_reason(cluster, pair):
    """The ledger accepts it, its book refuses it: done, canceled as clients know it, with a reject_reason."""
    alice, bob = pair
    alice.order("sell", "100.00", "0.5")
    order = bob.order("buy", "100.00", "0.5", post_only=True)
    done = eventually(lambda: (found := bob.call("GET", f"/orders/{order['id']}").json())["settled"] and found)
    assert (done["done_reason"], done["reject_reason"], done["filled_size"]) == ("canceled", "post_only", "0.00000000")
    assert balances(bob)["USD"] == (Decimal(10000), 0)


def test_somebody_elses_order_does_not_exist(cluster, pair):
    """To look it up or to cancel it is 404, by id and by client id, and it stays where it is."""
    alice, bob = pair
    order = alice.order("buy", "100.00", "0.5", client_oid="mine")
    for reference in (order["id"], "client:mine"):
        for method in ("GET", "DELETE"):
            answer = bob.call(method, f"/orders/{reference}")
            assert (answer.status_code, answer.json()) == (404, {"message": "order not found"})
    eventually(lambda: alice.call("GET", f"/orders/{order['id']}").json()["status"] == "open")
    assert bob.call("DELETE", "/orders").json() == []
    assert alice.call("GET", "/orders/client:mine").json()["status"] == "open"


@pytest.mark.parametrize(
    ("reference", "status", "message"),
    [
        ("nonsense", 400, "Invalid order id"),
        ("5f0c8f9e-0000-4000-8000-000000000000", 404, "order not found"),
        ("6d617463-6862-8000-8000-0000ffffff00", 404, "order not found"),
        ("6d617463-6862-8000-8000-000000000001", 404, "order not found"),
        ("6d617463-6862-8000-bfff-ffffffffff00", 404, "order not found"),
        ("client:unknown", 404, "order not found"),
        ("client:", 400, "Invalid order id"),
        ("client:" + "x" * 200, 400, "client_oid has 200 characters"),
        ("client:a%00b", 400, "U+0000"),
        ("%ff", 400, "Invalid order id"),
        ("a/b", 400, "Invalid order id"),
    ],
)
def test_ids_that_are_none(cluster, pair, reference, status, message):
    """A bad id is 400, an unknown one 404, to look up as to cancel."""
    for method in ("GET", "DELETE"):
        answer = pair[0].call(method, f"/orders/{reference}")
        assert answer.status_code == status, answer.text
        assert message in answer.json()["message"]


def test_cancel_all_or_of_one_product(cluster, pair):
    """Answers the ids that were canceled; other products and users keep theirs. ccxt names the product its own way."""
    alice, bob = pair
    cluster.deposit(alice.account, "ETH", "10")
    btc = [alice.order("buy", f"{price}.00", "0.1")["id"] for price in (10, 11, 12)]
    eth = [alice.order("sell", "10.00", "0.1", "ETH-USD")["id"]]
    kept = bob.order("buy", "9.00", "0.1")["id"]
    assert sorted(alice.call("DELETE", "/orders?product_id=BTC-USD").json()) == sorted(btc)
    assert alice.call("DELETE", "/orders", {"product_id": "ETH/USD"}).json() == eth
    assert balances(alice)["USD"] == (Decimal(10000), 0)
    assert alice.call("DELETE", "/orders").json() == []
    assert [row["id"] for row in bob.call("GET", "/orders").json()] == [kept]
    for target, body in (("?side=", None), ("?product_id=", None), ("", {"side": ""}), ("", {"product_id": ""})):
        answer = bob.call("DELETE", f"/orders{target}", body)
        name = "side" if "side" in f"{target}{body}" else "product_id"
        message = f'{name} is "": say which, or leave it out to mean all'
        assert (answer.status_code, answer.json()["message"]) == (400, message)
    assert [row["id"] for row in bob.call("GET", "/orders").json()] == [kept]
    answer = alice.call("DELETE", "/orders?product_id=XXX-USD")
    assert (answer.status_code, answer.json()) == (400, {"message": "Product not found"})


def test_lists_of_orders(cluster, pair):
    """By status, product and date; newest first; paged through memory and PostgreSQL as through one list."""
    alice, _ = pair
    ids = [alice.order("buy", f"{10 + index}.00", "0.1")["id"] for index in range(6)]
    for number in ids[:3]:
        alice.call("DELETE", f"/orders/{number}")

    def listed(query):
        answer = alice.call("GET", f"/orders{query}")
        assert answer.status_code == 200, answer.text
        return [row["id"] for row in answer.json()]

    eventually(lambda: {row["status"] for row in alice.call("GET", "/orders").json()} == {"open"})
    assert listed("") == listed("?status=open") == listed("?status=open&status=pending") == ids[:2:-1]
    assert listed("?status=done") == ids[2::-1]
    assert listed("?status=all") == listed("?status=open,done,pending") == ids[::-1]
    assert listed("?status=all&product_id=ETH-USD") == []
    middle = alice.call("GET", f"/orders/{ids[3]}").json()["created_at"]
    assert listed(f"?status=all&start_date={middle}") == ids[:2:-1]
    assert listed(f"?status=all&end_date={middle}") == ids[3::-1]
    seen, after = [], ""
    while True:
        page = alice.call("GET", f"/orders?status=all&limit=2{after}")
        seen += [row["id"] for row in page.json()]
        if "CB-AFTER" not in page.headers:
            break
        after = f"&after={page.headers['CB-AFTER']}"
    assert seen == ids[::-1]
    assert alice.call("GET", "/orders?status=lost").status_code == 400
    assert alice.call("GET", "/orders?product_id=XXX-USD").status_code == 400


# --- accounts ---


def test_accounts_statements_and_holds(cluster, pair):
    """Each currency has an account, zeros included; its statement adds up to its balance; holds name their order."""
    alice, bob = pair
    bob.order("sell", "100.00", "0.5")
    alice.order("buy", "100.00", "0.5")
    order = alice.order("buy", "50.00", "1")
    accounts = {row["currency"]: row for row in alice.call("GET", "/accounts").json()}
    assert set(accounts) == {"BTC", "ETH", "USD"}
    usd = accounts["USD"]["id"]
    entries = eventually(lambda: len(found := alice.call("GET", f"/accounts/{usd}/ledger").json()) == 3 and found)
    assert [(row["type"], Decimal(row["amount"])) for row in entries] == [
        ("fee", Decimal("-0.1")),
        ("match", -50),
        ("transfer", 10000),
    ]
    account = alice.call("GET", f"/accounts/{usd}").json()
    assert (
        Decimal(entries[0]["balance"])
        == Decimal(account["balance"])
        == Decimal(account["available"]) + Decimal(account["hold"])
    )
    running = Decimal(0)
    for row in reversed(entries):
        running += Decimal(row["amount"])
        assert Decimal(row["balance"]) == running
    page = alice.call("GET", f"/accounts/{usd}/ledger?limit=2")
    rest = alice.call("GET", f"/accounts/{usd}/ledger?limit=2&after={page.headers['CB-AFTER']}")
    assert page.json() + rest.json() == entries
    (hold,) = alice.call("GET", f"/accounts/{usd}/holds").json()
    assert (hold["ref"], Decimal(hold["amount"])) == (order["id"], Decimal("50.1"))
    (transfer,) = alice.call("GET", f"/accounts/{usd}/transfers").json()
    assert (transfer["type"], Decimal(transfer["amount"])) == ("deposit", Decimal(10000))
    assert len(alice.call("GET", "/transfers").json()) == 2
    for path in ("/transfers", f"/accounts/{usd}/transfers"):
        assert alice.call("GET", f"{path}?type=withdraw").json() == []
        assert alice.call("GET", f"{path}?type=both").status_code == 400
    assert alice.call("GET", f"/transfers/{transfer['id']}").json() == transfer
    for path in ("", "/ledger", "/holds", "/transfers"):
        assert bob.call("GET", f"/accounts/{usd}{path}").status_code == 404
    assert bob.call("GET", f"/transfers/{transfer['id']}").status_code == 404
    assert alice.call("GET", "/fees").json()["taker_fee_rate"] == "0.002000"


def test_holds_come_in_pages(cluster, pair):
    """Newest first, to both directions, with the cursors of the page; other currencies' holds are not among them."""
    alice, _ = pair
    usd = next(row["id"] for row in alice.call("GET", "/accounts").json() if row["currency"] == "USD")
    ids = [alice.order("buy", f"{price}.00", "0.1")["id"] for price in (10, 11, 12)]
    alice.order("sell", "900.00", "0.1")
    first = alice.call("GET", f"/accounts/{usd}/holds?limit=2")
    assert [hold["ref"] for hold in first.json()] == [ids[2], ids[1]]
    last = alice.call("GET", f"/accounts/{usd}/holds?limit=2&after={first.headers['CB-AFTER']}")
    assert [hold["ref"] for hold in last.json()] == [ids[0]]
    assert "CB-AFTER" not in last.headers
    newer = alice.call("GET", f"/accounts/{usd}/holds?limit=1&before={last.headers['CB-BEFORE']}")
    assert [hold["ref"] for hold in newer.json()] == [ids[1]]


def test_a_user_has_one_profile(cluster, pair):
    """Clients ask for it; it is the one that orders and accounts name, and nobody else's."""
    alice, bob = pair
    (profile,) = alice.call("GET", "/profiles").json()
    assert alice.call("GET", f"/profiles/{profile['id']}").json() == profile
    assert bob.call("GET", f"/profiles/{profile['id']}").status_code == 404
    assert alice.order("buy", "10.00", "0.1")["profile_id"] == profile["id"]


# --- who asks ---


def test_scopes(cluster):
    """A key does what it was made for; the rest is a 401 that says so."""
    viewer = cluster.user(scopes=["view"], USD="10")
    assert viewer.call("GET", "/accounts").status_code == 200
    for method, path in (("POST", "/orders"), ("PATCH", "/orders/client:x"), ("POST", "/order-lists")):
        answer = viewer.call(method, path, ORDER)
        assert answer.status_code == 401
        assert '"trade"' in answer.json()["message"]


@pytest.mark.parametrize("path", ["/accounts", "/orders", "/fills", "/fees", "/transfers", "/orders/client:x"])
def test_without_a_signature_nothing_private_is_told(cluster, path):
    """Unsigned, or signed for something else: 401 with a reason."""
    answer = get(cluster, path)
    assert answer.status_code == 401
    assert "CB-ACCESS-KEY" in answer.json()["message"]
    user = cluster.user()
    answer = cluster.http.get(path, headers=user.headers("GET", "/elsewhere"))
    assert answer.status_code == 401
    answer = cluster.http.get(path, headers=user.headers("GET", path, at=str(int(time.time()) - 60)))
    assert answer.status_code == 401
    assert "expired" in answer.json()["message"]


def test_the_raw_bytes_are_signed(cluster, pair):
    """Odd spacing, a query with escapes, and a body on GET or DELETE verify as they were sent."""
    alice, _ = pair
    body = b'{ "product_id":"BTC-USD",\n "side" : "buy", "price":10.10,"size":1 }'
    assert alice.call("POST", "/orders", body).json()["price"] == "10.10"
    assert alice.call("GET", "/orders?product_id=BTC%2DUSD&status=all").status_code == 200
    assert alice.call("GET", "/orders/", b'{"ignored": true}').status_code == 200
    assert len(alice.call("DELETE", "/orders", b'{"product_id": "BTC-USD"}').json()) == 1


def test_a_key_works_at_once_and_not_after_it_was_revoked(cluster):
    """New keys are looked up when first seen; a revocation reaches the gateway by pub/sub."""
    user = cluster.user()
    assert user.call("GET", "/accounts").status_code == 200
    revoke_key(cluster.database, user.key.key)
    cluster.client.publish(keys.KEYS_CHANNEL, user.key.key)
    eventually(lambda: user.call("GET", "/accounts").status_code == 401)


def test_a_new_instrument_is_traded_at_once(cluster):
    """An instrument added while the gateway runs appears, and can be traded."""
    cluster.instruments.append(make_instrument("LTC-USD", "0.01", "0.01"))
    cluster.configure(cluster.instruments[-1])
    cluster.start("engine:LTC-USD")
    cluster.wait_ready("engine:LTC-USD")
    user = cluster.user(USD="100")
    eventually(lambda: get(cluster, "/products/LTC-USD").status_code == 200)
    order = user.order("buy", "1.00", "5", "LTC-USD")
    eventually(lambda: user.call("GET", f"/orders/{order['id']}").json()["status"] == "open")
    assert user.call("DELETE", "/orders").json() == [order["id"]]


def test_numbers_in_answers_are_strings(cluster, pair):
    """No decimal of an order is a JSON number, so nobody's parser rounds it."""
    order = pair[0].order("buy", "10.10", "1")
    raw = pair[0].call("GET", f"/orders/{order['id']}").text
    assert not any(isinstance(value, float) for value in json.loads(raw).values())
