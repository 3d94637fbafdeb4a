"""The five flows on which matching cores are compared: limits, market orders and cancels, which all of them know."""

import random
from collections.abc import Callable

import msgspec

from benchmarks.flow import MID, MixedFlow, account
from shared.messages import Cancel, Command, Place, Side


class Flow(msgspec.Struct, frozen=True):
    """``preparation`` fills the book and is not measured; ``commands`` are."""

    preparation: list[Command]
    commands: list[Command]

    def first(self, count: int) -> "Flow":
        """The same with so many measured commands at most."""
        return Flow(self.preparation, self.commands[:count])


def around(seed: int, depth: int, count: int) -> Flow:
    """The mixed flow over ``depth`` orders a side."""
    commands = MixedFlow(seed, depth).commands(2 * depth + count)
    return Flow(commands[: 2 * depth], commands[2 * depth :])


def limit(dice: random.Random, number: int, side: Side, price: int) -> Place:
    """A plain limit order; its number is also its time."""
    return Place(number, account(dice, side), number, side, "limit", price, dice.randrange(1, 200))


def cross(count: int) -> Flow:
    """Half of the commands rest within a few ticks of the mid, half take about as much as rests."""
    dice = random.Random(3)
    commands: list[Command] = []
    for number in range(1, count + 1):
        side: Side = dice.choice(("buy", "sell"))
        takes = number % 2 == 0
        away = (dice.randrange(10) + 1) * (1 if (side == "buy") == takes else -1)
        commands.append(limit(dice, number, side, MID + away))
    return Flow([], commands)


def passive(dice: random.Random, number: int, levels: int) -> Place:
    """A limit that rests on one of ``levels`` levels a side."""
    side: Side = dice.choice(("buy", "sell"))
    away = dice.randrange(1, levels + 1) * (-1 if side == "buy" else 1)
    return limit(dice, number, side, MID + away)


def add(count: int) -> Flow:
    """Limits that rest, on 1,000 levels a side."""
    dice = random.Random(4)
    return Flow([], [passive(dice, number, 1000) for number in range(1, count + 1)])


def cancel(count: int) -> Flow:
    """95% cancels anywhere in queues of thousands."""
    dice = random.Random(5)
    rest = [passive(dice, number, 20) for number in range(1, count + 1)]
    commands: list[Command] = []
    for at in dice.sample(range(count), count):
        commands.append(Cancel(rest[at].order_id, rest[at].account, count + at))
        if dice.random() < 0.05:
            commands.append(msgspec.structs.replace(rest[at], order_id=count + len(commands)))
    return Flow(list(rest), commands[:count])


FLOWS: dict[str, Callable[[int], Flow]] = {
    "mixed": lambda count: around(1, 1000, count),
    "deep": lambda count: around(2, 50_000, count),
    "cross": cross,
    "add": add,
    "cancel": cancel,
}
