"""Seeded flows of orders of all kinds, mostly such as the book takes up."""

import random
from typing import Literal

from shared.messages import Amend, Cancel, CancelAll, Conditions, Place, PlaceList, Tick
from tests.engine.harness import configured

MID, SPREAD = 100, 8


class FeatureFlow:
    """Commands of every kind around a price of 100."""

    def __init__(self, seed):
        self.dice = random.Random(seed)
        self.accounts = self.dice.choice([3, 8, 30])
        self.crossing = self.dice.choice([0.1, 0.3])
        self.count = 0
        self.time = 1_000
        self.mode = "online"

    def next(self, known):
        """The next command; ``known``: the orders that are not done."""
        dice = self.dice
        self.time += dice.randrange(-5, 20)
        chance = dice.random()
        if chance < 0.60:
            return self.order()
        if chance < 0.68:
            return self.list_of_orders()
        target = dice.choice(known) if known and dice.random() < 0.95 else dice.randint(1, self.count + 1)
        if chance < 0.82:
            return self.amend(target)
        if chance < 0.94:
            return Cancel(target, 1, self.time, "c")
        if chance < 0.945:
            return CancelAll(dice.randint(0, self.accounts), self.time, dice.choice(["", "buy", "sell"]), "all")
        if chance < 0.96:
            self.time += dice.choice([0, 100, 1_000])
            return Tick(self.time)
        return self.configure()

    def configure(self):
        dice = self.dice
        if self.mode != "online":
            self.mode = "online"
        else:
            self.mode = dice.choice(["auction", "auction", "auction", "post-only", "limit-only", "halted", "online"])
        return configured(mode=self.mode, price_collar=dice.choice([0, 0, 20_000, 50_000]), time=self.time)

    def amend(self, target):
        dice = self.dice
        price = dice.choice([0, 0, self.price("buy"), self.price("sell")])
        quantity = dice.choice([0, dice.randint(1, 12), dice.randint(1, 40)])
        stop_price = self.price("buy") if dice.random() < 0.2 else 0
        return Amend(target, 1, self.time, price if not stop_price else 0, quantity, stop_price, "a")

    def price(self, side, *, cross=None):
        """Mostly one that rests."""
        dice = self.dice
        away = dice.randint(1, SPREAD)
        crosses = dice.random() < self.crossing if cross is None else cross
        return MID + away if (side == "buy") == crosses else MID - away

    def order(self, account=0, side="", *, as_leg=False):
        """Any order."""
        dice = self.dice
        self.count += 1
        side = side or dice.choice(["buy", "sell"])
        place = Place(
            self.count, account or dice.randint(1, self.accounts), self.time, side, "limit", self.price(side),
            dice.randint(1, 20), stp=dice.choice(["dc", "dc", "co", "cn", "cb"]), maker_fee=1, taker_fee=2,
        )  # fmt: skip
        kind = dice.random()
        asked: dict = {}
        if kind < 0.15:
            place.order_type, place.price = "market", dice.choice([0, self.price(side, cross=True)])
            if dice.random() < 0.3:
                place.funds = dice.randint(100, 3_000)
                place.quantity = dice.choice([0, place.quantity])
        if kind > (0.6 if as_leg else 0.75):
            asked["stop"] = dice.choice(["loss", "entry"])
            asked["stop_price"] = MID + dice.randint(-SPREAD, SPREAD)
            if dice.random() < 0.5:
                place.order_type, place.price = "market", 0
            if place.order_type == "market" and dice.random() < 0.4:
                asked["stop"], asked["stop_price"] = ("loss" if side == "sell" else "entry"), 0
                asked[dice.choice(["trail", "trail_bps"])] = dice.choice([1, 2, 3, 150, 400])
        if place.order_type == "limit":
            if dice.random() < 0.25:
                asked["display_quantity"] = dice.randint(1, place.quantity)
            elif dice.random() < 0.1:
                place.time_in_force = dice.choice(["IOC", "FOK"])
            elif not asked and dice.random() < 0.1:
                place.post_only = True
        if place.quantity and not place.funds and not place.post_only and dice.random() < 0.08:
            asked["min_quantity"] = dice.randint(1, place.quantity)
        if (place.order_type == "limit" or "stop" in asked) and place.time_in_force == "GTC" and dice.random() < 0.2:
            place.time_in_force = "GTT"
            asked["expires"] = self.time + dice.choice([5, 50, 500])
        place.conditions = Conditions(**asked) if asked else None
        return place

    def list_of_orders(self):
        dice = self.dice
        account, side = dice.randint(1, self.accounts), dice.choice(["buy", "sell"])
        kinds: list[Literal["oco", "oto", "otoco"]] = ["oco", "oco", "oto", "otoco", "otoco"]
        kind = dice.choice(kinds)
        legs = [self.order(account, side, as_leg=True) for _ in range(1 if kind == "oto" else 2)]
        parent = [] if kind == "oco" else [self.order(account)]
        return PlaceList(account, self.time, kind, [*parent, *legs], dice.random() < 0.3)
