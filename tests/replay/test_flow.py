"""How steps become requests."""

import pytest

from shared.errors import InvalidInput
from shared.instrument import make_instrument
from shared.messages import AmendRequest, CancelRequest, OrderRequest
from workers.replay import bitstamp
from workers.replay.flow import Flow, Units
from workers.replay.steps import Add, Aggress, Cancel, Market, Modify

ES = Market("Databento MBO", "ES-USD", "0.25", "1", "0.000000001", "1")


def test_units():
    """Counts of the recording's units become ticks and lots, exactly or not at all."""
    units = Units(ES, make_instrument("ES-USD", "0.25", "1"))
    assert (units.ticks(4_799_250_000_000), units.lots(3)) == (19_197, 3)
    finer = Units(bitstamp.MARKET, make_instrument("BTC-USD", "0.001", "0.0000001"))
    assert (finer.ticks(23_647), finer.lots(50)) == (236_470, 5)
    with pytest.raises(InvalidInput, match=r"ES-USD: the recorded price 4799.1 is not a multiple of its tick"):
        units.ticks(4_799_100_000_000)
    with pytest.raises(InvalidInput, match="the recorded price -1 is not"):
        units.ticks(-1_000_000_000)
    with pytest.raises(
        InvalidInput, match=r"BTC-USD: the recorded quantity 0.00000005 is not a multiple of its lot 0.001"
    ):
        Units(bitstamp.MARKET, make_instrument("BTC-USD", "0.01", "0.001")).lots(5)


def requests(*steps) -> list:
    """What steps become whose prices count ticks of 1."""
    market = Market("test", "ES-USD", "1", "1", "1", "1")
    flow = Flow("run", Units(market, make_instrument("ES-USD", "1", "1")), "ES-USD", list(range(100, 108)))
    return [request for step in steps for request in flow.requests(step)]


def test_orders_keep_their_ids_and_sides_their_accounts():
    """An order is known by a client id of the run; buyers and sellers are never one account."""
    found = requests(Add(5, 0, "buy", 9, 1), Add(6, 0, "sell", 10, 2), Cancel(5, 0), Cancel(7, 0))
    assert found == [
        OrderRequest("run:1", 101, "ES-USD", "buy", "limit", 9, 1, client_id="run-5"),
        OrderRequest("run:2", 106, "ES-USD", "sell", "limit", 10, 2, client_id="run-6"),
        CancelRequest("run:3", 101, client_id="run-5", instrument="ES-USD"),
    ]


def test_a_modify_is_an_amend():
    """It asks for the total, what the recorded exchange had filled included, and the order keeps its client id."""
    found = requests(
        Add(5, 0, "buy", 9, 8), Modify(5, 0, "buy", 9, 2, True), Modify(5, 0, "buy", 8, 4, filled=1), Cancel(5, 0)
    )
    assert found[1:] == [
        AmendRequest("run:2", 101, client_id="run-5", instrument="ES-USD", price=9, quantity=2),
        AmendRequest("run:3", 101, client_id="run-5", instrument="ES-USD", price=8, quantity=5),
        CancelRequest("run:4", 101, client_id="run-5", instrument="ES-USD"),
    ]


def test_aggressors():
    """One that does not rest is immediate-or-cancel, and is never cancelled; one that rests may be."""
    found = list(
        requests(Aggress(1, 0, "buy", 9, 3), Cancel(1, 0), Aggress(2, 0, "sell", 9, 3, rests=True), Cancel(2, 0))
    )
    assert [(type(one).__name__, getattr(one, "time_in_force", "")) for one in found] == [
        ("OrderRequest", "IOC"),
        ("OrderRequest", "GTC"),
        ("CancelRequest", ""),
    ]


def test_a_resting_order_that_takes():
    """It is amended across the other side; if it does not rest there, what our exchange leaves of it is canceled."""
    found = requests(
        Add(1, 0, "buy", 8, 3), Aggress(1, 0, "buy", 9, 2, rests=True, filled=1), Aggress(1, 0, "buy", 9, 2, filled=2)
    )
    assert [(type(one).__name__, getattr(one, "quantity", 0)) for one in found] == [
        ("OrderRequest", 3),
        ("AmendRequest", 3),
        ("AmendRequest", 4),
        ("CancelRequest", 0),
    ]


def test_an_order_that_comes_again_replaces_its_former_life():
    """The refresh of an iceberg: whatever our engine left of the first life goes."""
    found = requests(Add(5, 0, "buy", 9, 3), Add(5, 0, "buy", 9, 3))
    assert [(type(one).__name__, one.client_id) for one in found] == [
        ("OrderRequest", "run-5"),
        ("CancelRequest", "run-5"),
        ("OrderRequest", "run-5.1"),
    ]
