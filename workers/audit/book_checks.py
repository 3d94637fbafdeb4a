"""The invariants of one book, checked entry by entry against a naive book that follows its log.

The naive book never decides. It holds who rests, in order of arrival, and every recorded decision is held against it:
is the maker the first in the best level, is the order that rests one that nobody could have met, and so on.
"""

from collections.abc import Callable
from typing import Any

from shared.errors import RejectReason
from shared.instrument import Instrument
from shared.messages import (
    AllCanceled,
    BookEntry,
    CancelRefused,
    Change,
    Configured,
    Done,
    Match,
    Open,
    Received,
    Side,
)
from workers.audit.invariants import Findings, Invariant, place_of
from workers.audit.naive_book import KnownOrder, NaiveSide
from workers.audit.settlement_checks import SettlementChecks
from workers.engine.book import OrderBook

OTHER: dict[Side, Side] = {"buy": "sell", "sell": "buy"}


class BookChecks:
    """Follows the log of one instrument's book, from its beginning or from a snapshot."""

    def __init__(self, symbol: str, findings: Findings, settlement: SettlementChecks) -> None:
        self.symbol = symbol
        self.number = 0
        """The last entry followed."""
        self.sequence = 0
        self.trade_id = 0
        self.last_price = 0
        self.instrument: Instrument | None = None
        self.orders: dict[int, KnownOrder] = {}
        self.sides: dict[Side, NaiveSide] = {"buy": NaiveSide("buy"), "sell": NaiveSide("sell")}
        self._findings = findings
        self._settlement = settlement
        self._arriving: KnownOrder | None = None
        self._used_up: set[int] = set()
        self._ended = 0
        self._sources: dict[str, int] = {}
        self._is_complete = True

    def start_from(self, number: int, book: OrderBook) -> None:
        """Begin behind entry ``number``, with the state that a snapshot has there."""
        self.number, self._is_complete = number, False
        self.sequence, self.trade_id, self.last_price = book.sequence, book.trade_id, book.last_price
        self.instrument = book.instrument
        self._settlement.book_starts(self.symbol, number)
        for side, resting in self.sides.items():
            for one in book.resting(side):
                order = KnownOrder(one.order_id, one.account, side, one.price, one.remaining, one.maker_fee)
                self.orders[one.order_id] = order
                resting.append(order)

    def follow(self, number: int, entry: BookEntry) -> None:
        """Check entry ``number``, and follow it."""
        self.number = number
        self._check_source(entry.source)
        self._arriving = None
        self._ended = 0
        for event in entry.events:
            _STEPS[type(event)](self, event)
        self._end_entry()

    # --- whole entries -------------------------------------------------------------------------

    def _violate(self, invariant: Invariant, what: str) -> None:
        self._findings.violate(invariant, f"{self.symbol} entry {self.number}", what)

    def _check_source(self, source: str) -> None:
        """Commands of one outbox come one after the other, each once."""
        self._findings.checked[Invariant.SOURCES] += 1
        stream, (count, _) = place_of(source)
        before = self._sources.get(stream, 0 if self._is_complete else count - 1)
        if count != before + 1:
            self._violate(Invariant.SOURCES, f"handles {source} after {before}-0")
        self._sources[stream] = count

    def _end_entry(self) -> None:
        checked = self._findings.checked
        checked[Invariant.DONE] += 1
        if self._arriving is not None:
            self._violate(Invariant.DONE, f"order {self._arriving.order_id} came and neither rests nor is done")
            self.orders.pop(self._arriving.order_id, None)
        for order_id in self._used_up:
            self._violate(Invariant.DONE, f"order {order_id} is filled, but not done")
            self.orders.pop(order_id, None)
        self._used_up.clear()
        checked[Invariant.CROSSED] += 1
        buy, sell = self.sides["buy"].best(), self.sides["sell"].best()
        if buy and sell and buy >= sell:
            self._violate(Invariant.CROSSED, f"buyers bid {buy}, sellers ask {sell} (ticks)")

    def _next(self, sequence: int) -> None:
        self._findings.checked[Invariant.SEQUENCE] += 1
        if sequence != self.sequence + 1:
            self._violate(Invariant.SEQUENCE, f"sequence {sequence} follows {self.sequence}")
        self.sequence = sequence

    # --- events, in the order of an order's life -----------------------------------------------------

    def _received(self, event: Received) -> None:
        self._next(event.sequence)
        if event.order_id in self.orders:
            self._violate(Invariant.DONE, f"order {event.order_id} comes a second time")
            self._forget(self.orders[event.order_id])
        self._arriving = self.orders[event.order_id] = KnownOrder(
            event.order_id, event.account, event.side, event.price, event.quantity, event.maker_fee, event
        )
        self._settlement.received(self.symbol, self.number, event)

    def _match(self, event: Match) -> None:
        self._next(event.sequence)
        if event.trade_id != self.trade_id + 1:
            self._violate(Invariant.SEQUENCE, f"trade {event.trade_id} follows trade {self.trade_id}")
        self.trade_id, self.last_price = event.trade_id, event.price
        self._check_priority(event)
        maker, taker = self.orders.get(event.maker_order_id), self.orders.get(event.taker_order_id)
        self._check_parties(event, maker, taker)
        for order in (maker, taker):
            if order is not None:
                self._take(order, event)
        if maker is not None and maker.rests and maker.remaining <= 0:
            self.sides[maker.side].remove(maker)
            self._used_up.add(maker.order_id)
        self._settlement.matched(self.symbol, self.number, event)

    def _check_priority(self, event: Match) -> None:
        self._findings.checked[Invariant.PRIORITY] += 1
        front = self.sides[event.side].front()
        if front is None or front.order_id != event.maker_order_id:
            first = "nobody" if front is None else f"order {front.order_id} at {front.price}"
            self._violate(
                Invariant.PRIORITY,
                f"trade {event.trade_id} is with order {event.maker_order_id} at {event.price}; {first} is first",
            )
        elif front.price != event.price:
            self._violate(
                Invariant.PRIORITY, f"trade {event.trade_id} is at {event.price}, its maker asks for {front.price}"
            )

    def _check_parties(self, event: Match, maker: KnownOrder | None, taker: KnownOrder | None) -> None:
        trade, checked = f"trade {event.trade_id}", self._findings.checked
        checked[Invariant.SELF_TRADE] += 1
        if event.maker_account == event.taker_account:
            self._violate(Invariant.SELF_TRADE, f"{trade} is of account {event.maker_account} with itself")
        checked[Invariant.ACCEPTED] += 1
        if (
            maker is None
            or not maker.rests
            or (maker.account, maker.maker_fee) != (event.maker_account, event.maker_fee)
        ):
            self._violate(
                Invariant.ACCEPTED, f"{trade}: no order {event.maker_order_id} rests with its account and fee"
            )
        terms = taker.terms if taker is not None and taker is self._arriving else None
        if terms is None or (terms.account, terms.taker_fee) != (event.taker_account, event.taker_fee):
            self._violate(Invariant.ACCEPTED, f"{trade}: no order {event.taker_order_id} came with its account and fee")
            return
        checked[Invariant.TERMS] += 1
        worse = event.price > terms.price if terms.side == "buy" else event.price < terms.price
        if (terms.price and worse) or terms.post_only or terms.side == event.side:
            self._violate(Invariant.TERMS, f"{trade} at {event.price} is not what order {terms.order_id} asked for")

    def _take(self, order: KnownOrder, event: Match) -> None:
        """Its quantity goes off the order, unless that is by funds."""
        self._findings.checked[Invariant.QUANTITY] += 1
        if order.terms is not None and not order.terms.quantity:
            return
        if not 0 < event.quantity <= order.remaining:
            self._violate(
                Invariant.QUANTITY,
                f"trade {event.trade_id} takes {event.quantity} of order {order.order_id}, which has {order.remaining}",
            )
        order.remaining -= event.quantity

    def _changed(self, event: Change) -> None:
        self._next(event.sequence)
        self._findings.checked[Invariant.QUANTITY] += 1
        order = self.orders.get(event.order_id)
        if order is None:
            self._violate(Invariant.DONE, f"order {event.order_id} is changed, but is not there")
            return
        self._check_owner(order, event)
        if order.remaining != event.old_quantity or not 0 <= event.new_quantity <= event.old_quantity:
            self._violate(
                Invariant.QUANTITY,
                f"order {event.order_id} goes from {event.old_quantity} to {event.new_quantity}, has {order.remaining}",
            )
        order.remaining = event.new_quantity
        self._settlement.changed(self.symbol, self.number, event)

    def _opened(self, event: Open) -> None:
        self._next(event.sequence)
        order, self._arriving = self._arriving, None
        if order is None or order.order_id != event.order_id:
            self._violate(Invariant.DONE, f"order {event.order_id} opens, but did not just come")
            return
        self._findings.checked[Invariant.QUANTITY] += 1
        if order.remaining != event.remaining or event.remaining <= 0:
            self._violate(
                Invariant.QUANTITY, f"order {order.order_id} opens with {event.remaining}, has {order.remaining}"
            )
        self._check_owner(order, event)
        terms = order.terms
        assert terms is not None
        self._findings.checked[Invariant.TERMS] += 1
        if terms.order_type != "limit" or terms.time_in_force not in ("GTC", "GTT") or event.price != terms.price:
            self._violate(Invariant.TERMS, f"order {order.order_id} rests at {event.price} against its terms")
        self.sides[order.side].append(order)

    def _done(self, event: Done) -> None:
        self._next(event.sequence)
        self._ended += 1
        order = self.orders.get(event.order_id)
        if order is None:
            if event.reason == "rejected" and self._arriving is None:
                self._settlement.turned_away(self.symbol, self.number, event)
            else:
                self._violate(Invariant.DONE, f"order {event.order_id} is done, but was not there")
            return
        self._check_owner(order, event)
        self._check_end(order, event)
        self._forget(order)
        self._settlement.done(self.symbol, self.number, event)

    def _check_end(self, order: KnownOrder, event: Done) -> None:
        self._findings.checked[Invariant.QUANTITY] += 1
        if event.remaining != order.remaining:
            self._violate(
                Invariant.QUANTITY, f"order {order.order_id} is done with {event.remaining}, has {order.remaining}"
            )
        terms = order.terms
        aims_at_funds = terms is not None and terms.funds and (terms.side == "sell" or not terms.quantity)
        if event.reason == "filled" and order.remaining and not aims_at_funds:
            self._violate(Invariant.QUANTITY, f"order {order.order_id} is filled with {order.remaining} left")
        if terms is None or order.rests or event.reason != "canceled" or terms.funds:
            return
        self._findings.checked[Invariant.TERMS] += 1
        if event.cause in (RejectReason.IMMEDIATE_OR_CANCEL, RejectReason.NO_LIQUIDITY) and self._could_go_on(terms):
            self._violate(Invariant.TERMS, f"order {order.order_id} ends although somebody was there to trade with")
        if terms.time_in_force == "FOK" and order.remaining != terms.quantity:
            self._violate(Invariant.TERMS, f"fill-or-kill order {order.order_id} ends half filled")

    def _could_go_on(self, terms: Received) -> bool:
        best = self.sides[OTHER[terms.side]].best()
        if not best or not terms.price:
            return bool(best)
        return best <= terms.price if terms.side == "buy" else best >= terms.price

    def _forget(self, order: KnownOrder) -> None:
        if order.rests:
            self.sides[order.side].remove(order)
        del self.orders[order.order_id]
        self._used_up.discard(order.order_id)
        if self._arriving is order:
            self._arriving = None

    def _check_owner(self, order: KnownOrder, event: Open | Change | Done) -> None:
        """Side, account and price of an event are those of its order (a market order shows no price)."""
        self._findings.checked[Invariant.ACCEPTED] += 1
        price = 0 if order.terms is not None and order.terms.order_type == "market" else order.price
        if (event.side, event.account, event.price) != (order.side, order.account, price):
            name = type(event).__name__.lower()
            self._violate(
                Invariant.ACCEPTED,
                f"{name} of order {order.order_id} tells of a {event.side} at {event.price} of account {event.account}",
            )

    # --- the rest --------------------------------------------------------------------------------

    def _cancel_refused(self, event: CancelRefused) -> None:
        self._findings.checked[Invariant.DONE] += 1
        if event.order_id in self.orders:
            self._violate(Invariant.DONE, f"a cancel of order {event.order_id} is refused, but it rests")

    def _all_canceled(self, event: AllCanceled) -> None:
        self._findings.checked[Invariant.DONE] += 1
        if event.count != self._ended:
            self._violate(Invariant.DONE, f"a mass-cancel says {event.count} orders ended, {self._ended} did")

    def _configured(self, event: Configured) -> None:
        self.instrument = event.instrument


_STEPS: dict[type, Callable[[BookChecks, Any], None]] = {
    Received: BookChecks._received,
    Match: BookChecks._match,
    Change: BookChecks._changed,
    Open: BookChecks._opened,
    Done: BookChecks._done,
    CancelRefused: BookChecks._cancel_refused,
    AllCanceled: BookChecks._all_canceled,
    Configured: BookChecks._configured,
}
