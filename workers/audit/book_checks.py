"""The invariants of one book, checked entry by entry against a naive book that follows its log.

The naive book never decides. It holds who rests, in order of arrival, who sleeps and who waits, and every recorded
decision is held against it: is the maker the first in the best level, is the stop due that comes, and so on. What plain
orders do is here; what only some orders and modes ask for is in the other book_*.py, by theme.
"""

from collections import Counter
from collections.abc import Callable
from typing import Any

from shared.messages import (
    Activate,
    AllCanceled,
    AmendRefused,
    BookEntry,
    CancelRefused,
    Change,
    Configured,
    Done,
    ListPlaced,
    Match,
    Open,
    Received,
    Ticked,
)
from workers.audit import (
    book_amends,
    book_auction,
    book_due,
    book_expiry,
    book_icebergs,
    book_lists,
    book_modes,
    book_self_trade,
    book_stops,
    book_terms,
    book_trades,
)
from workers.audit.book_start import restore
from workers.audit.book_state import NOTHING, FollowedBook
from workers.audit.invariants import Findings, Invariant, place_of
from workers.audit.naive_book import KnownOrder, Terms
from workers.audit.settlement_checks import SettlementChecks
from workers.engine.book import OrderBook


class BookChecks(FollowedBook):
    """Follows the log of one instrument's book, from its beginning or from a snapshot."""

    def __init__(self, symbol: str, findings: Findings, settlement: SettlementChecks) -> None:
        super().__init__(symbol, findings, settlement)
        self.ticks: Counter[str] = Counter()
        """Per source, the commands that told nothing but the time: no ledger's log tells of them."""
        self._canceled = 0
        self._refused: list[str] = []
        self._sources: dict[str, int] = {}
        self._source = ""
        self._is_complete = True

    def start_from(self, number: int, book: OrderBook) -> None:
        """Begin behind entry ``number``, with the state that a snapshot has there."""
        self.number, self._is_complete = number, False
        self.settlement.book_starts(self.symbol, number)
        restore(self, book)

    def follow(self, number: int, entry: BookEntry) -> None:
        """Check entry ``number``, and follow it."""
        self.number = number
        self._check_source(entry.source)
        self._begin(entry)
        for event in entry.events:
            _STEPS[type(event)](self, event)
        self._end_entry()

    # --- whole entries -------------------------------------------------------------------------

    def _check_source(self, source: str) -> None:
        """Commands of one outbox come one after the other, each once."""
        self.findings.checked[Invariant.SOURCES] += 1
        stream, (count, _) = place_of(source)
        before = self._sources.get(stream, 0 if self._is_complete else count - 1)
        if count != before + 1:
            self.violate(
                Invariant.SOURCES, "commands are handled each once, in order", 0, f"{stream} {before + 1}-0", source
            )
        self._sources[stream], self._source = count, stream

    def _begin(self, entry: BookEntry) -> None:
        if entry.time != self.time:
            book_expiry.time_goes_on(self, entry.time)
        self.reference = self.last_price
        self.arriving, self._canceled = None, 0
        if self.deadlines.is_due(self.time):
            book_expiry.expired_first(self, entry.events)

    def _end_entry(self) -> None:
        checked = self.findings.checked
        checked[Invariant.DONE] += 1
        if self.is_watched:
            book_due.all_came(self)
        if self._refused:
            self._end_refusals()
        if self.arriving is not None:
            self._is_lost(self.arriving)
        if self.used_up:
            self._end_used_up()
        checked[Invariant.CROSSED] += 1
        buy, sell = self.sides["buy"].best(), self.sides["sell"].best()
        if buy >= sell and buy and sell and self.mode != "auction":
            self.violate(
                Invariant.CROSSED, "the book is never crossed outside an auction", 0, f"bids below the ask of {sell}",
                f"a bid of {buy}",
            )  # fmt: skip

    def _end_used_up(self) -> None:
        for order in list(self.used_up.values()):
            self.violate(
                Invariant.DONE, "an order that is filled is done", order.order_id, "done with its last trade",
                "none",
            )  # fmt: skip
            self._forget(order)

    def _end_refusals(self) -> None:
        if "list_refused" in self._refused:
            book_lists.refused_together(self, self._refused)
        self._refused.clear()

    def _is_lost(self, order: KnownOrder) -> None:
        self.violate(
            Invariant.DONE, "an order that comes rests or is done in the same entry", order.order_id, "open or done",
            "neither",
        )  # fmt: skip
        self._forget(order)

    def _next(self, sequence: int) -> None:
        self.findings.checked[Invariant.SEQUENCE] += 1
        if sequence != self.sequence + 1:
            self.violate(Invariant.SEQUENCE, "sequences have no gap", 0, self.sequence + 1, sequence)
        self.sequence = sequence

    # --- an order is taken up, comes, trades -------------------------------------------------------

    def _received(self, event: Received) -> None:
        self._next(event.sequence)
        if self.arriving is not None:
            self._is_lost(self.arriving)
        order = self.orders.get(event.order_id)
        if order is None:
            order = self._take_up(event)
            if self.mode != "online":
                book_modes.lets_in(self, order, to_sleep=False)
            if event.conditions is not None:
                book_stops.sleeps_first(self, order)
            self.must_end = None
        else:
            book_due.comes(self, order, event)
            if order.rests:
                self.sides[order.side].remove(order)
            self.must_end = book_modes.kept_out(self.mode, event)
        self.arriving, self.comes_again, self.taken, self.prevented = order, False, 0, NOTHING

    def _take_up(self, terms: Terms) -> KnownOrder:
        """An order that the book did not have."""
        order = KnownOrder(
            terms, terms.order_id, terms.account, terms.side, terms.price, terms.quantity, terms.maker_fee
        )
        self.orders[terms.order_id] = order
        if terms.conditions is not None:
            book_expiry.comes_in_time(self, order)
            self.deadlines.add(order)
        book_terms.goes_together(self, order)
        self.settlement.received(self.symbol, self.number, terms)
        return order

    def _activated(self, event: Activate) -> None:
        self._next(event.sequence)
        self.is_watched = True
        order = self.orders.get(event.order_id)
        if order is None:
            order = self._take_up(event)
            book_modes.lets_in(self, order, to_sleep=True)
        else:
            book_due.comes(self, order, event)
        book_stops.falls_asleep(self, order, event)

    def _list_placed(self, event: ListPlaced) -> None:
        self.is_watched = True
        book_lists.taken_up(self, event)
        for place in event.orders:
            if place.order_id in self.orders:
                self._comes_twice(place.order_id)
            else:
                self._take_up(place)
        book_modes.lets_list_in(self, event.orders[0].order_id if event.orders else 0)

    def _match(self, event: Match) -> None:
        self._next(event.sequence)
        if self.is_watched:
            book_due.before_a_trade(self)
        if event.auction:
            book_auction.trade(self, event)
        else:
            book_trades.trade(self, event)
        if self.is_watched:
            book_due.set_off(self, event)
        self.settlement.matched(self.symbol, self.number, event)

    def _changed(self, event: Change) -> None:
        self._next(event.sequence)
        order = self.orders.get(event.order_id)
        if order is None:
            self.violate(Invariant.DONE, "only what is on the book is changed", event.order_id, "nothing", "a change")
            return
        if event.reason == "amend":
            self._check_owner(order, event, event.price)
            book_amends.amended(self, order, event)
        else:
            self._check_owner(order, event, order.price if order.terms.order_type == "limit" else 0)
            self._decremented(order, event)
        self.settlement.changed(self.symbol, self.number, event)

    def _decremented(self, order: KnownOrder, event: Change) -> None:
        self.findings.checked[Invariant.QUANTITY] += 1
        book_self_trade.shrinks(self, order, event)
        book_lists.shrinks(self, order.order_id)
        if order.left != event.old_quantity or not 0 <= event.new_quantity <= event.old_quantity:
            self.violate(
                Invariant.QUANTITY, "self-trade prevention takes lots off what is left", order.order_id,
                f"{order.left} lots or fewer", f"{event.old_quantity} to {event.new_quantity}",
            )  # fmt: skip
        if order.rests:
            book_icebergs.hides_less_first(self, order, event.new_quantity, event.hidden)
            order.shown = event.new_quantity - event.hidden
        order.left = event.new_quantity

    # --- it rests, it is done ----------------------------------------------------------------------

    def _opened(self, event: Open) -> None:
        self._next(event.sequence)
        order = self.arriving
        if order is not None and order.order_id == event.order_id:
            self.arriving = None
            book_terms.may_rest(self, order, event)
            if order.terms.conditions is not None:
                book_terms.gets_its_minimum(self, order)
            if self.must_end is not None:
                book_modes.may_stay(self, order, what="it on the book")
        else:
            order = self.used_up.pop(event.order_id, None)
            if order is None:
                self.violate(
                    Invariant.DONE, "an order opens when it comes, or with its next part", event.order_id, "no open",
                    f"one at {event.price}",
                )  # fmt: skip
                return
        self.findings.checked[Invariant.QUANTITY] += 1
        if order.left != event.remaining + event.hidden or event.remaining <= 0:
            self.violate(
                Invariant.QUANTITY, "an order rests with what is left of it", order.order_id, f"{order.left} lots",
                event.remaining + event.hidden,
            )  # fmt: skip
        elif event.hidden or order.terms.conditions is not None:
            book_icebergs.shows_its_part(self, order, event)
        self._check_owner(order, event, order.price)
        order.shown = event.remaining
        self.sides[order.side].append(order)

    def _done(self, event: Done) -> None:
        self._next(event.sequence)
        if event.cause is None:
            self._canceled += 1
        order = self.orders.get(event.order_id)
        if order is None:
            self._turned_away(event)
            return
        self._check_owner(order, event, order.price if order.terms.order_type == "limit" else 0)
        self._check_end(order, event)
        if event.cause is not None or order is self.arriving:
            book_terms.ends_rightly(self, order, event)
        if event.order_id in self.lists.of_order:
            book_lists.ended(self, order, event, is_linked=event.cause == "linked_order")
        self._forget(order)
        self.settlement.done(self.symbol, self.number, event)

    def _turned_away(self, event: Done) -> None:
        """An order that is refused without being taken up."""
        if event.reason != "rejected" or self.arriving is not None:
            self.violate(
                Invariant.DONE, "only what is on the book is done", event.order_id, "nothing", f"done {event.reason}"
            )  # fmt: skip
            return
        if event.cause is not None:
            self._refused.append(event.cause.value)
            if event.cause in book_modes.REASONS:
                book_modes.refuses_rightly(self, event.order_id, event.cause, came=False)
        self.settlement.turned_away(self.symbol, self.number, self.time, event)

    def _check_end(self, order: KnownOrder, event: Done) -> None:
        self.findings.checked[Invariant.QUANTITY] += 1
        if event.remaining != order.left:
            self.violate(
                Invariant.QUANTITY, "an order is done with what is left of it", order.order_id, f"{order.left} lots",
                event.remaining,
            )  # fmt: skip
        terms = order.terms
        aims_at_funds = terms.funds and (terms.side == "sell" or not terms.quantity)
        if event.reason == "filled" and order.left and not aims_at_funds:
            self.violate(
                Invariant.QUANTITY, "an order is filled when nothing is left", order.order_id, "0 lots", order.left
            )

    def _forget(self, order: KnownOrder) -> None:
        if order.rests:
            self.sides[order.side].remove(order)
        order_id = order.order_id
        del self.orders[order_id]
        self.used_up.pop(order_id, None)
        if self.is_watched:
            self.sleepers.remove(order_id)
            self.lists.leave(order_id)
        if self.arriving is order:
            self.arriving = None

    def _comes_twice(self, order_id: int) -> None:
        self.violate(Invariant.DONE, "an order comes once", order_id, "nothing", "it again")

    def _check_owner(self, order: KnownOrder, event: Open | Change | Done, price: int) -> None:
        """Side, account and price of an event are those of its order (a market order shows no price)."""
        self.findings.checked[Invariant.ACCEPTED] += 1
        if (event.side, event.account, event.price) != (order.side, order.account, price):
            self.violate(
                Invariant.ACCEPTED, "events tell of an order as it is", order.order_id,
                f"a {order.side} at {price} of account {order.account}",
                f"a {event.side} at {event.price} of account {event.account}",
            )  # fmt: skip

    # --- the rest --------------------------------------------------------------------------------

    def _cancel_refused(self, event: CancelRefused) -> None:
        self.findings.checked[Invariant.DONE] += 1
        if event.order_id in self.orders:
            self.violate(
                Invariant.DONE, "a cancel is refused only for what is gone", event.order_id, "its end", "a refusal"
            )

    def _amend_refused(self, event: AmendRefused) -> None:
        book_amends.refused(self, event)
        self.settlement.refused(self.symbol, self.number, event)

    def _all_canceled(self, event: AllCanceled) -> None:
        self.findings.checked[Invariant.DONE] += 1
        if event.count != self._canceled:
            self.violate(Invariant.DONE, "a mass-cancel counts whom it ended", 0, self._canceled, event.count)

    def _configured(self, event: Configured) -> None:
        self.settlement.configured(self.symbol, self.number, event.instrument)
        book_auction.ends(self, event)
        self.configure(event.instrument)
        if self.sleepers.by_id:
            self.is_watched = True

    def _ticked(self, _event: Ticked) -> None:
        self.ticks[self._source] += 1


_STEPS: dict[type, Callable[[BookChecks, Any], None]] = {
    Received: BookChecks._received,
    Activate: BookChecks._activated,
    ListPlaced: BookChecks._list_placed,
    Match: BookChecks._match,
    Change: BookChecks._changed,
    Open: BookChecks._opened,
    Done: BookChecks._done,
    CancelRefused: BookChecks._cancel_refused,
    AmendRefused: BookChecks._amend_refused,
    AllCanceled: BookChecks._all_canceled,
    Configured: BookChecks._configured,
    Ticked: BookChecks._ticked,
}
