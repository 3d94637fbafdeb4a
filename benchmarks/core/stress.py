"""Books in which a single command could take long: wide gaps, long queues, much for a garbage collector to visit."""

import random
from collections.abc import Callable

from benchmarks.core.flows import Flow, around
from benchmarks.flow import MID
from shared.messages import Cancel, Command, Place, Side

GAP = 30_000
"""Ticks without an order."""
LONG = 50_000
"""Orders of one level."""
COUNT = 20_000
"""Measured commands."""


def _limit(number: int, side: Side, price: int, quantity: int) -> Place:
    return Place(number, 1 if side == "buy" else 2, number, side, "limit", price, quantity)


def gaps() -> Flow:
    """The best price jumps over a wide gap, there and back, again and again."""
    preparation: list[Command] = [_limit(1, "sell", MID + GAP, 10**9), _limit(2, "buy", MID - GAP, 10**9)]
    commands: list[Command] = []
    for number in range(3, 3 + COUNT, 4):
        commands += [
            _limit(number, "sell", MID, 1),
            _limit(number + 1, "buy", MID + GAP, 2),
            _limit(number + 2, "buy", MID, 1),
            _limit(number + 3, "sell", MID - GAP, 2),
        ]
    return Flow(preparation, commands)


def long_level() -> list[Command]:
    """One level of many orders."""
    return [_limit(number, "sell", MID, 2) for number in range(1, LONG + 1)]


def eaten() -> Flow:
    """A long level is eaten from the front, half an order at a time."""
    return Flow(long_level(), [_limit(LONG + number, "buy", MID, 1) for number in range(1, COUNT + 1)])


def canceled() -> Flow:
    """Orders are canceled anywhere in a long level until none is left."""
    order = list(range(1, LONG + 1))
    random.Random(6).shuffle(order)
    return Flow(long_level(), [Cancel(number, 2, LONG + at) for at, number in enumerate(order)])


STRESSES: dict[str, tuple[Callable[[], Flow], bool]] = {
    f"gaps of {GAP:,} ticks": (gaps, False),
    f"a level of {LONG:,} orders eaten from the front": (eaten, False),
    f"a level of {LONG:,} orders canceled anywhere": (canceled, False),
    "100,000 orders on the book": (lambda: around(2, LONG, COUNT), False),
    "the same with the garbage collector on": (lambda: around(2, LONG, COUNT), True),
}
"""What to run, and whether with the collector, which the engine's process turns off."""
