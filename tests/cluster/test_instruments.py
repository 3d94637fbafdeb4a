"""Instruments from what a person writes."""

import pytest

from cluster.instruments import DEMO_INSTRUMENTS, bps_text
from shared.definition import define
from shared.errors import InvalidInput


def test_people_write_basis_points_percent_and_decimals():
    """What is written in the usual units becomes ticks, lots and parts per million, exactly."""
    made = define(
        "BTC-USD", "0.01", "0.001", maker_fee_bps="2.5", taker_fee_bps="20", min_size="0.01", max_size="100",
        max_price="1000000", collar_percent="7.5", price_collar_percent="0.5", mode="auction",
    )  # fmt: skip
    assert (made.maker_fee, made.taker_fee, made.collar) == (250, 2000, 75_000)
    assert (made.min_quantity, made.max_quantity, made.max_price) == (10, 100_000, 100_000_000)
    assert (made.price_collar, made.mode) == (5_000, "auction")
    assert bps_text(made.maker_fee) == "2.5"


@pytest.mark.parametrize(
    ("rules", "complaint"),
    [
        ({"symbol": "BTCUSD"}, "BASE-QUOTE"),
        ({"tick": "0"}, "above 0"),
        ({"tick": "x"}, "not a decimal number"),
        ({"maker_fee_bps": "0.001"}, "finer than"),
        ({"maker_fee_bps": "-1"}, "not within"),
        ({"min_size": "0.0005"}, "too small"),
        ({"min_size": "2", "max_size": "1"}, "out of range"),
        ({"quote_scale": 2}, "finer than USD's 2 decimals"),
    ],
)
def test_wrong_rules_are_refused_with_the_reason(rules, complaint):
    """An instrument that cannot be exact, or makes no sense, is refused in words."""
    with pytest.raises(InvalidInput, match=complaint):
        define(**({"symbol": "BTC-USD", "tick": "0.01", "lot": "0.001"} | rules))


def test_the_demo_trades_two_instruments_with_fees():
    """The demo's instruments are valid, and makers pay less."""
    assert [one.symbol for one in DEMO_INSTRUMENTS] == ["BTC-USD", "ETH-USD"]
    assert all(0 < one.maker_fee < one.taker_fee for one in DEMO_INSTRUMENTS)
