"""ccxt's ``coinbaseexchange``, unchanged but for the URL: what a bot does, and each error it must understand."""

import asyncio
import signal
import time

import ccxt
import msgspec
import pytest

from tests.clients.exchanges import async_ccxt_of, ccxt_of
from tests.clients.waiting import until
from tests.harness import BTC_USD, free_port

pytestmark = pytest.mark.slow


@pytest.fixture
def client(cluster):
    """Makes a ccxt client of a new user with this money."""
    made = []

    def make(**deposits):
        exchange = ccxt_of(cluster, cluster.user(**deposits))
        made.append(exchange)
        for currency, amount in deposits.items():
            until(lambda: exchange.fetch_balance()[currency]["total"] == float(amount))  # noqa: B023
        return exchange

    yield make
    for exchange in made:
        if exchange.checkRequiredCredentials(False):
            exchange.cancel_all_orders()


@pytest.fixture
def alice(client):
    """A user with money."""
    return client(USD="10000", BTC="10")


@pytest.fixture
def bob(client):
    """Another one."""
    return client(USD="10000", BTC="10")


def test_markets_currencies_and_time(cluster, alice):
    """load_markets knows each product with its steps; the clock is ours."""
    markets = alice.load_markets()
    assert set(markets) == {"BTC/USD", "ETH/USD"}
    market = markets["BTC/USD"]
    assert (market["precision"]["price"], market["precision"]["amount"], market["active"]) == (0.01, 1e-8, True)
    assert set(alice.currencies) >= {"BTC", "ETH", "USD"}
    assert abs(alice.fetch_time() / 1000 - time.time()) < 5


def test_market_data_of_a_trade(cluster, alice, bob):
    """Order book, ticker, tickers, trades and candles, as ccxt gives them to its user."""
    alice.create_order("BTC/USD", "limit", "sell", 1.5, 200.5)
    bob.create_order("BTC/USD", "limit", "buy", 0.5, 201)
    bob.create_order("BTC/USD", "limit", "buy", 0.25, 150.25)
    book = until(lambda: (found := alice.fetch_order_book("BTC/USD"))["bids"] and found)
    assert (book["bids"][0][:2], book["asks"][0][:2]) == ([150.25, 0.25], [200.5, 1.0])
    assert book["nonce"] > 0
    ticker = until(lambda: (found := alice.fetch_ticker("BTC/USD"))["last"] == 200.5 and found)
    assert (ticker["bid"], ticker["ask"], ticker["close"]) == (150.25, 200.5, 200.5)
    trade = alice.fetch_trades("BTC/USD")[-1]
    assert (trade["price"], trade["amount"], trade["side"]) == (200.5, 0.5, "buy")
    until(lambda: alice.fetch_ohlcv("BTC/USD", "1m")[-1:] and alice.fetch_ohlcv("BTC/USD", "1m")[-1][4] == 200.5)
    candles = alice.fetch_ohlcv("BTC/USD", "1d", since=alice.milliseconds() - 5 * 86_400_000, limit=7)
    assert candles[-1][4] == 200.5
    assert alice.fetch_tickers()["BTC/USD"]["last"] == 200.5
    alice.options["fetchTickerMethod"] = "publicGetProductsIdStats"
    assert alice.fetch_ticker("BTC/USD")["high"] == 200.5


def test_the_life_of_a_limit_order(cluster, alice):
    """Create, fetch, list, cancel: by the exchange's id and by the client's own."""
    balance = alice.fetch_balance()
    assert (balance["USD"]["free"], balance["BTC"]["total"]) == (10000, 10)
    order = alice.create_order("BTC/USD", "limit", "buy", 0.5, 100.25, {"clientOrderId": "mine", "postOnly": True})
    assert (order["status"], order["symbol"], order["price"], order["amount"]) == ("open", "BTC/USD", 100.25, 0.5)
    for found in (
        alice.fetch_order(order["id"]),
        alice.fetch_order("", "BTC/USD", {"clientOrderId": "mine"}),
        alice.fetch_open_orders("BTC/USD")[0],
        alice.fetch_open_orders()[0],
    ):
        assert (found["id"], found["clientOrderId"], found["postOnly"]) == (order["id"], "mine", True)
    assert alice.fetch_balance()["USD"]["used"] == 50.22525
    alice.cancel_order(order["id"], "BTC/USD")
    assert alice.fetch_order(order["id"])["status"] == "canceled"
    assert alice.fetch_balance()["USD"]["free"] == 10000
    assert [found["id"] for found in alice.fetch_closed_orders("BTC/USD")] == [order["id"]]
    assert [found["id"] for found in alice.fetch_orders("BTC/USD")] == [order["id"]]
    second = alice.create_order("BTC/USD", "limit", "buy", 0.5, 100, {"clientOrderId": "second"})
    alice.cancel_order("", "BTC/USD", {"clientOrderId": "second"})
    assert alice.fetch_order(second["id"])["status"] == "canceled"


def test_fills_and_fees_of_a_trade(cluster, alice, bob):
    """Both sides see the trade, its fee and who was maker; a market order spends what it was told to."""
    sell = alice.create_order("BTC/USD", "limit", "sell", 1, 100)
    buy = bob.create_order("BTC/USD", "market", "buy", 1, None, {"cost": 50.1})
    done = until(lambda: (found := bob.fetch_order(buy["id"]))["status"] == "closed" and found)
    assert (done["filled"], done["cost"], done["fee"]["cost"]) == (0.5, 50, 0.1)
    assert done["average"] == 100
    (trade,) = until(lambda: bob.fetch_my_trades("BTC/USD"))
    assert (trade["order"], trade["side"], trade["takerOrMaker"], trade["fee"]["cost"]) == (
        buy["id"],
        "buy",
        "taker",
        0.1,
    )
    (trade,) = until(lambda: alice.fetch_order_trades(sell["id"], "BTC/USD"))
    assert (trade["side"], trade["takerOrMaker"], trade["fee"]["cost"]) == ("sell", "maker", 0.05)
    fees = alice.fetch_trading_fees()["BTC/USD"]
    assert (fees["maker"], fees["taker"]) == (0.001, 0.002)
    entries = until(lambda: len(found := bob.fetch_ledger("USD")) == 3 and found)
    assert {entry["type"] for entry in entries} == {"transfer", "trade", "fee"}
    assert min(entry["after"] for entry in entries) == 9949.9
    assert [found["amount"] for found in bob.fetch_deposits("USD")] == [10000]


def test_cancel_all(cluster, alice):
    """Of one product, which ccxt names BTC/USD in the body of a DELETE, and of all."""
    for price in (10, 11):
        alice.create_order("BTC/USD", "limit", "buy", 1, price)
    alice.create_order("ETH/USD", "limit", "buy", 1, 12)
    alice.cancel_all_orders("BTC/USD")
    assert [order["symbol"] for order in alice.fetch_open_orders()] == ["ETH/USD"]
    alice.cancel_all_orders()
    assert alice.fetch_open_orders() == []


def test_each_error_is_understood(cluster, alice, bob, client):
    """Every class of the table raises what a ccxt user catches."""
    other = bob.create_order("BTC/USD", "limit", "buy", 1, 10)
    done = alice.create_order("BTC/USD", "limit", "buy", 1, 10)
    alice.cancel_order(done["id"])
    stranger = client()
    secret, stranger.secret = stranger.secret, "AAAA"
    body = {"type": "limit", "side": "buy", "product_id": "BTC-USD", "size": "1", "price": "10"}
    for error, call in (
        (ccxt.InsufficientFunds, lambda: alice.create_order("BTC/USD", "limit", "buy", 1000, 1000)),
        (ccxt.OrderNotFound, lambda: alice.fetch_order(other["id"])),
        (ccxt.OrderNotFound, lambda: alice.cancel_order(other["id"])),
        (ccxt.OrderNotFound, lambda: alice.cancel_order(done["id"])),
        (ccxt.OrderNotFound, lambda: alice.fetch_order("", None, {"clientOrderId": "nobody"})),
        (ccxt.InvalidOrder, lambda: alice.fetch_order("nonsense")),
        (ccxt.InvalidOrder, lambda: alice.private_post_orders({**body, "product_id": "XXX-USD"})),
        (ccxt.InvalidOrder, lambda: alice.private_post_orders({**body, "price": "10.001"})),
        (ccxt.InvalidOrder, lambda: alice.private_post_orders({**body, "price": "0.001"})),
        (ccxt.InvalidOrder, lambda: alice.private_post_orders({**body, "size": "0"})),
        (ccxt.ExchangeError, lambda: alice.private_post_orders({**body, "side": "up"})),
        (ccxt.AuthenticationError, stranger.fetch_balance),
    ):
        with pytest.raises(error) as raised:
            call()
        assert type(raised.value) is error
    stranger.secret = secret


@pytest.mark.parametrize("mode", ["cancel-only", "halted"])
def test_a_book_under_maintenance(cluster, alice, mode):
    """A halted or cancel-only book raises OnMaintenance, and lets go of what rests there."""
    order = alice.create_order("BTC/USD", "limit", "buy", 1, 10)
    cluster.configure(msgspec.structs.replace(BTC_USD, mode=mode))
    try:
        with pytest.raises(ccxt.OnMaintenance):
            alice.create_order("BTC/USD", "limit", "buy", 1, 10)
        alice.cancel_order(order["id"])
    finally:
        cluster.configure(BTC_USD)


def test_stops_of_a_ccxt_user(cluster, alice, bob):
    """The params stopPrice and triggerPrice make stops, in ccxt's words; its own fields and ours pass side by side."""
    alice.create_order("ETH/USD", "limit", "buy", 0.01, 100)
    rests = bob.create_order("BTC/USD", "limit", "sell", 0.01, 100)
    alice.create_order("BTC/USD", "limit", "buy", 0.01, 100)
    until(lambda: bob.fetch_order(rests["id"])["status"] == "closed")
    made = [
        alice.create_order("BTC/USD", "limit", "sell", 0.5, 94.5, {"stopPrice": 95}),
        alice.create_order("BTC/USD", "market", "sell", 0.5, None, {"triggerPrice": 95.25}),
        alice.create_order("BTC/USD", "market", "sell", 0.5, None, {"triggerPrice": 110, "stop": "entry"}),
        alice.create_order("BTC/USD", "limit", "buy", 0.5, 111, {"stop_price": "110.50", "timeInForce": "IOC"}),
    ]
    assert [order["triggerPrice"] for order in made] == [95, 95.25, 110, 110.5]
    assert [order["info"]["stop"] for order in made] == ["loss", "loss", "entry", "entry"]
    for order in made:
        found = until(lambda: (one := alice.fetch_order(order["id"]))["info"]["status"] == "active" and one)  # noqa: B023
        assert (found["status"], found["triggerPrice"]) == ("open", order["triggerPrice"])
    assert {order["id"] for order in made} <= {order["id"] for order in alice.fetch_open_orders("BTC/USD")}
    trailing = alice.create_order("BTC/USD", "market", "sell", 0.5, None, {"trail_bps": 100})
    assert until(lambda: alice.fetch_order(trailing["id"])["triggerPrice"]) == 99
    alice.cancel_all_orders("BTC/USD")
    assert alice.fetch_order(made[0]["id"])["status"] == "canceled"


def test_ends_and_sizes_of_a_ccxt_user(cluster, alice):
    """The params timeInForce and postOnly in ccxt's words, cancel_after and the extensions as they are."""
    order = alice.create_order("BTC/USD", "limit", "buy", 0.5, 10, {"timeInForce": "GTT", "cancel_after": "hour"})
    assert (order["timeInForce"], order["info"]["expire_time"] > order["info"]["created_at"]) == ("GTT", True)
    order = alice.create_order("BTC/USD", "limit", "buy", 0.5, 10, {"timeInForce": "GTD", "cancel_after": "day"})
    assert order["timeInForce"] == "GTT"
    assert alice.create_order("BTC/USD", "limit", "buy", 0.5, 10, {"timeInForce": "PO"})["postOnly"] is True
    order = alice.create_order("BTC/USD", "limit", "buy", 0.5, 10, {"display_size": "0.1", "min_size": None})
    assert order["info"]["display_size"] == "0.10000000"
    killed = alice.create_order("BTC/USD", "limit", "buy", 0.5, 10, {"timeInForce": "FOK"})
    assert until(lambda: alice.fetch_order(killed["id"])["status"] == "canceled")


def test_what_does_not_go_together_raises_once(cluster, alice):
    """A refused combination is an error with our sentence, which ccxt does not take for a fault of the exchange."""
    for params, says in (
        ({"timeInForce": "GTT"}, "cancel_after is missing"),
        ({"stopPrice": 9, "postOnly": True}, "post_only true does not go with a stop"),
        ({"display_size": "1"}, "display_size 1 is too large"),
        ({"timeInForce": "FOK", "postOnly": True}, "post_only true does not go with time_in_force FOK"),
    ):
        with pytest.raises(ccxt.ExchangeError, match=says) as raised:
            alice.create_order("BTC/USD", "limit", "buy", 0.5, 10, params)
        assert not isinstance(raised.value, ccxt.NetworkError)


def test_an_amend_through_ccxt(cluster, alice):
    """Our PATCH has no method of its own there; its signing sends it all the same."""
    order = alice.create_order("BTC/USD", "limit", "buy", 0.5, 10)
    answer = alice.fetch2(f"orders/{order['id']}", ["private"], "PATCH", {"price": "11.00", "size": "0.4"})
    assert (answer["id"], answer["price"], answer["size"]) == (order["id"], "11.00", "0.40000000")
    assert alice.fetch_order(order["id"])["price"] == 11


def test_the_other_methods(cluster, alice, bob):
    """What else ccxt says that it can do here: each gives what its name says."""
    assert {account["code"] for account in alice.fetch_accounts()} == {"BTC", "ETH", "USD"}
    assert {"BTC", "ETH", "USD"} <= alice.fetch_currencies().keys()
    rests = alice.create_limit_sell_order("BTC/USD", 0.3, 150)
    stops = [
        alice.create_stop_order("BTC/USD", "limit", "sell", 0.1, 80, 81),
        alice.create_stop_limit_order("BTC/USD", "sell", 0.1, 80, 81),
        alice.create_stop_market_order("BTC/USD", "sell", 0.1, 81),
    ]
    assert [stop["triggerPrice"] for stop in stops] == [81, 81, 81]
    until(lambda: alice.fetch_l2_order_book("BTC/USD")["asks"] == [[150, 0.3]])
    assert alice.fetch_order_book("BTC/USD", None, {"level": 3})["asks"] == [[150, 0.3]]
    bob.create_limit_buy_order("BTC/USD", 0.1, 150)  # a market order goes a tenth beyond the last trade at most
    until(lambda: alice.fetch_order(rests["id"])["filled"] == 0.1)
    edited = alice.edit_order(rests["id"], "BTC/USD", "limit", "sell", 0.2, 151)
    assert (alice.fetch_order(rests["id"])["status"], edited["price"], edited["amount"]) == ("canceled", 151, 0.2)
    taken = bob.create_market_buy_order("BTC/USD", 0.2)
    until(lambda: bob.fetch_order(taken["id"])["status"] == "closed")
    assert [order["id"] for order in alice.fetch_closed_orders("BTC/USD")] == [edited["id"], rests["id"]][::-1]
    for fetch in (alice.fetch_deposits_withdrawals, alice.fetch_transactions, alice.fetch_deposits):
        until(lambda: [(one["type"], one["amount"]) for one in fetch("BTC")] == [("deposit", 10)])  # noqa: B023
    assert alice.fetch_withdrawals("BTC") == []


def test_the_life_of_an_order_with_asyncio(cluster):
    """The asynchronous client, many requests at once."""

    async def life():
        exchange = async_ccxt_of(cluster, cluster.user(USD="10000"))
        try:
            orders = await asyncio.gather(
                *(exchange.create_order("ETH/USD", "limit", "buy", 1, 10 + number) for number in range(20))
            )
            assert (await exchange.fetch_balance())["USD"]["used"] == sum(range(10, 30))
            fetched = await asyncio.gather(*(exchange.fetch_order(order["id"]) for order in orders))
            assert [order["price"] for order in fetched] == list(range(10, 30))
            await asyncio.gather(*(exchange.cancel_order(order["id"]) for order in orders[:10]))
            assert len(await exchange.fetch_open_orders("ETH/USD")) == 10
            with pytest.raises(ccxt.InsufficientFunds):
                await exchange.create_order("ETH/USD", "limit", "buy", 1000, 1000)
        finally:
            await exchange.cancel_all_orders()
            await exchange.close()

    asyncio.run(life())


def test_too_many_requests(cluster):
    """Above the rate a bot gets RateLimitExceeded, which says when to come again, and can then go on."""
    port = free_port()
    cluster.start("gateway:9", port=port, private_rate=5)
    try:
        exchange, other = ccxt_of(cluster, cluster.user(USD="10")), ccxt_of(cluster, cluster.user())
        for one in (exchange, other):
            one.urls["api"] = dict.fromkeys(("public", "private"), f"http://127.0.0.1:{port}")
        until(lambda: _answers(other))
        for _ in range(10):  # two seconds' worth
            exchange.fetch_balance()
        with pytest.raises(ccxt.RateLimitExceeded, match="Private rate limit exceeded: 5 a second"):
            _until_refused(exchange)
        assert int(exchange.last_response_headers["Retry-After"]) >= 1
        time.sleep(1)
        assert exchange.fetch_balance()["USD"]["total"] == 10
    finally:
        cluster.kill("gateway:9", signal.SIGTERM)


def _until_refused(exchange):
    for _ in range(500):
        exchange.fetch_balance()


def _answers(exchange):
    try:
        return exchange.fetch_balance()  # signed: it loads the keys last
    except ccxt.NetworkError:
        return None


def test_test_money_of_a_ccxt_user(alice):
    """Deposited by the dialect's route, withdrawn by ccxt's own method; more than there is is InsufficientFunds."""
    alice.private_post_deposits_payment_method({"currency": "USD", "amount": 500, "payment_method_id": "any"})
    assert alice.fetch_balance()["USD"]["free"] == 10_500
    gone = alice.withdraw("USD", 10_400.5, "any-address-will-do")
    assert (gone["type"], gone["currency"], gone["amount"]) == ("withdrawal", "USD", 10_400.5)
    assert alice.fetch_balance()["USD"]["free"] == 99.5
    with pytest.raises(ccxt.InsufficientFunds):
        alice.withdraw("USD", 100, "any-address-will-do")
