"""The engine's book against the naive book, driven by hypothesis and by long seeded flows.

``MATCHBOX_EXAMPLES`` (default 1000) scales the first, ``MATCHBOX_FLOWS`` (default 10) the second:

    MATCHBOX_EXAMPLES=20000 MATCHBOX_FLOWS=500 pytest tests/engine/test_against_oracle.py
"""

import itertools
import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.messages import Cancel, CancelAll, Done, Match, Open, Place
from tests.engine.flows import AnyFlow
from tests.engine.harness import Harness, configured

EXAMPLES = int(os.environ.get("MATCHBOX_EXAMPLES", "1000"))
FLOWS = int(os.environ.get("MATCHBOX_FLOWS", "10"))
STEPS = 100
"""Commands of an example, on average."""

ACCOUNTS, SIDES, QUANTITIES, PREVENTIONS = (1, 2, 3), ("buy", "sell"), (1, 2, 3, 5, 8), ("dc", "co", "cn", "cb")


def one_of(kind, **choices):
    """One combination, as (kind, fields): a single draw, which makes hypothesis several times faster."""
    combinations = list(itertools.product(*choices.values()))
    return st.sampled_from(combinations).map(lambda values: (kind, dict(zip(choices, values, strict=True))))


CANCEL = one_of("cancel", back=range(-1, 12))
REST = one_of("limit", account=ACCOUNTS, side=["buy"], price=range(1, 6), quantity=QUANTITIES) | one_of(
    "limit", account=ACCOUNTS, side=["sell"], price=range(4, 9), quantity=QUANTITIES
)
POST_ONLY = one_of(
    "limit", account=ACCOUNTS, side=SIDES, price=range(1, 9), quantity=QUANTITIES, post_only=[True]
)  # fmt: skip
LIMIT = one_of(
    "limit", account=ACCOUNTS, side=SIDES, price=range(1, 9), quantity=QUANTITIES,
    time_in_force=("GTC", "IOC", "FOK"), stp=PREVENTIONS,
)  # fmt: skip
MARKET = one_of(
    "market", account=ACCOUNTS, side=SIDES, price=(0, 2, 4, 6), quantity=(0, 1, 4, 15), funds=(0, 1, 9, 40, 100),
    time_in_force=("GTC", "FOK"), stp=PREVENTIONS,
)  # fmt: skip
MALFORMED = (
    one_of("limit", account=[1], side=SIDES, price=(-1, 0, 1), quantity=(-1, 0, 1), funds=(-1, 0))
    | one_of("market", account=[1], side=SIDES, price=(-1, 0), quantity=(-1, 0, 1), funds=(-1, 0, 1))
    | one_of("limit", account=[1], side=SIDES, price=[4], quantity=[1], time_in_force=("IOC", "FOK"), post_only=[True])
    | one_of("market", account=[1], side=SIDES, quantity=[1], post_only=[True])
    | one_of("limit", account=[1], side=SIDES, price=[4], quantity=[1], time_in_force=["GTT"])
)
CANCEL_ALL = one_of("cancel all", account=(0, *ACCOUNTS), side=("", *SIDES))
MODE = one_of("mode", mode=("online", "online", "post-only", "limit-only", "cancel-only", "halted", "delisted"))
RESTART = one_of("restart")
OFTEN = (CANCEL, REST, REST, LIMIT, LIMIT, MARKET)
STEP = st.one_of(*OFTEN, *OFTEN, POST_ONLY, MALFORMED, CANCEL_ALL, MODE, one_of("mode", mode=["online"]), RESTART)


@pytest.mark.timeout(0)
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.integers(1, 2 * STEPS).flatmap(lambda count: st.lists(STEP, min_size=count, max_size=count)))
def test_any_commands_agree(steps):
    """Any commands in any order: equal events, equal books, all invariants after each step (``Harness.do``)."""
    harness = Harness()
    harness.do(configured())
    for number, (kind, fields) in enumerate(steps, 1):
        time = number - number % 3  # it goes back now and then, as it may between shards
        if kind == "restart":
            harness.restart()
        elif kind == "cancel":
            harness.do(Cancel(number - fields["back"], 1, time, "r"))
        elif kind == "cancel all":
            harness.do(CancelAll(time=time, request_id="r", **fields))
        elif kind == "mode":
            harness.do(configured(time=time, **fields))
        else:
            harness.do(Place(number, time=time, order_type=kind, maker_fee=1, taker_fee=2, **fields))


@pytest.mark.parametrize("seed", range(FLOWS))
def test_long_flows_agree(seed):
    """Over thousands of commands and hundreds of resting orders, the book does what the naive one does."""
    harness = Harness()
    if seed % 2:
        flow = AnyFlow(seed, spread=60, accounts=30, crossing=0.05, restless=False)
    else:
        flow = AnyFlow(seed, restless=seed % 4 == 0)
    largest = 0
    for number, command in enumerate(flow.commands(3000)):
        harness.do(command, deep=number % 50 == 0)
        largest = max(largest, len(harness.book.orders))
    harness.check_books()
    assert min(harness.seen[kind] for kind in (Match, Open, Done)) > 200, "the flow was too quiet to show anything"
    assert largest > (200 if seed % 2 else 10)
