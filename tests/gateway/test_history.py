"""What PostgreSQL gives back of an order is what the ledger knew of it."""

import asyncio

import msgspec
import pytest
from sqlalchemy import insert

from shared.connections import open_database_async
from shared.messages import Conditions
from shared.schema import orders
from workers.gateway.history import History
from workers.ledger.orders import OpenOrder

ORDER = OpenOrder(
    1 << 8,
    7,
    "BTC-USD",
    "sell",
    "limit",
    10025,
    500,
    0,
    0,
    "GTC",
    False,
    "dc",
    10,
    20,
    "mine",
    "",
    5,
    6,
    400,
    100,
    90,
    8,
)


@pytest.mark.parametrize(
    "conditions",
    [
        None,
        Conditions("loss", 9000, expires=2**62, display_quantity=100, min_quantity=1),
        Conditions("entry", trail=2**40),
        Conditions(trail_bps=15),
    ],
)
def test_an_order_comes_back_with_its_conditions(database_url, conditions):
    """Every number of them, and what became of it."""
    row = {
        name: value
        for name, value in msgspec.structs.asdict(ORDER).items()
        if name in orders.c and name not in ("conditions", "time")
    }
    row |= {"conditions": conditions and msgspec.to_builtins(conditions), "created_at": ORDER.time, "rival": 3 << 8}
    row |= {"settled": True, "done_reason": "canceled", "cause": "expired", "done_at": 9}

    async def story():
        engine = open_database_async(database_url)
        async with engine.begin() as connection:
            await connection.execute(insert(orders).values(row))
        history = History(engine)
        found = await history.order(7, ORDER.order_id), await history.order_by_client_id(7, "mine")
        await engine.dispose()
        return found

    by_id, by_client_id = asyncio.run(story())
    assert by_id == by_client_id
    assert by_id.order == msgspec.structs.replace(ORDER, conditions=conditions, rival=3 << 8)
    assert (by_id.done_reason, by_id.cause, by_id.done_at) == ("canceled", "expired", 9)
