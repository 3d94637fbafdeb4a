"""Orders that rested before the recording began, and in which order of priority.

A fill or a cancel of an unknown order tells that it rested before, at that price; those of one price have priority in
the order in which they are first touched so. A modified order that was unknown is uncertain: it came to its price just
then, or it only got smaller and kept its place. The latter is proved by a fill before somebody who stood there first.
"""

from collections.abc import Container
from itertools import takewhile

import msgspec

from workers.replay.exchange_event import SIDES, Aggressor, ExchangeEvent, Fill, Record
from workers.replay.recorded_book import RecordedBook, RecordedOrder


class _Uncertain(msgspec.Struct):
    """An order that was unknown when it was modified. ``touched``: number of its first fill since, 0 before that."""

    order: RecordedOrder
    touched: int = 0
    proved: bool = False


class EarlierOrders:
    """What one part of a recording tells of the orders that rested before it."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[int, RecordedOrder]] = {}
        """Order -> number of its first touch, what it was."""
        self._uncertain: dict[int, _Uncertain] = {}
        self._touches = 0

    def in_priority(self) -> dict[int, RecordedOrder]:
        """The orders; those of one price by priority."""
        found = dict(self._known)
        book = RecordedBook()
        for order, (_, known) in found.items():
            book.put(order, known)
        collecting = book.crossed()
        for order, one in self._uncertain.items():
            if one.proved and (collecting or not book.would_cross(one.order.side, one.order.price)):
                found[order] = one.touched, one.order
        return {order: one for order, (_, one) in sorted(found.items(), key=lambda item: item[1][0])}

    def learn(self, event: ExchangeEvent, book: RecordedBook) -> None:
        """Look for orders that the book does not have, put them on it, and see who goes before whom."""
        own = {record.order: record for record in event.others("CM")}
        for record in event.left_unfilled():  # self-match prevention takes away who would have been filled next
            self._touched(record, record.size, book)
        for fills in (event.unclaimed, *(one.fills for one in event.aggressors.values())):
            self._filled(event, fills, book)
        for record in own.values():
            if record.action == "M" and record.order not in event.filled:
                self._modified(record, book)
        for order in event.aggressors:
            self._uncertain.pop(order, None)
        self._prove(list(event.aggressors.values()), {*event.filled, *own}, book)

    def _filled(self, event: ExchangeEvent, fills: list[Fill], book: RecordedBook) -> None:
        """The makers of one aggressor. Of those it fills at a price, the list does not tell who was before the last."""
        earlier = self._touches
        last = {fill.price: fill.order for fill in fills}
        for fill in fills:
            one = self._uncertain.get(fill.order)
            if one is not None and not one.touched:
                one.touched = self._count()
            record = event.last_of(fill.order)
            if record.action != "A" and fill.order not in event.aggressors:  # else it came in this event
                shown = record.size + event.filled[fill.order] if record.action == "M" else record.size
                self._touched(record, shown, book, earlier if fill.order == last[fill.price] else None)

    def _touched(self, record: Record, shown: int, book: RecordedBook, until: int | None = None) -> None:
        """An order was filled or canceled. If it was unknown, it rested before.

        So did who was filled there earlier: ``until`` that touch, where the list of fills tells no order after it.
        """
        if record.order in book.orders or record.side not in SIDES:
            return
        one = RecordedOrder(SIDES[record.side], record.price, shown)
        self._known[record.order] = self._count(), one
        book.put(record.order, one)
        for other in self._uncertain.values():
            if 0 < other.touched <= (self._touches if until is None else until) and other.order[:2] == one[:2]:
                other.proved = True

    def _modified(self, record: Record, book: RecordedBook) -> None:
        uncertain = self._uncertain.get(record.order)
        if record.order not in book.orders:
            was = RecordedOrder(SIDES[record.side], record.price, record.size + 1)
            self._uncertain[record.order] = _Uncertain(was)
        elif uncertain is not None and not uncertain.touched and record.price != uncertain.order.price:
            del self._uncertain[record.order]

    def _prove(self, takers: list[Aggressor], touched: Container[int], book: RecordedBook) -> None:
        """Who is filled before one that stood at its price when it was modified, has kept its place.

        That one is not filled at all, or by a later aggressor, or listed behind; but not as the last at its price,
        where icebergs are listed.
        """
        later: set[int] = set()
        for taker in reversed(takers):
            for place, fill in enumerate(taker.fills):
                uncertain = self._uncertain.get(fill.order)
                if uncertain is None or uncertain.proved:
                    continue
                behind = [one.order for one in taker.fills[place + 1 :] if one.price == fill.price][:-1]
                ahead = takewhile(fill.order.__ne__, book.level(uncertain.order.side, uncertain.order.price))
                uncertain.proved = any(one not in touched or one in later or one in behind for one in ahead)
            later |= {fill.order for fill in taker.fills}

    def _count(self) -> int:
        self._touches += 1
        return self._touches
