"""What would only wait, or fill up the stores, is refused before it is sent; who wants out gets out."""

import asyncio
import time

import msgspec
import pytest

from shared import keys
from shared.connections import connect, connect_async
from shared.messages import (
    BlockRequest,
    CancelAllRequest,
    CancelRequest,
    InstrumentRequest,
    OrderRequest,
    TransferRequest,
)
from shared.pressure import Level, Pressure
from shared.settings import Settings
from tests.harness import BTC_USD
from workers.gateway.backpressure import Backpressure
from workers.gateway.errors import ApiError

SHARD, OTHER = 0, 1
ORDER = OrderRequest("o", 1, "BTC-USD", "buy", "limit", 100, 1)
ENTRIES = (ORDER, TransferRequest("t", 1, "USD", 5))
CANCELS = (CancelRequest("c", 1, 256),)
SWITCHES = (BlockRequest("b", 1), InstrumentRequest("i", BTC_USD), CancelAllRequest("a", 1))


@pytest.fixture
def client(redis_url):
    with connect(redis_url) as found:
        yield found


def measured(redis_url, looks, **settings):
    """A gateway's view after each of ``looks`` (what is done before it), one after the other."""

    async def look():
        connection = connect_async(redis_url)
        found = Backpressure(connection, Settings(shards=2).with_changes(**settings))
        for before in looks:
            before()
            await found.measure()
        await connection.aclose()
        return found

    return asyncio.run(look())


def refusals(found, requests, shard=SHARD):
    """How many of the requests are refused; each with 503, Retry-After and that nothing was sent."""
    return sum(is_refused(found, request, shard) for request in requests)


def is_refused(found, request, shard):
    try:
        found.check(shard, request)
    except ApiError as error:
        is_clear = (error.status, error.retry_after_s) == (503, 1) and "nothing was sent, try again" in str(error)
        return is_clear or pytest.fail(str(error))
    return False


def add(client, age_s):
    """A request that has come so long ago; answers its place."""
    return client.xadd(keys.inbox(SHARD), {"d": "x"}, id=f"{int((time.time() - age_s) * 1000)}-0").decode()


def take(client, place):
    """The ledger takes what there is up to a place."""
    client.hset(keys.meta(keys.shard_tag(SHARD)), f"at:{keys.inbox(SHARD)}", place)


@pytest.mark.parametrize(
    ("ages_s", "taken", "is_late"),
    [
        ([], 0, False),
        ([1.0], 0, False),
        ([4.0], 0, True),
        ([4.0], 1, False),
        ([9.0, 4.0], 1, True),
        ([9.0, 0.1], 1, False),
        ([9.0, 0.1], 0, True),
    ],
)
def test_orders_are_refused_while_the_oldest_request_waits_too_long(client, redis_url, ages_s, taken, is_late):
    """Counted from the first that the ledger has not taken; another shard is not concerned, and cancels go."""
    places = [add(client, age_s) for age_s in ages_s]
    if taken:
        take(client, places[taken - 1])
    found = measured(redis_url, [lambda: None])
    assert refusals(found, ENTRIES) == (2 if is_late else 0)
    assert bool(found.trouble) is is_late
    assert refusals(found, (*CANCELS, *SWITCHES)) == refusals(found, ENTRIES, OTHER) == 0
    if is_late:
        with pytest.raises(ApiError, match="s behind and takes only cancels"):
            found.check(SHARD, ORDER)


def test_an_inbox_that_is_too_long_gets_no_orders(client, redis_url):
    """However young they are; and until it is half as long as it may be."""
    for _ in range(11):
        client.xadd(keys.inbox(SHARD), {"d": "x"})
    found = measured(redis_url, [lambda: None], inbox_max=10)
    assert "shard 0 is too busy (11 requests)" in found.trouble
    assert (refusals(found, ENTRIES), refusals(found, CANCELS)) == (2, 0)
    looks = [lambda: None, lambda: client.xtrim(keys.inbox(SHARD), maxlen=6, approximate=False)]
    assert refusals(measured(redis_url, looks, inbox_max=10), ENTRIES) == 2
    looks.append(lambda: client.xtrim(keys.inbox(SHARD), maxlen=5, approximate=False))
    assert refusals(measured(redis_url, looks, inbox_max=10), ENTRIES) == 0


def test_it_goes_on_when_the_ledger_has_caught_up(client, redis_url):
    """Refused orders are let in again once nothing waits for half the age at which they were refused."""
    places = [add(client, 60), add(client, 2), add(client, 0.2)]
    looks = [lambda: None, lambda: take(client, places[0])]
    assert refusals(measured(redis_url, looks), ENTRIES) == 2, "2 s are no reason to begin, but to go on"
    looks.append(lambda: take(client, places[1]))
    found = measured(redis_url, looks)
    assert (found.trouble, refusals(found, ENTRIES)) == ("", 0)


def test_who_has_caught_up_gets_orders_within_moments(client, redis_url):
    """As after a failover: nobody waits for the next beat, a second away."""

    async def relieved():
        connection = connect_async(redis_url)
        found = Backpressure(connection, Settings(shards=2))
        place = add(client, 60)
        await found.measure()
        relief = asyncio.create_task(found.relieve_forever())
        assert refusals(found, ENTRIES) == 2
        take(client, place)
        await asyncio.sleep(0.5)
        relief.cancel()
        await connection.aclose()
        return refusals(found, ENTRIES)

    assert asyncio.run(relieved()) == 0


@pytest.mark.parametrize(
    ("level", "expected"), [("open", (0, 0, 0)), ("cancel-only", (2, 0, 0)), ("halted", (2, 1, 0))]
)
def test_the_published_level_is_obeyed(client, redis_url, level: Level, expected):
    """Cancel-only: cancels, too. Halted: only kill switches, and an account's own mass-cancel. The reason is told."""
    says = "" if level == "open" else "Redis memory 850 of 800 MB"
    client.set(keys.PRESSURE, msgspec.json.encode(Pressure(level, says)))
    found = measured(redis_url, [lambda: None])
    assert tuple(refusals(found, group) for group in (ENTRIES, CANCELS, SWITCHES)) == expected
    assert says in found.trouble
    if says:
        with pytest.raises(ApiError, match="Redis memory 850 of 800 MB"):
            found.check(OTHER, ORDER)
    looks = [lambda: None, lambda: client.delete(keys.PRESSURE)]
    assert refusals(measured(redis_url, looks), (*ENTRIES, *CANCELS)) == 0
