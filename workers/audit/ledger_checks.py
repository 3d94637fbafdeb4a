"""The invariants of one account shard, checked entry by entry: what every event moves is worked out here anew.

Shares no code with the ledger. Costs, fees and holds are computed from the orders' terms and the trades alone.
"""

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from shared import order_id as order_ids
from shared.instrument import Instrument
from shared.keys import instrument_tag, log
from shared.messages import (
    FEE_ACCOUNT,
    Accepted,
    Amended,
    AmendFailed,
    AmendRequested,
    Blocked,
    CancelAllRequested,
    CancelRequested,
    Closed,
    Filled,
    HoldFunded,
    HoldMoved,
    HoldReduced,
    InstrumentSet,
    LastPrice,
    LedgerEntry,
    Transferred,
)
from workers.audit import ledger_amends
from workers.audit.invariants import Findings, Invariant, place_of
from workers.audit.ledger_due import all_is_funded, fill_brings, funded, waits_behind
from workers.audit.ledger_holds import are_rivals, check_hold, moved, part, rivals_are_closed
from workers.audit.ledger_start import restore
from workers.audit.ledger_state import MILLION, FollowedLedger, OwnedOrder, UsedId
from workers.audit.settlement_checks import SettlementChecks
from workers.ledger.ledger import Ledger
from workers.ledger.orders import PAST_MAX

BOOK_LOG = log(instrument_tag("|")).split("|")
"""What stands before and behind the symbol in the name of a book's log."""

Step = Filled | HoldReduced | Closed | AmendRequested | Amended | AmendFailed | HoldFunded
"""What happens to an open order."""


class LedgerChecks(FollowedLedger):
    """Follows the log of one account shard, from its beginning or from a snapshot."""

    def __init__(self, shard: int, findings: Findings, settlement: SettlementChecks) -> None:
        super().__init__(shard, findings, settlement)
        self.ended: list[tuple[OwnedOrder, Closed]] = []
        """Orders that the entry followed last has closed."""
        self._used: set[UsedId] = set()
        self._past: OrderedDict[UsedId, None] = OrderedDict()
        self._sources: dict[str, tuple[int, int]] = {}
        self._first_settled: set[str] | None = None
        self._source = 0
        self._sent_in = 0

    def start_from(self, number: int, ledger: Ledger) -> None:
        """Begin behind entry ``number``, with the state that a snapshot has there."""
        self.number = number
        restore(self, ledger)
        self._used.update(order.used_id for order in self.orders.values())
        for past in ledger.orders.past():
            self._remember((past.account, past.kind, past.id))
        self.settlement.ledger_starts(self.shard, self.count)
        self._first_settled = set()

    def follow(self, number: int, entry: LedgerEntry) -> None:
        """Check entry ``number``, and follow it."""
        self.number, self.time, self.where = number, entry.time, f"ledger {self.shard} entry {number}"
        self.ended = []
        self._check_source(entry.source)
        for event in entry.events:
            step = _STEPS.get(type(event))
            if step is not None:
                step(self, event)
        if self.named_rivals:
            are_rivals(self)
        if self.left_alone:
            rivals_are_closed(self)
        if self.unfunded:
            all_is_funded(self)

    def settles(self, source: str) -> tuple[str, int] | None:
        """The instrument and the entry of its book's log that an entry with this source settles, if it is one."""
        if not source.startswith(BOOK_LOG[0]):
            return None
        stream, (number, _) = place_of(source)
        return stream.removeprefix(BOOK_LOG[0]).removesuffix(BOOK_LOG[1]), number

    # --- whole entries -----------------------------------------------------------------------------

    def _check_source(self, source: str) -> None:
        """Requests, and entries of one book, come in their order, each at most once."""
        self.findings.checked[Invariant.SOURCES] += 1
        stream, at = place_of(source)
        before = self._sources.get(stream, (-1, 0))
        if at <= before:
            self.violate(Invariant.SOURCES, f"handles {source} after {before[0]}-{before[1]}")
        self._sources[stream] = at
        self._source = at[0]
        settled = self.settles(source) if self._first_settled is not None else None
        if settled is not None and settled[0] not in self._first_settled:  # type: ignore[operator]  # a set by now
            self._first_settled.add(settled[0])  # type: ignore[union-attr]
            self.settlement.settles_from(self.shard, *settled)

    def settled_nothing_of(self, symbol: str) -> bool:
        """Whether the log began with a snapshot and settled nothing of the book since: then it cannot be compared."""
        return self._first_settled is not None and symbol not in self._first_settled

    def _remember(self, one: UsedId) -> None:
        """An id may come again when the ledger has forgotten it."""
        self._used.add(one)
        self._past[one] = None
        if len(self._past) > PAST_MAX:
            self._used.discard(self._past.popitem(last=False)[0])

    def _check_new(self, one: UsedId) -> None:
        self.findings.checked[Invariant.CLIENT_IDS] += 1
        if one in self._used:
            self.violate(Invariant.CLIENT_IDS, f'account {one[0]} uses the id "{one[2]}" a second time')

    def _known(self, event: Step, what: str) -> OwnedOrder | None:
        order = self.orders.get(event.order_id)
        if order is None:
            self.violate(Invariant.DONE, f"order {event.order_id} is {what}, but is not open")
        else:
            self._check_owner(order, event, what)
        return order

    def _check_owner(self, order: OwnedOrder, event: Step, what: str) -> None:
        """Account, instrument and side of an event are those of its order: they say whose money moves, and which."""
        one = order.accepted
        if (one.account, one.instrument, one.side) != (event.account, event.instrument, event.side):
            self.violate(
                Invariant.ACCEPTED,
                f"order {event.order_id} is {what} as a {event.side} of account {event.account} on {event.instrument}, "
                f"it is a {one.side} of account {one.account} on {one.instrument}",
            )

    # --- events ------------------------------------------------------------------------------------

    def _instrument_set(self, event: InstrumentSet) -> None:
        self.instruments[event.instrument.symbol] = event.instrument
        if self.shard == 0:
            self.sent[event.instrument.symbol] += 1
            self.settlement.rules_sent(event.instrument)

    def _cancel_requested(self, event: CancelRequested) -> None:
        self.sent[event.instrument] += 1

    def _cancel_all_requested(self, event: CancelAllRequested) -> None:
        self.sent.update(event.instruments)

    def _blocked(self, event: Blocked) -> None:
        self.sent.update(event.instruments)
        (self.blocked.add if event.blocked else self.blocked.discard)(event.account)

    def _transferred(self, event: Transferred) -> None:
        self._check_new((event.account, "t", event.request_id))
        self._remember((event.account, "t", event.request_id))
        self.move(event.account, event.currency, event.amount, 0)
        self.deposits[event.currency] = self.deposits.get(event.currency, 0) + event.amount

    def _accepted(self, event: Accepted) -> None:
        self.findings.checked[Invariant.SEQUENCE] += 1
        if event.order_id != order_ids.order_id(self.count + 1, self.shard):
            self.violate(Invariant.SEQUENCE, f"order {event.order_id} does not follow the {self.count}th of its shard")
        self.findings.checked[Invariant.BLOCKED] += 1
        if self.blocked & {0, event.account}:
            self.violate(Invariant.BLOCKED, f"order {event.order_id} of account {event.account} was accepted")
        self.count = event.order_id >> order_ids.SHARD_BITS
        order = OwnedOrder(
            event, self.time, event.hold, event.quantity, event.price, event.quantity, rival=event.rival,
            conditions=event.conditions, due=event.due,
        )  # fmt: skip
        self._check_new(order.used_id)
        self._used.add(order.used_id)
        self.orders[event.order_id] = order
        self.move(event.account, order.held_currency, -event.hold, event.hold)
        check_hold(self, order)
        if event.rival:
            self.named_rivals.append((event.order_id, event.rival))
        if event.parent:
            waits_behind(self, order)
        if self._sent_in != self.number:  # a list is one command
            self._sent_in = self.number
            self.sent[event.instrument] += 1
        self.settlement.accepted(event, self.number)

    def _filled(self, event: Filled) -> None:
        if self.unfunded:
            all_is_funded(self)
        self.settlement.filled(self._source, event, self.where)
        order, instrument = self._known(event, "filled"), self.instruments.get(event.instrument)
        if order is None or instrument is None:
            return
        self._check_trade(order, event, instrument)
        base, quote = instrument.base, instrument.quote
        taken = event.base_amount
        if event.side == "buy":
            taken = event.cost + event.fee + event.released
            self.move(event.account, quote, event.released, -taken)
            self.move(event.account, base, event.base_amount, 0)
        else:
            self.move(event.account, base, 0, -taken)
            self.move(event.account, quote, event.cost - event.fee, 0)
        if event.fee:
            self.move(FEE_ACCOUNT, quote, event.fee, 0)
        order.hold -= taken
        order.remaining -= event.quantity if order.accepted.quantity else 0
        order.filled += event.quantity
        order.executed_value += event.cost
        if order.rival:
            part(self, order, filled=True)
        check_hold(self, order)
        if order.children:
            fill_brings(self, order, event)
        self.last_prices[event.instrument] = event.price
        self.findings.checked[Invariant.QUANTITY] += 1
        if order.remaining < 0:
            self.violate(Invariant.QUANTITY, f"order {event.order_id} has {order.remaining} lots left")

    def _check_trade(self, order: OwnedOrder, event: Filled, instrument: Instrument) -> None:
        """Cost and amount follow from price and quantity, the fee from the order's rate and its fills so far."""
        checked, one = self.findings.checked, order.accepted
        checked[Invariant.TRADES] += 1
        cost, amount = event.price * event.quantity * instrument.tick_value, event.quantity * instrument.lot_value
        if (event.cost, event.base_amount, event.side) != (cost, amount, one.side) or event.account != one.account:
            self.violate(
                Invariant.TRADES,
                f"trade {event.trade_id} moves {event.base_amount} for {event.cost}, it is {amount} for {cost}",
            )
        order.exact_fee += event.cost * (one.maker_fee if event.liquidity == "M" else one.taker_fee)
        order.fees += event.fee
        checked[Invariant.FEES] += 1
        if not 0 <= order.fee_rest < MILLION or order.fee_rest != event.fee_rest:
            self.violate(
                Invariant.FEES,
                f"order {one.order_id} has paid {order.fees} with trade {event.trade_id}, exact are "
                f"{order.exact_fee} millionths",
            )

    def _reduced(self, event: HoldReduced) -> None:
        self.settlement.reduced(self._source, event, self.where)
        order = self._known(event, "reduced")
        if order is None:
            return
        self.release(order, event.released)
        total = event.remaining + order.filled
        self.findings.checked[Invariant.QUANTITY] += 1
        if order.quantity and event.quantity not in (0, total):
            self.violate(
                Invariant.QUANTITY,
                f"order {event.order_id} is reduced to {event.quantity} lots, {order.filled} are filled and "
                f"{event.remaining} remain",
            )
        order.quantity = event.quantity or order.quantity
        order.remaining, order.shrunk = event.remaining, True
        check_hold(self, order)

    def _closed(self, event: Closed) -> None:
        self.settlement.closed(self._source, event, self.where)
        order = self._known(event, "closed")
        if order is None:
            return
        self.findings.checked[Invariant.HOLDS] += 1
        if event.released != order.hold:
            self.violate(
                Invariant.HOLDS, f"order {event.order_id} ends and releases {event.released}, it holds {order.hold}"
            )
        self.release(order, event.released)
        order.remaining = event.remaining
        del self.orders[event.order_id]
        if order.rival:
            part(self, order, filled=False)
        ledger_amends.closed(self, order)
        self.ended.append((order, event))
        self._remember(order.used_id)

    # --- amends, rivals, the last price ------------------------------------------------------------

    def _amend_requested(self, event: AmendRequested) -> None:
        self.sent[event.instrument] += 1
        order = self._known(event, "to be amended")
        if order is not None:
            ledger_amends.requested(self, order, event)

    def _amended(self, event: Amended) -> None:
        self.settlement.amended(self._source, event, self.where)
        order = self._known(event, "amended")
        if order is not None:
            ledger_amends.amended(self, order, event)

    def _amend_failed(self, event: AmendFailed) -> None:
        self.settlement.amend_failed(self._source, event, self.where)
        order = self.orders.get(event.order_id)
        if order is not None:
            self._check_owner(order, event, "not amended")
        ledger_amends.failed(self, order, event)

    def _hold_moved(self, event: HoldMoved) -> None:
        moved(self, event)

    def _hold_funded(self, event: HoldFunded) -> None:
        if self._known(event, "held for") is not None:
            funded(self, event)

    def _last_price(self, event: LastPrice) -> None:
        self.last_prices[event.instrument] = event.price

    # --- the end -----------------------------------------------------------------------------------

    def end(self) -> None:
        """What each account has held is what its open orders hold."""
        held: dict[tuple[int, str], int] = {}
        for order in self.orders.values():
            key = order.accepted.account, order.held_currency
            held[key] = held.get(key, 0) + order.hold
        for key, money in self.balances.items():
            self.findings.checked[Invariant.HOLDS] += 1
            if money.held != held.get(key, 0):
                self.violate(
                    Invariant.HOLDS,
                    f"account {key[0]} has {money.held} {key[1]} held, its open orders hold {held.get(key, 0)}",
                )


_STEPS: dict[type, Callable[[LedgerChecks, Any], None]] = {
    InstrumentSet: LedgerChecks._instrument_set,
    CancelRequested: LedgerChecks._cancel_requested,
    CancelAllRequested: LedgerChecks._cancel_all_requested,
    Blocked: LedgerChecks._blocked,
    Transferred: LedgerChecks._transferred,
    Accepted: LedgerChecks._accepted,
    Filled: LedgerChecks._filled,
    HoldReduced: LedgerChecks._reduced,
    Closed: LedgerChecks._closed,
    AmendRequested: LedgerChecks._amend_requested,
    Amended: LedgerChecks._amended,
    AmendFailed: LedgerChecks._amend_failed,
    HoldMoved: LedgerChecks._hold_moved,
    HoldFunded: LedgerChecks._hold_funded,
    LastPrice: LedgerChecks._last_price,
}
