"""Orders that only a call auction's fills tell of.

Stops that the auction's price triggers, and market orders, are filled without ever having been on the book. CME lists
the fills of an auction alternately, a buyer and a seller, until one side has no more; so a place in the list tells the
side. All of such an order is known to be filled (or what is left of it is added then), so it may come at any price
that is good enough; its place in the list tells between whom it stands.
"""

from collections.abc import Mapping, Sequence
from itertools import cycle, islice, repeat
from typing import NamedTuple

from shared.messages import Side
from workers.replay.exchange_event import Fill


class Unseen(NamedTuple):
    """An order that an auction filled without its having been on the book. It stands behind those of its price."""

    order: int
    side: Side
    price: int
    filled: int


def unseen_orders(fills: Sequence[Fill], known: Mapping[int, tuple[Side, int]]) -> list[Unseen]:
    """The filled orders that are not ``known`` (order -> side, price), each at the price of whom it is listed behind.

    Nothing if the list does not alternate, or does not add up: then their sides cannot be told.
    """
    sides = sides_of(fills, {order: side for order, (side, _) in known.items()})
    found = []
    price: dict[Side, int] = {}
    for fill, side in zip(fills, sides, strict=False):
        if fill.order in known:
            price[side] = known[fill.order][1]
        else:
            found.append(Unseen(fill.order, side, price.get(side, fill.price), fill.quantity))
    return found


def sides_of(fills: Sequence[Fill], known: Mapping[int, Side]) -> list[Side]:
    """The side of each fill; nothing if no alternation fits the known ones and gives both sides the same quantity."""
    turns: tuple[tuple[Side, Side], ...] = (("buy", "sell"), ("sell", "buy"))
    for pairs in range(len(fills) // 2, -1, -1):
        for turn in turns:
            for rest in turn:
                sides = [*islice(cycle(turn), 2 * pairs), *repeat(rest, len(fills) - 2 * pairs)]
                if _fits(fills, sides, known):
                    return sides
    return []


def _fits(fills: Sequence[Fill], sides: Sequence[Side], known: Mapping[int, Side]) -> bool:
    balance = 0
    for fill, side in zip(fills, sides, strict=True):
        if known.get(fill.order, side) != side:
            return False
        balance += fill.quantity if side == "buy" else -fill.quantity
    return balance == 0
