"""The slow lane with orders of every kind: the rows are the machines' state, and make the books again."""

import asyncio

import msgspec
import pytest

from shared.messages import AmendRequest, CancelRequest, Conditions, OrderListRequest, OrderRequest, OrderType
from tests.pusher.features import FeatureMarket, instrument
from tests.pusher.mirror import assert_mirrors
from tests.pusher.rows import rows
from tests.pusher.test_writer import write_all, writer_for


@pytest.mark.parametrize(("shards", "batch"), [(1, 5000), (1, 3), (3, 1), (2, 60)])
def test_rows_are_the_fold_of_logs_of_every_kind(redis_url, database_url, batch, shards):
    """The same with stops, icebergs, lists, amends, expiry and auctions; the rows alone make the books again."""
    market = FeatureMarket(redis_url, seed=f"{shards} {batch}", shards=shards)

    async def scenario():
        async with writer_for(redis_url, database_url, slow_batch=batch, shards=shards) as writer:
            for count in (150, 150, 150, 0):
                market.trade(count) if count else market.settle()
                market.write()
                await write_all(writer)
                assert writer.error == ""
                assert_mirrors(database_url, market)

    asyncio.run(scenario())


def order(request_id, account, side, price, quantity, stp="dc", **conditions):
    """A limit order; a market order without a price."""
    kind: OrderType = "limit" if price else "market"
    made = OrderRequest(request_id, account, "AAA-USD", side, kind, price, quantity, stp=stp)
    return msgspec.structs.replace(made, conditions=Conditions(**conditions) if conditions else None)


def listed(kind, *orders):
    """These orders as a list."""
    return OrderListRequest(f"list {orders[0].request_id}", orders[0].account, "AAA-USD", kind, list(orders))


def amend(request_id, account, number, **terms):
    """An amend of the ``number``-th order."""
    return AmendRequest(request_id, account, number << 8, **terms)


TRADED = [order("first", 5, "buy", 100, 1), order("second", 6, "sell", 100, 1)]
LIVES = {
    "an iceberg gets smaller in its place, and hides less": [
        order("a", 1, "sell", 105, 9, display_quantity=2),
        order("b", 2, "buy", 105, 1),
        amend("c", 1, 3, quantity=6),
    ],
    "an iceberg that meets its owner's order hides less": [
        order("a", 1, "sell", 105, 9, display_quantity=2),
        order("b", 1, "buy", 105, 4),
    ],
    "an order is amended, meets its owner's order, and is amended again": [
        order("a", 1, "sell", 105, 9),
        amend("b", 1, 3, quantity=8),
        order("c", 1, "buy", 105, 2),
        order("d", 2, "buy", 105, 1),
        amend("e", 1, 3, price=104),
    ],
    "an order meets its owner's order last": [
        order("a", 1, "sell", 105, 9),
        amend("b", 1, 3, price=106),
        order("c", 1, "buy", 106, 2),
    ],
    "an iceberg is amended to another price, where it trades": [
        order("a", 1, "sell", 105, 9, display_quantity=2),
        order("b", 2, "buy", 95, 3),
        amend("c", 1, 3, price=95),
        amend("d", 1, 3, quantity=12),
    ],
    "the parent of a list meets its owner's order": [
        listed("oto", order("a", 1, "buy", 95, 9), order("b", 1, "sell", 105, 5)),
        order("c", 1, "sell", 95, 4),
        order("d", 2, "sell", 95, 2),
    ],
    "the children of a parent are a stop and its rival": [
        listed(
            "otoco",
            order("a", 1, "buy", 95, 5),
            order("b", 1, "sell", 110, 5),
            order("c", 1, "sell", 0, 5, stop="loss", stop_price=90),
        ),
        order("d", 2, "sell", 95, 2),
        order("e", 2, "sell", 95, 3),
        order("f", 3, "buy", 90, 9),
        order("g", 4, "sell", 90, 2),
    ],
    "a stop is amended twice, triggers and rests": [
        order("a", 1, "sell", 99, 5, stop="loss", stop_price=90),
        amend("b", 1, 3, stop_price=92),
        amend("c", 1, 3, price=98, quantity=7),
        order("d", 2, "buy", 92, 1),
        order("e", 3, "sell", 92, 1),
        amend("f", 1, 3, price=97),
    ],
    "a trailing stop is amended, follows, and is canceled": [
        order("a", 1, "buy", 0, 5, stop="entry", trail=4),
        amend("b", 1, 3, quantity=7),
        order("c", 2, "buy", 97, 1),
        order("d", 3, "sell", 97, 1),
        CancelRequest("e", 1, 3 << 8),
    ],
    "one of two rivals is filled in part": [
        listed("oco", order("a", 1, "sell", 105, 9), order("b", 1, "sell", 0, 9, stop="loss", stop_price=90)),
        order("c", 2, "buy", 105, 4),
        CancelRequest("d", 1, 3 << 8),
    ],
}


@pytest.mark.parametrize("parts", ["one batch", "first and rest", "each its own"])
@pytest.mark.parametrize("name", LIVES)
def test_the_rows_follow(redis_url, database_url, name, parts):
    """However a life falls into batches, the rows are the same."""
    market, (first, *rest) = FeatureMarket(redis_url), LIVES[name]
    batch = 1 if parts == "each its own" else 5000
    steps = [[*TRADED, first, *rest]] if parts == "one batch" else [[*TRADED, first], rest]

    async def scenario():
        async with writer_for(redis_url, database_url, slow_batch=batch) as writer:
            for requests in steps:
                market.do(*requests)
                market.write()
                await write_all(writer)

    asyncio.run(scenario())
    assert_mirrors(database_url, market)


@pytest.mark.parametrize("batch", [1, 5000])
def test_in_an_auction_both_are_makers(redis_url, database_url, batch):
    """Both sides of an auction's trade pay the maker's rate, and both orders give what they show."""
    market = FeatureMarket(redis_url)

    async def scenario():
        async with writer_for(redis_url, database_url, slow_batch=batch) as writer:
            market.world.set_instrument(instrument("AAA-USD", "auction"))
            market.do(
                order("a", 1, "sell", 95, 9, display_quantity=2), order("b", 2, "buy", 105, 4),
                order("c", 3, "buy", 104, 8, display_quantity=3),
            )  # fmt: skip
            market.write()
            await write_all(writer)
            assert_mirrors(database_url, market)
            market.world.set_instrument(instrument("AAA-USD"))
            market.settle()
            market.write()
            await write_all(writer)
            assert_mirrors(database_url, market)

    asyncio.run(scenario())
    found = rows(database_url, "SELECT t.side, f.liquidity FROM fills f JOIN trades t USING (instrument, trade_id)")
    assert len(found) > 4
    assert {(row["side"], row["liquidity"]) for row in found} == {("sell", "M")}
