"""Ledgers against real books and a naive ledger, under whatever hypothesis thinks of."""

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from shared.messages import (
    Accepted,
    AmendRequest,
    AmendRequested,
    CancelAllRequest,
    CancelRequest,
    CancelRequested,
    Conditions,
    Duplicate,
    OrderRequest,
    Rejected,
    Transferred,
    TransferRequest,
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
MODES = st.sampled_from(("online",) * 8 + ("post-only", "limit-only", "cancel-only", "halted"))
PAST = 6
PRICES = st.integers(7, 14)


@st.composite
def some_conditions(draw):
    """What an order may ask for, usually so that it makes sense; ``expires`` from now on."""
    one = {}
    if draw(st.integers(0, 2)) == 0:
        one["stop"] = draw(st.sampled_from(("loss", "entry")))
        one[draw(st.sampled_from(("stop_price", "stop_price", "trail", "trail_bps")))] = draw(PRICES)
    if draw(st.integers(0, 3)) == 0:
        one["display_quantity"] = draw(st.integers(1, 5))
    if draw(st.integers(0, 5)) == 0:
        one["min_quantity"] = draw(st.integers(1, 5))
    if draw(st.integers(0, 2)) == 0:
        one["expires"] = draw(st.integers(0, 30))
    return one


CONDITIONS = some_conditions()


class Flow(RuleBasedStateMachine):
    """Random requests, and random progress of books and shards in between."""

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

    def conditions(self, one):
        """As fields of an order."""
        if not one:
            return {}
        if "expires" in one:
            return {
                "conditions": Conditions(**(one | {"expires": self.world.now + one["expires"]})),
                "time_in_force": "GTT",
            }
        return {"conditions": Conditions(**one)}

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
        account=ACCOUNTS, symbol=SYMBOL, side=SIDES, price=st.integers(0, 42), quantity=st.integers(0, 30),
        client_id=IDS,
        time_in_force=st.sampled_from(("GTC", "GTC", "GTC", "IOC", "FOK", "GTT")), post_only=st.booleans(),
        stp=st.sampled_from(("dc", "co", "cn", "cb")),
    )  # fmt: skip
    def limit(self, account, symbol, side, price, quantity, client_id, time_in_force, post_only, stp):
        self.order(
            request_id=self.number(), account=account, instrument=symbol, side=side, order_type="limit", price=price,
            quantity=quantity, time_in_force=time_in_force, post_only=post_only and time_in_force == "GTC", stp=stp,
            client_id=client_id,
        )  # fmt: skip

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

    @rule(
        account=ACCOUNTS, symbol=SYMBOL, side=SIDES, by_funds=st.booleans(), amount=st.integers(0, 150), client_id=IDS,
        time_in_force=st.sampled_from(("GTC", "IOC", "FOK")), stp=st.sampled_from(("dc", "co", "cn", "cb")),
    )  # fmt: skip
    def market(self, account, symbol, side, by_funds, amount, client_id, time_in_force, stp):
        self.order(
            request_id=self.number(), account=account, instrument=symbol, side=side, order_type="market",
            quantity=0 if by_funds else amount // 8, funds=amount if by_funds else 0, client_id=client_id,
            time_in_force=time_in_force, stp=stp,
        )  # fmt: skip

    @rule(
        account=ACCOUNTS, symbol=SYMBOL, side=SIDES, price=st.one_of(st.just(0), PRICES, PRICES),
        amount=st.integers(1, 12), by_funds=st.booleans(), conditions=CONDITIONS, client_id=IDS,
        post_only=st.booleans(),
        stp=st.sampled_from(("dc", "co", "cn", "cb")), works=st.booleans(),
    )  # fmt: skip
    def conditional(self, account, symbol, side, price, amount, by_funds, conditions, client_id, post_only, stp, works):
        """Stops, icebergs, minimum quantities, orders with an end; a market order if it has no price."""
        by_funds = by_funds and not price
        fields = {
            "request_id": self.number(), "account": account, "instrument": symbol, "side": side,
            "order_type": "limit" if price else "market", "price": price, "stp": stp, "client_id": client_id,
            "quantity": 0 if by_funds else amount, "funds": amount * 20 if by_funds else 0,
            "post_only": post_only and bool(price) and "stop" not in conditions,
        }  # fmt: skip
        self.order(**fields | self.conditions(conditions))
        if works:
            self.world.work(symbol)

    @rule(
        account=ACCOUNTS, number=st.integers(0, 30), price=st.one_of(st.just(0), PRICES),
        quantity=st.one_of(st.just(0), st.integers(1, 15)), stop_price=st.one_of(st.just(0), st.just(0), PRICES),
        works=st.booleans(),
    )  # fmt: skip
    def amend(self, account, number, price, quantity, stop_price, works):
        """Several may be under way, and the order may be filled, reduced or gone when they come."""
        own = self.world.ledgers[account % self.world.shards].open_orders(account)
        if own:
            order = own[number % len(own)]
            event = self.world.request(
                AmendRequest(self.number(), account, order.order_id, "", "", price, quantity, stop_price)
            )
            assert isinstance(event, AmendRequested | Rejected)
            if works:
                self.world.work(order.instrument)

    @rule(shard=st.integers(0, 2), later=st.integers(0, 40))
    def tick(self, shard, later):
        self.world.tick(shard % self.world.shards, later)

    @rule(account=ACCOUNTS, count=st.integers(0, 40), client_id=IDS, symbol=st.sampled_from(("", *SYMBOLS)))
    def cancel(self, account, count, client_id, symbol):
        """Mostly of orders that are not open, or not the account's."""
        order_id = 0 if client_id else (count << 8 | account % self.world.shards)
        self.world.request(CancelRequest(self.number(), account, order_id, client_id, symbol))

    @rule(account=ACCOUNTS, number=st.integers(0, 30))
    def cancel_own(self, account, number):
        """Asked twice: the second finds nothing to cancel, in the ledger or in the book."""
        own = self.world.ledgers[account % self.world.shards].open_orders(account)
        if own:
            order = own[number % len(own)]
            for _ in range(2):
                event = self.world.request(CancelRequest(self.number(), account, order.order_id))
                assert event == CancelRequested(event.request_id, account, order.order_id, order.instrument)

    @rule(account=ACCOUNTS, symbol=st.sampled_from(("", *SYMBOLS)), side=st.sampled_from(("", "buy", "sell")))
    def cancel_all(self, account, symbol, side):
        self.world.request(CancelAllRequest(self.number(), account, symbol, side))

    @rule(
        account=ACCOUNTS, currency=st.sampled_from(("USD", "AAA", "BBB", "XXX")), amount=st.integers(-500, 500),
        again=st.integers(0, 4),
    )  # fmt: skip
    def transfer(self, account, currency, amount, again):
        request = TransferRequest(f"t{again}" if again else self.number(), account, currency, amount)
        remembered = self.world.naive[account % self.world.shards].remembered()
        event = self.world.request(request)
        if (account, "transfer", request.request_id) in remembered:
            assert event == Duplicate(request.request_id, account)
        else:
            assert isinstance(event, Transferred | Rejected)

    @rule(symbol=SYMBOL, mode=MODES, maker=FEES, taker=FEES)
    def change_rules(self, symbol, mode, maker, taker):
        changed = self.parameters[symbol] | {"mode": mode, "maker_fee": maker, "taker_fee": taker}
        self.world.set_instrument(coarse(symbol, **changed))

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


def run(examples, steps):
    run_state_machine_as_test(
        Flow,
        settings=settings(
            max_examples=examples, stateful_step_count=steps, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )


def test_random_flow_keeps_every_invariant():
    """Balances, holds, fees, ids and the index are what a naive ledger says: live, folded and loaded, at every step."""
    run(40, 50)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_long_random_flow_keeps_every_invariant():
    """The same over many more and longer runs."""
    run(1000, 100)
