"""Matchbox's own books, as the benchmark's engines: the plain Python one, and the compiled one where it is built."""

from importlib import import_module
from typing import Any

from benchmarks.flow import INSTRUMENT
from benchmarks.peers.engine import Engine, Levels, Operation, Trade
from shared.messages import Cancel, Command, Configure, Match, Place
from workers.engine.book import OrderBook


class Matchbox(Engine):
    """The core in plain Python."""

    name = "matchbox (python)"
    book_class: type[OrderBook] = OrderBook

    def __init__(self) -> None:
        self.book = self.book_class()
        self.book.apply(Configure(INSTRUMENT, 1))

    def operations(self, commands: list[Command]) -> list[Operation]:
        """``apply`` with each command, whatever it is."""
        apply = self.book.apply
        return [(apply, command) for command in commands]

    def placing(self, order: Place) -> Operation:
        """``apply``."""
        return self.book.apply, order

    def canceling(self, cancel: Cancel) -> Operation:
        """``apply``."""
        return self.book.apply, cancel

    def trades(self, results: list[Any]) -> list[Trade]:
        """The matches among all events."""
        return [
            Trade(event.maker_order_id, event.taker_order_id, event.price, event.quantity)
            for events in results
            for event in events
            if isinstance(event, Match)
        ]

    def levels(self) -> tuple[Levels, Levels]:
        """The totals it keeps."""
        bids, asks = ({price: quantity for price, quantity, _ in self.book.levels(side)} for side in ("buy", "sell"))
        return bids, asks


def ours() -> list[type[Matchbox]]:
    """The engines of this checkout; the compiled one only if it is built."""
    try:
        module = import_module("workers.engine.compiled")
    except ModuleNotFoundError:
        return [Matchbox]

    class Compiled(Matchbox):
        name = "matchbox (compiled)"
        book_class = module.OrderBook

    return [Matchbox, Compiled]
