"""The way to the ledgers has an end: what would only wait is refused before it is sent."""

import asyncio
import time
from contextlib import asynccontextmanager, suppress

import pytest

from shared import keys
from shared.connections import connect, connect_async
from shared.messages import (
    Accepted,
    BlockRequest,
    CancelAllRequest,
    CancelRequest,
    InstrumentRequest,
    OrderRequest,
    TransferRequest,
)
from tests.harness import BTC_USD
from workers.gateway import inbox as module
from workers.gateway.errors import ApiError
from workers.gateway.inbox import Inbox

TIMEOUT_S = 1.0
SHARD = 0


def an_order(number="o"):
    return OrderRequest(number, 1, "BTC-USD", "buy", "limit", 100, 1)


@pytest.fixture
def client(redis_url):
    with connect(redis_url) as found:
        yield found


@asynccontextmanager
async def an_inbox(url):
    """An inbox that sends, to ledgers that nobody runs."""
    connection = connect_async(url)
    inbox = Inbox(connection, 0, TIMEOUT_S)
    sending = asyncio.create_task(inbox.send_forever())
    try:
        yield inbox
    finally:
        sending.cancel()
        with suppress(asyncio.CancelledError):
            await sending
        await connection.aclose()


async def refusal(inbox, request):
    """The refusal of a request, None if it was sent."""
    try:
        await asyncio.wait_for(inbox.ask(SHARD, request), 0.1)
    except ApiError as error:
        return error
    except TimeoutError:
        return None
    raise AssertionError("nobody answers here")


def add(client, age_s):
    """A request that has come so long ago; answers its place."""
    return client.xadd(keys.inbox(SHARD), {"d": "x"}, id=f"{int((time.time() - age_s) * 1000)}-0").decode()


@pytest.mark.parametrize(
    ("ages_s", "taken", "is_late"),
    [
        ([], 0, False),
        ([0.1], 0, False),
        ([3.0], 0, True),
        ([3.0], 1, False),
        ([9.0, 3.0], 1, True),
        ([9.0, 0.1], 1, False),
        ([9.0, 0.1], 0, True),
    ],
)
def test_orders_are_refused_while_the_oldest_request_waits_too_long(client, redis_url, ages_s, taken, is_late):
    """Counted from the first that the ledger has not taken; refused with 503 and Retry-After, and nothing is sent."""
    places = [add(client, age_s) for age_s in ages_s]
    if taken:
        client.hset(keys.meta(keys.shard_tag(SHARD)), f"at:{keys.inbox(SHARD)}", places[taken - 1])

    async def ask():
        async with an_inbox(redis_url) as inbox:
            await inbox.measure(2)
            assert bool(inbox.trouble) is is_late
            for request in (an_order(), TransferRequest("t", 1, "USD", 5)):
                error = await refusal(inbox, request)
                assert (error is not None) is is_late
                if error is not None:
                    assert (error.status, error.retry_after_s) == (503, 1)
                    assert "behind and takes only cancels; nothing was sent" in str(error)
            assert client.xlen(keys.inbox(SHARD)) == len(ages_s) + (0 if is_late else 2)

    asyncio.run(ask())


def test_who_wants_out_gets_out(client, redis_url):
    """Cancels, kill switches and halts are sent however long they may wait; another shard is not concerned."""
    add(client, 60)

    async def ask():
        async with an_inbox(redis_url) as inbox:
            await inbox.measure(2)
            for request in (
                CancelRequest("c", 1, 256),
                CancelAllRequest("a", 1),
                BlockRequest("b", 1),
                InstrumentRequest("i", BTC_USD),
            ):
                assert await refusal(inbox, request) is None
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(inbox.ask(1, an_order()), 0.1)

    asyncio.run(ask())
    assert (client.xlen(keys.inbox(SHARD)), client.xlen(keys.inbox(1))) == (5, 1)


def test_it_goes_on_when_the_ledger_has_caught_up(client, redis_url):
    """The next look finds nothing that waits."""
    place = add(client, 60)

    async def ask():
        async with an_inbox(redis_url) as inbox:
            await inbox.measure(1)
            assert await refusal(inbox, an_order("o1")) is not None
            client.hset(keys.meta(keys.shard_tag(SHARD)), f"at:{keys.inbox(SHARD)}", place)
            await inbox.measure(1)
            assert inbox.trouble == ""
            assert await refusal(inbox, an_order("o2")) is None

    asyncio.run(ask())


def test_so_many_wait_and_no_more(client, redis_url, monkeypatch):
    """One request too many at once is refused with 503 and Retry-After, and not sent."""
    monkeypatch.setattr(module, "WAITING_MAX", 3)

    async def ask():
        async with an_inbox(redis_url) as inbox:
            waiting = [asyncio.create_task(inbox.ask(SHARD, an_order(f"o{number}"))) for number in range(3)]
            await asyncio.sleep(0.05)
            error = await refusal(inbox, an_order("one more"))
            assert error is not None
            assert (error.status, error.retry_after_s, "too busy" in str(error)) == (503, 1, True)
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)
            assert await refusal(inbox, an_order("afterwards")) is None

    asyncio.run(ask())
    assert client.xlen(keys.inbox(SHARD)) == 4


def test_one_id_waits_once(redis_url):
    """A second request of an id that is under way must not take the first one's answer away."""

    async def ask():
        async with an_inbox(redis_url) as inbox:
            first = asyncio.create_task(inbox.ask(SHARD, an_order("o")))
            await asyncio.sleep(0)
            error = await refusal(inbox, an_order("o"))
            assert error is not None
            assert (error.status, "under way" in str(error)) == (503, True)
            event = Accepted("o", 256, 1, "BTC-USD", "buy", "limit", 100, 1)
            inbox.answer(event)
            assert await first is event

    asyncio.run(ask())
