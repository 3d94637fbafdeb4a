"""Stops, icebergs, amends, lists, expiry and auctions: ledgers against real books and a naive ledger."""

from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis.stateful import precondition, rule

from shared.messages import (
    Accepted,
    AmendRequest,
    AmendRequested,
    Conditions,
    Duplicate,
    OrderListRequest,
    OrderRequest,
    Rejected,
)
from tests.ledger.random_flow import ACCOUNTS, IDS, PRICES, SIDES, SYMBOL, Base, run
from tests.ledger.world import coarse

AMOUNTS = st.integers(1, 9)
OR_NONE = st.sampled_from((0, 0, 1))


@st.composite
def some_orders(draw):
    """Fields of an order that asks for something, nearly always so that it makes sense; ``expires`` from now on."""
    price, amount, side = draw(st.one_of(st.just(0), PRICES, PRICES)), draw(AMOUNTS), draw(SIDES)
    ask: dict[str, Any] = {}
    if not price or draw(st.booleans()):
        ask["stop"] = draw(st.sampled_from(("loss", "entry")))
        ask["stop_price"] = draw(PRICES)
        if not price and draw(st.booleans()):
            ask = {"stop": "loss" if side == "sell" else "entry"}
            ask[draw(st.sampled_from(("trail", "trail_bps")))] = draw(st.integers(1, 3))
    if price and draw(OR_NONE):
        ask["display_quantity"] = draw(st.integers(1, amount))
    if draw(st.integers(0, 3)) == 0:
        ask["min_quantity"] = draw(st.integers(1, amount))
    if draw(OR_NONE):
        ask["expires"] = draw(st.integers(1, 60))
    by_funds = not price and "min_quantity" not in ask and draw(st.booleans())
    return {
        "side": side, "price": price, "order_type": "limit" if price else "market", "conditions": ask,
        "quantity": 0 if by_funds else amount, "funds": amount * 20 if by_funds else 0,
        "post_only": not {"stop", "min_quantity"} & ask.keys() and draw(st.booleans()),
        "stp": draw(st.sampled_from(("dc", "dc", "co", "cn", "cb"))), "client_id": draw(IDS),
    }  # fmt: skip


AMENDS = st.tuples(
    st.integers(0, 30), st.one_of(st.just(0), PRICES), st.one_of(st.just(0), st.integers(2, 15)),
    st.one_of(st.just(0), st.just(0), PRICES),
)  # fmt: skip


class Features(Base):
    """Orders that ask for more, densely."""

    def requested(self, account, symbol, fields):
        """An order request from ``some_orders``."""
        ask = fields["conditions"]
        if "expires" in ask:
            ask = ask | {"expires": self.world.now + ask["expires"]}
        return fields | {
            "request_id": self.number(), "account": account, "instrument": symbol, "conditions": Conditions(**ask),
            "time_in_force": "GTT" if "expires" in ask else "GTC",
        }  # fmt: skip

    @rule(
        symbol=SYMBOL, burst=st.lists(st.tuples(ACCOUNTS, some_orders()), min_size=1, max_size=4), works=st.booleans()
    )
    def orders(self, symbol, burst, works):
        for account, fields in burst:
            self.order(**self.requested(account, symbol, fields))
            if works:
                self.world.work(symbol)

    @rule(account=ACCOUNTS, amends=st.lists(AMENDS, min_size=1, max_size=4), works=st.booleans())
    def amend(self, account, amends, works):
        """Several may be under way, and the order may be filled, reduced or gone when they come."""
        own = self.world.ledgers[account % self.world.shards].open_orders(account)
        for number, price, quantity, stop in amends if own else ():
            order = own[number % len(own)]
            limit = price if order.order_type == "limit" else 0
            stop_price = stop if order.conditions is not None and order.conditions.stop_price else 0
            request = AmendRequest(self.number(), account, order.order_id, "", "", limit, quantity, stop_price)
            assert isinstance(self.world.request(request), AmendRequested | Rejected)
            if works:
                self.world.work(order.instrument)

    @rule(
        account=ACCOUNTS, symbol=SYMBOL, kind=st.sampled_from(("oco", "oco", "oto", "otoco")), side=SIDES,
        first_fill=st.booleans(), orders=st.lists(some_orders(), min_size=3, max_size=3), works=st.booleans(),
        plain=st.booleans(),
    )  # fmt: skip
    def order_list(self, account, symbol, kind, side, first_fill, orders, works, plain):
        """Rivals are on one side; a parent is mostly a plain limit order, so that it rests."""
        legs = [OrderRequest(**self.requested(account, symbol, fields)) for fields in orders]
        legs = legs[: 3 if kind == "otoco" else 2]
        for at, leg in enumerate(legs):
            if kind != "oco" and not at:
                if plain and leg.price:
                    leg.conditions, leg.time_in_force = None, "GTC"
            elif leg.side != side:
                leg.side = side
                if leg.conditions is not None and (leg.conditions.trail or leg.conditions.trail_bps):
                    leg.conditions = Conditions(stop="loss", stop_price=9, expires=leg.conditions.expires)
        events = self.world.requested(OrderListRequest(self.number(), account, symbol, kind, legs, first_fill))
        kinds = {type(event) for event in events}
        assert kinds in ({Accepted}, {Duplicate}, {Rejected})
        assert len(events) == (1 if kinds == {Rejected} else len(legs))
        if works:
            self.world.work(symbol)

    @rule(
        account=ACCOUNTS, symbol=SYMBOL, side=SIDES, prices=st.tuples(PRICES, PRICES, PRICES), amount=AMOUNTS,
        stp=st.sampled_from(("dc", "co")), met=st.lists(st.tuples(ACCOUNTS, AMOUNTS), max_size=4), works=st.booleans(),
    )  # fmt: skip
    def bracket(self, account, symbol, side, prices, amount, stp, met, works):
        """What waits is paid with what its parent brings, which others fill bit by bit, and its own orders shrink."""
        other = "sell" if side == "buy" else "buy"
        asked: tuple[dict[str, Any], ...] = (
            {"side": side},
            {"side": other},
            {"side": other, "conditions": Conditions("loss", 8)},
        )
        legs = [
            OrderRequest(self.number(), account, symbol, order_type="limit", price=at, quantity=amount, stp=stp, **leg)
            for at, leg in zip(prices, asked, strict=True)
        ]
        self.world.requested(OrderListRequest(self.number(), account, symbol, "otoco", legs))
        for who, lots in met:
            self.order(
                request_id=self.number(), account=who, instrument=symbol, side=other, order_type="limit",
                price=prices[0], quantity=lots,
            )  # fmt: skip
            if works:
                self.world.drain()

    @rule(symbol=SYMBOL, auction=st.booleans())
    def mode(self, symbol, auction):
        mode = "auction" if auction else "online"
        self.world.set_instrument(coarse(symbol, **(self.parameters[symbol] | {"mode": mode})))

    @precondition(lambda self: any(one.mode == "auction" for one in self.world.ledgers[0].instruments.values()))
    @rule()
    def uncross(self):
        for symbol in self.parameters:
            self.mode(symbol, False)
            self.world.work(symbol)


def test_random_features_keep_every_invariant():
    """Holds cover what can still be spent, whatever races with what: live, folded and loaded, at every step."""
    run(Features, 60, 40)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_long_random_features_keep_every_invariant():
    """The same over many more and longer runs."""
    run(Features, 150, 100)
