"""Where an audit begins behind a snapshot: what the ledger is there."""

from shared.messages import Accepted, AmendRequested
from workers.audit.ledger_state import MILLION, FollowedLedger, Money, OwnedOrder
from workers.ledger.ledger import Ledger
from workers.ledger.orders import OpenOrder


def restore(followed: FollowedLedger, ledger: Ledger) -> None:
    """Take over the state of a ledger that was loaded from its snapshot."""
    followed.time = ledger.time
    followed.count = followed.first_count = ledger.count
    followed.instruments = dict(ledger.instruments)
    followed.last_prices = dict(ledger.last_prices)
    followed.blocked = set(ledger.blocks)
    for account in ledger.accounts:
        for currency, balance in ledger.balances(account).items():
            followed.balances[account, currency] = Money(balance.available, balance.held)
            before = followed.deposits.get(currency, 0)
            followed.deposits[currency] = before + balance.available + balance.held
    for one in ledger.orders:
        followed.orders[one.order_id] = _owned(one)


def _owned(one: OpenOrder) -> OwnedOrder:
    accepted = Accepted(
        one.request_id, one.account, one.order_id, one.instrument, one.side, one.order_type, one.hold, one.price,
        one.quantity, one.funds, one.time_in_force, one.post_only, one.stp, one.maker_fee, one.taker_fee,
        one.client_id, one.specified_funds, one.conditions, one.rival,
    )  # fmt: skip
    amends = tuple(
        AmendRequested(
            asked.request_id, one.account, one.order_id, one.instrument, one.side, 0, asked.price, asked.quantity,
            asked.stop_price,
        )
        for asked in one.amends
    )  # fmt: skip
    return OwnedOrder(
        accepted, one.time, one.hold, one.remaining, one.price, one.quantity, one.filled, one.executed_value, one.fees,
        one.fees * MILLION - one.fee_rest, one.rival, one.conditions, amends,
        one.due, one.children, is_restored=True,
    )  # fmt: skip
