"""Reads Databento's market-by-order records (DBN) and finds in them what people did.

What follows from a fill (the C of an order that is used up, the M of one that got smaller) is no step, since the engine
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

from databento_dbn import DBNDecoder, DBNError, MBOMsg, Metadata

from shared.errors import InvalidInput
from workers.replay.exchange_event import SIDES, Aggressor, Events, ExchangeEvent, Record
from workers.replay.recorded_book import RecordedBook, RecordedOrder
from workers.replay.steps import Add, Aggress, Cancel, Market, Modify, Step, Unreadable

PRICE_UNIT = "0.000000001"
TICKS = {"ES": "0.25"}
"""Price steps of the products whose recordings may make an instrument of their own."""


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
        events = Events(found)
        try:
            for event in events:
                yield from self._event(event)
        except Unreadable:
            raise
        except InvalidInput as error:
            raise Unreadable(path, f"record {events.count}", str(error)) from error
        if events.rest:
            raise Unreadable(path, f"record {events.count}", "the file ends within an exchange event")
        yield from self._catch_up(0)

    def _event(self, event: ExchangeEvent) -> Iterator[Step]:
        if event.unclaimed or event.is_snapshot or self._shown is not None:
            self._fold(event)
            if event.is_snapshot:
                return
            if event.unclaimed or not self._book.crossed():
                yield from self._catch_up(event.records[-1].time)
        elif event.aggressors:
            yield from self._trading(event)
        else:
            yield from self._quiet(event)

    def _fold(self, event: ExchangeEvent) -> None:
        if self._shown is None:
            self._shown = dict(self._book.orders)
        for record in event.records:
            match record.action:
                case "A" | "M":
                    self._put(record)
                case "C":
                    self._book.reduce(record.order, record.size)
                case "R":
                    self._book.clear()
                case "T" | "F":
                    self.skipped["of an auction"] += 1

    def _put(self, record: Record) -> None:
        old = self._book.orders.get(record.order)
        filled = old.filled if old is not None else 0
        self._book.put(record.order, RecordedOrder(SIDES[record.side], record.price, record.size, 0, filled))

    def _quiet(self, event: ExchangeEvent) -> Iterator[Step]:
        """An event without a trade: every record is a step, unless they cross the book: then an auction is near."""
        crossing = any(self._book.would_cross(SIDES[one.side], one.price) for one in event.others("AM"))
        before = dict(self._book.orders) if crossing else None
        steps = [step for record in event.records for step in self._one(record)]
        if before is not None and self._book.crossed():
            self._shown = before
        else:
            yield from steps

    def _one(self, record: Record) -> Iterator[Step]:
        old = self._book.orders.get(record.order)
        match record.action:
            case "A":
                self._put(record)
                yield Add(record.order, record.time, SIDES[record.side], record.price, record.size)
            case "C" if old is not None:
                self._book.reduce(record.order, record.size)
                if record.order in self._book.orders:
                    left = old.quantity - record.size
                    yield Modify(record.order, record.time, old.side, old.price, left, True, old.filled)
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
        self._put(record)
        if old is None:
            yield Add(record.order, record.time, side, record.price, record.size)
        elif old[:3] != (side, record.price, record.size):
            keeps = old.price == record.price and record.size < old.quantity
            yield Modify(record.order, record.time, side, record.price, record.size, keeps, old.filled)
        else:
            self.skipped["modify without an effect"] += 1

    def _trading(self, event: ExchangeEvent) -> Iterator[Step]:
        """An event with trades: cancels without a fill, then the aggressors, then what is not explained by them."""
        for record in event.left_unfilled():
            yield from self._one(record)
        steps = [self._aggress(one, event.time) for one in event.aggressors.values()]
        yield from steps
        for order, quantity in event.filled.items():
            self._book.fill(order, quantity)
        for record in event.others():
            if record.action != "C" or record.order in self._book.orders:  # else used up by its fills, or gone before
                yield from self._one(record)
        for one, step in zip(event.aggressors.values(), steps, strict=True):
            given = event.filled.get(one.order, 0)
            if one.rests > given:
                filled = step.filled + one.taken + given
                self._book.put(one.order, RecordedOrder(one.side, one.price, one.rests - given, 0, filled))

    def _aggress(self, one: Aggressor, time: int) -> Aggress:
        """The order comes; or if it rests already, it leaves its place."""
        old = self._book.orders.get(one.order)
        filled = old.filled if old is not None else 0
        self._book.remove(one.order)
        return Aggress(one.order, time, one.side, one.price, one.quantity, one.rests > 0, filled)

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
