"""The short ways of the book in Python next to the rules they shorten."""

import pytest

from shared.messages import Cancel, Match, Open, Place
from tests.engine.feature_flow import FeatureFlow
from tests.engine.flows import AnyFlow
from tests.engine.harness import configured
from workers.engine import decisions, levels, placing, plain, state
from workers.engine.book import OrderBook

COMMANDS = 3_000


class LongWay(OrderBook):
    """The same book without short ways."""

    def __init__(self):
        super().__init__()
        self.decisions = decisions.DECISIONS


@pytest.fixture(autouse=True)
def _everything_is_tidied_often(monkeypatch):
    """What books put off until it is worth it comes up every few commands."""
    for module in (plain, state):
        monkeypatch.setattr(module, "RECENT_MAX", 3)
        monkeypatch.setattr(module, "COMPACT_AT", 1)
    monkeypatch.setattr(levels, "STRETCH", 2)


def agree(commands):
    """Both ways, command by command; the book of the short one."""
    short, long = OrderBook(), LongWay()
    for number, command in enumerate(commands):
        assert short.apply(command) == long.apply(command)
        if number % 20 == 0:
            assert short.dump() == long.dump()
            for side in ("buy", "sell"):
                assert short.levels(side) == long.levels(side)
            for account in range(1, 31):
                resting = [one.order_id for one in short.orders.values() if one.account == account]
                assert sorted(order.order_id for order in short.orders_of(account)) == sorted(resting)
    return short


@pytest.mark.parametrize("seed", range(4))
def test_plain_flows_are_the_same_by_both_ways(seed):
    """Limits, market orders, cancels and self-trades, in dense and in wide books."""
    flow = AnyFlow(seed, spread=60, accounts=30, crossing=0.1) if seed % 2 else AnyFlow(seed)
    book = agree(flow.commands(COMMANDS))
    assert book.trade_id > 50


@pytest.mark.parametrize("seed", range(4))
def test_flows_of_all_features_are_the_same_by_both_ways(seed):
    """Plain orders that meet icebergs, orders with an end and legs of lists, and modes and collars in between."""
    flow, book = FeatureFlow(seed), OrderBook()
    commands = [configured(time=1)]
    for _ in range(COMMANDS):
        book.apply(commands[-1])
        commands.append(flow.next(sorted(book.ids_of(0, ""))))
    assert agree(commands).trade_id > 50


def test_the_short_ways_are_taken(monkeypatch):
    """A plain order, its trade and its cancel never come to the rules for everything."""
    for module, name in ((placing, "place"), (decisions, "cancel"), (plain, "go_on")):
        monkeypatch.setattr(module, name, None)
    book = OrderBook()
    book.apply(configured())
    resting = [Place(number, 1, number, "sell", "limit", 100 + number, 5) for number in range(1, 10)]
    assert all(type(book.apply(order)[-1]) is Open for order in resting)
    events = book.apply(Place(10, 2, 10, "buy", "limit", 103, 11))
    assert [event.maker_order_id for event in events if type(event) is Match] == [1, 2, 3]
    book.apply(Cancel(9, 1, 11))
    assert [order.order_id for order in book.resting("sell")] == [3, 4, 5, 6, 7, 8]
