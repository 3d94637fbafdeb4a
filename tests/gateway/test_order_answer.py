"""An order in the API's words: every field, and only those that mean something to it."""

import re
from pathlib import Path

import msgspec
import pytest

import workers.engine
from shared.errors import RejectReason
from shared.instrument import make_instrument
from shared.messages import Conditions
from shared.order_id import to_uuid
from workers.gateway.known_orders import KnownOrder, Standing
from workers.gateway.order_answer import DONE_CAUSES, order_answer
from workers.gateway.render import Texts
from workers.ledger.orders import OpenOrder

TEXTS = Texts(make_instrument("BTC-USD", "0.01", "0.001"))
SECOND = 1_000_000_000
ALWAYS = {
    "id", "product_id", "profile_id", "side", "type", "stp", "time_in_force", "post_only", "created_at", "fill_fees",
    "filled_size", "executed_value", "status", "settled",
}  # fmt: skip


def order(**changes):
    plain = OpenOrder(
        1 << 8, 7, "BTC-USD", "sell", "limit", 10025, 500, 0, 0, "GTC", False, "dc", 0, 0, "", "r", SECOND, 0, 500
    )
    return msgspec.structs.replace(plain, **changes)


def shown(one, standing=Standing("open"), **done):  # noqa: B008  # it is frozen
    fields = msgspec.to_builtins(order_answer(KnownOrder(one, **done), standing, TEXTS))
    assert fields.keys() >= ALWAYS
    return {name: value for name, value in fields.items() if name not in ALWAYS}


PRICED = {"price": "100.25", "size": "0.500"}
MARKET = {"order_type": "market", "price": 9000}


@pytest.mark.parametrize(
    ("changes", "standing", "expected"),
    [
        ({}, Standing("open"), PRICED),
        ({"client_id": "mine"}, Standing("open"), PRICED | {"client_oid": "mine"}),
        (MARKET, Standing("open"), {"size": "0.500"}),
        (
            MARKET | {"quantity": 0, "funds": 990, "specified_funds": 1000},
            Standing("open"),
            {"funds": "0.0000000990", "specified_funds": "0.0000001000"},
        ),
        (
            {"conditions": Conditions("loss", 9000)},
            Standing("active", 9000),
            PRICED | {"stop": "loss", "stop_price": "90.00"},
        ),
        (
            MARKET | {"conditions": Conditions("loss", trail=250)},
            Standing("active", 9750),
            {"size": "0.500", "stop": "loss", "stop_price": "97.50", "trail_price": "2.50"},
        ),
        (
            MARKET | {"conditions": Conditions("loss", trail_bps=150)},
            Standing("pending"),
            {"size": "0.500", "stop": "loss", "trail_bps": 150},
        ),
        (
            {"conditions": Conditions(expires=1_700_000_000_123_456_789), "time_in_force": "GTT"},
            Standing("open"),
            PRICED | {"expire_time": "2023-11-14T22:13:20.123456Z"},
        ),
        (
            {"conditions": Conditions(display_quantity=100, min_quantity=50)},
            Standing("open"),
            PRICED | {"display_size": "0.100", "min_size": "0.050"},
        ),
        ({"rival": 2 << 8}, Standing("open"), PRICED | {"oco_order_id": to_uuid(2 << 8)}),
        ({}, Standing("pending", parent=3 << 8), PRICED | {"parent_order_id": to_uuid(3 << 8)}),
    ],
)
def test_what_an_order_shows(changes, standing, expected):
    """Prices, sizes and times as text; the stop price where the stop stands."""
    assert shown(order(**changes), standing) == expected


@pytest.mark.parametrize(
    ("reason", "cause", "expected"),
    [
        ("filled", "", {"done_reason": "filled"}),
        ("canceled", "", {"done_reason": "canceled"}),
        ("canceled", "expired", {"done_reason": "canceled", "reject_reason": "expired"}),
        ("rejected", "list_refused", {"done_reason": "canceled", "reject_reason": "list_refused"}),
    ],
)
def test_why_an_order_is_done(reason, cause, expected):
    """Clients know filled and canceled; reject_reason says more. What it was linked with says nothing any more."""
    found = shown(order(rival=2 << 8), Standing("done"), done_reason=reason, cause=cause, done_at=2 * SECOND)
    assert found == PRICED | {"done_at": "1970-01-01T00:00:02.000000Z"} | expected


def test_the_described_reasons_are_those_of_the_book():
    """Every reason that the book's files name for the end of an order is in the API's description."""
    text = "".join(path.read_text() for path in Path(workers.engine.__path__[0]).glob("*.py"))
    named = {one for one in RejectReason if re.search(rf"RejectReason\.{one.name}\b", text)}
    never_of_an_order = {RejectReason.UNKNOWN_INSTRUMENT, RejectReason.UNKNOWN_ORDER, RejectReason.QUANTITY_TOO_SMALL}
    assert named - never_of_an_order == set(DONE_CAUSES)
