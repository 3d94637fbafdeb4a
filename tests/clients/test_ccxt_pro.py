"""ccxt.pro's ``coinbaseexchange`` over the WebSocket feed, unchanged but for the URLs."""

import asyncio

import ccxt
import msgspec
import pytest

from tests.clients.exchanges import pro_ccxt_of
from tests.harness import BTC_USD

pytestmark = pytest.mark.slow

TIMEOUT_S = 60


@pytest.fixture
def run(cluster):
    """Runs a scenario with two users' clients, and closes them."""

    def go(scenario):
        async def all_of_it():
            pair = [noting(pro_ccxt_of(cluster, cluster.user(USD="10000", BTC="10", ETH="10"))) for _ in range(2)]
            try:
                async with asyncio.timeout(TIMEOUT_S):
                    await asyncio.gather(*(one.load_markets() for one in pair))
                    await scenario(*pair)
            finally:
                for one in pair:
                    await one.cancel_all_orders()
                    await one.close()

        asyncio.run(all_of_it())

    return go


def noting(exchange):
    """The same, which counts how many of its subscriptions were answered: ccxt tells nobody."""
    handle, exchange.answered = exchange.handle_message, 0

    def count_and_handle(client, message):
        exchange.answered += message["type"] == "subscriptions"
        return handle(client, message)

    exchange.handle_message = count_and_handle
    return exchange


async def started(exchange, *watches):
    """Wait until they all have subscribed: what they watch for is waited for elsewhere."""
    await until(lambda: exchange.answered == len(watches) or any(one.done() and one.exception() for one in watches))
    assert not any(one.done() and one.exception() for one in watches)


async def until(check):
    """What a watcher has gathered: between two awaits of it, ccxt only notes what comes."""
    while not (found := check()):  # noqa: ASYNC110  # ccxt offers nothing to wait for
        await asyncio.sleep(0.02)
    return found


def test_watch_order_book(run):
    """The watched book follows what is placed, filled and canceled, and ends as the one that is fetched."""

    async def scenario(alice, bob):
        watching = asyncio.create_task(alice.watch_order_book("BTC/USD"))
        await started(alice, watching)
        first = await bob.create_order("BTC/USD", "limit", "buy", 1, 100)
        await bob.create_order("BTC/USD", "limit", "sell", 2, 110)
        await bob.create_order("BTC/USD", "limit", "buy", 0.5, 101)
        await alice.create_order("BTC/USD", "limit", "buy", 0.75, 110)
        await bob.cancel_order(first["id"])
        wanted = await bob.fetch_order_book("BTC/USD")
        await watching
        book = alice.orderbooks["BTC/USD"]
        await until(
            lambda: (_rows(book["bids"]), _rows(book["asks"])) == (_rows(wanted["bids"]), _rows(wanted["asks"]))
        )
        assert _rows(book["bids"]) == [[101, 0.5]]
        assert _rows(book["asks"]) == [[110, 1.25]]

    run(scenario)


def test_watch_order_book_through_icebergs_amends_stops_and_an_auction(cluster, run):
    """Whatever moves quantity about, a watched book shows what a fetched one does, and of an iceberg only its part."""

    async def scenario(alice, bob):
        watching = asyncio.create_task(alice.watch_order_book("BTC/USD"))
        await started(alice, watching)

        def watched():
            return [_rows(alice.orderbooks["BTC/USD"][side]) for side in ("bids", "asks")]

        async def shows(bids, asks):
            await until(lambda: watched() == [bids, asks])
            book = await bob.fetch_order_book("BTC/USD")
            assert [_rows(book["bids"]), _rows(book["asks"])] == [bids, asks]

        iceberg = await bob.create_order("BTC/USD", "limit", "sell", 1, 110, {"display_size": "0.2"})
        await watching
        await alice.create_order("BTC/USD", "limit", "buy", 0.5, 110)
        await shows([], [[110, 0.1]])
        await bob.request(f"orders/{iceberg['id']}", ["private"], "PATCH", {"price": "112.00", "size": "0.8"})
        await shows([], [[112, 0.2]])
        await bob.create_order("BTC/USD", "limit", "buy", 1, 100)
        await alice.create_order("BTC/USD", "limit", "sell", 0.25, 95, {"stopPrice": 105})
        await shows([[100, 1]], [[112, 0.2]])
        await alice.create_order("BTC/USD", "limit", "sell", 0.1, 100)
        await shows([[100, 0.65]], [[112, 0.2]])
        cluster.configure(msgspec.structs.replace(BTC_USD, mode="auction"))
        await until(lambda: "auction" in cluster.http.get("/products/BTC-USD").json()["status_message"])
        await alice.create_order("BTC/USD", "limit", "buy", 0.3, 112)
        await shows([[112, 0.3], [100, 0.65]], [[112, 0.2]])
        cluster.configure(BTC_USD)
        await until(lambda: not cluster.http.get("/products/BTC-USD").json()["auction_mode"])
        await shows([[100, 0.65]], [])

    run(scenario)


def _rows(side):
    return [row[:2] for row in side]


def test_watch_trades_and_ticker(run):
    """A trade is watched with price, size and side; the ticker has it as its last."""

    async def scenario(alice, bob):
        trades, ticker = (
            asyncio.create_task(one) for one in (alice.watch_trades("BTC/USD"), alice.watch_ticker("BTC/USD"))
        )
        await started(alice, trades, ticker)
        await bob.create_order("BTC/USD", "limit", "sell", 1, 120)
        await alice.create_order("BTC/USD", "limit", "buy", 0.25, 120)
        await asyncio.gather(trades, ticker)
        await until(lambda: [t for t in alice.trades["BTC/USD"] if (t["price"], t["amount"]) == (120, 0.25)])
        last = await until(lambda: (found := alice.tickers["BTC/USD"])["last"] == 120 and found)
        assert (last["ask"], last["askVolume"]) == (120, 0.75)

    run(scenario)


def test_watch_several_products_at_once(run):
    """Tickers and books of two products over one subscription each."""

    async def scenario(alice, bob):
        symbols = ["BTC/USD", "ETH/USD"]
        watchers = [
            asyncio.create_task(one(symbols)) for one in (alice.watch_tickers, alice.watch_order_book_for_symbols)
        ]
        await started(alice, *watchers)
        for symbol in symbols:
            await bob.create_order(symbol, "limit", "sell", 1, 125)
            await alice.create_order(symbol, "limit", "buy", 0.25, 125)
        await asyncio.gather(*watchers)
        for symbol in symbols:
            await until(lambda symbol=symbol: alice.tickers.get(symbol, {}).get("last") == 125)
            await until(lambda symbol=symbol: _rows(alice.orderbooks[symbol]["asks"]) == [[125, 0.75]])

    run(scenario)


def test_watch_orders_and_my_trades(run):
    """An order is watched from its reception to its end; its trade comes with order id, side, role and fee."""

    async def scenario(alice, bob):
        watchers = [asyncio.create_task(one("BTC/USD")) for one in (bob.watch_orders, bob.watch_my_trades)]
        await started(bob, *watchers)
        await alice.create_order("BTC/USD", "limit", "sell", 1, 130)
        order = await bob.create_order("BTC/USD", "limit", "buy", 0.5, 130, {"clientOrderId": "watched"})
        canceled = await bob.create_order("BTC/USD", "limit", "buy", 1, 90)
        await bob.cancel_order(canceled["id"])
        await asyncio.gather(*watchers)
        seen = bob.orders.hashmap["BTC/USD"]
        await until(lambda: seen.get(canceled["id"], {}).get("status") == "canceled")
        filled = seen[order["id"]]
        assert (filled["status"], filled["clientOrderId"]) == ("closed", "watched")
        assert (filled["filled"], filled["remaining"]) == (0.5, 0)
        (trade,) = bob.myTrades
        assert (trade["order"], trade["side"], trade["takerOrMaker"]) == (order["id"], "buy", "taker")
        assert (trade["price"], trade["amount"], trade["fee"]["cost"]) == (130, 0.5, 0.13)

    run(scenario)


def test_watch_orders_sees_a_stop_trigger_and_all_of_an_iceberg(run):
    """A stop is watched from when it triggers, an iceberg with its whole amount to its end."""

    async def scenario(alice, bob):
        watching = asyncio.create_task(bob.watch_orders("BTC/USD"))
        await started(bob, watching)
        stop = await bob.create_order("BTC/USD", "limit", "sell", 0.5, 90, {"stopPrice": 95})
        iceberg = await bob.create_order("BTC/USD", "limit", "sell", 1, 97, {"display_size": "0.1"})
        await alice.create_order("BTC/USD", "limit", "buy", 0.25, 97)
        await alice.create_order("BTC/USD", "limit", "buy", 0.5, 94)
        await watching
        await bob.cancel_order(iceberg["id"])
        await bob.create_order("BTC/USD", "limit", "sell", 0.1, 94, {"stp": "cn"})
        seen = bob.orders.hashmap["BTC/USD"]
        await until(lambda: seen.get(stop["id"], {}).get("filled") == 0.4)
        await until(lambda: seen[iceberg["id"]]["status"] == "canceled")
        shown = seen[iceberg["id"]]
        assert (shown["amount"], shown["filled"], shown["remaining"]) == (1, 0.25, 0.75)
        assert (seen[stop["id"]]["amount"], seen[stop["id"]]["remaining"]) == (0.5, 0.1)

    run(scenario)


def test_a_wrong_key_is_an_authentication_error(run):
    """Watching one's orders with a wrong secret raises what a ccxt user catches."""

    async def scenario(alice, bob):
        alice.secret = bob.secret
        with pytest.raises(ccxt.AuthenticationError):
            await alice.watch_orders("BTC/USD")
        alice.apiKey = bob.apiKey
        alice.password = bob.password

    run(scenario)
