"""All kinds of orders together against the naive book: stops, icebergs, expiry, amends, collar.

``MATCHBOX_EXAMPLES`` scales it as in ``test_against_oracle.py``.
"""

import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.messages import Amend, Cancel, CancelAll, Conditions, Place, PlaceList, Tick
from tests.engine.harness import Harness, configured
from tests.engine.test_against_oracle import (
    ACCOUNTS,
    CANCEL,
    CANCEL_ALL,
    LIMIT,
    MARKET,
    MODE,
    POST_ONLY,
    PREVENTIONS,
    REST,
    RESTART,
    SIDES,
    one_of,
)

EXAMPLES = int(os.environ.get("MATCHBOX_EXAMPLES", "1000"))
STEPS = 60

DIRECTIONS = ("loss", "entry")
STOP = one_of(
    "market", account=ACCOUNTS, side=SIDES, quantity=(1, 4), price=(0, 5), stop=DIRECTIONS, stop_price=range(1, 9),
    time_in_force=("GTC", "GTT"), lasts=(0, 9), stp=("dc", "co"),
) | one_of(
    "limit", account=ACCOUNTS, side=SIDES, quantity=(2, 5), price=range(2, 8, 2), stop=DIRECTIONS,
    stop_price=range(1, 9), display_quantity=(0, 1), time_in_force=("GTC", "IOC", "FOK"),
)  # fmt: skip
TRAILING = one_of(
    "market", account=ACCOUNTS, side=SIDES, quantity=(1, 4), price=(0, 4, 5), stop=DIRECTIONS, trail=(0, 1, 2),
    trail_bps=(0, 100, 3000),
)  # fmt: skip
DATED = one_of(
    "limit", account=ACCOUNTS, side=SIDES, price=range(2, 8), quantity=(1, 3, 5), time_in_force=["GTT"],
    lasts=(-1, 0, 1, 3, 10, 30), display_quantity=(0, 0, 1),
)  # fmt: skip
ICEBERG = one_of(
    "limit", account=ACCOUNTS, side=SIDES, price=range(3, 7), quantity=(3, 5, 9), display_quantity=(1, 2, 3),
    stp=PREVENTIONS,
)  # fmt: skip
MINIMUM = one_of(
    "limit", account=ACCOUNTS, side=SIDES, price=range(2, 8), quantity=(3, 5, 9), min_quantity=(1, 3, 5),
    time_in_force=("GTC", "IOC"), stp=PREVENTIONS,
) | one_of(
    "market", account=ACCOUNTS, side=SIDES, quantity=(3, 9), min_quantity=(2, 3), stp=PREVENTIONS,
)  # fmt: skip
BUILD = one_of("limit", account=ACCOUNTS, side=["buy"], price=(1, 2, 3), quantity=(3, 6, 9)) | one_of(
    "limit", account=ACCOUNTS, side=["sell"], price=(6, 7, 8), quantity=(3, 6, 9)
)
AMEND = one_of(
    "amend", back=range(-20, 40), price=(0, 0, 2, 4, 5, 7), quantity=(0, 1, 2, 4, 8), stop_price=[0]
) | one_of("amend", back=range(40), price=[0], quantity=[0], stop_price=range(1, 9))  # fmt: skip
LIST = st.tuples(
    st.just("list"),
    st.fixed_dictionaries(
        {
            "kind": st.sampled_from(["oco", "oco", "oto", "otoco"]), "account": st.sampled_from(ACCOUNTS),
            "side": st.sampled_from(SIDES), "first_fill": st.booleans(), "odd": st.integers(0, 15),
            "legs": st.lists(REST | REST | ICEBERG | STOP | STOP | LIMIT | DATED | MARKET, min_size=3, max_size=3),
        }
    ),
)  # fmt: skip
ODD = one_of(
    "limit", account=[1], side=SIDES, price=[5], quantity=[2], stop=("", "loss"), stop_price=(0, -1, 5),
    trail=(0, 1), post_only=(False, True), time_in_force=("GTC", "GTT"), lasts=(0, 5),
) | one_of(
    "market", account=[1], side=SIDES, quantity=(0, 2), funds=(0, 9), time_in_force=("GTC", "GTT"), lasts=(0, 5),
    display_quantity=(0, 1), min_quantity=(0, -1, 1, 3), trail_bps=(0, 20_000),
) | one_of(
    "limit", account=[1], side=SIDES, price=[5], quantity=(1, 1000, 1001, 2002), display_quantity=(-1, 1, 2),
    time_in_force=("GTC", "IOC"),
) | one_of("amend", back=range(1, 16), price=(0, -1), quantity=(0, -1, 1001), stop_price=(0, -1))  # fmt: skip
TICK = one_of("tick", ahead=(0, 5, 40))
COLLAR = one_of("mode", price_collar=(0, 1, 250_000, 500_000))
OFTEN = (CANCEL, REST, BUILD, BUILD, LIMIT, MARKET)
SPECIAL = (STOP, TRAILING, DATED, ICEBERG, ICEBERG, MINIMUM, AMEND, AMEND, AMEND, LIST, LIST)
AUCTION = one_of("mode", mode=["auction"])
ONLINE = one_of("mode", mode=["online"])
STEP = st.one_of(
    *OFTEN, *OFTEN, *SPECIAL, *SPECIAL, POST_ONLY, ODD, CANCEL_ALL, MODE, ONLINE, ONLINE, COLLAR, AUCTION, TICK, RESTART
)
CONDITIONS = set(Conditions.__struct_fields__)


class Clock:
    """The stamp of each command; it goes back now and then, as it may between shards."""

    def __init__(self):
        self.ahead = 0

    def at(self, number):
        return 10 * (number + self.ahead) - number % 3


def order_of(number, kind, fields, time):
    """A new order, its conditions gathered."""
    fields = dict(fields)
    asked = {name: fields.pop(name) for name in list(fields) if name in CONDITIONS}
    lasts = fields.pop("lasts", 0)
    if fields.get("time_in_force") == "GTT" and lasts:
        asked["expires"] = time + 10 * lasts
    conditions = Conditions(**asked) if any(asked.values()) else None
    return Place(number, time=time, order_type=kind, maker_fee=1, taker_fee=2, conditions=conditions, **fields)


def target(harness, back, number):
    """Mostly an order that the book has, else one that it may have had."""
    known = sorted(harness.book.ids_of(0, ""))
    return known[back % len(known)] if known and back > 1 else number - back


def list_of(number, fields, time):
    """A list of orders, of which the legs mostly have one side."""
    count = {"oco": 2, "oto": 2, "otoco": 3}[fields["kind"]] + (fields["odd"] == 1)
    orders = [order_of(number, kind, leg, time) for at, (kind, leg) in enumerate(fields["legs"][:count])]
    for at, order in enumerate(orders):
        order.order_id = 1_000_000 + 10 * number + at
        order.account = fields["account"]
        if fields["odd"] != 2 and (at or fields["kind"] == "oco"):
            order.side = fields["side"]
    return PlaceList(fields["account"], time, fields["kind"], orders, fields["first_fill"])


def run(harness, number, kind, fields, clock):
    """One step."""
    time = clock.at(number)
    if kind == "restart":
        harness.restart()
    elif kind == "cancel":
        harness.do(Cancel(target(harness, fields["back"], number), 1, time, "r"))
    elif kind == "amend":
        values = {name: value for name, value in fields.items() if name != "back"}
        harness.do(Amend(target(harness, fields["back"], number), 1, time, request_id="r", **values))
    elif kind == "list":
        harness.do(list_of(number, fields, time))
    elif kind == "tick":
        clock.ahead += fields["ahead"]
        harness.do(Tick(clock.at(number)))
    elif kind == "cancel all":
        harness.do(CancelAll(time=time, request_id="r", **fields))
    elif kind == "mode":
        harness.do(configured(time=time, **fields))
    else:
        harness.do(order_of(number, kind, fields, time))


@pytest.mark.timeout(0)
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.integers(1, 2 * STEPS).flatmap(lambda count: st.lists(STEP, min_size=count, max_size=count)))
def test_all_features_together_agree(steps):
    """Any orders of any kind in any order: equal events, equal books, all invariants after each step."""
    harness, clock = Harness(), Clock()
    harness.do(configured())
    for number, (kind, fields) in enumerate(steps, 1):
        run(harness, number, kind, fields, clock)
