"""The kill switch: what it stops, what it lets through, and that nothing slips past it."""

import random
from typing import Any

import pytest

from shared.errors import RejectReason as R
from shared.messages import (
    Accepted,
    AmendRequest,
    Blocked,
    BlockRequest,
    CancelAll,
    CancelAllRequest,
    CancelAllRequested,
    CancelRequest,
    CancelRequested,
    Duplicate,
    OrderListRequest,
    OrderRequest,
    Place,
    Rejected,
    Transferred,
    TransferRequest,
    decode_command,
    decode_ledger_entry,
)
from tests.ledger.world import World, coarse
from workers.ledger.ledger import Ledger

SYMBOLS = ("AAA-USD", "BBB-USD")


def world(shards=1):
    made = World(*(coarse(symbol) for symbol in SYMBOLS), shards=shards)
    for account in (1, 2, 3):
        made.deposit(account, USD=10_000, AAA=100, BBB=100)
    return made


def a_limit(request_id="o", account=1, **changes):
    fields: dict[str, Any] = {
        "instrument": "AAA-USD",
        "side": "buy",
        "order_type": "limit",
        "price": 10,
        "quantity": 5,
    } | changes
    return OrderRequest(request_id, account, **fields)


def open_orders(made, account):
    return made.ledgers[account % made.shards].open_orders(account)


def test_a_blocked_account_loses_its_orders_and_gets_no_new_ones():
    """Everything it has open is canceled, wherever; orders, lists, amends and withdrawals are refused, and say why."""
    made = world()
    first = made.request(a_limit())
    made.request(a_limit("p", instrument="BBB-USD", side="sell"))
    made.request(a_limit("q", account=2))
    made.drain()
    assert made.request(BlockRequest("kill", 1, reason="runaway bot")) == Blocked(
        "kill", 1, list(SYMBOLS), True, "runaway bot"
    )
    for request in (
        a_limit("r"),
        OrderListRequest("l", 1, "AAA-USD", "oco", [a_limit("l1"), a_limit("l2", price=11)]),
        AmendRequest("a", 1, first.order_id, price=9),
        TransferRequest("w", 1, "USD", -1),
    ):
        refused = made.request(request)
        assert isinstance(refused, Rejected)
        assert (refused.reason, refused.message) == (R.BLOCKED, "trading is blocked for this account: runaway bot")
    made.drain()
    assert not open_orders(made, 1)
    assert [one.request_id for one in open_orders(made, 2)] == ["q"]
    made.check()
    made.check_settled()


def test_what_a_blocked_account_may_still_do():
    """Cancel, deposit, and be told of the order that it repeats."""
    made = world()
    order = made.request(a_limit())
    made.request(BlockRequest("kill", 1))
    assert made.request(a_limit()) == Duplicate("o", 1, order.order_id)
    assert isinstance(made.request(CancelRequest("c", 1, order.order_id)), CancelRequested)
    assert isinstance(made.request(CancelAllRequest("c", 1)), CancelAllRequested)
    assert isinstance(made.request(TransferRequest("d", 1, "USD", 5)), Transferred)
    assert isinstance(made.request(a_limit("r", account=2)), Accepted)


def test_a_block_ends_when_it_is_taken_back():
    """Orders are accepted again; to take back what is not there does no harm."""
    made = world()
    made.request(BlockRequest("kill", 1))
    for _ in range(2):
        assert made.request(BlockRequest("free", 1, blocked=False)) == Blocked("free", 1, [], blocked=False)
    assert isinstance(made.request(a_limit()), Accepted)


@pytest.mark.parametrize("shards", [1, 2, 3])
def test_the_switch_for_all_clears_every_book(shards):
    """Once each shard was asked, nothing is open and nothing is accepted; an account's own block survives its end."""
    made = world(shards)
    for account in (1, 2, 3):
        for number, symbol in enumerate(SYMBOLS):
            made.request(a_limit(f"o{number}", account, instrument=symbol))
    made.request(BlockRequest("kill", 1))
    for shard in range(shards):
        assert made.request(BlockRequest("all", 0, reason="drill"), shard).instruments == list(SYMBOLS)
    refused = made.request(a_limit("r", account=2))
    assert refused.message == "trading is halted for everyone, under maintenance: drill"
    made.drain()
    assert not [order for ledger in made.ledgers for order in ledger.orders]
    made.check()
    made.check_settled()
    for shard in range(shards):
        made.request(BlockRequest("go", 0, blocked=False), shard)
    assert isinstance(made.request(a_limit("s", account=2)), Accepted)
    assert made.request(a_limit("s", account=1)).reason == R.BLOCKED


def test_an_order_that_was_accepted_just_before_is_canceled_too():
    """It is in front of the mass-cancel in the same outbox: the book has it by then."""
    made = world()
    made.request(a_limit())
    made.request(BlockRequest("kill", 1))
    kinds = [type(decode_command(command)) for command in made.commands["AAA-USD"]]
    assert kinds == [Place, CancelAll]
    made.drain()
    assert not open_orders(made, 1)


@pytest.mark.parametrize("shards", [1, 2])
def test_a_book_can_be_cleared_of_everyone(shards):
    """One command of any shard cancels the orders of all; other books keep theirs."""
    made = world(shards)
    for account in (1, 2, 3):
        made.request(a_limit(account=account))
        made.request(a_limit("b", account, instrument="BBB-USD"))
    asked = made.request(CancelAllRequest("x", 0, "AAA-USD"), 0)
    assert (asked.account, asked.instruments) == (0, ["AAA-USD"])
    assert len(asked.order_ids) == len([one for one in made.ledgers[0].orders if one.instrument == "AAA-USD"])
    made.drain()
    assert {order.instrument for ledger in made.ledgers for order in ledger.orders} == {"BBB-USD"}
    made.check_settled()


@pytest.mark.parametrize(
    ("request_", "says"),
    [
        (BlockRequest("", 1), "request id is missing"),
        (BlockRequest("x", -1), "not a user's account"),
        (BlockRequest("x", 2**60), "not a user's account"),
        (BlockRequest("x", 1, reason="y" * 129), "reason is longer than 128"),
        (CancelAllRequest("x", 0, "AAA-USD", "both"), "side must be"),
        (CancelAllRequest("x", 0, "XXX-USD"), "Product not found"),
    ],
)
def test_a_switch_for_nobody_is_refused(request_, says):
    """And changes nothing."""
    made = world()
    before = made.ledgers[0].blocks
    assert says in made.request(request_, 0).message
    assert made.ledgers[0].blocks == before == {}


def test_a_foreign_account_cannot_be_blocked_here():
    """An account of another shard is refused: its own shard has to know."""
    made = world(2)
    assert made.request(BlockRequest("x", 1), 0).reason == R.INVALID_ORDER
    assert isinstance(made.request(a_limit()), Accepted)


def test_blocks_are_in_the_snapshot_and_an_old_snapshot_has_none():
    """A ledger that comes back from a snapshot still refuses; one of an earlier version loads."""
    made = world()
    made.request(BlockRequest("kill", 1, reason="why"))
    state = made.ledgers[0].dump()
    assert Ledger.load(state).blocks == made.ledgers[0].blocks
    old = state.replace(b',"blocks":[[1,"why",%d]]' % made.now, b"")
    assert old != state
    assert Ledger.load(old).blocks == {}


@pytest.mark.parametrize("seed", range(20))
def test_random_blocks_let_nothing_through(seed):
    """Orders, switches and restarts at random: no order is accepted while its account is blocked, every state folds."""
    dice = random.Random(seed)
    made = world(dice.choice((1, 2)))
    for step in range(120):
        account, kind = dice.randint(1, 3), dice.random()
        if kind < 0.6:
            side, price = dice.choice(("buy", "sell")), dice.randint(8, 12)
            made.request(a_limit(f"o{step}", account, side=side, price=price, instrument=dice.choice(SYMBOLS)))
        elif kind < 0.8:
            made.request(BlockRequest(f"b{step}", account, dice.random() < 0.5))
        elif kind < 0.9:
            blocked = dice.random() < 0.3
            for shard in range(made.shards):
                made.request(BlockRequest(f"a{step}", 0, blocked), shard)
        else:
            made.reload(dice.randrange(made.shards))
        if dice.random() < 0.5:
            made.drain()
    made.drain()
    made.check()
    made.check_settled()
    for log in made.logs:
        switches: set[int] = set()
        for event in (event for line in log for event in decode_ledger_entry(line).events):
            if isinstance(event, Blocked):
                (switches.add if event.blocked else switches.discard)(event.account)
            assert not isinstance(event, Accepted) or not switches & {0, event.account}
