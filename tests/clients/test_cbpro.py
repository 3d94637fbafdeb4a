"""cbpro's REST clients and its feed client. Its order book is in test_books.py."""

import cbpro
import pytest

from tests.clients.waiting import until

pytestmark = pytest.mark.slow

PRODUCT = "BTC-USD"


@pytest.fixture
def client(cluster):
    """Makes a client of a new user."""
    made = []

    def make(**deposits):
        key = cluster.user(**deposits).key
        made.append(cbpro.AuthenticatedClient(key.key, key.secret, key.passphrase, api_url=cluster.url))
        return made[-1]

    yield make
    for one in made:
        one.cancel_all()


@pytest.fixture
def pair(client):
    """Two users with money."""
    return client(USD="10000", BTC="10"), client(USD="10000", BTC="10")


def test_market_data(cluster, pair):
    """Products, book, ticker, trades, candles, figures, currencies, time."""
    alice, bob = pair
    sell = alice.place_limit_order(PRODUCT, "sell", "115.00", "0.5")
    buy = bob.place_market_order(PRODUCT, "buy", size="0.2")
    until(
        lambda: (
            [alice.get_order(sell["id"])["filled_size"], bob.get_order(buy["id"])["filled_size"]] == ["0.20000000"] * 2
        )
    )
    public = cbpro.PublicClient(api_url=cluster.url)
    assert PRODUCT in [one["id"] for one in public.get_products()]
    until(lambda: public.get_product_order_book(PRODUCT, level=2)["asks"] == [["115.00", "0.30000000", 1]])
    assert public.get_product_ticker(PRODUCT)["price"] == "115.00"
    first = next(iter(public.get_product_trades(PRODUCT)))
    assert (first["price"], first["size"], first["side"]) == ("115.00", "0.20000000", "sell")
    until(lambda: [one[4] for one in public.get_product_historic_rates(PRODUCT, granularity=60)][:1] == [115])
    assert public.get_product_24hr_stats(PRODUCT)["last"] == "115.00"
    assert {one["id"] for one in public.get_currencies()} >= {"BTC", "USD"}
    assert public.get_time()["epoch"] > 0


def test_orders_fills_and_accounts(cluster, pair):
    """Its requests sign a path with a trailing slash, a content type in odd case, and a DELETE with a query."""
    alice, bob = pair
    sell = alice.place_limit_order(PRODUCT, "sell", "118.00", "0.5", time_in_force="GTC", post_only=True)
    stop = alice.place_order(PRODUCT, "sell", "market", size="0.1", stop="loss", stop_price="90.00")
    assert sell["status"] in ("pending", "open")  # its book may have taken it up already
    assert (stop["stop"], stop["stop_price"]) == ("loss", "90.00")
    buy = bob.buy(PRODUCT, "limit", price="118.00", size="0.2")
    assert until(lambda: bob.get_order(buy["id"])["status"] == "done")
    assert {one["id"] for one in alice.get_orders()} == {sell["id"], stop["id"]}
    (fill,) = until(lambda: list(alice.get_fills(order_id=sell["id"])))
    assert (fill["price"], fill["size"], fill["liquidity"]) == ("118.00", "0.20000000", "M")
    (usd,) = [one for one in alice.get_accounts() if one["currency"] == "USD"]
    assert alice.get_account(usd["id"])["balance"] == usd["balance"]
    until(lambda: len(list(alice.get_account_history(usd["id"]))) >= 2)
    (btc,) = [one for one in alice.get_accounts() if one["currency"] == "BTC"]
    assert {hold["ref"] for hold in alice.get_account_holds(btc["id"])} == {sell["id"], stop["id"]}
    assert alice.cancel_order(sell["id"]) == sell["id"]
    assert alice.cancel_order(sell["id"]) == {"message": "Order already done"}
    assert alice.cancel_all(PRODUCT) == [stop["id"]]
    assert alice.place_limit_order(PRODUCT, "buy", "100000", "1") == {"message": "Insufficient funds"}


def test_pages_are_walked(cluster, pair):
    """It follows CB-AFTER from page to page until there is none."""
    alice, _ = pair
    ids = [alice.place_limit_order(PRODUCT, "buy", f"{price}.00", "0.1")["id"] for price in range(10, 17)]
    assert [one["id"] for one in alice.get_orders(limit=3)] == ids[::-1]


def test_the_feed(cluster, pair):
    """Signed, it hears its own order on the user channel."""
    alice, _ = pair
    key = cluster.user(USD="100").key
    heard = []

    class Feed(cbpro.WebsocketClient):  # type: ignore[misc]  # it has no types
        def on_message(self, msg):
            heard.append(msg)

    feed = Feed(
        cluster.url.replace("http", "ws"), products=[PRODUCT], channels=["user", "heartbeat"], auth=True,
        api_key=key.key, api_secret=key.secret, api_passphrase=key.passphrase, should_print=False,
    )  # fmt: skip
    feed.start()
    try:
        until(lambda: heard)
        own = cbpro.AuthenticatedClient(key.key, key.secret, key.passphrase, api_url=cluster.url)
        order = own.place_limit_order(PRODUCT, "buy", "10.00", "0.1")
        alice.place_limit_order(PRODUCT, "buy", "11.00", "0.1")
        own.cancel_order(order["id"])
        until(lambda: [one for one in heard if one["type"] == "done"])
        assert {one["order_id"] for one in heard if "order_id" in one} == {order["id"]}
        assert [one["type"] for one in heard if "order_id" in one] == ["received", "open", "done"]
    finally:
        feed.close()  # it comes back with the next heartbeat
