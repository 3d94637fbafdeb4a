"""Judges each aggressor and auction, and keeps the report."""

from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Decimal

from shared.instrument import plain
from shared.messages import BookEvent, Done, Match
from workers.replay.compare.knowledge import Knowledge
from workers.replay.compare.listing import has_one_listed_last, listed, recorded
from workers.replay.compare.report import Auction, Cause, Exceptional, Report
from workers.replay.exchange_event import Aggressor, ExchangeEvent, Fill

NS = 1_000_000_000


class Findings:
    """What was found so far. ``price_unit``: the recording's unit of price, as decimal text."""

    def __init__(self, file: str, known: Knowledge, price_unit: str) -> None:
        self.report = Report(
            file=file, records=known.records, own_orders=len(known.owners), icebergs=len(known.icebergs),
            orders_from_before=sum(len(part) for part in known.before),
        )  # fmt: skip
        self._known = known
        self._tick = Decimal(price_unit) * known.tick
        self.from_before: set[int] = set()
        """Orders from before the recording."""
        self.modified: set[int] = set()
        """Orders whose owner changed them."""

    def finished(self) -> Report:
        """The report, summed up."""
        report = self.report
        report.equal_percent = round(100 * report.equal / report.aggressors, 2) if report.aggressors else 0.0
        return report

    def aggressor(self, event: ExchangeEvent, one: Aggressor, events: list[BookEvent]) -> bool:
        """Compare the fills of one aggressor. Returns whether they are equal."""
        ours, theirs = listed(events, one.order, self._known.icebergs), recorded(one.fills)
        report = self.report
        report.aggressors += 1
        report.fills += len(theirs)
        report.lots += one.taken
        done = {record.order for record in event.others("C")}
        listed_last = ours != theirs and has_one_listed_last(ours, theirs, done)
        if ours == theirs or listed_last:
            report.equal += 1
            report.listed_last += listed_last
            report.from_before += any(fill.order in self.from_before for fill in theirs)
            return True
        self._except(event, one.order, self._cause(event, ours, theirs, events), ours, theirs)
        return False

    def engine_only(self, event: ExchangeEvent, events: list[BookEvent]) -> bool:
        """Look for aggressors that only the engine had. Returns whether there is none."""
        matches = [one for one in events if isinstance(one, Match) and not one.auction]
        takers = dict.fromkeys(one.taker_order_id for one in matches if one.taker_order_id not in event.aggressors)
        for taker in takers:
            ours = listed(events, taker, self._known.icebergs)
            self.report.aggressors += 1
            self._except(event, taker, self._cause(event, ours, [], events), ours, [])
        return not takers

    def unclaimed(self, event: ExchangeEvent) -> None:
        """Trades of both sides without an aggressor, outside an auction: no order could have made them."""
        self.report.aggressors += 1
        self._except(event, 0, "trade without an aggressor", [], event.unclaimed)

    def auction(self, event: ExchangeEvent, events: Iterable[BookEvent], unseen: int) -> None:
        """Compare the fills of a call auction, order by order; ``unseen`` of them were not on the recorded book."""
        matches = [one for one in events if isinstance(one, Match)]
        ours: dict[int, int] = {}
        for one in matches:
            for order in (one.maker_order_id, one.taker_order_id):
                ours[order] = ours.get(order, 0) + one.quantity
        theirs = event.filled
        orders = [*theirs, *(order for order in ours if order not in theirs)]
        different = [
            (order, theirs.get(order, 0), ours.get(order, 0))
            for order in orders
            if theirs.get(order, 0) != ours.get(order, 0)
        ]
        self.report.auctions.append(
            Auction(
                utc(event.time), self._price(event.unclaimed[0].price),
                self._price(matches[0].price) if matches else "", sum(theirs.values()) // 2,
                sum(one.quantity for one in matches), len(orders), len(orders) - len(different), unseen, different,
            )
        )  # fmt: skip

    def mended(self, event: ExchangeEvent, wrong: list[int], *, after_exception: bool) -> None:
        """The engine's book was brought back, because it had these orders otherwise."""
        if not wrong:
            return
        why = "other"
        if after_exception:
            why = "after an exception"
        elif event.starts_late:
            why = "event without its beginning"
        elif all(order in self._known.icebergs for order in wrong):
            why = "shown part of an iceberg"
        self.report.mended[why] = self.report.mended.get(why, 0) + 1

    def left_out(self, why: str, count: int = 1) -> None:
        """Records or fills that could not be compared."""
        if count:
            self.report.left_out[why] = self.report.left_out.get(why, 0) + count

    def _cause(self, event: ExchangeEvent, ours: list[Fill], theirs: list[Fill], events: list[BookEvent]) -> Cause:
        """The likely reason of a difference, by the orders that differ."""
        if sorted(ours) == sorted(theirs):
            return "order of listing"
        differ = {fill.order for fill in set(ours) ^ set(theirs)}
        prevented = {record.order for record in event.left_unfilled()}
        prevented |= {one.order_id for one in events if isinstance(one, Done) and one.cause is not None}
        if differ & prevented:
            return "self-match prevention"
        if differ & self._known.icebergs.keys():
            return "iceberg"
        if differ & self.from_before:
            return "order from before the recording"
        return "modified order" if differ & self.modified else "unknown"

    def _except(self, event: ExchangeEvent, order: int, cause: Cause, ours: list[Fill], theirs: list[Fill]) -> None:
        self.report.causes[cause] = self.report.causes.get(cause, 0) + 1
        self.report.exceptions.append(
            Exceptional(utc(event.time), order, cause, self._texts(theirs), self._texts(ours))
        )  # fmt: skip

    def _texts(self, fills: list[Fill]) -> list[tuple[int, str, int]]:
        return [(fill.order, self._price(fill.price), fill.quantity) for fill in fills]

    def _price(self, ticks: int) -> str:
        return plain(self._tick * ticks)


def utc(time: int) -> str:
    """A time in nanoseconds since the epoch as text."""
    return f"{datetime.fromtimestamp(time // NS, UTC):%Y-%m-%dT%H:%M:%S}.{time % NS:09}Z"
