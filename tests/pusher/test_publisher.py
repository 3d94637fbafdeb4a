"""The fast and balance lanes: what is published is what the books and ledgers are, conflated, from now on."""

import asyncio
import contextlib
import json
import re

import msgspec
import pytest

from shared import keys
from shared.connections import connect_async
from shared.instrument import money_text, price_text, quantity_text
from shared.messages import AmendRequest, Conditions, OrderListRequest, OrderRequest, TransferRequest
from shared.order_id import to_uuid
from shared.settings import Settings
from tests.pusher.market import Market
from workers.follow import load_book, load_ledger
from workers.pusher.publisher import Publisher

MARK = "mark"
"""What is published behind all that shall have been heard."""


class Ear:
    """Hears all that is published."""

    def __init__(self):
        self.heard = []
        self._marks = 0

    async def listen(self, channel):
        """Note everything until cancelled."""
        async for message in channel.listen():
            if message["type"] in ("message", "pmessage"):
                name = message["channel"].decode()
                if name == MARK:
                    self._marks += 1
                else:
                    self.heard.append((name, json.loads(message["data"])))

    async def catch_up(self, client):
        """Wait until all is heard that was published before."""
        wanted = self._marks + 1
        await client.publish(MARK, "")
        async with asyncio.timeout(15):
            while self._marks < wanted:  # noqa: ASYNC110  # nothing tells of it
                await asyncio.sleep(0.002)

    def on(self, channel):
        """Messages of one channel."""
        return [message for name, message in self.heard if name == channel]


@contextlib.asynccontextmanager
async def lanes(url, *channels, **settings):
    """A publisher that has found the logs, and an ear on ``channels`` (without: on all)."""
    client, ear = connect_async(url), Ear()
    publisher = Publisher(client, Settings(redis_url=url, **settings))
    async with client.pubsub() as channel:
        await (channel.subscribe(MARK, *channels) if channels else channel.psubscribe("*"))
        assert await channel.get_message(timeout=15.0), "confirmed, and with the first of them all"
        hearing = asyncio.create_task(ear.listen(channel))
        try:
            await publisher.step(0)
            yield publisher, ear
        finally:
            hearing.cancel()
            await asyncio.gather(hearing, return_exceptions=True)
    await client.aclose()


async def publish_all(publisher, ear):
    """Publish what is on the logs, and hear it."""
    while not await publisher.step(0):
        pass
    await publisher.step_balances()
    await ear.catch_up(publisher._client)


def shown(instrument, levels):
    """Levels of a book as an update shows them."""
    return [[price_text(instrument, p), quantity_text(instrument, q), n] for p, q, n in levels]


def test_live_updates_show_the_book(redis_url):
    """The last update of an instrument is its book, ten levels a side, and the trades add up to all there were."""
    market = Market(redis_url)

    async def scenario():
        market.write()
        async with lanes(redis_url, fast_batch=60) as (publisher, ear):
            for _ in range(4):
                market.trade(60)
                market.write()
                await publish_all(publisher, ear)
            return ear

    ear = asyncio.run(scenario())
    for symbol, book in market.books.items():
        heard = ear.on(f"{symbol}.live")
        last, instrument = heard[-1], book.instrument
        assert instrument is not None
        assert (last["instrument"], last["sequence"]) == (symbol, book.sequence)
        assert last["bids"] == shown(instrument, book.levels("buy", 10))
        assert last["asks"] == shown(instrument, book.levels("sell", 10))
        assert [last["best_bid"], last["best_bid_quantity"]] == (last["bids"] or [["", ""]])[0][:2]
        assert [last["best_ask"], last["best_ask_quantity"]] == (last["asks"] or [["", ""]])[0][:2]
        assert last["price"] == price_text(instrument, book.last_price)
        assert re.fullmatch(r"2023-11-14T22:13:20\.\d{6}Z", last["time"])
        assert [trade["trade_id"] for update in heard for trade in update["trades"]] == list(
            range(1, book.trade_id + 1)
        )
        assert market.client.get(f"{symbol}.price").decode() == last["price"]


def test_live_updates_are_conflated(redis_url):
    """Hundreds of changes within a round are one message an instrument; its trades are bounded."""
    market = Market(redis_url)

    async def scenario():
        market.write()
        async with lanes(redis_url, fast_batch=100_000) as (publisher, ear):
            ear.heard.clear()
            market.trade(1500)
            market.write()
            await publish_all(publisher, ear)
            return ear

    ear = asyncio.run(scenario())
    for symbol, book in market.books.items():
        (only,) = ear.on(f"{symbol}.live")
        assert only["sequence"] == book.sequence
        newest = range(book.trade_id - len(only["trades"]) + 1, book.trade_id + 1)
        assert [trade["trade_id"] for trade in only["trades"]] == list(newest)
        assert 50 < len(only["trades"]) <= 100


def test_who_listens_to_one_channel_hears_all_of_it(redis_url):
    """What nobody listens to is not made, but a listener of one channel misses nothing, and prices are always set."""
    market = Market(redis_url)

    async def hear(*channels):
        async with lanes(redis_url, *channels) as (publisher, ear):
            market.trade(100)
            market.write()
            await publish_all(publisher, ear)
            return {channel for channel, _ in ear.heard}

    market.write()
    for channel in ("order.updates", "balance.updates", "BTC-USD.live"):
        assert asyncio.run(hear(channel)) == {channel}
    book = market.books["ETH-USD"]
    assert market.client.get("ETH-USD.price").decode() == price_text(
        market.ledgers[0].instruments["ETH-USD"], book.last_price
    )


def test_the_past_is_not_told_again(redis_url):
    """A publisher that starts shows each book as it is, and no order, trade or balance of before."""
    market = Market(redis_url)
    market.trade(200)
    market.write()

    async def scenario():
        async with lanes(redis_url) as (publisher, ear):
            await publish_all(publisher, ear)
            return ear

    ear = asyncio.run(scenario())
    assert sorted(channel for channel, _ in ear.heard) == [keys.live(symbol) for symbol in sorted(market.books)]
    assert [message["trades"] for _, message in ear.heard] == [[], []]


def test_order_updates_follow_each_order(redis_url):
    """An order is told when it is accepted, when it rests, with each fill, and when it is done."""
    market = Market(redis_url)
    orders = [
        OrderRequest("a", 1, "BTC-USD", "buy", "limit", 9_000, 30_000, client_id="mine"),
        OrderRequest("b", 2, "BTC-USD", "sell", "limit", 9_000, 10_000),
        OrderRequest("c", 3, "BTC-USD", "sell", "limit", 9_000, 20_000),
    ]

    async def scenario():
        market.write()
        async with lanes(redis_url, order_update_channel="my.orders") as (publisher, ear):
            for order in orders:
                market.request(order)
                market.write()
                await publish_all(publisher, ear)
            return ear

    updates = asyncio.run(scenario()).on("my.orders")
    buyer = [update for update in updates if update["account"] == 1]
    assert [(u["status"], u["filled"], u["remaining"]) for u in buyer] == [
        ("pending", "0.0000", "3.0000"),
        ("open", "0.0000", "3.0000"),
        ("open", "1.0000", "2.0000"),
        ("done", "3.0000", "0.0000"),
    ]
    last = buyer[-1]
    assert last["order_id"] == to_uuid(1 << 8)
    assert last | {"order_id": "", "time": ""} == {
        "account": 1, "order_id": "", "client_id": "mine", "instrument": "BTC-USD", "side": "buy",
        "order_type": "limit", "status": "done", "done_reason": "filled", "cause": "", "stop": "", "stop_price": "",
        "price": "90.00", "quantity": "3.0000", "filled": "3.0000",
        "remaining": "0.0000", "executed_value": "270.0000000000", "fees": "0.2700000000", "time": "",
    }  # fmt: skip
    assert [u["status"] for u in updates if u["account"] == 2] == ["pending", "done"]


def told_of(redis_url, requests, prepare=()):
    """The order updates of each account while ``requests`` are done one by one, after those of ``prepare``."""
    market = Market(redis_url)
    for request in prepare:
        market.request(request)

    async def scenario():
        market.write()
        async with lanes(redis_url, "order.updates") as (publisher, ear):
            for request in requests:
                market.request(request)
                market.write()
                await publish_all(publisher, ear)
            return ear.on("order.updates")

    found: dict[int, list[dict]] = {}
    for update in asyncio.run(scenario()):
        found.setdefault(update["account"], []).append(update)
    return found


def limit(request_id, account, side, price, quantity, **more):
    """A limit order for bitcoin; ``price`` and ``quantity`` in whole units."""
    fields = {name: more.pop(name) for name in ("order_type", "time_in_force") if name in more}
    conditions = Conditions(**more) if more else None
    order = OrderRequest(request_id, account, "BTC-USD", side, "limit", price * 100, quantity * 10_000)
    return msgspec.structs.replace(order, conditions=conditions, **fields)


def test_order_updates_tell_of_stops(redis_url):
    """A stop is active while it sleeps, and where it stands is told, also when it is amended or trails."""
    trade = [limit("s", 3, "sell", 100, 5), limit("b", 4, "buy", 100, 2)]
    told = told_of(
        redis_url,
        [
            limit("stop", 1, "sell", 90, 1, stop="loss", stop_price=9_500),
            limit("trailing", 2, "sell", 0, 1, order_type="market", stop="loss", trail=300),
            AmendRequest("amend", 1, client_id="", order_id=3 << 8, stop_price=9_900),
            limit("lower", 5, "buy", 98, 2),
            limit("hit", 6, "sell", 98, 1),
        ],
        trade,
    )
    assert [(u["status"], u["stop"], u["stop_price"], u["price"]) for u in told[1]] == [
        ("pending", "loss", "95.00", "90.00"),
        ("active", "loss", "95.00", "90.00"),
        ("active", "loss", "99.00", "90.00"),
        ("done", "loss", "99.00", "90.00"),
    ]
    assert [(u["status"], u["stop_price"]) for u in told[2]] == [("pending", ""), ("active", "97.00")]


def test_order_updates_tell_of_lists_icebergs_and_amends(redis_url):
    """Who waits in a list is pending; the next part of an iceberg is no news; an amend shows the new terms."""
    told = told_of(
        redis_url,
        [
            OrderListRequest(
                "list", 1, "BTC-USD", "oto", [limit("parent", 1, "buy", 90, 1), limit("child", 1, "sell", 95, 1)]
            ),
            limit("iceberg", 2, "sell", 90, 5, display_quantity=10_000),
            limit("taker", 3, "buy", 90, 2),
            AmendRequest("amend", 2, client_id="", order_id=3 << 8, price=9_100, quantity=60_000),
            limit("gone", 4, "buy", 90, 1, time_in_force="FOK"),
        ],
    )
    parent, child = ([u for u in told[1] if u["side"] == side] for side in ("buy", "sell"))
    assert [u["status"] for u in parent] == ["pending", "open", "done"]
    assert [u["status"] for u in child] == ["pending", "open"]
    assert [(u["status"], u["price"], u["quantity"], u["remaining"]) for u in told[2]] == [
        ("pending", "90.00", "5.0000", "5.0000"),
        ("open", "90.00", "5.0000", "4.0000"),
        ("open", "90.00", "5.0000", "4.0000"),
        ("open", "90.00", "5.0000", "2.0000"),
        ("open", "91.00", "6.0000", "3.0000"),
    ]
    assert [(u["status"], u["done_reason"], u["cause"]) for u in told[4]] == [
        ("pending", "", ""),
        ("done", "canceled", "fill_or_kill"),
    ]


def test_live_updates_tell_what_an_auction_would_trade(redis_url):
    """While orders collect, each update has the mode and what would trade, if anything; its trades are marked."""
    market = Market(redis_url)

    async def scenario():
        market.write()
        async with lanes(redis_url, "BTC-USD.live") as (publisher, ear):
            ear.heard.clear()
            for step in (
                lambda: market.configure("BTC-USD", mode="auction"),
                lambda: market.request(limit("b", 1, "buy", 91, 3)),
                lambda: market.request(limit("s", 2, "sell", 90, 4)),
                lambda: market.configure("BTC-USD"),
            ):
                step()
                market.write()
                await publish_all(publisher, ear)
            return ear.on("BTC-USD.live")

    heard = asyncio.run(scenario())
    nothing = {"price": "", "quantity": "", "imbalance": ""}
    assert [(update["mode"], update["auction"]) for update in heard] == [
        ("auction", nothing),
        ("auction", nothing),
        ("auction", {"price": "90.00", "quantity": "3.0000", "imbalance": "-1.0000"}),
        ("online", None),
    ]
    assert [(trade["price"], trade["auction"]) for trade in heard[-1]["trades"]] == [("90.00", True)]


@pytest.mark.parametrize("grows", [False, True])
def test_a_log_that_began_again_is_followed_again(redis_url, grows):
    """When Redis has lost everything (FLUSHALL), and whatever was written since, replicas follow what there is now."""
    market = Market(redis_url)

    async def scenario():
        market.write()
        async with lanes(redis_url) as (publisher, ear):
            market.trade(50)
            market.write()
            await publish_all(publisher, ear)
            market.client.flushall()
            again = Market(redis_url, seed=1)
            for _ in range(200 if grows else 1):  # which the old ledger could follow as well
                again.request(TransferRequest(again.request_id(), 1, "USD", 10**9))
            again.write()
            await asyncio.sleep(1.1)
            await publish_all(publisher, ear)
            ear.heard.clear()
            for step in (lambda: again.request(TransferRequest("last", 1, "USD", 10**9)), lambda: again.trade(20)):
                step()
                again.write()
                await publish_all(publisher, ear)
                balance = again.ledgers[0].balances(1)["USD"].available
                told = [one for one in ear.on("balance.updates") if (one["account"], one["currency"]) == (1, "USD")]
                assert told[-1]["available"] == money_text(balance, 10)
            return publisher, ear, again

    publisher, ear, again = asyncio.run(scenario())
    assert publisher.error == ""
    for symbol, book in again.books.items():
        assert ear.on(f"{symbol}.live")[-1]["sequence"] == book.sequence


@pytest.mark.parametrize("shards", [1, 2])
def test_balance_updates_are_the_ledgers(redis_url, shards):
    """Each balance that changed is told once a round, as it is now, and at most ``balance_batch`` of them."""
    market = Market(redis_url, shards=shards)

    async def scenario():
        market.write()
        async with lanes(redis_url, shards=shards, balance_batch=5, fast_batch=100_000) as (publisher, ear):
            market.trade(300)
            market.write()
            await publish_all(publisher, ear)
            assert len(ear.on("balance.updates")) == 5
            for _ in range(10):
                await publisher.step_balances()
            await ear.catch_up(publisher._client)
            return ear

    heard = asyncio.run(scenario()).on("balance.updates")
    assert len({(update["account"], update["currency"]) for update in heard}) == len(heard)
    for update in heard:
        ledger = market.ledgers[update["account"] % shards]
        balance = ledger.balances(update["account"])[update["currency"]]
        assert update["available"] == money_text(balance.available, 10)
        assert update["held"] == money_text(balance.held, 10)
    assert {update["account"] for update in heard} == set(market.accounts)


def test_a_new_instrument_is_followed(redis_url):
    """A book that is added while the lanes run is published within a look."""
    market = Market(redis_url)

    async def scenario():
        market.write()
        async with lanes(redis_url) as (publisher, ear):
            market.configure("SOL-USD")
            market.request(TransferRequest(market.request_id(), 1, "SOL", 10**15))
            market.request(OrderRequest(market.request_id(), 1, "SOL-USD", "sell", "limit", 9_000, 10_000))
            market.write()
            await asyncio.sleep(1.1)
            await publish_all(publisher, ear)
            return ear

    assert asyncio.run(scenario()).on("SOL-USD.live")[-1]["asks"] == [["90.00", "1.0000", 1]]


def test_a_hole_in_a_log_makes_a_new_replica(redis_url):
    """Where entries were trimmed before they were read, a replica is loaded from the snapshot, and all goes on."""
    market = Market(redis_url)

    async def scenario():
        market.write()
        async with lanes(redis_url) as (publisher, ear):
            market.trade(200)
            market.write()
            market.save_snapshots()
            for tag, length in market.lengths.items():
                market.client.xtrim(keys.log(tag), minid=f"{length - 1}-0", approximate=False)
            await publish_all(publisher, ear)
            for _ in range(6):
                await publisher.step(0)
            await publish_all(publisher, ear)
            return publisher, ear

    publisher, ear = asyncio.run(scenario())
    assert publisher.error == ""
    for symbol, book in market.books.items():
        assert ear.on(f"{symbol}.live")[-1]["sequence"] == book.sequence
    told = {(update["account"], update["currency"]): update for update in ear.on("balance.updates")}
    for account in market.accounts:
        for currency, balance in market.ledgers[0].balances(account).items():
            assert told[account, currency]["available"] == money_text(balance.available, 10)


@pytest.mark.parametrize("payload", [b"{nonsense", b'{"source":"s","time":1,"events":[{"type":"open"}]}'])
def test_one_book_that_cannot_be_followed_costs_only_its_own_updates(redis_url, payload):
    """The others are published on, and the error names the log; behind a snapshot it is published again."""
    market = Market(redis_url)

    async def scenario():
        market.write()
        async with lanes(redis_url) as (publisher, ear):
            market.log(keys.instrument_tag("BTC-USD"), payload)
            market.trade(50)
            market.write()
            await publish_all(publisher, ear)
            await asyncio.sleep(1.1)
            await publish_all(publisher, ear)
            broken, sequence = publisher.error, ear.on("ETH-USD.live")[-1]["sequence"]
            assert sequence == market.books["ETH-USD"].sequence
            market.save_snapshots()
            await asyncio.sleep(1.1)
            await publish_all(publisher, ear)
            return broken, publisher.error, ear.on("BTC-USD.live")[-1]["sequence"]

    broken, error, sequence = asyncio.run(scenario())
    assert "{i:BTC-USD}:log: entry" in broken
    assert (error, sequence) == ("", market.books["BTC-USD"].sequence)


def test_replicas_stand_at_the_end_of_their_logs(redis_url):
    """``load_book`` and ``load_ledger`` answer the machine's state and position, with and without a snapshot."""
    market = Market(redis_url)
    market.trade(300)
    market.write()

    async def load():
        client = connect_async(redis_url)
        try:
            found = {keys.instrument_tag(symbol): await load_book(client, symbol) for symbol in market.books}
            return found | {keys.shard_tag(0): await load_ledger(client, 0)}
        finally:
            await client.aclose()

    def check():
        for tag, (replica, position) in asyncio.run(load()).items():
            assert position == market.lengths[tag]
            assert replica.dump() == market.snapshots()[tag]

    check()
    market.save_snapshots()
    market.trade(300)
    market.write()
    check()
    for tag in market.lengths:  # a snapshot that is damaged, and one from beyond the end of the log
        market.client.hset(keys.snapshot(tag), mapping=market.bad_snapshots(tag))
    check()
