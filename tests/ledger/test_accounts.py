"""Balances never become negative."""

import pytest

from workers.ledger.accounts import Accounts, Balance
from workers.ledger.settlement import Movement


def test_movements_add_up():
    """Balances appear with their first movement and change by each."""
    accounts = Accounts()
    accounts.move([Movement(1, "USD", 10, 0, "transfer"), Movement(1, "USD", -4, 4, "hold")])
    accounts.move([Movement(2, "BTC", 1, 0, "transfer")])
    assert dict(accounts.of(1)) == {"USD": Balance(6, 4)}
    assert accounts.balance(2, "BTC") == Balance(1, 0)
    assert sorted(accounts) == [1, 2]


def test_who_has_nothing_has_zero():
    """Unknown accounts and currencies read as zero and do not come into being by being read."""
    accounts = Accounts()
    assert accounts.balance(1, "USD") == Balance(0, 0)
    assert not accounts.of(1)
    assert accounts.rows() == []


@pytest.mark.parametrize("move", [Movement(1, "USD", -11, 0, "transfer"), Movement(1, "USD", 5, -5, "hold")])
def test_a_movement_below_zero_stops_the_process(move):
    """The balance stays as it was, and the error names the movement."""
    accounts = Accounts([(1, "USD", 10, 4)])
    with pytest.raises(AssertionError, match="leaves -1"):
        accounts.move([move])
    assert accounts.balance(1, "USD") == Balance(10, 4)


def test_rows_are_sorted_and_load_again():
    """A snapshot does not depend on the order in which accounts came."""
    rows = [(1, "BTC", 1, 0), (1, "USD", 2, 3), (7, "USD", 0, 0)]
    assert Accounts(reversed(rows)).rows() == rows
