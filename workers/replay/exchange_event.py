"""What the records of one exchange event say: who took, whom it met, and what became of orders.

The records tell what the exchange did: A add, C cancel, M modify, T trade (the side, order id and size of an
aggressor), F fill of a resting order; flag 128 ends one exchange event, flag 32 marks an opening snapshot. The F
records of a T follow it; one of the aggressor itself says only that it rested before. A T without a side has no
aggressor: it is a call auction's, or of orders that were implied from other instruments.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from databento_dbn import UNDEF_PRICE

from shared.errors import InvalidInput
from shared.messages import Side

LAST = 128
SNAPSHOT = 32
SIDES: dict[str, Side] = {"B": "buy", "A": "sell"}


class Record(NamedTuple):
    """The part of a market-by-order record that matters."""

    action: str
    side: str
    price: int
    size: int
    order: int
    time: int
    flags: int


class Fill(NamedTuple):
    """What a resting order gave."""

    order: int
    price: int
    quantity: int


class Aggressor:
    """An order that took: its fills, as they are listed, and what of it rests.

    ``price`` is where it rests, else the worst it traded at; ``quantity`` is all that it asked for, as far as it shows.
    """

    def __init__(self, order: int, side: Side, price: int) -> None:
        self.order = order
        self.side = side
        self.price = price
        self.taken = 0
        self.rests = 0
        self.fills: list[Fill] = []

    @property
    def quantity(self) -> int:
        """Lots that it took, and that rest of it."""
        return self.taken + self.rests

    def traded(self, price: int, quantity: int) -> None:
        """A trade of it."""
        self.price = max(self.price, price) if self.side == "buy" else min(self.price, price)
        self.taken += quantity


class ExchangeEvent:
    """One exchange event. ``filled``: lots that each resting order gave, whoever took them."""

    def __init__(self, records: list[Record]) -> None:
        self.records = records
        self.time = records[0].time
        self.is_snapshot = bool(records[0].flags & SNAPSHOT)
        self.aggressors: dict[int, Aggressor] = {}
        self.unclaimed: list[Fill] = []
        """Fills of trades without an aggressor."""
        self.filled: dict[int, int] = {}
        self.starts_late = False
        """Its beginning is missing: there are fills before the first trade."""
        self._trades()
        self._rests()

    def _trades(self) -> None:
        taker: Aggressor | None = None
        traded = False
        for record in self.records:
            if record.action == "T":
                taker, traded = self._taker(record), True
            elif record.action == "F" and (taker is None or record.order != taker.order):
                fills = self.unclaimed if taker is None else taker.fills
                fills.append(Fill(record.order, record.price, record.size))
                self.filled[record.order] = self.filled.get(record.order, 0) + record.size
                self.starts_late = self.starts_late or not traded

    def _taker(self, record: Record) -> Aggressor | None:
        if record.side not in SIDES:
            return None
        if record.order not in self.aggressors:
            self.aggressors[record.order] = Aggressor(record.order, SIDES[record.side], record.price)
        self.aggressors[record.order].traded(record.price, record.size)
        return self.aggressors[record.order]

    def _rests(self) -> None:
        for record in self.records:
            one = self.aggressors.get(record.order) if record.action in "AM" else None
            if one is not None:
                one.price, one.rests = record.price, record.size + self.filled.get(record.order, 0)

    @property
    def is_uncrossing(self) -> bool:
        """Whether there are trades, and all without an aggressor."""
        return bool(self.unclaimed) and not self.aggressors

    def others(self, actions: str = "ACMR") -> Iterator[Record]:
        """The records of these actions that do not tell of an aggressor."""
        return (one for one in self.records if one.action in actions and one.order not in self.aggressors)

    def last_of(self, order: int) -> Record:
        """What became of an order: its last record."""
        return next(one for one in reversed(self.records) if one.order == order and one.action != "T")

    def left_unfilled(self) -> list[Record]:
        """Cancels of orders that neither gave nor took anything in this event."""
        return [one for one in self.others("C") if one.order not in self.filled]


class Events:
    """Groups records into exchange events. ``count``: records so far; ``rest``: those of an event without an end."""

    def __init__(self, found: Iterable[Record]) -> None:
        self._found = found
        self.count = 0
        self.rest: list[Record] = []

    def __iter__(self) -> Iterator[ExchangeEvent]:
        """Every event that ends. Raises ``InvalidInput`` for a record that makes no sense."""
        for record in self._found:
            self.count += 1
            check(record)
            self.rest.append(record)
            if record.flags & (LAST | SNAPSHOT):
                event, self.rest = ExchangeEvent(self.rest), []
                yield event


def check(record: Record) -> None:
    """Raises ``InvalidInput`` for an order or a trade that cannot be."""
    if record.action in "AM" and (record.side not in SIDES or record.price == UNDEF_PRICE or not record.size):
        raise InvalidInput(f"an order with side {record.side}, price {record.price}, size {record.size}")
    if record.action == "T" and record.side in SIDES and record.price == UNDEF_PRICE:
        raise InvalidInput("a trade without a price")
