"""The invariants between books and ledgers: what a book did is settled once, and it did it to what a ledger accepted.

What one side has told and the other has not yet is kept here: orders on their way to a book, and fills and releases
on their way to a ledger. What is still here at the end, although the other side has read past it, is lost.
"""

from collections import OrderedDict, deque
from operator import attrgetter
from typing import Any

import msgspec

from shared.errors import RejectReason
from shared.instrument import Instrument
from shared.messages import (
    Accepted,
    Amended,
    AmendFailed,
    AmendRefused,
    Change,
    Closed,
    Done,
    Filled,
    HoldReduced,
    Match,
)
from shared.order_id import SHARD_BITS, shard_of_order
from workers.audit.invariants import Findings, Invariant
from workers.audit.naive_book import Terms

SAME_TERMS = (
    "account", "side", "order_type", "price", "quantity", "funds", "time_in_force", "post_only", "stp", "maker_fee",
    "taker_fee", "client_id", "conditions",
)  # fmt: skip

_terms = attrgetter(*SAME_TERMS)


class Pending[Event](msgspec.Struct, frozen=True, gc=False):
    """What the book of ``symbol`` did in entry ``number`` of its log, and a ledger has not settled."""

    symbol: str
    number: int
    event: Event


class Sent(msgspec.Struct, frozen=True, gc=False):
    """An order on its way to its book, sent by entry ``number`` of its ledger's log: with a list, several by one."""

    accepted: Accepted
    number: int


Step = Change | Done | AmendRefused
"""What a book did to one order, and its ledger has to answer."""
Answer = HoldReduced | Amended | Closed | AmendFailed
Fill = tuple[str, int, int]
"""Instrument, trade id, order id."""


class SettlementChecks:
    """Compares the books' logs with the ledgers'."""

    def __init__(self, findings: Findings) -> None:
        self._findings = findings
        self.on_the_way: dict[tuple[int, str], OrderedDict[int, Sent]] = {}
        """(shard, instrument) -> orders that are accepted, and not received by their book; the oldest first."""
        self.rules: dict[str, deque[Instrument]] = {}
        """Instrument -> rules that ledger 0 has sent, and the book does not follow yet; the oldest first."""
        self.fills: dict[Fill, Pending[Match]] = {}
        self.steps: dict[int, list[Pending[Step]]] = {}
        self.halves: dict[tuple[str, int], Filled] = {}
        """Trades of which one side is settled, and the other, of another shard, is not yet."""
        self._late: dict[str, int] = {}
        self._first_orders: dict[int, int] = {}

    # --- where a log begins with a snapshot ------------------------------------------------------

    def ledger_starts(self, shard: int, count: int) -> None:
        """Orders of the shard up to its ``count``-th were accepted before the audit's first entry."""
        self._first_orders[shard] = count

    def book_starts(self, symbol: str, number: int) -> None:
        """What the book did up to entry ``number`` is not known here."""
        self._late[symbol] = number

    def settles_from(self, shard: int, symbol: str, number: int) -> None:
        """A ledger that began with a snapshot settles ``number`` first: what it passed over was settled before."""
        for key, one in list(self.fills.items()):
            if key[0] == symbol and shard_of_order(key[2]) == shard and one.number < number:
                del self.fills[key]
        for order_id, steps in list(self.steps.items()):
            if shard_of_order(order_id) == shard and steps[0].symbol == symbol:
                self.steps[order_id] = [step for step in steps if step.number >= number]
                if not self.steps[order_id]:
                    del self.steps[order_id]

    # --- an order goes to its book -----------------------------------------------------------------

    def accepted(self, event: Accepted, number: int) -> None:
        """A ledger has sent an order, in entry ``number`` of its log."""
        key = shard_of_order(event.order_id), event.instrument
        waiting = self.on_the_way.get(key)
        if waiting is None:
            waiting = self.on_the_way[key] = OrderedDict()
        waiting[event.order_id] = Sent(event, number)

    def rules_sent(self, rules: Instrument) -> None:
        """Ledger 0 has sent a book its rules."""
        self.rules.setdefault(rules.symbol, deque()).append(rules)

    def configured(self, symbol: str, number: int, rules: Instrument) -> None:
        """A book follows other rules: the next that ledger 0 has sent."""
        sent = self.rules.get(symbol, deque())
        while symbol in self._late and sent and sent[0] != rules:
            sent.popleft()  # followed before the audit's first entry
        found = sent.popleft() if sent else None
        if 0 not in self._first_orders:
            self._findings.check(
                Invariant.ACCEPTED, found == rules, f"{symbol} entry {number}",
                f"the book follows {rules}, ledger 0 has sent it {found}",
            )  # fmt: skip

    def is_on_the_way(self, symbol: str, order_id: int) -> bool:
        """Whether the order is accepted, and its book has not received it."""
        return order_id in self.on_the_way.get((shard_of_order(order_id), symbol), ())

    def received(self, symbol: str, number: int, event: Terms) -> None:
        """A book has taken an order up."""
        accepted = self._arrive(symbol, number, event.order_id)
        if accepted is None or _terms(event) == _terms(accepted):
            return
        for name, now, then in zip(SAME_TERMS, _terms(event), _terms(accepted), strict=True):
            if now != then:
                self._findings.violate(
                    Invariant.ACCEPTED,
                    f"{symbol} entry {number}",
                    f"order {event.order_id} has {name} {now}, it was accepted with {then}",
                )

    def turned_away(self, symbol: str, number: int, time: int, event: Done) -> None:
        """A book has refused an order without taking it up, at ``time``."""
        accepted = self._arrive(symbol, number, event.order_id)
        if accepted is not None:
            self._refused_rightly(accepted, f"{symbol} entry {number}", time, event)
        self.done(symbol, number, event)

    def _refused_rightly(self, accepted: Accepted, where: str, time: int, event: Done) -> None:
        if (event.account, event.side) != (accepted.account, accepted.side):
            self._findings.violate(
                Invariant.ACCEPTED, where,
                f"order {event.order_id} is refused as a {event.side} of account {event.account}, it was accepted as a "
                f"{accepted.side} of account {accepted.account}",
            )  # fmt: skip
        if event.cause is RejectReason.EXPIRED:
            expires = accepted.conditions.expires if accepted.conditions is not None else 0
            self._findings.check(
                Invariant.EXPIRY, 0 < expires <= time, where,
                f"order {event.order_id} is refused at {time} as expired, its end is {expires or 'never'}",
            )  # fmt: skip

    def _arrive(self, symbol: str, number: int, order_id: int) -> Accepted | None:
        """The order as it was accepted. A shard's orders reach a book in the order in which they were accepted."""
        self._findings.checked[Invariant.ACCEPTED] += 1
        where = f"{symbol} entry {number}"
        waiting = self.on_the_way.get((shard_of_order(order_id), symbol))
        if waiting is None or order_id not in waiting:
            if not self._is_early(order_id):
                self._findings.violate(
                    Invariant.ACCEPTED, where, f"order {order_id} comes, which no ledger accepted for it, or again"
                )
            return None
        while True:
            oldest, sent = waiting.popitem(last=False)
            if oldest == order_id:
                return sent.accepted
            if symbol not in self._late:
                self._findings.violate(Invariant.DONE, where, f"order {oldest} was accepted, and passed over")

    def _is_early(self, order_id: int) -> bool:
        return order_id >> SHARD_BITS <= self._first_orders.get(shard_of_order(order_id), 0)

    # --- what the book did -----------------------------------------------------------------------

    def matched(self, symbol: str, number: int, event: Match) -> None:
        """A trade: both its sides are to be settled."""
        pending = Pending(symbol, number, event)
        self.fills[symbol, event.trade_id, event.maker_order_id] = pending
        self.fills[symbol, event.trade_id, event.taker_order_id] = pending

    def changed(self, symbol: str, number: int, event: Change) -> None:
        """An order got smaller, or was amended; one by funds alone has no lots, and keeps its hold until it is done."""
        if event.old_quantity or event.reason == "amend":
            self._is_to_be_answered(event.order_id, Pending(symbol, number, event))

    def refused(self, symbol: str, number: int, event: AmendRefused) -> None:
        """An order was not amended."""
        self._is_to_be_answered(event.order_id, Pending(symbol, number, event))

    def done(self, symbol: str, number: int, event: Done) -> None:
        """An order ended."""
        self._is_to_be_answered(event.order_id, Pending(symbol, number, event))

    def _is_to_be_answered(self, order_id: int, step: Pending[Any]) -> None:
        steps = self.steps.get(order_id)
        if steps is None:
            self.steps[order_id] = [step]
        else:
            steps.append(step)

    # --- what the ledger settled --------------------------------------------------------------------

    def filled(self, number: int, event: Filled, where: str) -> None:
        """One side of a trade is settled, in answer to entry ``number`` of the book's log."""
        self._pair(event, where)
        if self._is_unknown(event.instrument, number):
            return
        self._findings.checked[Invariant.SETTLED] += 1
        pending = self.fills.pop((event.instrument, event.trade_id, event.order_id), None)
        if pending is None or pending.number != number:
            self._not_open(where, f"trade {event.trade_id} of order {event.order_id}", number)
            return
        match = pending.event
        is_maker = event.order_id == match.maker_order_id
        self._findings.checked[Invariant.TRADES] += 1
        bought = match.side == "buy"
        if (
            (event.price, event.quantity, event.sequence) != (match.price, match.quantity, match.sequence)
            or event.account != (match.maker_account if is_maker else match.taker_account)
            or event.liquidity != ("M" if is_maker or match.auction else "T")
            or event.side != ("buy" if bought == is_maker else "sell")
        ):
            self._findings.violate(
                Invariant.TRADES, where, f"trade {event.trade_id} is settled for order {event.order_id} as another one"
            )

    def _pair(self, event: Filled, where: str) -> None:
        """What one side gives is what the other gets."""
        first = self.halves.pop((event.instrument, event.trade_id), None)
        if first is None:
            self.halves[event.instrument, event.trade_id] = event
            return
        self._findings.checked[Invariant.TRADES] += 1
        if (first.cost, first.base_amount) != (event.cost, event.base_amount) or first.side == event.side:
            self._findings.violate(
                Invariant.TRADES,
                where,
                f"trade {event.trade_id}: a {first.side} of {first.base_amount} for {first.cost} "
                f"meets a {event.side} of {event.base_amount} for {event.cost}",
            )

    def reduced(self, number: int, event: HoldReduced, where: str) -> None:
        """The hold of an order that got smaller is settled."""
        change = self._answered(number, event, Change, where)
        if change is not None and (change.new_quantity, change.reason) != (event.remaining, "stp"):
            self._wrong_answer(where, event.order_id, f"with {event.remaining} lots left")

    def amended(self, number: int, event: Amended, where: str) -> None:
        """An amend is settled."""
        change = self._answered(number, event, Change, where)
        if change is None:
            return
        told = (change.reason, change.request_id, change.price, change.new_quantity)
        stands = event.stop_price in (0, change.stop_price)
        if told != ("amend", event.request_id, event.price, event.remaining) or not stands:
            found = f"as amended by {event.request_id} to {event.remaining} lots at {event.price}"
            self._wrong_answer(where, event.order_id, f"{found}, stop price {event.stop_price}")

    def amend_failed(self, number: int, event: AmendFailed, where: str) -> None:
        """A refused amend is settled."""
        refused = self._answered(number, event, AmendRefused, where)
        if refused is not None and (refused.request_id, refused.reason) != (event.request_id, event.reason):
            self._wrong_answer(where, event.order_id, f"as not amended by {event.request_id} ({event.reason})")

    def closed(self, number: int, event: Closed, where: str) -> None:
        """The end of an order is settled."""
        if (waiting := self.on_the_way.get((shard_of_order(event.order_id), event.instrument))) is not None:
            waiting.pop(event.order_id, None)
        done = self._answered(number, event, Done, where)
        if done is not None and (done.reason, done.remaining, done.cause) != (
            event.reason, event.remaining, event.cause
        ):  # fmt: skip
            self._wrong_answer(where, event.order_id, f"as {event.reason} with {event.remaining} lots left")

    def _answered[One: Step](self, number: int, event: Answer, kind: type[One], where: str) -> One | None:
        """What the book did to the order first, of what is not settled: it has to be of this kind, in this entry."""
        if self._is_unknown(event.instrument, number):
            return None
        self._findings.checked[Invariant.SETTLED] += 1
        order_id = event.order_id
        steps = self.steps.get(order_id)
        if steps and steps[0].number == number and isinstance(found := steps[0].event, kind):
            steps.pop(0)
            if not steps:
                del self.steps[order_id]
            return found
        self._not_open(where, f"{kind.__name__.lower()} of order {order_id}", number)
        return None

    def _not_open(self, where: str, what: str, number: int) -> None:
        self._findings.violate(
            Invariant.SETTLED, where, f"{what} is settled, but not open in entry {number} of the book"
        )

    def _wrong_answer(self, where: str, order_id: int, how: str) -> None:
        self._findings.violate(Invariant.SETTLED, where, f"order {order_id} is settled {how}, the book says otherwise")

    def _is_unknown(self, symbol: str, number: int) -> bool:
        return number <= self._late.get(symbol, 0)

    # --- the end -----------------------------------------------------------------------------------

    def end(self, settled: dict[tuple[int, str], int]) -> None:
        """Whatever a ledger has read past must be settled. ``settled``: (shard, instrument) -> last entry read."""
        for (_, trade_id, order_id), pending in self.fills.items():
            self._end(pending, order_id, f"trade {trade_id} was never settled for order {order_id}", settled)
        for order_id, steps in self.steps.items():
            for step in steps:
                name = type(step.event).__name__.lower()
                self._end(step, order_id, f"{name} of order {order_id} was never settled", settled)

    def _end(self, pending: Pending[Any], order_id: int, what: str, settled: dict[tuple[int, str], int]) -> None:
        if pending.number <= settled.get((shard_of_order(order_id), pending.symbol), 0):
            self._findings.violate(Invariant.SETTLED, f"{pending.symbol} entry {pending.number}", what)
