"""A ledger in 16 characters: what its owner tells now and then, and the auditor holds against the fold of the log.

The whole state costs a dump, 1 µs a balance and order: that is compared at each snapshot. This has the counters and
what the last entry touched: the balances of its accounts, and its orders. The fee account is always among them, so
that no fee of any fill can differ unseen.
"""

import hashlib
from collections.abc import Iterable

from shared.messages import FEE_ACCOUNT, LedgerEvent, encode
from workers.ledger.state import LedgerState

TOUCHED_MAX = 32
"""Accounts and orders each."""


def digest(ledger: LedgerState, events: Iterable[LedgerEvent]) -> str:
    """The same for all ledgers with the same dump, after an entry with these ``events``."""
    accounts: dict[int, None] = {FEE_ACCOUNT: None}  # dicts keep the order of the events
    numbers: dict[int, None] = {}
    for event in events:
        if isinstance(account := getattr(event, "account", None), int):
            accounts[account] = None
        if number := getattr(event, "order_id", 0):
            numbers[number] = None
    balances = [
        (account, sorted((currency, one.available, one.held) for currency, one in ledger.balances(account).items()))
        for account in list(accounts)[:TOUCHED_MAX]
    ]
    orders = [ledger.order(number) for number in list(numbers)[:TOUCHED_MAX]]
    counters = (
        ledger.time,
        ledger.count,
        len(ledger.orders),
        len(ledger.instruments),
        sorted(ledger.last_prices.items()),
    )
    return hashlib.sha256(encode((counters, balances, orders))).hexdigest()[:16]
