"""A gateway that has its port to itself may still not be alone: other hosts run gateways, too."""

import asyncio

import pytest

from shared import keys
from shared.connections import connect_async
from shared.settings import Settings
from workers.gateway import replicas as module
from workers.gateway.backpressure import Backpressure
from workers.gateway.errors import ApiError
from workers.gateway.feed.hub import Hub
from workers.gateway.history import History
from workers.gateway.inbox import Inbox
from workers.gateway.markets import Markets
from workers.gateway.orders import Desk
from workers.gateway.replicas import Replicas


def test_what_another_host_has_answered_is_read_before_an_answer(redis_url):
    """One host: no trip to Redis. Two supervisors on this Redis: it looks where the log ends."""

    async def look():
        client = connect_async(redis_url)
        inbox, history = Inbox(client, 0, 5.0, Backpressure(client, Settings())), History(None)  # type: ignore[arg-type]  # never asked
        replicas = Replicas(client, history, 1, Markets(), inbox, Hub(Markets()))
        replicas.trouble, looked = "", []

        async def caught_up(shard):
            looked.append(shard)

        replicas.catch_up = caught_up  # type: ignore[method-assign]
        desk = Desk(inbox, replicas, history, 1, 1)
        for host in ("one:1", "two:2"):
            await client.hset(keys.SUPERVISORS, host, "{}")
            await replicas.measure()
            await desk.catch_up(1)
        await client.aclose()
        return looked

    assert asyncio.run(look()) == [0]


def test_what_is_not_known_yet_is_no_answer(redis_url, monkeypatch):
    """A replica that does not reach its log's end, a PostgreSQL that lacks what came before: 503, nothing made up."""
    monkeypatch.setattr(module, "CATCH_UP_S", 0.1)
    tag = keys.shard_tag(0)

    class Behind(History):
        async def length(self, tag):
            return 6

    async def ask():
        client = connect_async(redis_url)
        inbox, history = Inbox(client, 0, 5.0, Backpressure(client, Settings())), Behind(None)  # type: ignore[arg-type]
        replicas = Replicas(client, history, 1, Markets(), inbox, Hub(Markets()))
        replicas.trouble, replicas.loaded_at[keys.log(tag)] = "", 7
        await client.xadd(keys.log(tag), {"d": "x"}, id="8-0")
        with pytest.raises(ApiError, match="does not know yet") as behind:
            await replicas.catch_up(0)
        with pytest.raises(ApiError, match="too far behind") as uncovered:
            await replicas.wait_covered(0)
        replicas.positions[keys.log(tag)] = 8
        replicas.loaded_at[keys.log(tag)] = 6
        await replicas.catch_up(0)
        assert await replicas.wait_covered(0), "what was asked for before may be there now"
        assert not await replicas.wait_covered(0)
        await client.aclose()
        return behind.value.status, uncovered.value.status

    assert asyncio.run(ask()) == (503, 503)
