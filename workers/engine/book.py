"""The order book of one instrument: a pure, deterministic state machine.

``apply`` decides (decisions.py and what it calls), ``fold`` follows what was decided (folding.py), both on one state
(state.py), which ``dump`` and ``load`` turn into bytes and back (snapshot.py). No clock, no I/O, no randomness, no
float.
"""

from typing import Self

from shared.messages import BookEntry, BookEvent, Cancel, Command, Place
from workers.engine import aftermath, auction, folding, plain, snapshot
from workers.engine.decisions import DECISIONS
from workers.engine.state import BookState


class OrderBook(BookState):
    """One instrument's book. See ``BookState`` for its attributes and views."""

    core = "python"
    """What its resting orders are made of; the compiled book says "compiled"."""
    decisions = DECISIONS
    """By type of command. Those of the book in Python take short ways through its own resting orders (plain.py)."""

    def __init__(self) -> None:
        super().__init__()
        self.decisions = plain.DECISIONS

    def apply(self, command: Command) -> list[BookEvent]:
        """Do what the command asks and say what happened: at least one event, refusals included."""
        time = command.time
        if time > self.time:
            self.time = time
        among_extras = self.extras
        if among_extras:
            return self._apply_among_extras(command)
        events = self.decisions[type(command)](self, command)
        if self.extras:  # it came with the first of them, and has not traded if that enters behind it
            self.reference = self.last_price
            aftermath.settle(self, events)
            self.reference = -1
        return events

    def _apply_among_extras(self, command: Command) -> list[BookEvent]:
        self.reference = self.last_price
        trade_id = self.trade_id
        events = aftermath.expire(self)
        is_quiet = not events and not self.lists.of_order and sets_nothing_off(command)
        events += self.decisions[type(command)](self, command)
        if not is_quiet or self.trade_id != trade_id:
            aftermath.settle(self, events)
        self.reference = -1
        self.extras = bool(self.stops.orders or self.lists.of_order or self.deadlines.heap)
        return events

    def decide(self, command: Command) -> list[BookEvent]:
        """What the command itself does; not what has to come before or behind it."""
        return self.decisions[type(command)](self, command)

    def indication(self) -> auction.Indication | None:
        """What an auction would trade if it ended now."""
        return auction.indication(self)

    def fold(self, event: BookEvent) -> None:
        """Follow one recorded event. Raises ``CorruptState`` if it does not follow on this state."""
        folding.fold(self, event)

    def fold_entry(self, entry: BookEntry) -> None:
        """Follow all that one command did."""
        self.time = entry.time
        for event in entry.events:
            folding.fold(self, event)

    def dump(self) -> bytes:
        """The state as bytes; the same state gives the same bytes."""
        return snapshot.dump(self)

    @classmethod
    def load(cls, content: bytes) -> Self:
        """The book that ``dump`` wrote. Raises ``CorruptState`` for bytes it did not write."""
        book = cls()
        snapshot.load(book, content)
        return book


def sets_nothing_off(command: Command) -> bool:
    """Whether a command that does not trade wakes no stop, in a book without lists: most do neither."""
    return type(command) is Cancel or (type(command) is Place and command.conditions is None)
