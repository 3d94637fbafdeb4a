"""The open-order index and its memory of ids."""

import pytest

from shared.errors import CorruptState
from tests.ledger.test_settlement import an_order
from workers.ledger import orders
from workers.ledger.orders import IdKind, OrderIndex, Past


def test_an_open_order_is_found_by_each_of_its_names():
    """By id, among its account's, and by the client's id."""
    index = OrderIndex()
    order = an_order(client_id="mine")
    index.add(order)
    assert index.get(256) is order
    assert index.known(256, 1, "BTC-USD") is order
    assert list(index.of(1).values()) == [order]
    assert index.first(1, "c", "mine") == 256
    assert list(index) == [order]
    assert len(index) == 1


@pytest.mark.parametrize("wrong", [(257, 1, "BTC-USD"), (256, 2, "BTC-USD"), (256, 1, "ETH-USD")])
def test_a_log_that_speaks_of_an_order_that_is_not_there_is_corrupt(wrong):
    """Unknown, another account's, or another instrument's."""
    index = OrderIndex([an_order()])
    with pytest.raises(CorruptState, match="no open order"):
        index.known(*wrong)


def test_ids_of_different_kinds_and_accounts_never_meet():
    """A client's id, a request's, a transfer's and another account's are different ids, whatever their text."""
    index = OrderIndex([an_order(client_id="1c7", account=1)])
    index.add_transfer(1, "7")
    assert index.first(1, "c", "1c7") == 256
    assert index.first(1, "t", "7") == 0
    others: list[tuple[int, IdKind, str]] = [
        (1, "r", "1c7"), (1, "t", "1c7"), (11, "c", "7"), (1, "c", "7"), (1, "r", "7"),
    ]  # fmt: skip
    for other in others:
        assert index.first(*other) is None


def test_the_past_is_bounded_and_forgets_the_oldest_first(monkeypatch):
    """Closed orders and transfers share one memory of fixed length; open orders are never forgotten."""
    monkeypatch.setattr(orders, "PAST_MAX", 3)
    still_open = an_order(order_id=1, client_id="open")
    index = OrderIndex([still_open])
    for number in (2, 3):
        order = an_order(order_id=number, client_id=f"c{number}")
        index.add(order)
        index.remove(order)
    for number in (4, 5):
        index.add_transfer(1, f"t{number}")
    assert index.past() == [Past(1, "c", "c3", 3), Past(1, "t", "t4", 0), Past(1, "t", "t5", 0)]
    assert index.first(1, "c", "open") == 1
    assert index.first(1, "c", "c2") is None
    assert (index.closed_account(2), index.closed_account(3)) == (0, 1)
    index.add(an_order(order_id=9, client_id="c2"))
    assert index.first(1, "c", "c2") == 9


def test_an_index_made_from_its_parts_is_the_same():
    """Open orders and past ids, as a snapshot keeps them."""
    index = OrderIndex()
    for number in (1, 2, 3):
        index.add(an_order(order_id=number, request_id=f"r{number}"))
    index.remove(index.known(2, 1, "BTC-USD"))
    again = OrderIndex(index, index.past())
    assert list(again) == list(index)
    assert again.past() == index.past()
    assert again.first(1, "r", "r2") == 2
    assert again.closed_account(2) == 1
