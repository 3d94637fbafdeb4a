"""A first reading of a recording: what it tells of its orders later than an engine has to know it.

- **Owners.** An order that is cancelled without a fill, in the event of an aggressor (or of a new order) that would
  have met it, is the aggressor's own: self-match prevention took it away. So both get one account.
- **Icebergs.** An order that gives more than it shows, or shows new quantity after all it showed was taken, hides
  quantity: as much as it reveals later, in parts of the largest quantity it shows.
- **Orders from before** the recording: see ``earlier.py``.
- **The tick**: the greatest common divisor of all prices.
"""

from collections.abc import Callable, Iterable
from math import gcd

import msgspec
from databento_dbn import UNDEF_PRICE

from shared.errors import InvalidInput
from workers.replay.compare.earlier import EarlierOrders
from workers.replay.compare.following import Iceberg, follow
from workers.replay.compare.owners import Owners
from workers.replay.exchange_event import SIDES, Events, ExchangeEvent, Record
from workers.replay.recorded_book import RecordedBook, RecordedOrder
from workers.replay.steps import Unreadable

TELL_EVERY = 256
"""Events after which progress is told."""

Progress = Callable[[int, int], None]
"""Told (records read, records in all; 0: not known yet) now and then."""


class Knowledge(msgspec.Struct):
    """What the first reading found. Prices are as in the recording, also of the orders from before.

    ``owners``: order -> account, of orders that share one. ``before``: the orders that rested before, for each part of
    the recording; a part ends where the recording clears the book.
    """

    records: int = 0
    trades: bool = False
    tick: int = 0
    owners: dict[int, int] = {}
    icebergs: dict[int, Iceberg] = {}
    before: list[dict[int, RecordedOrder]] = []


def gather(path: str, found: Iterable[Record], progress: Progress) -> Knowledge:
    """Read all records. Raises ``Unreadable`` naming a record that makes no sense."""
    events = Events(found)
    reading = _Reading()
    try:
        for number, event in enumerate(events):
            reading.take(event)
            if number % TELL_EVERY == 0:
                progress(events.count, 0)
    except Unreadable:
        raise
    except InvalidInput as error:
        raise Unreadable(path, f"record {events.count}", str(error)) from error
    known = reading.found
    known.records = events.count
    known.owners = reading.owners.accounts()
    for part in reading.parts:
        known.before.append({order: _with_hidden(known, order, one) for order, one in part.in_priority().items()})
    if not known.trades:
        raise Unreadable(path, "", f"there are no trades in its {events.count:,} records, so nothing to compare with")
    return known


def _with_hidden(known: Knowledge, order: int, one: RecordedOrder) -> RecordedOrder:
    """An order from before, with what it hid. If it was thought to show more than a part, a fill had refreshed it."""
    if order not in known.icebergs:
        return one
    hidden, display = known.icebergs[order]
    refreshed = (one.quantity - 1) // display * display
    return one._replace(quantity=one.quantity - refreshed, hidden=hidden + refreshed)


class _Reading:
    """The state of a first reading."""

    def __init__(self) -> None:
        self.found = Knowledge()
        self.owners = Owners()
        self.parts = [EarlierOrders()]
        self._book = RecordedBook()

    def take(self, event: ExchangeEvent) -> None:
        """Learn from one event."""
        self.found.trades = self.found.trades or bool(event.filled)
        for record in event.records:
            if record.action == "R":
                self.parts.append(EarlierOrders())
            elif record.price != UNDEF_PRICE:
                self.found.tick = gcd(self.found.tick, record.price)
                if record.price <= 0:
                    raise InvalidInput("a price that is not above 0; the order book takes only such prices")
        self.parts[-1].learn(event, self._book)
        self._learn_owners(event)
        self._learn_icebergs(event)
        follow(self._book, event, {})

    def _learn_owners(self, event: ExchangeEvent) -> None:
        comers = [(one.order, one.side, one.price) for one in event.aggressors.values()]
        if not comers and not event.unclaimed:
            comers = [(one.order, SIDES[one.side], one.price) for one in event.others("AM")]
        if not comers:
            return
        for gone in event.left_unfilled():
            for order, side, price in comers:
                if SIDES.get(gone.side) != side and (gone.price <= price if side == "buy" else gone.price >= price):
                    self.owners.take_away(gone.order, order)
                    break

    def _learn_icebergs(self, event: ExchangeEvent) -> None:
        if not event.filled:
            return
        last = {one.order: one for one in event.others("CM")}
        for order, given in event.filled.items():
            old = self._book.orders.get(order)
            if old is None or order in event.aggressors:
                continue
            after = old.quantity - given
            if order in last:
                after = last[order].size if last[order].action == "M" else max(0, old.quantity - last[order].size)
            revealed = given + after - old.quantity
            if revealed > 0:
                known = self.found.icebergs.get(order, Iceberg(0, old.quantity))
                self.found.icebergs[order] = Iceberg(known.hidden + revealed, max(known.display, after, old.quantity))
