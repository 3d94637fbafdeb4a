"""Whether Redis still has what PostgreSQL knows, and who is asked before servers are taken."""

import asyncio

import pytest

from cluster.offline import offline
from cluster.standing import RolledBack, check_standing, losses
from shared import keys
from shared.connections import open_database
from shared.errors import MatchboxError
from shared.settings import Settings
from tests.pusher.market import Market
from tests.pusher.test_writer import write_all, writer_for

LEDGER, BOOK = keys.shard_tag(0), keys.instrument_tag("BTC-USD")


def push(redis_url, database_url, rounds=0):
    """Have PostgreSQL follow the logs, and look ``rounds`` times more."""

    async def run():
        async with writer_for(redis_url, database_url) as writer:
            await write_all(writer)
            for _ in range(rounds):
                await writer.step()

    asyncio.run(run())


@pytest.fixture
def market(redis_url, database_url):
    """A market that PostgreSQL has followed to its end."""
    market = Market(redis_url)
    market.trade(40)
    market.write()
    push(redis_url, database_url)
    return market


@pytest.fixture
def database(database_url):
    database = open_database(database_url)
    with database.connect() as connection:
        yield connection
    database.dispose()


def cut(market, tag, count):
    """Redis comes back without the last entries of a log."""
    length = market.lengths[tag] - count
    kept = market.client.xrange(keys.log(tag), max=f"{length}-0")
    market.client.delete(keys.log(tag))
    for entry_id, fields in kept:
        market.client.xadd(keys.log(tag), fields, entry_id)
    market.client.hset(keys.meta(tag), mapping={"length": length, "chain": "00" * 20})


def test_a_redis_that_has_all_is_good(market, database):
    """Also one that has gone on meanwhile."""
    check_standing(market.client, database)
    market.trade(5)
    market.write()
    check_standing(market.client, database)


def test_what_is_gone_is_named(market, database):
    """Each log, up to which entry PostgreSQL has it, and up to which Redis; and what to do."""
    cut(market, LEDGER, 3)
    length = market.lengths[LEDGER]
    told = f"{{a:0}}:log: PostgreSQL has {length:,} entries, Redis {length - 3:,}"
    assert [str(one) for one in losses(market.client, database)] == [told]
    with pytest.raises(RolledBack, match=r"acknowledged: .* run"):
        check_standing(market.client, database)


def test_an_emptied_redis_lacks_every_log(market, database):
    """The first is named, the others are counted."""
    market.client.flushall()
    assert {one.redis for one in losses(market.client, database)} == {0}
    with pytest.raises(RolledBack, match="of 2 more logs"):
        check_standing(market.client, database)


def test_another_log_of_the_same_length_is_found_out(market, database):
    """A tail that was lost and has grown again, even beyond PostgreSQL's position."""
    cut(market, BOOK, 1)
    market.lengths[BOOK] -= 1
    market.trade(20)
    market.write()
    assert [str(one).partition(": ")[2][:12] for one in losses(market.client, database)] == ["not the log "]


def test_the_word_of_an_owner_is_enough(market, database):
    """What an owner has missed, PostgreSQL may never have known."""
    market.client.hset(keys.LOST, BOOK, 'entries are gone; run "matchbox recover"')
    with pytest.raises(RolledBack, match="entries are gone; run"):
        check_standing(market.client, database)


def test_a_pusher_says_what_is_gone(market, redis_url, database_url):
    """It is ahead of Redis: the supervisors hear of it, and nothing trades on."""
    cut(market, LEDGER, 3)
    push(redis_url, database_url, rounds=2)
    told = market.client.hgetall(keys.LOST)
    assert list(told) == [LEDGER.encode()]
    assert b"PostgreSQL is ahead of Redis" in told[LEDGER.encode()]


def test_servers_that_somebody_works_on_are_not_taken(tmp_path, redis_url, database_url, market):
    """A worker on any host shows it by its beat."""
    settings = Settings(data=str(tmp_path), redis_url=redis_url, database_url=database_url)
    with offline(settings) as found:
        assert found == settings
    market.client.set(keys.beat("engine:BTC-USD"), "{}")
    with pytest.raises(MatchboxError, match="engine:BTC-USD runs on this Redis"), offline(settings):
        pass


def test_a_log_that_is_none_any_more_is_a_loss(market, database):
    """Whatever its key holds: Redis is there, and has not what PostgreSQL has followed."""
    market.client.delete(keys.log(BOOK))
    market.client.set(keys.log(BOOK), "hello")
    assert [one.log for one in losses(market.client, database)] == [keys.log(BOOK)]
    with pytest.raises(
        RolledBack, match=r"not the log that PostgreSQL has followed up to entry .* run \"matchbox recover\""
    ):
        check_standing(market.client, database)
