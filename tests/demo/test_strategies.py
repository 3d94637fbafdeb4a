"""The demo's strategies: pure, seeded, and within the bounds they promise."""

from itertools import pairwise
from random import Random

from workers.demo.strategies import (
    Desk,
    FairValue,
    MarketMaker,
    MomentumTrader,
    NoiseTrader,
    OwnOrder,
    Place,
    Withdraw,
)


def run_maker(maker: MarketMaker, desk: Desk, rng: Random, rounds: int) -> None:
    """Let a maker work on a desk where nobody trades."""
    for count in range(rounds):
        for place, action in enumerate(maker.decide(desk, rng)):
            if isinstance(action, Withdraw):
                del desk.orders[action.client_id]
            else:
                desk.orders[f"{count}-{place}"] = OwnOrder(action.side, action.price, action.quantity)


def test_the_fair_value_wanders_within_bounds():
    """It moves, comes back, stays within half and twice its start, and is the same for the same seed."""
    one, other = FairValue(6_000_000, Random(1)), FairValue(6_000_000, Random(1))
    path = [one.step() for _ in range(20_000)]
    assert path == [other.step() for _ in range(20_000)]
    assert 3_000_000 <= min(path) < max(path) <= 12_000_000
    assert max(path) - min(path) > 30_000
    assert max(abs(a - b) for a, b in pairwise(path)) < 3000


def test_a_small_price_stays_positive():
    """A product worth a few ticks neither stops nor falls to nothing."""
    value = FairValue(3, Random(2))
    path = [value.step() for _ in range(1000)]
    assert min(path) >= 1
    assert len(set(path)) > 1


def test_a_maker_fills_its_levels_and_then_rests():
    """After some rounds every level is quoted once, bids below asks; then there is nothing to do."""
    maker, desk = MarketMaker(levels=5), Desk(6_000_000, 1000)
    run_maker(maker, desk, Random(3), 10)
    bids = sorted(one.price for one in desk.orders.values() if one.side == "buy")
    asks = sorted(one.price for one in desk.orders.values() if one.side == "sell")
    assert len(bids) == len(asks) == 5
    assert bids[-1] < 6_000_000 < asks[0]
    assert maker.decide(desk, Random(4)) == []


def test_a_maker_follows_the_value_a_few_orders_at_a_time():
    """When the value moves, stale quotes are withdrawn and replaced, at most ``changes_max`` of each in a round."""
    maker, desk, rng = MarketMaker(levels=5), Desk(6_000_000, 1000), Random(5)
    run_maker(maker, desk, rng, 10)
    desk.fair = 6_060_000
    actions = maker.decide(desk, rng)
    assert 0 < sum(isinstance(one, Withdraw) for one in actions) <= maker.changes_max
    assert 0 < sum(isinstance(one, Place) for one in actions) <= maker.changes_max
    assert all(one.post_only for one in actions if isinstance(one, Place))
    run_maker(maker, desk, rng, 10)
    assert len(desk.orders) == 10
    assert all(abs(one.price - 6_060_000) < 20_000 for one in desk.orders.values())


def test_a_maker_leans_against_its_inventory():
    """Who has bought much quotes lower, who has sold much quotes higher."""
    maker = MarketMaker()

    def center(inventory: int) -> int:
        desk = Desk(6_000_000, 1000)
        desk.inventory = inventory
        run_maker(maker, desk, Random(6), 10)
        return sum(one.price for one in desk.orders.values()) // len(desk.orders)

    assert center(50_000) < center(0) < center(-50_000)


def test_noise_is_small_and_of_both_sides():
    """Small orders, buys and sells about equally often, and never more resting orders than its patience."""
    trader, desk, rng = NoiseTrader(patience=3), Desk(6_000_000, 1000), Random(7)
    sides = []
    for count in range(600):
        for action in trader.decide(desk, rng):
            if isinstance(action, Withdraw):
                del desk.orders[action.client_id]
                continue
            sides.append(action.side)
            assert 1 <= action.quantity <= 600
            if action.price:
                desk.orders[str(count)] = OwnOrder(action.side, action.price, action.quantity)
        assert len(desk.orders) <= 3
    assert 200 < sides.count("buy") < 400


def test_momentum_follows_and_gives_back():
    """It buys after a rise, sells after a fall, and reduces a position when there is no trend."""
    trader = MomentumTrader()
    for sign, side in ((1, "buy"), (-1, "sell")):
        desk = Desk(6_000_000, 1000)
        desk.trades.extend(6_000_000 + sign * 500 * n for n in range(20))
        (order,) = trader.decide(desk, Random(8))
        assert isinstance(order, Place)
        assert (order.side, order.time_in_force) == (side, "IOC")
    desk = Desk(6_000_000, 1000)
    assert trader.decide(desk, Random(9)) == []  # too few trades to see a trend
    desk.trades.extend([6_000_000] * 20)
    desk.inventory = 50_000
    rng = Random(10)
    orders = [one for _ in range(50) for one in trader.decide(desk, rng)]
    assert orders
    assert all(isinstance(one, Place) and (one.side, one.price, one.quantity) == ("sell", 0, 5000) for one in orders)
