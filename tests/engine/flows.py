"""Seeded flows of commands that try everything the book knows."""

import random

from shared.messages import Cancel, CancelAll, Command, Place
from tests.engine.harness import configured


class AnyFlow:
    """Commands of every kind around a price of 100.

    ``spread``: how many prices a side has; ``accounts``: few of them meet themselves often; ``crossing``: the share
    of limits that want to trade; ``restless``: with mass-cancels and changes of mode.
    """

    def __init__(self, seed: int, *, spread: int = 6, accounts: int = 3, crossing: float = 0.4, restless: bool = True):
        self._dice = random.Random(seed)
        self._spread = spread
        self._accounts = accounts
        self._crossing = crossing
        self._restless = restless
        self._count = 0
        self._time = 1_700_000_000_000_000_000

    def commands(self, count: int) -> list[Command]:
        """The first is a ``Configure``."""
        return [configured(time=self._time), *(self._any() for _ in range(count - 1))]

    def _any(self) -> Command:
        dice = self._dice
        self._time += dice.randrange(-1_000, 10_000)
        chance = dice.random()
        if chance < 0.62:
            return self._limit()
        if chance < 0.72:
            return self._market()
        if chance < 0.97 or not self._restless:
            return Cancel(dice.randint(1, self._count + 1), 1, self._time, f"r{self._count}")
        if chance < 0.98:
            return CancelAll(dice.randint(0, self._accounts), self._time, dice.choice(["", "buy", "sell"]), "all")
        modes = ["post-only", "limit-only", "cancel-only", "halted"]
        return configured(mode=dice.choice(modes) if dice.random() < 0.3 else "online", time=self._time)

    def _place(self) -> Place:
        dice = self._dice
        self._count += 1
        return Place(
            self._count,
            dice.randint(1, self._accounts),
            self._time,
            dice.choice(["buy", "sell"]),
            "limit",
            stp=dice.choice(["dc", "dc", "co", "cn", "cb"]),
            maker_fee=dice.choice([0, 1000]),
            taker_fee=dice.choice([0, 2000]),
            client_id=dice.choice(["", f"client-{self._count}"]),
        )

    def _limit(self) -> Place:
        dice, place = self._dice, self._place()
        away = dice.randint(0, self._spread)
        inside = (place.side == "buy") == (dice.random() < self._crossing)
        place.price = 100 + away if inside else 100 - away
        place.quantity = dice.randint(1, 10)
        place.post_only = dice.random() < 0.1
        if not place.post_only:
            place.time_in_force = dice.choice(["GTC", "GTC", "GTC", "GTC", "IOC", "FOK"])
        return place

    def _market(self) -> Place:
        dice, place = self._dice, self._place()
        place.order_type = "market"
        caps = dice.choice(["quantity", "funds", "both"])
        if caps != "funds":
            place.quantity = dice.randint(1, 15)
        if caps != "quantity":
            place.funds = dice.randint(1, 2_000)
        if dice.random() < 0.5:
            place.price = 100 + dice.randint(-self._spread, self._spread)
        place.time_in_force = dice.choice(["GTC", "IOC", "FOK"])
        return place
