"""A book's log that cannot be followed: its market is gone until it can be, and all others trade on."""

import asyncio
import contextlib
import time

import msgspec
import pytest

from shared import keys
from shared.connections import connect_async
from shared.messages import BookEntry, Match, OrderRequest, encode
from shared.settings import Settings
from tests.gateway.ear import Ear
from tests.pusher.market import Market as World
from workers.gateway.backpressure import Backpressure
from workers.gateway.errors import ApiError
from workers.gateway.feed.hub import Hub
from workers.gateway.history import History
from workers.gateway.inbox import Inbox
from workers.gateway.known_orders import Standing
from workers.gateway.markets import NOT_FOLLOWED, Markets
from workers.gateway.orders import Desk
from workers.gateway.paging import Page
from workers.gateway.replicas import Replicas

BTC, ETH = "BTC-USD", "ETH-USD"
BOOK, LEDGER = keys.instrument_tag(BTC), keys.shard_tag(0)
ORDER = {"side": "buy", "price": "90.00", "size": "0.1"}


class Gateway:
    """What a gateway follows, and who listens; no server, and nobody who reads the inbox."""

    def __init__(self, client):
        self.markets, history = Markets(), History(None)  # type: ignore[arg-type]  # memory has all
        self.hub = Hub(self.markets)
        self.inbox = Inbox(client, 0, 1.0, Backpressure(client, Settings()))
        self.replicas = Replicas(client, history, 1, self.markets, self.inbox, self.hub)
        self.desk = Desk(self.inbox, self.replicas, history, 1, 1)

    async def until(self, check, timeout_s=10.0):
        end = time.monotonic() + timeout_s
        while not check():
            assert time.monotonic() < end, (self.replicas.trouble, self.markets.trouble)
            await asyncio.sleep(0.01)

    async def follows(self, world, *symbols):
        """Wait until the books are those of the world."""
        for symbol in symbols:
            await self.until(
                lambda one=symbol: one in self.markets and self.markets[one].book.dump() == world.books[one].dump()
            )

    def listen(self, *topics):
        ear = Ear(1)
        self.hub.add(ear, list(topics))
        return ear

    def refusal(self, symbol):
        """How a request about a product is refused."""
        with pytest.raises(ApiError) as refused:
            self.replicas.market(symbol)
        return refused.value.status, str(refused.value)


@contextlib.asynccontextmanager
async def following(url):
    """A gateway that follows the logs."""
    client = connect_async(url)
    gateway = Gateway(client)
    tasks = [
        asyncio.create_task(gateway.replicas.follow_forever()),
        asyncio.create_task(gateway.replicas.books.retry_forever()),
    ]
    try:
        await gateway.until(lambda: not gateway.replicas.trouble)
        yield gateway
        assert not any(task.done() for task in tasks), "it ended"
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await client.aclose()


def garbage(world, tag):
    """No JSON at all."""
    world.log(tag, b"{nonsense")


def out_of_sequence(world, tag):
    """An entry of the right form that does not follow on the state."""
    order, book = OrderRequest("x", 1, BTC, "buy", "limit", 1, 1), world.books[BTC]
    event = Match(book.sequence + 7, 7, 7, 8, 1, 2, "buy", order.price, 1, 0, 0)
    world.log(tag, encode(BookEntry("a 1-0", book.time, [event])))


def half_good(world, tag):
    """An entry whose first event can be followed, and whose second one cannot."""
    book = world.books[BTC]
    maker = next(iter(book.bids.living()))
    good = Match(book.sequence + 1, book.trade_id + 1, maker.order_id, 8, maker.account, 2, "buy", maker.price, 1, 0, 0)
    bad = msgspec.structs.replace(good, sequence=good.sequence + 1, maker_order_id=12345)
    world.log(tag, encode(BookEntry("a 1-0", book.time, [good, bad])))


def hole(world, tag):
    """An entry that is missing."""
    world.lengths[tag] += 1


def other_type(world, tag):
    """The log's key holds something else."""
    world.client.delete(keys.log(tag))
    world.client.set(keys.log(tag), "hello")


def write(world, tag, breach):
    """Put a breach onto a log, and something behind it onto all."""
    breach(world, tag)
    world.trade(30)
    world.write()


@pytest.fixture
def world(redis_url):
    """Two books with orders, and a ledger."""
    found = World(redis_url)
    found.trade(100)
    found.write()
    return found


@pytest.mark.parametrize("breach", [garbage, out_of_sequence, half_good, hole, other_type])
def test_one_broken_book_takes_only_its_own_market_away(redis_url, world, breach):
    """Orders, balances and the other market are followed on; the broken one is refused, listed, and named with why."""

    async def story():
        async with following(redis_url) as gateway:
            await gateway.follows(world, BTC, ETH)
            gone = gateway.listen(("full", BTC), ("full", ETH))
            stays = gateway.listen(("full", ETH), ("balance", ""), ("status", ""))
            if breach is other_type:
                breach(world, BOOK)
                world.trade(30)
                world.pending = [(tag, payload) for tag, payload in world.pending if tag != BOOK]
                world.write()
                await gateway.replicas.measure()
            else:
                write(world, BOOK, breach)
            await gateway.until(lambda: BTC in gateway.markets.broken)
            await gateway.follows(world, ETH)
            await gateway.until(lambda: gateway.replicas.ledgers[0].dump() == world.ledgers[0].dump())
            assert (gone.closed, stays.closed) == (1012, 0)
            status, why = gateway.refusal(BTC)
            assert status == 503
            assert why.startswith(f"{BTC} is not available")
            assert "try again" in why
            assert gateway.replicas.market(ETH).symbol == ETH
            assert not gateway.replicas.trouble
            await gateway.until(lambda: not gateway.markets.is_loading)
            assert keys.log(BOOK) in gateway.markets.trouble
            assert "matchbox audit" in gateway.markets.trouble
            listed = {one.id: one.status_message for one in gateway.markets.products()}
            assert listed == {BTC: NOT_FOLLOWED, ETH: ""}
            gateway.hub.tell_status()
            told = stays.of("status")[-1]["products"]
            assert {one["id"]: one["status_message"] for one in told} == listed

    asyncio.run(story())


def test_a_half_told_entry_is_followed_by_the_close(redis_url, world):
    """Who heard of an entry that cannot be followed to its end is closed in the same turn; nobody sees the rest."""

    async def story():
        async with following(redis_url) as gateway:
            await gateway.follows(world, BTC, ETH)
            ear = gateway.listen(("full", BTC))
            seen = []
            ear.send = lambda _: seen.append(BTC in gateway.markets)
            ear.close = lambda code, _: seen.append(code)
            half_good(world, BOOK)
            world.write()
            await gateway.until(lambda: 1012 in seen)
            assert seen == [True, True, 1012], "each event is told as the book finds it, the second could not be folded"
            assert BTC not in gateway.markets

    asyncio.run(story())


@pytest.mark.parametrize("breach", [garbage, hole])
def test_a_market_comes_back_behind_a_snapshot(redis_url, world, breach):
    """Also one that was broken when the gateway started: once a snapshot is behind the entry, it is followed again."""

    async def story():
        write(world, BOOK, breach)
        async with following(redis_url) as gateway:
            await gateway.follows(world, ETH)
            assert gateway.refusal(BTC)[0] == 503
            world.save_snapshots()
            await gateway.follows(world, BTC)
            assert not gateway.markets.trouble
            ear = gateway.listen(("full", BTC))
            world.trade(30)
            world.write()
            await gateway.follows(world, BTC, ETH)
            assert not ear.closed
            sequences = [one["sequence"] for one in ear.heard if "trade_id" not in one or one["type"] == "match"]
            assert sequences == list(range(sequences[0], sequences[0] + len(sequences)))
            assert sequences[-1] == world.books[BTC].sequence

    asyncio.run(story())


def test_what_was_trimmed_away_is_loaded_anew_at_once(redis_url, world):
    """A log that lost what was to be read next costs its listeners a new connection, and nobody a lasting refusal."""

    async def story():
        async with following(redis_url) as gateway:
            await gateway.follows(world, BTC, ETH)
            ears = [gateway.listen(("level2", symbol)) for symbol in (BTC, ETH)]
            hole(world, BOOK)
            world.trade(30)
            world.write()
            world.save_snapshots()
            assert await gateway.replicas.wait_followed(5.0)
            await gateway.follows(world, BTC, ETH)
            assert [ear.closed for ear in ears] == [1012, 0]

    asyncio.run(story())


def test_a_log_that_got_shorter_is_one_markets_trouble(redis_url, world):
    """A book's log that is gone is noticed, and not shown as a book that stands still."""

    async def story():
        async with following(redis_url) as gateway:
            await gateway.follows(world, BTC, ETH)
            world.save_snapshots()
            world.client.delete(keys.log(BOOK))
            world.client.hset(keys.meta(BOOK), "length", world.lengths[BOOK] + 5)
            await gateway.replicas.measure()
            await gateway.until(lambda: BTC in gateway.markets.broken and not gateway.markets.is_loading)
            assert "is missing" in gateway.markets.trouble
            assert gateway.replicas.market(ETH).symbol == ETH

    asyncio.run(story())


def test_orders_of_a_broken_book_are_refused_canceled_and_shown(redis_url, world):
    """New ones and amends: 503, nothing is sent. Repeats and cancels go; where an order stands is unknown."""
    world.request(OrderRequest("mine", 1, BTC, "buy", "limit", 1_000, 1000, client_id="mine"))
    world.write()

    async def story():
        async with following(redis_url) as gateway:
            desk, orders = gateway.desk, gateway.replicas.orders
            await gateway.follows(world, BTC, ETH)
            known = orders.find_by_client_id(1, "mine")
            assert orders.standing(known) == Standing("open")
            write(world, BOOK, garbage)
            await gateway.until(lambda: BTC in gateway.markets.broken)
            for refused in (
                desk.place(1, ORDER | {"product_id": BTC}),
                desk.place(1, ORDER | {"product_id": BTC, "client_oid": "new"}),
                desk.place_list(
                    1,
                    {
                        "type": "oto",
                        "orders": [ORDER | {"product_id": BTC}, ORDER | {"product_id": BTC, "side": "sell"}],
                    },
                ),
                desk.amend(1, "client:mine", {"size": "0.2"}),
            ):
                with pytest.raises(ApiError, match=f"{BTC} is not available .* Nothing was sent") as why:
                    await refused
                assert why.value.status == 503
            assert not gateway.inbox._queue
            for sent in (
                desk.place(1, ORDER | {"product_id": BTC, "client_oid": "mine"}),
                desk.place(1, ORDER | {"product_id": ETH}),
                desk.cancel(1, "client:mine"),
                desk.cancel_all(1),
            ):
                task = asyncio.create_task(sent)
                await gateway.until(lambda: gateway.inbox._queue)
                assert gateway.inbox._queue.pop(0)
                task.cancel()
            answer = desk.answer(await desk.find(1, "client:mine"))
            assert (answer.status, answer.settled, answer.filled_size) == ("unknown", False, "0.0000")
            page = Page(100)
            assert known.order.order_id in [one.order.order_id for one in orders.select(1, page, lambda _: True)]

    asyncio.run(story())


def test_a_broken_ledger_stops_all_and_says_what_to_do(redis_url, world):
    """It is the truth about all balances. The process stays, names the log, and goes on once it can be followed."""

    async def story():
        async with following(redis_url) as gateway:
            await gateway.follows(world, BTC, ETH)
            ears = [gateway.listen(("full", ETH)), gateway.listen(("balance", ""))]
            write(world, LEDGER, garbage)
            await gateway.until(lambda: keys.log(LEDGER) in gateway.replicas.trouble)
            for word in ("matchbox audit", "matchbox recover"):
                assert word in gateway.replicas.trouble
            for symbol in (BTC, ETH):
                status, why = gateway.refusal(symbol)
                assert status == 503
                assert "somebody has to look" in why
            assert [ear.closed for ear in ears] == [1012, 1012]
            world.save_snapshots()
            await gateway.until(lambda: not gateway.replicas.trouble)
            await gateway.follows(world, BTC, ETH)
            assert gateway.replicas.ledgers[0].dump() == world.ledgers[0].dump()

    asyncio.run(story())


def test_a_market_that_breaks_again_and_again_is_not_loaded_all_the_time(redis_url, world, monkeypatch):
    """What can be loaded but not followed (told to listeners, say) is tried less and less often."""

    async def story():
        async with following(redis_url) as gateway:
            await gateway.follows(world, BTC, ETH)
            loads = []
            load = gateway.replicas.books._load

            async def counted(symbol, *more):
                loads.append(symbol)
                await load(symbol, *more)

            def fail(market, number, entry):
                raise AssertionError(f"{market.symbol} {number} {entry}")

            monkeypatch.setattr(gateway.replicas.books, "_load", counted)
            monkeypatch.setattr(gateway.hub, "publish", fail)
            end = time.monotonic() + 1.5
            while time.monotonic() < end:
                world.request(OrderRequest(world.request_id(), 1, BTC, "buy", "limit", 1_000, 1000))
                world.write()
                await asyncio.sleep(0.02)
            assert BTC in gateway.markets.broken
            assert 1 <= len(loads) <= 4

    asyncio.run(story())
