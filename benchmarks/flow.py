"""Seeded order flows for the benchmarks."""

import random

from shared.instrument import make_instrument
from shared.messages import Cancel, Command, Place, Side

INSTRUMENT = make_instrument("BTC-USD", "0.01", "0.00000001", maker_fee=1000, taker_fee=2000)
MID, SPREAD, REACH = 5_000_000, 10, 1000
ACCOUNTS = 50


def account(dice: random.Random, side: Side) -> int:
    """One of 50 accounts, each of which only buys or only sells.

    So nobody meets themselves, and books that know no self-trade prevention make the same trades.
    """
    return 2 * dice.randrange(ACCOUNTS // 2) + (1 if side == "buy" else 2)


class MixedFlow:
    """49% passive limits, 41% cancels, 5% market orders, 5% crossing limits around a drifting mid.

    Holds about ``depth`` orders a side: cancels take a random live order, and trades are made good by more limits. Some
    cancels come too late, as in life.
    """

    def __init__(self, seed: int = 1, depth: int = 1000) -> None:
        self._random = random.Random(seed)
        self._depth = depth
        self._mid = MID
        self._count = 0
        self._live: list[tuple[int, int]] = []

    def commands(self, count: int) -> list[Command]:
        """The first ``count`` commands: the book is filled first, then the mix begins."""
        return [self._passive() if one < 2 * self._depth else self._mixed() for one in range(count)]

    def _mixed(self) -> Command:
        self._mid += self._random.choice((-1, 0, 1))
        dice = self._random.random()
        if dice < 0.41 and self._live:
            return self._cancel()
        if dice < 0.46:
            return self._order("market")
        if dice < 0.51:
            return self._order("limit")
        return self._passive()

    def _cancel(self) -> Cancel:
        at = self._random.randrange(len(self._live))
        self._live[at], self._live[-1] = self._live[-1], self._live[at]
        order_id, owner = self._live.pop()
        self._count += 1
        return Cancel(order_id, owner, self._count)

    def _passive(self) -> Place:
        side: Side = self._random.choice(("buy", "sell"))
        distance = SPREAD + int(self._random.random() ** 2 * REACH)
        place = self._place(side, self._mid - distance if side == "buy" else self._mid + distance)
        self._live.append((place.order_id, place.account))
        return place

    def _order(self, kind: str) -> Place:
        side: Side = self._random.choice(("buy", "sell"))
        if kind == "market":
            place = self._place(side, 0)
            place.order_type = "market"
            return place
        return self._place(side, self._mid + 3 * SPREAD if side == "buy" else self._mid - 3 * SPREAD)

    def _place(self, side: Side, price: int) -> Place:
        self._count += 1
        owner = account(self._random, side)
        quantity = self._random.randrange(1, 200) * 1000
        return Place(self._count, owner, self._count, side, "limit", price, quantity, maker_fee=1000, taker_fee=2000)
