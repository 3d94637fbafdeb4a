"""Integers become exactly the text that the shared, slower functions give."""

from hypothesis import given
from hypothesis import strategies as st

from shared.instants import iso
from shared.instrument import make_instrument, money_text, price_text, quantity_text
from workers.gateway.forms.times import time_ns
from workers.gateway.render import Texts, account_uuid, decimal_text, rate_text, user_uuid

INSTRUMENTS = [
    make_instrument("A-B", tick, lot)
    for tick, lot in (("0.01", "0.00000001"), ("0.25", "1"), ("5", "0.5"), ("100", "10"), ("0.0005", "0.001"))
]


@given(st.integers(0, 10**15), st.sampled_from(INSTRUMENTS))
def test_prices_sizes_and_money_are_written_as_shared_writes_them(count, instrument):
    """The quick rendering of the gateway and the one of ``shared.instrument`` never differ."""
    texts = Texts(instrument)
    assert texts.price(count) == price_text(instrument, count)
    assert texts.size(count) == quantity_text(instrument, count)
    assert texts.quote(count) == money_text(count, instrument.quote_scale)


@given(st.integers(-(10**18), 10**18), st.integers(0, 18))
def test_negative_money_is_written_exactly(units, places):
    """A signed amount keeps its sign and all of its places."""
    assert decimal_text(units, places) == money_text(units, places)


def test_fee_rates_are_fractions():
    """2500 parts per million are 0.0025."""
    assert rate_text(2500) == "0.002500"


@given(st.integers(0, 4_000_000_000 * 10**9))
def test_times_come_back_to_the_microsecond(moment):
    """What is rendered as ISO 8601 is read back as the same microsecond."""
    assert time_ns(iso(moment), "start") == moment // 1000 * 1000


def test_ids_are_the_same_everywhere_and_tell_accounts_apart():
    """An account's id depends on the user and the currency, and on nothing else."""
    assert account_uuid(7, "USD") == account_uuid(7, "USD")
    assert (
        len({account_uuid(7, "USD"), account_uuid(7, "BTC"), account_uuid(8, "USD"), user_uuid(7), user_uuid(8)}) == 5
    )
