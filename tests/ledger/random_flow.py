"""What the random flows have in common."""

import hypothesis.strategies as st
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from shared.messages import (
    Accepted,
    CancelRequest,
    CancelRequested,
    Duplicate,
    OrderRequest,
    Rejected,
)
from tests.ledger.world import World, coarse
from workers.ledger import orders
from workers.ledger.risk import Limits

SYMBOLS = ("AAA-USD", "BBB-AAA")
ACCOUNTS = st.integers(1, 5)
SIDES = st.sampled_from(("buy", "sell"))
SYMBOL = st.sampled_from(SYMBOLS)
IDS = st.sampled_from(("", "", "", "x", "y", "z"))
FEES = st.sampled_from((0, 1, 1000, 2500, 333_333, 500_000))
PAST = 6
PRICES = st.integers(7, 14)


class Base(RuleBasedStateMachine):
    """What is common to all flows: some money, some orders, and random progress of books and shards in between."""

    def __init__(self):
        super().__init__()
        self._past_max, orders.PAST_MAX = orders.PAST_MAX, PAST
        self.count = 0

    def teardown(self):
        try:
            self.world.drain()
            self.world.check()
            self.world.check_settled()
        finally:
            orders.PAST_MAX = self._past_max

    @initialize(
        shards=st.sampled_from((1, 1, 2, 3)), maker=FEES, taker=FEES, collar=st.sampled_from((1, 100_000, 10**7))
    )
    def start(self, shards, maker, taker, collar):
        self.parameters = {
            "AAA-USD": {"maker_fee": maker, "taker_fee": taker, "collar": collar, "max_price": 40},
            "BBB-AAA": {"maker_fee": taker, "taker_fee": maker, "lot": "3", "min_quantity": 2},
        }
        made = [coarse(symbol, **rules) for symbol, rules in self.parameters.items()]
        self.world = World(*made, shards=shards, limits=Limits(25, "5000"), past=PAST)
        for account in range(1, 6):
            self.world.deposit(account, USD=3000, AAA=400, BBB=90)

    def number(self):
        self.count += 1
        return f"r{self.count}"

    def order(self, **fields):
        request = OrderRequest(**fields)
        shard = request.account % self.world.shards
        kind = "client" if request.client_id else "request"
        first = (
            self.world.naive[shard].remembered().get((request.account, kind, request.client_id or request.request_id))
        )
        event = self.world.request(request)
        if first is not None:
            assert event == Duplicate(request.request_id, request.account, first)
        else:
            assert isinstance(event, Accepted | Rejected)

    @rule(
        symbol=SYMBOL, works=st.booleans(),
        burst=st.lists(st.tuples(ACCOUNTS, SIDES, st.integers(9, 12), st.integers(2, 9)), min_size=1, max_size=8),
    )  # fmt: skip
    def burst(self, symbol, works, burst):
        """Orders that are probably accepted, and probably trade."""
        for account, side, price, quantity in burst:
            self.order(
                request_id=self.number(), account=account, instrument=symbol, side=side, order_type="limit",
                price=price, quantity=quantity,
            )  # fmt: skip
            if works:
                self.world.work(symbol)

    @rule(account=ACCOUNTS, number=st.integers(0, 30))
    def cancel_own(self, account, number):
        """Asked twice: the second finds nothing to cancel, in the ledger or in the book."""
        own = self.world.ledgers[account % self.world.shards].open_orders(account)
        if own:
            order = own[number % len(own)]
            for _ in range(2):
                event = self.world.request(CancelRequest(self.number(), account, order.order_id))
                assert event == CancelRequested(event.request_id, account, order.order_id, order.instrument)

    @rule(shard=st.integers(0, 2), later=st.integers(0, 40))
    def tick(self, shard, later):
        self.world.tick(shard % self.world.shards, later)

    @rule(symbol=SYMBOL)
    def work(self, symbol):
        self.world.work(symbol)

    @rule(symbol=SYMBOL, shard=st.integers(0, 2))
    def settle(self, symbol, shard):
        self.world.settle(shard % self.world.shards, symbol)

    @rule()
    def drain(self):
        self.world.drain()
        self.world.check_settled()

    @rule(shard=st.integers(0, 2))
    def reload(self, shard):
        self.world.reload(shard % self.world.shards)

    @invariant()
    def holds(self):
        if hasattr(self, "world"):
            self.world.check()


def run(flow, examples, steps):
    """Try ``examples`` flows of ``steps`` steps each."""
    run_state_machine_as_test(
        flow,
        settings=settings(
            max_examples=examples, stateful_step_count=steps, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
