"""The slow lane: PostgreSQL is the fold of the logs, each entry once, whatever dies."""

import asyncio
import contextlib
import json
import os
import random
import signal

import pytest
from sqlalchemy import text

from shared import keys
from shared.chain import advance
from shared.connections import connect_async, open_database, open_database_async
from shared.messages import LedgerEntry, OrderRequest, TransferRequest, encode
from shared.schema import metadata
from shared.settings import Settings
from tests.nursery import Child
from tests.pusher.dying_writer import POINTS
from tests.pusher.features import FeatureMarket
from tests.pusher.market import SYMBOLS, Market
from tests.pusher.mirror import assert_mirrors, positions_published
from tests.pusher.rows import rows
from workers.pusher.writer import Displaced, Writer


@contextlib.asynccontextmanager
async def writer_for(redis_url, database_url, kind=Writer, **settings):
    """A writer with connections of its own."""
    client, database = connect_async(redis_url), open_database_async(database_url, connections=1)
    try:
        yield kind(client, database, Settings(redis_url=redis_url, database_url=database_url, **settings))
    finally:
        await database.dispose()
        await client.aclose()


async def write_all(writer):
    """Write until nothing is left."""
    while await writer.write():
        pass


@pytest.mark.parametrize("batch", [7, 5000])
@pytest.mark.parametrize("shards", [1, 3])
def test_rows_are_the_fold_of_the_logs(redis_url, database_url, batch, shards):
    """Books, orders, balances, fills, trades and statements are what the machines say, whatever the batch size."""
    market = Market(redis_url, seed=shards, shards=shards)

    async def scenario():
        async with writer_for(redis_url, database_url, slow_batch=batch, shards=shards) as writer:
            for _ in range(3):
                market.trade(150)
                count = market.write()
                before = writer.written
                await write_all(writer)
                assert writer.written - before == count
                assert_mirrors(database_url, market)
                assert (writer.lag, writer.error) == (0, "")
            assert positions_published(market.client, market)

    asyncio.run(scenario())


@pytest.mark.parametrize("seed", range(4))
def test_exactly_once_when_cancelled_anywhere(redis_url, database_url, seed):
    """Writers that are cancelled after random times, each followed by a new one, write each entry once."""
    market = (Market, FeatureMarket)[seed % 2](redis_url, seed=seed)
    dice = random.Random(seed)

    async def scenario():
        for _ in range(25):
            market.trade(20)
            market.write()
            async with writer_for(redis_url, database_url, slow_batch=dice.choice((5, 40, 1000))) as writer:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(dice.uniform(0.001, 0.1)):
                        await write_all(writer)
        async with writer_for(redis_url, database_url) as writer:
            await write_all(writer)

    asyncio.run(scenario())
    assert_mirrors(database_url, market)


@pytest.mark.slow
@pytest.mark.parametrize("point", POINTS)
def test_exactly_once_when_killed(redis_url, database_url, tmp_path, point):
    """A writer killed (SIGKILL) at each step of a batch, the first or a later one, leaves no row lost or doubled."""
    market = FeatureMarket(redis_url, seed=POINTS.index(point))
    settings = Settings(redis_url=redis_url, database_url=database_url, slow_batch=60)
    for count in (1, 3):
        market.trade(200)
        market.write()
        writer, environment = "tests.pusher.dying_writer", os.environ | settings.environment()
        died = Child(writer, [point, str(count)], environment, tmp_path / "writer.log")
        assert died.wait(30.0) == -signal.SIGKILL, died.last_words()

    async def scenario():
        async with writer_for(redis_url, database_url) as writer:
            await write_all(writer)

    asyncio.run(scenario())
    assert_mirrors(database_url, market)
    assert positions_published(market.client, market)


def test_a_second_writer_is_refused(redis_url, database_url):
    """A writer whose position somebody else moved rolls back, and nothing is there twice."""
    market = Market(redis_url)

    async def scenario():
        market.write()
        async with writer_for(redis_url, database_url) as slow, writer_for(redis_url, database_url) as quick:
            await write_all(slow)
            market.trade(50)
            market.write()
            await write_all(quick)
            with pytest.raises(Displaced):
                await slow.write()

    asyncio.run(scenario())
    assert_mirrors(database_url, market)


def test_writers_that_race_write_once(redis_url, database_url):
    """Several writers at once (a lock that failed) get in each other's way, but write each entry once."""
    market = Market(redis_url)
    market.trade(600)
    market.write()

    async def push(writer):
        while await writer.step() == 0 or writer.lag:
            pass

    async def scenario():
        options = {"slow_batch": 50, "slow_delay_ms": 1}
        async with (
            writer_for(redis_url, database_url, **options) as one,
            writer_for(redis_url, database_url, **options) as two,
            writer_for(redis_url, database_url, **options) as three,
        ):
            await asyncio.gather(push(one), push(two), push(three))
            assert one.written + two.written + three.written == sum(market.lengths.values())

    asyncio.run(scenario())
    assert_mirrors(database_url, market)


BOOK, OTHER_BOOK = (keys.instrument_tag(symbol) for symbol in SYMBOLS)


def halted_after(redis_url, database_url, market, damage):
    """What a writer that had followed the logs halts at, after ``damage`` was done and more was traded."""

    async def scenario():
        async with writer_for(redis_url, database_url) as writer:
            market.trade(100)
            market.write()
            await write_all(writer)
            damage()
            await write_all(writer)
            await write_all(writer)
            return writer.halted

    return asyncio.run(scenario())


def position(url, tag):
    """How far PostgreSQL is in a log."""
    return rows(url, "SELECT length FROM positions WHERE tag = %s", tag)[0]["length"]


def test_a_gap_halts_this_log_only(redis_url, database_url):
    """Where an entry is missing PostgreSQL stays, says so, and goes on with the other logs."""
    market, stopped_at = Market(redis_url), 0

    def lose_an_entry():
        nonlocal stopped_at
        stopped_at = market.lengths[BOOK]
        market.trade(100)
        market.write()
        market.client.xdel(keys.log(BOOK), f"{stopped_at + 1}-0")

    halted = halted_after(redis_url, database_url, market, lose_an_entry)
    assert list(halted) == [BOOK]
    assert f"{keys.log(BOOK)}: entry {stopped_at + 1}-0 is missing" in halted[BOOK]
    assert position(database_url, BOOK) == stopped_at
    assert position(database_url, OTHER_BOOK) == market.lengths[OTHER_BOOK]


def test_a_shorter_log_halts(redis_url, database_url):
    """If Redis lost what PostgreSQL has, nothing is written and the error names both positions."""
    market = Market(redis_url)

    def lose_the_tail():
        length = market.lengths[BOOK]
        market.client.xdel(keys.log(BOOK), *(f"{n}-0" for n in range(length - 4, length + 1)))
        market.client.hset(keys.meta(BOOK), "length", length - 5)

    halted = halted_after(redis_url, database_url, market, lose_the_tail)
    length = market.lengths[BOOK]
    assert halted == {
        BOOK: f'{keys.log(BOOK)}: PostgreSQL is ahead of Redis ({length} > {length - 5}); run "matchbox recover"'
    }


@pytest.mark.parametrize("beyond", [0, 3])
def test_a_log_that_grew_again_after_a_loss_halts(redis_url, database_url, beyond):
    """A log whose lost tail was replaced by other entries, as many or more, is found out before a row is written."""
    market = Market(redis_url)
    trades: list[dict] = []

    def lose_the_tail_and_go_on():
        trades[:] = rows(database_url, "SELECT * FROM trades ORDER BY 1, 2")
        payloads = [fields[b"d"] for _, fields in market.client.xrange(keys.log(BOOK))]
        payloads = [*payloads[:-2], payloads[-1], payloads[-2], *payloads[1 : 1 + beyond]]
        market.client.delete(keys.log(BOOK))
        for number, payload in enumerate(payloads, 1):
            market.client.xadd(keys.log(BOOK), {"d": payload}, id=f"{number}-0")
        market.client.hset(keys.meta(BOOK), mapping={"length": len(payloads), "chain": advance("", payloads)})

    halted = halted_after(redis_url, database_url, market, lose_the_tail_and_go_on)
    assert list(halted) == [BOOK]
    assert "PostgreSQL has followed another log" in halted[BOOK]
    assert rows(database_url, "SELECT * FROM trades ORDER BY 1, 2") == trades


def test_an_emptied_redis_halts(redis_url, database_url):
    """A Redis that lost everything is no reason to start over."""
    market = Market(redis_url)
    halted = halted_after(redis_url, database_url, market, market.client.flushall)
    assert set(halted) == set(market.lengths)


def test_trimming_up_to_the_published_position_is_safe(redis_url, database_url):
    """What was published as durable may be trimmed; writing goes on."""
    market = Market(redis_url)

    def trim():
        for tag, length in market.lengths.items():
            market.client.xtrim(keys.log(tag), minid=f"{length}-0", approximate=False)
        market.trade(100)
        market.write()

    assert halted_after(redis_url, database_url, market, trim) == {}
    assert_mirrors(database_url, market)


def test_a_postgresql_without_its_rows_holds_the_logs(redis_url, database_url):
    """Restored empty, it needs every entry again: nothing may be trimmed by what its predecessor had."""
    market = Market(redis_url, seed=6)
    market.trade(50)
    market.write()

    class Stuck(Writer):
        async def _commit(self, *_):
            raise Displaced

    async def scenario():
        async with writer_for(redis_url, database_url) as writer:
            await write_all(writer)
        with open_database(database_url).begin() as connection:
            connection.execute(text(f"TRUNCATE {', '.join(metadata.tables)} CASCADE"))
        async with writer_for(redis_url, database_url, Stuck) as writer:
            with pytest.raises(Displaced):
                await writer.write()
        logs = [keys.log(tag) for tag in market.lengths]
        assert {market.client.hget(keys.consumers(log), keys.POSTGRESQL) for log in logs} == {b"0-0"}

    asyncio.run(scenario())


def test_an_entry_that_makes_no_sense_halts_this_log_only(redis_url, database_url):
    """An entry that cannot be read is named, and not skipped; what stands before it in the same batch is written."""
    market = Market(redis_url)
    good = 0

    def write_rubbish():
        nonlocal good
        market.trade(20)
        good = market.lengths[BOOK] + sum(tag == BOOK for tag, _ in market.pending)
        market.pending.append((BOOK, b'{"source": 1}'))
        market.trade(20)
        market.write()

    halted = halted_after(redis_url, database_url, market, write_rubbish)
    assert list(halted) == [BOOK]
    assert f"{keys.log(BOOK)}: entry {good + 1}-0 cannot be followed" in halted[BOOK]
    assert position(database_url, BOOK) == good
    assert position(database_url, OTHER_BOOK) == market.lengths[OTHER_BOOK]


def last_trade(market):
    """The newest entry of the book's log in which something traded."""
    entries = market.client.xrevrange(keys.log(BOOK))
    return next(fields[b"d"] for _, fields in entries if b'"type":"match"' in fields[b"d"])


def test_what_others_wrote_behind_the_end_is_not_written(redis_url, database_url):
    """An old trade once more, behind what the owner has committed: it is not read, and halts nobody."""
    market = Market(redis_url)

    def forge():
        market.trade(20)
        market.write()
        market.client.xadd(keys.log(BOOK), {"d": last_trade(market)}, id=f"{market.lengths[BOOK] + 1}-0")
        market.client.xadd(keys.log(OTHER_BOOK), {"d": "{}"})

    assert halted_after(redis_url, database_url, market, forge) == {}
    assert_mirrors(database_url, market)


@pytest.mark.parametrize("huge", [False, True])
def test_what_postgresql_refuses_halts_this_log_only(redis_url, database_url, huge):
    """A trade that is there already, or a price beyond 64 bits: what stands before it and the others are written."""
    market = Market(redis_url)
    good = 0

    def forge():
        nonlocal good
        forged = json.loads(last_trade(market))
        for event in forged["events"]:
            if event["type"] == "match" and huge:
                event |= {"price": 2**70, "trade_id": 10**9}
        market.trade(20)
        good = market.lengths[BOOK] + sum(tag == BOOK for tag, _ in market.pending)
        market.pending.append((BOOK, json.dumps(forged).encode()))
        market.trade(20)
        market.write()

    halted = halted_after(redis_url, database_url, market, forge)
    assert list(halted) == [BOOK]
    assert halted[BOOK].startswith(f"{keys.log(BOOK)}: PostgreSQL refuses entry {good + 1}-0 (")
    assert halted[BOOK].endswith('stop the cluster and run "matchbox recover"')
    assert position(database_url, BOOK) == good
    assert all(position(database_url, tag) == length for tag, length in market.lengths.items() if tag != BOOK)


def test_nobody_waits_for_an_entry_that_no_owner_wrote(redis_url, database_url):
    """A ledger has settled what somebody else wrote into a book's log: its own log is written."""
    market, ledger = Market(redis_url), keys.shard_tag(0)
    forged = 0

    def settle():
        nonlocal forged
        forged = market.lengths[BOOK] + 1
        market.client.xadd(keys.log(BOOK), {"d": last_trade(market)}, id=f"{forged}-0")
        market.log(ledger, encode(LedgerEntry(f"{keys.log(BOOK)} {forged}-0", market.now, [])))
        market.write()

    halted = halted_after(redis_url, database_url, market, settle)
    assert position(database_url, ledger) == market.lengths[ledger]
    assert halted == {} or halted[BOOK].startswith(
        f"{keys.log(BOOK)}: a ledger has settled entry {forged}-0, its owner"
    )


def test_what_stands_before_a_hole_is_written(redis_url, database_url):
    """Nothing is lost by a hole but what was in it and behind it."""
    market = Market(redis_url)
    lost = 0

    def lose_an_entry():
        nonlocal lost
        market.trade(100)
        market.write()
        lost = market.lengths[BOOK] - 2
        market.client.xdel(keys.log(BOOK), f"{lost}-0")

    halted = halted_after(redis_url, database_url, market, lose_an_entry)
    assert list(halted) == [BOOK]
    assert f"entry {lost}-0 is missing" in halted[BOOK]
    assert position(database_url, BOOK) == lost - 1


def test_a_log_that_is_none_any_more_halts_alone(redis_url, database_url):
    """Somebody puts another type of value under a log's key: the others are written."""
    market = Market(redis_url)

    def replace():
        market.trade(50)
        market.write()
        market.client.set(keys.log(BOOK), "hello")

    halted = halted_after(redis_url, database_url, market, replace)
    assert list(halted) == [BOOK]
    assert halted[BOOK].startswith(f"{keys.log(BOOK)}: is no log any more (WRONGTYPE")
    assert all(position(database_url, tag) == length for tag, length in market.lengths.items() if tag != BOOK)


def test_any_client_id_can_be_stored(redis_url, database_url):
    """Quotes, newlines and all of Unicode arrive as they are; NUL, which PostgreSQL cannot keep, as U+FFFD."""
    market = Market(redis_url)
    ids = ["\"'\\\t\n\r{}[],", "\\u0000", "日本語 🎉 \u2028", "a\0b", "$1 %s :x"]
    for one in ids:
        market.request(
            OrderRequest(market.request_id(), 1, "BTC-USD", "buy", "limit", 9_000, 1_000, client_id=one)
        )  # fmt: skip
    market.write()

    async def scenario():
        async with writer_for(redis_url, database_url) as writer:
            await write_all(writer)

    asyncio.run(scenario())
    stored = [row["client_id"] for row in rows(database_url, "SELECT client_id FROM orders ORDER BY order_id")]
    assert stored == [one.replace("\0", "\ufffd") for one in ids]


def test_a_new_instrument_is_found(redis_url, database_url):
    """A book that is added while the writer runs is written too."""
    market = Market(redis_url)

    def add():
        market.configure("SOL-USD")
        market.request(TransferRequest(market.request_id(), 1, "SOL", 10**15))
        market.trade(100)
        market.write()

    assert halted_after(redis_url, database_url, market, add) == {}
    assert position(database_url, keys.instrument_tag("SOL-USD")) > 0
    assert_mirrors(database_url, market)


def test_a_commit_that_was_not_published_is_at_the_next_start(redis_url, database_url):
    """What PostgreSQL has is told to Redis also if the writer died in between and nothing new came since."""
    market = Market(redis_url)
    assert halted_after(redis_url, database_url, market, lambda: None) == {}
    for tag in market.lengths:
        market.client.delete(keys.consumers(keys.log(tag)))

    async def scenario():
        async with writer_for(redis_url, database_url) as writer:
            assert await writer.write() == 0

    asyncio.run(scenario())
    assert positions_published(market.client, market)
