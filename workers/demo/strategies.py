"""What the demo's traders want: pure and seeded. Prices in ticks, quantities in lots, integers throughout.

A strategy looks at its ``Desk`` (what a trader knows of one product) and answers what to do next: a few orders, a few
cancels. It never learns whether they came through; it looks again.
"""

from collections import deque
from random import Random
from typing import NamedTuple, Protocol

from shared.messages import Side, TimeInForce

BASIS = 10_000
"""Basis points in one."""


class FairValue:
    """What a product is worth: a walk that is drawn back to an anchor, which itself wanders slowly."""

    PULL = 60
    """One over the share of the distance to the anchor by which each step returns."""

    def __init__(self, start: int, rng: Random) -> None:
        self.value = start
        self._anchor = start
        self._low, self._high = max(1, start // 2), start * 2
        self._rng = rng

    def step(self) -> int:
        """The value a moment later: mostly within a basis point or so of the one before."""
        self._anchor = self._walk(self._anchor)
        pulled = self.value + (self._anchor - self.value) // self.PULL
        self.value = self._walk(pulled)
        return self.value

    def _walk(self, value: int) -> int:
        """A step of about half a basis point."""
        size = max(1, value // (2 * BASIS))
        moved = value + sum(self._rng.randint(-size, size) for _ in range(3))
        return min(self._high, max(self._low, moved))


class OwnOrder(NamedTuple):
    """A resting order of the trader's own."""

    side: Side
    price: int
    quantity: int


class Place(NamedTuple):
    """Send an order; ``price`` 0: at market."""

    side: Side
    price: int
    quantity: int
    time_in_force: TimeInForce = "GTC"
    post_only: bool = False


class Withdraw(NamedTuple):
    """Cancel an own order."""

    client_id: str


Action = Place | Withdraw


class Desk:
    """What a trader knows of one product.

    ``unit``: lots of a usual trade. ``inventory``: lots it has more (or less) than at the start. ``trades``: the last
    trade prices, newest last.
    """

    def __init__(self, fair: int, unit: int) -> None:
        self.fair = fair
        self.unit = unit
        self.inventory = 0
        self.trades: deque[int] = deque([fair], maxlen=40)
        self.orders: dict[str, OwnOrder] = {}

    @property
    def last(self) -> int:
        """The last trade price; the fair value before the first one."""
        return self.trades[-1]


class Strategy(Protocol):
    """A way to trade."""

    def decide(self, desk: Desk, rng: Random) -> list[Action]:
        """What to do now; often nothing."""


class MarketMaker(NamedTuple):
    """Quotes ``levels`` on each side of the fair value, and moves those that no longer fit, a few at a time.

    ``spread`` and ``step`` in hundredths of a basis point: of the best quotes, and from level to level. The more it
    has bought, the lower it quotes.
    """

    levels: int = 6
    spread: int = 300
    step: int = 200
    changes_max: int = 3

    def decide(self, desk: Desk, rng: Random) -> list[Action]:
        """Withdraw what is out of place, fill the gaps."""
        center = desk.fair - self._skew(desk)
        stale, gaps = self._differences(desk, center)
        actions: list[Action] = [Withdraw(one) for one in stale[: self.changes_max]]
        rng.shuffle(gaps)
        for side, level, price in gaps[: self.changes_max]:
            quantity = desk.unit * rng.randint(20, 100) * (1 + level) // 100
            actions.append(Place(side, price, max(1, quantity), post_only=True))
        return actions

    def _skew(self, desk: Desk) -> int:
        """How far to lean against the own inventory: half a spread per 20 units, at most two spreads."""
        spread = self._distance(desk, 0)
        return max(-2 * spread, min(2 * spread, spread * desk.inventory // (40 * desk.unit)))

    def _distance(self, desk: Desk, level: int) -> int:
        return max(1 + level, desk.fair * (self.spread // 2 + self.step * level) // (100 * BASIS))

    def _differences(self, desk: Desk, center: int) -> tuple[list[str], list[tuple[Side, int, int]]]:
        """Own orders that fit no level, and levels without an order: (side, level, price)."""
        stale, gaps = [], []
        tolerance = max(1, desk.fair * self.step // (200 * BASIS))
        sides: tuple[tuple[Side, int], ...] = (("buy", -1), ("sell", 1))
        for side, sign in sides:
            free = {name: one for name, one in desk.orders.items() if one.side == side}
            for level in range(self.levels):
                price = max(1, center + sign * self._distance(desk, level))
                near = next((name for name, one in free.items() if abs(one.price - price) <= tolerance), None)
                if near is None:
                    gaps.append((side, level, price))
                else:
                    del free[near]
            stale += sorted(free, key=lambda name: abs(desk.orders[name].price - center))
        return stale, gaps


class NoiseTrader(NamedTuple):
    """Buys and sells small amounts for reasons of its own; sometimes leaves an order near the price for a while."""

    patience: int = 4
    """Own orders it keeps resting at most."""

    def decide(self, desk: Desk, rng: Random) -> list[Action]:
        """One small order, of a random kind."""
        side: Side = "buy" if rng.randint(0, 999) < 500 - self._lean(desk) else "sell"
        quantity = max(1, desk.unit * rng.randint(2, 60) // 100)
        if rng.randint(0, 2):
            return [Place(side, 0, quantity)]
        away = desk.fair * rng.randint(1, 12) // BASIS
        actions: list[Action] = [Place(side, max(1, desk.fair - away if side == "buy" else desk.fair + away), quantity)]
        if len(desk.orders) >= self.patience:
            actions.insert(0, Withdraw(next(iter(desk.orders))))
        return actions

    @staticmethod
    def _lean(desk: Desk) -> int:
        """Against the own inventory, in thousandths."""
        return max(-300, min(300, 5 * desk.inventory // desk.unit))


class MomentumTrader(NamedTuple):
    """Follows the last trades: buys what rises, sells what falls, by ``threshold`` hundredths of a basis point."""

    threshold: int = 400
    window: int = 12

    def decide(self, desk: Desk, rng: Random) -> list[Action]:
        """An order that takes what is offered near the price, or nothing."""
        if len(desk.trades) < self.window:
            return []
        then = list(desk.trades)[-self.window]
        moved = (desk.last - then) * 100 * BASIS // then
        if abs(moved) < self.threshold or abs(desk.inventory) > 200 * desk.unit:
            return self._reduce(desk, rng)
        side: Side = "buy" if moved > 0 else "sell"
        slip = max(1, desk.last * 5 // BASIS)
        price = desk.last + slip if side == "buy" else max(1, desk.last - slip)
        return [Place(side, price, max(1, desk.unit * rng.randint(50, 150) // 100), "IOC")]

    @staticmethod
    def _reduce(desk: Desk, rng: Random) -> list[Action]:
        """Without a trend, now and then, give a part of the position back."""
        if abs(desk.inventory) < desk.unit or rng.randint(0, 3):
            return []
        return [Place("sell" if desk.inventory > 0 else "buy", 0, max(1, abs(desk.inventory) // 10))]
