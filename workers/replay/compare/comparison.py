"""The second reading of a recording: the engine gets what people did, and its fills are compared with the recorded.

For each exchange event: the commands that people gave, in their order; the fills of each aggressor, as the engine made
them and as they are recorded; then the engine's book is mended where it differs from the recorded one.
"""

from collections.abc import Iterable

from shared.messages import BookEvent
from workers.replay.compare.auctions import unseen_orders
from workers.replay.compare.findings import Findings
from workers.replay.compare.following import follow
from workers.replay.compare.knowledge import TELL_EVERY, Knowledge, Progress
from workers.replay.compare.mirror import Mirror
from workers.replay.exchange_event import SIDES, Aggressor, Events, ExchangeEvent, Record
from workers.replay.recorded_book import RecordedBook


class Comparison:
    """An engine's book that goes along with a recording."""

    def __init__(self, known: Knowledge, findings: Findings) -> None:
        self._known = known
        self._findings = findings
        self.recorded = RecordedBook()
        self.mirror = Mirror(self.recorded, known.owners, known.icebergs)
        self._parts = iter(known.before)

    def run(self, found: Iterable[Record], progress: Progress) -> None:
        """Compare all events of the recording, which was read before."""
        events = Events(record._replace(price=record.price // self._known.tick) for record in found)
        self._start_part()
        for number, event in enumerate(events, start=1):
            self._take(event)
            if number % TELL_EVERY == 0:
                progress(events.count, self._known.records)
        self._findings.left_out("records of an event without an end", len(events.rest))

    def _start_part(self) -> None:
        """What rested before the recording, or before the book was cleared and told anew."""
        orders = next(self._parts)
        self._findings.from_before = set(orders)
        for order, one in orders.items():
            self.recorded.put(order, one._replace(price=one.price // self._known.tick))
            self.mirror.touch(order)
        self._collect_if_crossed(0)
        self.mirror.mend()

    def _take(self, event: ExchangeEvent) -> None:
        follow(self.recorded, event, self._known.icebergs)
        good = True
        if event.starts_late:
            self._findings.left_out("fills whose aggressor is before the recording", len(event.filled))
        elif event.unclaimed and self.mirror.in_auction():
            self._uncross(event)
        elif event.aggressors or event.unclaimed:
            good = self._trading(event)
        else:
            good = self._quiet(event)
        cleared = self._touch(event)
        wrong = self.mirror.mend()
        if cleared:
            self._start_part()
        else:
            self._findings.mended(event, wrong, after_exception=not good)

    def _touch(self, event: ExchangeEvent) -> bool:
        """Tell what the recording did. Returns whether it cleared the book."""
        modified, cleared = self._findings.modified, False
        for record in event.records:
            self.mirror.touch(record.order)
            if record.action == "M" and record.order not in event.filled:
                modified.add(record.order)
            elif record.action == "C":
                modified.discard(record.order)
            elif record.action == "R":
                self.mirror.touch(*self.mirror.book.orders)
                cleared = True
        return cleared

    # --- commands -------------------------------------------------------------------------------

    def _uncross(self, event: ExchangeEvent) -> None:
        """An auction ends. Orders that only its fills tell of come before."""
        self._cancel(event.left_unfilled())
        resting = self.mirror.book.orders
        known = {fill.order: resting[fill.order] for fill in event.unclaimed if fill.order in resting}
        unseen = unseen_orders(event.unclaimed, {order: (one.side, one.price) for order, one in known.items()})
        for one in unseen:
            rest = self.recorded.orders.get(one.order)
            left = one.filled + (rest.quantity + rest.hidden if rest is not None else 0)
            self.mirror.place(one.order, one.side, rest.price if rest is not None else one.price, left, event.time)
        self._findings.auction(event, self.mirror.leave_auction(event.time), len(unseen))
        for record in event.others("AM"):
            if record.order not in event.filled:
                self._come(record)

    def _quiet(self, event: ExchangeEvent) -> bool:
        """Orders come, change and go. If that crosses the book, they collect for an auction."""
        self._collect_if_crossed(event.time)
        events = [one for record in event.others("AM") for one in self._come(record)]
        self._cancel(event.left_unfilled())
        if not self.recorded.crossed():
            self.mirror.leave_auction(event.time)
        return self._findings.engine_only(event, events)

    def _trading(self, event: ExchangeEvent) -> bool:
        """Aggressors come. The engine has to prevent their self-matches; only what it leaves of them is canceled."""
        self.mirror.leave_auction(event.time)
        good, events = True, []
        if event.unclaimed:
            good = self._without_aggressor(event)
        for one in event.aggressors.values():
            events += (happened := self._aggress(one, event.time))
            good = self._findings.aggressor(event, one, happened) and good
        self._cancel(event.left_unfilled())
        for record in event.others("AM"):
            if record.order not in event.filled:
                events += self._come(record)
        return self._findings.engine_only(event, events) and good

    def _aggress(self, one: Aggressor, time: int) -> list[BookEvent]:
        resting = self.recorded.orders.get(one.order)
        left = one.quantity + (resting.hidden if resting is not None else 0)
        if one.order in self.mirror.book.orders:
            return self.mirror.amend(one.order, one.price, left, time)
        return self.mirror.place(one.order, one.side, one.price, left, time, rests=one.rests > 0)

    def _without_aggressor(self, event: ExchangeEvent) -> bool:
        """Trades that came from orders of other instruments: if they took from one side, as one order would."""
        resting = self.mirror.book.orders
        sides = {resting[fill.order].side for fill in event.unclaimed if fill.order in resting}
        if sides not in ({"buy"}, {"sell"}):
            self._findings.unclaimed(event)
            return False
        taker = Aggressor(0, "sell" if sides == {"buy"} else "buy", event.unclaimed[0].price)
        for fill in event.unclaimed:
            taker.traded(fill.price, fill.quantity)
        taker.fills = event.unclaimed
        return self._findings.aggressor(event, taker, self._aggress(taker, event.time))

    def _come(self, record: Record) -> list[BookEvent]:
        """An order comes, or is modified, without having been filled in this event."""
        wanted, resting = self.recorded.orders.get(record.order), self.mirror.book.orders.get(record.order)
        left = record.size + (wanted.hidden if wanted is not None else 0)
        if resting is None:
            return self.mirror.place(record.order, SIDES[record.side], record.price, left, record.time)
        if (resting.price, resting.left()) == (record.price, left):
            return []
        return self.mirror.amend(record.order, record.price, left, record.time)

    def _cancel(self, gone: Iterable[Record]) -> None:
        for record in gone:
            resting = self.mirror.book.orders.get(record.order)
            if resting is not None and resting.remaining > record.size:
                self.mirror.amend(record.order, resting.price, resting.left() - record.size, record.time)
            elif resting is not None:
                self.mirror.cancel(record.order, record.time)

    def _collect_if_crossed(self, time: int) -> None:
        """A book that is crossed without trades is one of orders that collect for an auction."""
        if self.recorded.crossed():
            self.mirror.enter_auction(time)
