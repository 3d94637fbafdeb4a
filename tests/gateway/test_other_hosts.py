"""A gateway that has its port to itself may still not be alone: other hosts run gateways, too."""

import asyncio

from shared import keys
from shared.connections import connect_async
from shared.settings import Settings
from workers.gateway.backpressure import Backpressure
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
