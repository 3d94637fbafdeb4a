"""What every account should have, worked out from nothing each time: exact fractions, lists, no shortcuts.

It shares no arithmetic with the ledger: it knows accepted orders, transfers and what the books did.
"""

from collections import defaultdict
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import compress, product
from math import ceil
from typing import Any

from shared.instrument import Instrument
from shared.messages import Accepted, AmendRefused, AmendRequested, Change, Done, Match

Expected = dict[tuple[int, str], tuple[int, int]]
"""(account, currency) -> (available, held)."""


@dataclass
class Fill:
    """One side of a trade: what it cost, and the fee rate it pays."""

    quantity: int
    cost: int
    rate: int


@dataclass
class Order:
    """An accepted order and its life so far, as its book's log tells it."""

    accepted: Accepted
    fills: list[Fill] = field(default_factory=list)
    reduced_to: int | None = None
    is_open: bool = True
    price: int = 0
    amends: list[AmendRequested] = field(default_factory=list)
    cost: int = 0
    exact_fee: Fraction = Fraction(0)
    fee: int = 0
    """An order's fees are rounded up once."""

    def fill(self, fill: Fill) -> None:
        self.fills.append(fill)
        self.cost = sum(one.cost for one in self.fills)
        self.exact_fee = sum((Fraction(one.cost * one.rate, 10**6) for one in self.fills), Fraction(0))
        self.fee = ceil(self.exact_fee)

    def remaining(self) -> int:
        if self.reduced_to is not None:
            return self.reduced_to
        return self.accepted.quantity - sum(fill.quantity for fill in self.fills)

    def hold(self, instrument: Instrument) -> int:
        order = self.accepted
        if not self.is_open:
            return 0
        filled = sum(fill.quantity for fill in self.fills)
        terms = self.terms(filled)
        if order.side == "sell":
            return (max(total for _, total in terms) - filled) * instrument.lot_value
        if order.funds:
            return (order.specified_funds or order.hold + order.due) - self.cost - self.fee
        value, begin = 0, filled
        for end in sorted({total for _, total in terms if total > filled}):  # of all lots up to it the same can come
            dearest = max(price for price, total in terms if total >= end)
            value += (end - begin) * dearest * instrument.tick_value
            begin = end
        worst_fee = self.exact_fee + Fraction(value * max(order.maker_fee, order.taker_fee), 10**6)
        return value + max(0, ceil(worst_fee) - self.fee)

    def brought(self, instrument: Instrument) -> int:
        """What its fills so far have brought of the other currency."""
        if self.accepted.side == "buy":
            return sum(fill.quantity for fill in self.fills) * instrument.lot_value
        return self.cost - self.fee

    def terms(self, filled: int) -> list[tuple[int, int]]:
        """Price and total, now or after any of the amends under way."""
        terms = [(self.price, filled + self.remaining())]
        for done in product((False, True), repeat=len(self.amends)):
            price, total = terms[0]
            for amend in compress(self.amends, done):
                price, total = amend.price or price, amend.quantity or total
            terms.append((price, total))
        return terms


class NaiveLedger:
    """One shard's money, recomputed from its history."""

    def __init__(self, past_max: int) -> None:
        self.transfers: list[tuple[int, str, int]] = []
        self.orders: dict[int, Order] = {}
        self.past: list[tuple[int, str, str]] = []
        self.past_max = past_max

    def accept(self, event: Accepted) -> None:
        self.orders[event.order_id] = Order(event, price=event.price)

    def amend(self, event: AmendRequested) -> None:
        self.orders[event.order_id].amends.append(event)

    def follow(self, instrument: Instrument, events: list[Any]) -> None:
        """What a book did, where it concerns orders of this shard."""
        for event in events:
            if isinstance(event, Match):
                cost = event.price * event.quantity * instrument.tick_value
                if maker := self.orders.get(event.maker_order_id):
                    self._fill(maker, Fill(event.quantity, cost, maker.accepted.maker_fee))
                if taker := self.orders.get(event.taker_order_id):
                    rate = taker.accepted.maker_fee if event.auction else taker.accepted.taker_fee
                    self._fill(taker, Fill(event.quantity, cost, rate))
            elif isinstance(event, Change) and event.order_id in self.orders:
                order = self.orders[event.order_id]
                if event.reason == "amend":
                    assert order.amends.pop(0).request_id == event.request_id
                    order.price = event.price
                if event.new_quantity:
                    order.reduced_to = event.new_quantity
            elif isinstance(event, AmendRefused) and event.order_id in self.orders:
                if not self.orders[event.order_id].is_open:
                    continue  # an amend to what was filled is answered by the end; those behind it come too late
                assert self.orders[event.order_id].amends.pop(0).request_id == event.request_id
            elif isinstance(event, Done) and event.order_id in self.orders:
                order = self.orders[event.order_id]
                order.is_open = False
                self.past.append(id_of(order.accepted))

    def _fill(self, order: Order, fill: Fill) -> None:
        if order.reduced_to is not None:
            order.reduced_to -= fill.quantity
        order.fill(fill)

    def expected(self, instruments: dict[str, Instrument]) -> Expected:
        total: dict[tuple[int, str], int] = defaultdict(int)
        held: dict[tuple[int, str], int] = defaultdict(int)
        for account, currency, amount in self.transfers:
            total[account, currency] += amount
        for order in self.orders.values():
            rival = self.orders.get(order.accepted.rival)
            hold = order.hold(instruments[order.accepted.instrument])
            if rival and order.is_open and rival.is_open and not order.fills and not rival.fills:
                other = rival.hold(instruments[rival.accepted.instrument])
                first = order.accepted.order_id < rival.accepted.order_id
                hold = max(hold, other) if first else 0
            if order.is_open:
                hold -= self._due(order, instruments[order.accepted.instrument])
            instrument, account = instruments[order.accepted.instrument], order.accepted.account
            base, quote = order.accepted.instrument.split("-")
            sign = 1 if order.accepted.side == "buy" else -1
            total[account, base] += sign * sum(fill.quantity for fill in order.fills) * instrument.lot_value
            total[account, quote] -= sign * order.cost + order.fee
            total[0, quote] += order.fee
            held[account, quote if sign > 0 else base] += hold
        return {key: (total[key] - held[key], held[key]) for key in total.keys() | held.keys()}

    def _due(self, order: Order, instrument: Instrument) -> int:
        """What its parent has not brought yet of what it waits for; the parent pays its children one by one."""
        parent = self.orders.get(order.accepted.parent)
        if parent is None:
            return 0
        brought = parent.brought(instrument)
        for other in self.orders.values():
            same = other.accepted.parent == order.accepted.parent
            if same and other.is_open and other.accepted.order_id < order.accepted.order_id:
                brought -= other.accepted.due
        return min(order.accepted.due, max(0, order.accepted.due - brought))

    def remembered(self) -> dict[tuple[int, str, str], int]:
        """Ids that must not make a second order or transfer, with what they made first."""
        late = set(self.past[-self.past_max :])
        made = {id_of(order.accepted): order.accepted.order_id for order in self.orders.values()}
        is_open = {id_of(order.accepted) for order in self.orders.values() if order.is_open}
        return {key: made.get(key, 0) for key in late | is_open}


def id_of(event: Accepted) -> tuple[int, str, str]:
    """The id under which an order is remembered."""
    if event.client_id:
        return (event.account, "client", event.client_id)
    return (event.account, "request", event.request_id)
