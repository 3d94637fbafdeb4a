"""What a benchmark asks of an order book."""

from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec

from shared.messages import Cancel, Command, Place

Operation = tuple[Callable[[Any], Any], Any]
"""A call of the engine's own API and its one argument, made before the clock starts."""
Levels = dict[int, int]
"""Quantity by price of one side."""


class Trade(NamedTuple):
    """Orders by the ids of their commands, price in ticks, quantity in lots."""

    maker: int
    taker: int
    price: int
    quantity: int


class Outcome(msgspec.Struct):
    """What an engine made of a flow: its trades in order, and the levels it ended with."""

    trades: list[Trade]
    bids: Levels
    asks: Levels


class Engine:
    """One empty book of some package. ``package`` is what pip installs, "" for ours.

    ``commands_max`` bounds what a slow one is given, preparation included: a flow that needs more of it is left out.
    """

    name = ""
    package = ""
    commands_max = 1_000_000_000

    def operations(self, commands: list[Command]) -> list[Operation]:
        """The commands as calls; what can be built before is. Not repeatable: engines change the orders they are given.

        The book must get them in this order, all of them, since ids may be counted.
        """
        return [self.placing(one) if isinstance(one, Place) else self.canceling(one) for one in commands]  # type: ignore[arg-type]

    def placing(self, order: Place) -> Operation:
        """A limit order that rests with what it does not trade, or a market order that does not."""
        raise NotImplementedError

    def canceling(self, cancel: Cancel) -> Operation:
        """A cancel, which may come too late."""
        raise NotImplementedError

    def trades(self, results: list[Any]) -> list[Trade]:
        """The trades, out of what all the calls answered."""
        raise NotImplementedError

    def levels(self) -> tuple[Levels, Levels]:
        """Bids and asks as the book itself tells them."""
        raise NotImplementedError
