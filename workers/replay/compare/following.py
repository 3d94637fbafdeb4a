"""How the records of an exchange event change the recorded book."""

from collections.abc import Mapping
from typing import NamedTuple

from workers.replay.exchange_event import SIDES, ExchangeEvent, Record
from workers.replay.recorded_book import RecordedBook, RecordedOrder


class Iceberg(NamedTuple):
    """An order that hides quantity: lots it has beyond what it shows first, and lots that it shows at a time."""

    hidden: int
    display: int


def follow(book: RecordedBook, event: ExchangeEvent, icebergs: Mapping[int, Iceberg]) -> None:
    """Do to the book what the records say.

    An M after fills that took all an order showed is the next part of an iceberg, which goes to the back.
    """
    for record in event.records:
        match record.action:
            case "A" | "M":
                come(book, event, record, icebergs)
            case "C":
                book.reduce(record.order, record.size)
            case "R":
                book.clear()
    for order in event.filled.keys() - {record.order for record in event.records if record.action in "ACM"}:
        book.reduce(order, event.filled[order])


def come(book: RecordedBook, event: ExchangeEvent, record: Record, icebergs: Mapping[int, Iceberg]) -> None:
    """An order is added, or modified. What a fill reveals of an iceberg is hidden no longer."""
    old = book.orders.get(record.order)
    given = event.filled.get(record.order, 0)
    refreshed = False
    if old is None:
        hidden = icebergs[record.order].hidden if record.order in icebergs else 0
    elif given and record.order not in event.aggressors:
        hidden = max(0, old.hidden + old.quantity - given - record.size)
        refreshed = given >= old.quantity
    else:
        hidden = old.hidden
    book.put(record.order, RecordedOrder(SIDES[record.side], record.price, record.size, hidden), behind=refreshed)
