"""The engine's book, kept like the recorded one.

Commands are what people did; what the engine does about them is its own. Where its book then differs from the recorded
one, ``mend`` brings it back, by folding events as a recovery does: so one odd event is one difference and no cascade.
"""

from collections.abc import Mapping

import msgspec

from shared.instrument import make_instrument
from shared.messages import (
    Amend,
    BookEvent,
    Cancel,
    Command,
    Conditions,
    Configure,
    Done,
    Match,
    Open,
    Place,
    Received,
    Side,
)
from workers.engine.book import OrderBook
from workers.replay.compare.following import Iceberg
from workers.replay.recorded_book import RecordedBook, RecordedOrder

ONLINE = make_instrument("RECORDED-UNIT", "1", "1")
"""The rules of the engine's book. Prices come in ticks and quantities in lots already, and nobody pays."""
AUCTION = msgspec.structs.replace(ONLINE, mode="auction")

Level = tuple[Side, int]


class Mirror:
    """An order book of the engine beside a recorded one; both count prices in the same ticks."""

    def __init__(self, recorded: RecordedBook, owners: Mapping[int, int], icebergs: Mapping[int, Iceberg]) -> None:
        self.book = OrderBook()
        self.book.apply(Configure(ONLINE, 0))
        self._recorded = recorded
        self._owners = owners
        self._icebergs = icebergs
        self._touched: set[int] = set()
        """Orders that something was done to since the last ``mend``."""

    # --- what people did ------------------------------------------------------------------------

    def enter_auction(self, time: int) -> None:
        """From here on orders collect."""
        if self.in_auction():
            return
        self._apply(Configure(AUCTION, time))

    def leave_auction(self, time: int) -> list[BookEvent]:
        """Trade continuously; what has collected is uncrossed."""
        return self._apply(Configure(ONLINE, time)) if self.in_auction() else []

    def in_auction(self) -> bool:
        """Whether orders collect."""
        return self.book.instrument is AUCTION

    def place(self, order: int, side: Side, price: int, left: int, time: int, *, rests: bool = True) -> list[BookEvent]:
        """An order comes for ``left`` lots, hidden ones included."""
        conditions = self._conditions(order, left) if rests else None
        return self._apply(
            Place(
                order, self._account(order), time, side, "limit", price, left, 0, "GTC" if rests else "IOC", stp="co",
                conditions=conditions,
            )
        )  # fmt: skip

    def amend(self, order: int, price: int, left: int, time: int) -> list[BookEvent]:
        """A resting order is to have ``left`` lots, hidden ones included, at a price."""
        resting = self.book.orders[order]
        total = resting.quantity - resting.left() + left
        return self._apply(Amend(order, resting.account, time, price, total))

    def cancel(self, order: int, time: int) -> None:
        """A resting order goes."""
        self._apply(Cancel(order, self._account(order), time))

    def touch(self, *orders: int) -> None:
        """Something happened to these orders by the recording."""
        self._touched.update(orders)

    def _apply(self, command: Command) -> list[BookEvent]:
        events = self.book.apply(command)
        for event in events:
            if isinstance(event, Match):
                self._touched |= {event.maker_order_id, event.taker_order_id}
            elif isinstance(event, Open | Done):
                self._touched.add(event.order_id)
        return events

    def _account(self, order: int) -> int:
        return self._owners.get(order, order)

    def _conditions(self, order: int, left: int) -> Conditions | None:
        iceberg = self._icebergs.get(order)
        return Conditions(display_quantity=min(iceberg.display, left)) if iceberg else None

    # --- what differs ---------------------------------------------------------------------------

    def mend(self) -> list[int]:
        """Make the book equal the recorded one where something happened.

        Returns the orders that differed, or where none did, those of the levels that had another order of priority.
        """
        pairs = [(order, self._found(order), self._wanted(order)) for order in self._touched]
        wrong = [order for order, found, wanted in pairs if found != wanted]
        touched = {(one.side, one.price) for _, *two in pairs for one in two if one is not None}
        levels = {level for level in touched if self._differs(level)}
        moved = [order for level in levels for order in self._recorded.level(*level)]
        self._touched.clear()
        self._rebuild(levels)
        return wrong or moved

    def _differs(self, level: Level) -> bool:
        queue, wanted = self._queue(level), list(self._recorded.level(*level))
        return queue != wanted or any(self._found(order) != self._wanted(order) for order in queue)

    def _found(self, order: int) -> RecordedOrder | None:
        one = self.book.orders.get(order)
        return RecordedOrder(one.side, one.price, one.remaining, one.hidden) if one is not None else None

    def _wanted(self, order: int) -> RecordedOrder | None:
        return self._recorded.orders.get(order)

    def _queue(self, level: Level) -> list[int]:
        found = self.book.side(level[0]).levels.get(level[1])
        return [one.order_id for one in found.living()] if found is not None else []

    def _rebuild(self, levels: set[Level]) -> None:
        """Take off what stands wrong, and what stands behind it; then put all in its order."""
        missing = []
        for level in levels:
            queue, wanted = self._queue(level), list(self._recorded.level(*level))
            same = 0
            for have, want in zip(queue, wanted, strict=False):
                if have != want or self._found(have) != self._wanted(want):
                    break
                same += 1
            for order in queue[same:]:
                self._take_off(order)
            missing += wanted[same:]
        for order in missing:
            if order in self.book.orders:  # at another level
                self._take_off(order)
            self._put(order)

    def _take_off(self, order: int) -> None:
        one = self.book.orders[order]
        self.book.fold(Done(self.book.sequence + 1, order, one.account, one.side, "canceled", one.price, one.left()))

    def _put(self, order: int) -> None:
        """Rest the recorded order at the back of its level, showing what it shows."""
        one, account = self._recorded.orders[order], self._account(order)
        sequence, left = self.book.sequence, one.quantity + one.hidden
        conditions = self._conditions(order, left)
        self.book.fold(
            Received(
                sequence + 1, order, account, one.side, "limit", one.price, left, stp="co", conditions=conditions
            )
        )  # fmt: skip
        self.book.fold(Open(sequence + 2, order, account, one.side, one.price, one.quantity, one.hidden))
