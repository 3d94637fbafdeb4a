"""The way to the ledgers has an end: what would only wait is refused before it is sent."""

import asyncio
from contextlib import asynccontextmanager, suppress

import pytest

from shared import keys
from shared.connections import connect, connect_async
from shared.messages import Accepted, OrderRequest
from shared.settings import Settings
from workers.gateway import inbox as module
from workers.gateway.backpressure import Backpressure
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
    inbox = Inbox(connection, 0, TIMEOUT_S, Backpressure(connection, Settings()))
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
