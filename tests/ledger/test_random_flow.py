"""Ledgers against real books and a naive ledger, under whatever hypothesis thinks of."""

import hypothesis.strategies as st
import pytest
from hypothesis.stateful import rule

from shared.messages import (
    CancelAllRequest,
    CancelRequest,
    Duplicate,
    Rejected,
    Transferred,
    TransferRequest,
)
from tests.ledger.random_flow import ACCOUNTS, FEES, IDS, SIDES, SYMBOL, SYMBOLS, Base, run
from tests.ledger.world import coarse

MODES = st.sampled_from(("online",) * 8 + ("post-only", "limit-only", "cancel-only", "halted", "auction"))


class Flow(Base):
    """Random requests, and random progress of books and shards in between."""

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
        account=ACCOUNTS, symbol=SYMBOL, side=SIDES, by_funds=st.booleans(), amount=st.integers(0, 150), client_id=IDS,
        time_in_force=st.sampled_from(("GTC", "IOC", "FOK")), stp=st.sampled_from(("dc", "co", "cn", "cb")),
    )  # fmt: skip
    def market(self, account, symbol, side, by_funds, amount, client_id, time_in_force, stp):
        self.order(
            request_id=self.number(), account=account, instrument=symbol, side=side, order_type="market",
            quantity=0 if by_funds else amount // 8, funds=amount if by_funds else 0, client_id=client_id,
            time_in_force=time_in_force, stp=stp,
        )  # fmt: skip

    @rule(account=ACCOUNTS, count=st.integers(0, 40), client_id=IDS, symbol=st.sampled_from(("", *SYMBOLS)))
    def cancel(self, account, count, client_id, symbol):
        """Mostly of orders that are not open, or not the account's."""
        order_id = 0 if client_id else (count << 8 | account % self.world.shards)
        self.world.request(CancelRequest(self.number(), account, order_id, client_id, symbol))

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


def test_random_flow_keeps_every_invariant():
    """Balances, holds, fees, ids and the index are what a naive ledger says: live, folded and loaded, at every step."""
    run(Flow, 40, 50)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_long_random_flow_keeps_every_invariant():
    """The same over many more and longer runs."""
    run(Flow, 150, 100)
