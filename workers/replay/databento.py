"""Reads Databento's market-by-order records (DBN) and finds in them what people did.

The records tell what the exchange did: A add, C cancel, M modify, T trade (the side, order id and size of an
aggressor), F fill of a resting order; flag 128 ends one exchange event, flag 32 marks the opening snapshot. What
follows from a fill (the C of an order that is used up, the M of one that got smaller) is no step, since the engine
does it. Two things are inferred:

- An aggressor is an order for the sum of its trades, up to the worst of their prices. If an A or M of the same order
  is in the event, its rest rests at that price; else it is immediate-or-cancel.
- An order that is cancelled without a fill in the event of a trade went first (self-match prevention took it out of
  the aggressor's way), so its cancel comes before the aggressor.

Around a call auction (the snapshot, the pre-opening) the book is crossed, which only an auction may be. While it is,
the records are only folded; when it is over, the difference becomes steps. So auctions are not replayed, but the book
is right after them.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from databento_dbn import UNDEF_PRICE, DBNDecoder, DBNError, MBOMsg, Metadata

from shared.errors import InvalidInput
from shared.messages import Side
from workers.replay.recorded_book import RecordedBook, RecordedOrder
from workers.replay.steps import Add, Aggress, Cancel, Market, Modify, Step, Unreadable

PRICE_UNIT = "0.000000001"
LAST = 128
SNAPSHOT = 32
SIDES: dict[str, Side] = {"B": "buy", "A": "sell"}
TICKS = {"ES": "0.25"}
"""Price steps of the products whose recordings may make an instrument of their own."""
AUCTION = "N"


class Record(NamedTuple):
    """The part of an MBO record that matters."""

    action: str
    side: str
    price: int
    size: int
    order: int
    time: int
    flags: int


class _Aggressor:
    """One aggressor of an event: its trades, and its rest."""

    def __init__(self, side: Side, price: int) -> None:
        self.side = side
        self.price = price
        self.quantity = 0
        self.rests = False

    def traded(self, price: int, quantity: int) -> None:
        worse = max if self.side == "buy" else min
        self.price = worse(self.price, price)
        self.quantity += quantity

    def rested(self, price: int, quantity: int) -> None:
        self.price = price
        self.quantity += quantity
        self.rests = True


def market_of(path: str, metadata: Metadata) -> Market:
    """What a recording's header says of its instrument. Raises ``Unreadable``."""
    if str(metadata.schema) != "mbo":
        raise Unreadable(path, "header", f"holds {metadata.schema} records, not mbo (market by order)")
    symbols = metadata.symbols
    if len(symbols) != 1:
        raise Unreadable(path, "header", f"holds {len(symbols)} instruments; a replay feeds one")
    product = symbols[0][:-2]  # a future's last two characters are month and year: ESH4
    known = product in TICKS
    return Market(
        "Databento MBO", f"{product}-USD" if known else "", TICKS[product] if known else "", "1" if known else "",
        PRICE_UNIT, "1",
    )  # fmt: skip


def records(path: str, chunks: Iterable[bytes]) -> Iterator[Metadata | Record]:
    """The header, then every record of a file. Raises ``Unreadable`` naming the record."""
    decoder = DBNDecoder()
    count = 0
    try:
        for chunk in chunks:
            decoder.write(chunk)
            for found in decoder.decode():
                if isinstance(found, Metadata):
                    yield found
                elif isinstance(found, MBOMsg):
                    count += 1
                    yield Record(
                        str(found.action), str(found.side), found.price, found.size, found.order_id, found.ts_event,
                        int(found.flags),
                    )  # fmt: skip
        rest = decoder.buffer()
    except DBNError as error:
        raise Unreadable(path, f"after record {count}", f"not DBN: {error}") from error
    if rest:
        raise Unreadable(path, f"after record {count}", f"the file ends within a record ({len(rest)} bytes are left)")


class DatabentoFlow:
    """Turns records into steps. ``skipped`` counts the records and orders that are none, by why."""

    def __init__(self) -> None:
        self.skipped: Counter[str] = Counter()
        self._book = RecordedBook()
        self._shown: dict[int, RecordedOrder] | None = {}
        """While the book is only folded: the orders that steps have told of. ``None`` in continuous trading."""

    def steps(self, path: str, found: Iterable[Record]) -> Iterator[Step]:
        """The steps of a file's records. Raises ``Unreadable`` naming the record."""
        event: list[Record] = []
        count = 0
        try:
            for count, record in enumerate(found, start=1):  # noqa: B007  # named when a record is bad
                _check(record)
                event.append(record)
                if record.flags & (LAST | SNAPSHOT):
                    yield from self._event(event)
                    event = []
        except Unreadable:
            raise
        except InvalidInput as error:
            raise Unreadable(path, f"record {count}", str(error)) from error
        if event:
            raise Unreadable(path, f"record {count}", "the file ends within an exchange event")
        yield from self._catch_up(0)

    def _event(self, event: list[Record]) -> Iterator[Step]:
        trades = [record for record in event if record.action == "T"]
        auction = any(record.side == AUCTION for record in trades)
        if auction or event[0].flags & SNAPSHOT or self._shown is not None:
            self._fold(event)
            if event[0].flags & SNAPSHOT:
                return
            if auction or not self._book.crossed():
                yield from self._catch_up(event[-1].time)
        elif trades:
            yield from self._trading(event)
        else:
            yield from self._quiet(event)

    def _fold(self, event: list[Record]) -> None:
        for record in event:
            match record.action:
                case "A" | "M":
                    self._book.put(record.order, SIDES[record.side], record.price, record.size)
                case "C":
                    self._book.reduce(record.order, record.size)
                case "R":
                    self._book.clear()
                case "T" | "F":
                    self.skipped["of an auction"] += 1

    def _quiet(self, event: list[Record]) -> Iterator[Step]:
        """An event without a trade: every record is a step, unless they cross the book: then an auction is near."""
        crossing = any(self._book.would_cross(SIDES[r.side], r.price) for r in event if r.action in "AM")
        before = dict(self._book.orders) if crossing else None
        steps = [step for record in event for step in self._one(record)]
        if before is not None and self._book.crossed():
            self._shown = before
        else:
            yield from steps

    def _one(self, record: Record) -> Iterator[Step]:
        old = self._book.orders.get(record.order)
        match record.action:
            case "A":
                self._book.put(record.order, SIDES[record.side], record.price, record.size)
                yield Add(record.order, record.time, SIDES[record.side], record.price, record.size)
            case "C" if old is not None:
                self._book.reduce(record.order, record.size)
                if record.order in self._book.orders:
                    yield Modify(record.order, record.time, old.side, old.price, old.quantity - record.size, True)
                else:
                    yield Cancel(record.order, record.time)
            case "M":
                yield from self._modified(record, old)
            case "R":
                yield from [Cancel(order, record.time) for order in self._book.orders]
                self._book.clear()
            case _:
                self.skipped["cancel of an unknown order"] += 1

    def _modified(self, record: Record, old: RecordedOrder | None) -> Iterator[Step]:
        side = SIDES[record.side]
        self._book.put(record.order, side, record.price, record.size)
        if old is None:
            yield Add(record.order, record.time, side, record.price, record.size)
        elif old != (side, record.price, record.size):
            keeps = old.price == record.price and record.size < old.quantity
            yield Modify(record.order, record.time, side, record.price, record.size, keeps)
        else:
            self.skipped["modify without an effect"] += 1

    def _trading(self, event: list[Record]) -> Iterator[Step]:
        """An event with trades: cancels without a fill, then the aggressors, then what is not explained by them."""
        aggressors, filled, others = _sorted_out(event)
        for record in list(others):
            if record.action == "C" and record.order not in filled and record.order not in aggressors:
                yield from self._one(record)
                others.remove(record)
        for order, one in aggressors.items():
            if order in self._book.orders:
                self._book.remove(order)
                yield Cancel(order, event[0].time)
            yield Aggress(order, event[0].time, one.side, one.price, one.quantity, one.rests)
        for order, quantity in filled.items():
            self._book.reduce(order, quantity)
        for record in others:
            if record.action == "C" and record.order not in self._book.orders:
                continue  # used up by its fills, or an aggressor that left the book
            yield from self._one(record)
        for record in event:
            if record.action in "AM" and record.order in aggressors:
                self._book.put(record.order, SIDES[record.side], record.price, record.size)

    def _catch_up(self, time: int) -> Iterator[Step]:
        """Steps from what steps have told of to the book as it stands. Afterwards trading is continuous."""
        if self._shown is None:
            return
        for order, old in self._shown.items():
            if self._book.orders.get(order) != old:
                yield Cancel(order, time)
        for order, now in self._book.orders.items():
            if self._shown.get(order) != now:
                yield Add(order, time, now.side, now.price, now.quantity)
        self._shown = None


def _check(record: Record) -> None:
    if record.action in "AM" and (record.side not in SIDES or record.price == UNDEF_PRICE or not record.size):
        raise InvalidInput(f"an order with side {record.side}, price {record.price}, size {record.size}")
    if record.action == "T" and record.side in SIDES and record.price == UNDEF_PRICE:
        raise InvalidInput("a trade without a price")


def _sorted_out(event: list[Record]) -> tuple[dict[int, _Aggressor], dict[int, int], list[Record]]:
    """Aggressors in order, quantity filled per resting order, and the A, C and M records of other orders."""
    aggressors: dict[int, _Aggressor] = {}
    filled: dict[int, int] = {}
    others = []
    for record in event:
        if record.action == "T":
            one = aggressors.setdefault(record.order, _Aggressor(SIDES[record.side], record.price))
            one.traded(record.price, record.size)
    for record in event:
        if record.action == "F" and record.order not in aggressors:
            filled[record.order] = filled.get(record.order, 0) + record.size
        elif record.action in "AM" and record.order in aggressors:
            aggressors[record.order].rested(record.price, record.size)
        elif record.action in "ACM":
            others.append(record)
    return aggressors, filled, others
