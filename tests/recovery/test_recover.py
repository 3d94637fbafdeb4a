"""Redis again from PostgreSQL alone: exactly what it was, and where PostgreSQL knew less, something that fits."""

import asyncio
import random

import msgspec
import psycopg
import pytest

from shared import keys
from shared.messages import CancelRequest, Duplicate, OrderRequest, TransferRequest
from shared.settings import Settings
from tests.pusher.features import FeatureMarket
from tests.pusher.market import Logged, Market
from tests.pusher.mirror import _state
from tests.pusher.test_writer import write_all, writer_for
from workers.audit.run import audit
from workers.engine.book import OrderBook
from workers.ledger.ledger import Ledger
from workers.pusher import writer
from workers.recovery.run import recover
from workers.store import read_snapshots, read_standing


def settings_of(redis_url, database_url, shards):
    """Settings of a cluster on these servers."""
    return Settings(redis_url=redis_url, database_url=database_url, shards=shards)


def push(redis_url, database_url, shards):
    """Have PostgreSQL follow the logs to their ends."""

    async def run():
        async with writer_for(redis_url, database_url, shards=shards) as one:
            await write_all(one)
            assert one.error == ""

    asyncio.run(run())


def states(client, tags):
    """The state of each machine as its owner would load it."""
    found = {}
    for tag in tags:
        standing = read_standing(client.hgetall(keys.meta(tag)))
        (snapshot,) = read_snapshots(client.hgetall(keys.snapshot(tag)))
        assert (snapshot.position, snapshot.chain) == (standing.length, standing.chain)
        found[tag] = snapshot.state
    return found


def plain_ledger(state):
    """What a ledger goes by: not the ended children of its orders, nor balances of nothing."""
    ledger = Ledger.load(state)
    fields = msgspec.json.decode(ledger.dump())
    living = {order.order_id for order in ledger.orders}
    for order in fields["orders"]:
        order[-1] = [child for child in order[-1] if child in living]
    fields["balances"] = [row for row in fields["balances"] if row[2] or row[3]]
    fields["supply"] = {currency: amount for currency, amount in fields["supply"].items() if amount}
    fields["instruments"].sort(key=lambda one: one["symbol"])
    fields["past"] = sorted(fields["past"])
    del fields["time"]  # of what left a row: a refusal may have come later
    return fields


@pytest.mark.parametrize("kind", [Market, FeatureMarket])
@pytest.mark.parametrize("shards", [1, 3])
@pytest.mark.parametrize("seed", range(3))
def test_what_postgresql_knows_wholly_comes_back_as_it_was(redis_url, database_url, kind, shards, seed):
    """Balances, holds, orders of every kind, lists, stops, priorities, counts, prices and used ids."""
    market = kind(redis_url, seed=seed, shards=shards)
    market.trade(400)
    if kind is FeatureMarket:
        market.settle()
    market.write()
    push(redis_url, database_url, shards)
    market.client.flushall()
    report = recover(settings_of(redis_url, database_url, shards))
    found = states(market.client, market.snapshots())
    for tag, state in market.snapshots().items():
        if tag.startswith("{a:"):
            assert plain_ledger(found[tag]) == plain_ledger(state)
        else:
            assert _state(OrderBook.load(found[tag])) == _state(OrderBook.load(state))
    assert (report.canceled, report.settled, report.busted) == (0, 0, [])
    assert report.orders == sum(len(ledger.orders) for ledger in market.ledgers)
    assert {one.redis for one in report.logs} == {-1}
    audited = audit(settings_of(redis_url, database_url, shards))
    assert audited.is_good, audited.violations


@pytest.mark.parametrize("kind", [Market, FeatureMarket])
@pytest.mark.parametrize("shards", [1, 3])
@pytest.mark.parametrize("seed", range(6))
def test_what_postgresql_knows_in_part_comes_back_consistent(redis_url, database_url, kind, shards, seed):
    """However far each log came: holds, balances, open orders, books and trades fit together; clean audit."""
    report = lose_parts(redis_url, database_url, kind, shards, seed)
    assert report.busted == []


@pytest.mark.parametrize("kind", [Market, FeatureMarket])
@pytest.mark.parametrize("seed", range(8))
def test_rows_that_do_not_fit_come_back_consistent(redis_url, database_url, kind, seed, monkeypatch):
    """The same where rows were written without regard to what answers what, as before a log was halted."""
    monkeypatch.setattr(writer, "writable", lambda entries, *_: {tag: len(own) for tag, own in entries.items()})
    lose_parts(redis_url, database_url, kind, 1, seed)


def test_blocked_users_stay_blocked_and_used_ids_used(redis_url, database_url):
    """The kill switch of a blocked user is on again; a client id, and a transfer's id, make nothing twice."""
    market = Market(redis_url)
    order = OrderRequest("first", 1, "BTC-USD", "buy", "limit", 100, 1000, client_id="mine")
    transfer = TransferRequest("moved", 2, "USD", 5)
    accepted = market.request(order)
    market.request(transfer)
    market.request(CancelRequest("gone", 1, accepted.order_id))
    market.write()
    push(redis_url, database_url, 1)
    with psycopg.connect(database_url) as connection:
        connection.execute("INSERT INTO users (account, name, created_at, blocked_at) VALUES (3, 'eve', 1, 2)")
    market.client.flushall()
    report = recover(settings_of(redis_url, database_url, 1))
    ledger = Ledger.load(states(market.client, [keys.shard_tag(0)])[keys.shard_tag(0)])
    assert (ledger.blocked(3) is not None, ledger.blocked(1)) == (True, None)
    for request, number in ((order, accepted.order_id), (transfer, 0)):
        (event,), _ = ledger.apply(request, market.now)
        assert event == Duplicate(request.request_id, request.account, number)
    assert (report.accounts, report.orders) == (6, 0)


def test_a_repeated_recovery_gives_the_same(redis_url, database_url):
    """One that died, or that Redis lost again, is done once more: the same state, its logs a little longer."""
    market = Market(redis_url, seed=5)
    market.trade(200)
    market.write()
    push(redis_url, database_url, 1)
    settings = settings_of(redis_url, database_url, 1)
    recover(settings)
    first = states(market.client, market.snapshots())
    market.client.flushall()
    recover(settings)
    assert states(market.client, market.snapshots()) == first
    assert not market.client.exists(keys.LOST)
    push(redis_url, database_url, 1)
    assert audit(settings).is_good


def lose_parts(redis_url, database_url, kind, shards, seed):
    """A market of which PostgreSQL gets the first part of each log, and then Redis is gone."""
    market, dice = kind(redis_url, seed=seed, shards=shards), random.Random(seed)
    market.trade(300)
    market.write()
    push(redis_url, database_url, shards)
    market.trade(120)
    write_part(market, lambda: dice.choice((0.0, 1.0, dice.random())))
    push(redis_url, database_url, shards)
    market.client.flushall()
    report = recover(settings_of(redis_url, database_url, shards))
    push(redis_url, database_url, shards)
    assert report.surplus == {}
    audited = audit(settings_of(redis_url, database_url, shards))
    assert audited.is_good, audited.violations
    return report


def write_part(market, share):
    """Put only the first part of what each log has got onto it."""
    new, market.pending = market.pending, []
    if isinstance(market, FeatureMarket):
        market.log = lambda tag, payload: new.append((tag, payload))  # type: ignore[method-assign]
        market.write()
    by_tag: dict[str, list[bytes]] = {}
    for tag, payload in new:
        by_tag.setdefault(tag, []).append(payload)
    for tag, payloads in by_tag.items():
        market.pending += [(tag, payload) for payload in payloads[: round(share() * len(payloads))]]
    Logged.write(market)
