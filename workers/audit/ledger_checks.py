"""The invariants of one account shard, checked entry by entry: what every event moves is worked out here anew.

Shares no code with the ledger. Costs, fees and holds are computed from the orders' terms and the trades alone.
"""

from collections import Counter, OrderedDict
from collections.abc import Callable
from typing import Any

import msgspec

from shared import order_id as order_ids
from shared.instrument import Instrument
from shared.keys import instrument_tag, log
from shared.messages import (
    FEE_ACCOUNT,
    Accepted,
    Blocked,
    CancelAllRequested,
    CancelRequested,
    Closed,
    Filled,
    HoldReduced,
    InstrumentSet,
    LedgerEntry,
    Transferred,
)
from workers.audit.invariants import Findings, Invariant, place_of
from workers.audit.settlement_checks import SettlementChecks
from workers.ledger.ledger import Ledger
from workers.ledger.orders import PAST_MAX

MILLION = 1_000_000
BOOK_LOG = log(instrument_tag("|")).split("|")
"""What stands before and behind the symbol in the name of a book's log."""

UsedId = tuple[int, str, str]
"""Account, kind of id (a client's, a request's, a transfer's), id."""


class OwnedOrder(msgspec.Struct):
    """An open order: as it was accepted, and what became of it. ``exact_fee`` in millionths of the smallest unit."""

    accepted: Accepted
    time: int
    hold: int
    remaining: int
    filled: int = 0
    executed_value: int = 0
    fees: int = 0
    exact_fee: int = 0

    @property
    def fee_rest(self) -> int:
        """What rounding up has charged ahead."""
        return self.fees * MILLION - self.exact_fee

    @property
    def used_id(self) -> UsedId:
        """The id that keeps a second such order from being made."""
        one = self.accepted
        return one.account, "c" if one.client_id else "r", one.client_id or one.request_id


class Money(msgspec.Struct):
    """A balance."""

    available: int = 0
    held: int = 0


class LedgerChecks:
    """Follows the log of one account shard, from its beginning or from a snapshot."""

    def __init__(self, shard: int, findings: Findings, settlement: SettlementChecks) -> None:
        self.shard = shard
        self.number = 0
        """The last entry followed."""
        self.count = 0
        self.instruments: dict[str, Instrument] = {}
        self.blocked: set[int] = set()
        """Accounts whose kill switch is on; 0: everyone's."""
        self.balances: dict[tuple[int, str], Money] = {}
        self.orders: dict[int, OwnedOrder] = {}
        self.deposits: dict[str, int] = {}
        """What came in less what went out, per currency; from a snapshot on: what was there, and then."""
        self._findings = findings
        self._settlement = settlement
        self._used: set[UsedId] = set()
        self._past: OrderedDict[UsedId, None] = OrderedDict()
        self._sources: dict[str, tuple[int, int]] = {}
        self._first_settled: set[str] | None = None
        self.sent: Counter[str] = Counter()
        """Commands that went to each book."""
        self.ended: list[tuple[OwnedOrder, Closed]] = []
        """Orders that the entry followed last has closed."""
        self._source = 0
        self._time = 0

    def start_from(self, number: int, ledger: Ledger) -> None:
        """Begin behind entry ``number``, with the state that a snapshot has there."""
        self.number, self.count = number, ledger.count
        self.instruments, self.blocked = dict(ledger.instruments), set(ledger.blocks)
        for account in ledger.accounts:
            for currency, balance in ledger.balances(account).items():
                self.balances[account, currency] = Money(balance.available, balance.held)
                self.deposits[currency] = self.deposits.get(currency, 0) + balance.available + balance.held
        for one in ledger.orders:
            accepted = Accepted(
                one.request_id, one.account, one.order_id, one.instrument, one.side, one.order_type, one.hold,
                one.price, one.quantity, one.funds, one.time_in_force, one.post_only, one.stp, one.maker_fee,
                one.taker_fee, one.client_id, one.specified_funds,
            )  # fmt: skip
            exact = one.fees * MILLION - one.fee_rest
            order = OwnedOrder(
                accepted, one.time, one.hold, one.remaining, one.filled, one.executed_value, one.fees, exact
            )
            self.orders[one.order_id] = order
            self._used.add(order.used_id)
        for past in ledger.orders.past():
            self._remember((past.account, past.kind, past.id))
        self._settlement.ledger_starts(self.shard, self.count)
        self._first_settled = set()

    def follow(self, number: int, entry: LedgerEntry) -> None:
        """Check entry ``number``, and follow it."""
        self.number, self._time = number, entry.time
        self.ended = []
        self._check_source(entry.source)
        for event in entry.events:
            step = _STEPS.get(type(event))
            if step is not None:
                step(self, event)

    def settles(self, source: str) -> tuple[str, int] | None:
        """The instrument and the entry of its book's log that an entry with this source settles, if it is one."""
        stream, (number, _) = place_of(source)
        if not stream.startswith(BOOK_LOG[0]):
            return None
        return stream.removeprefix(BOOK_LOG[0]).removesuffix(BOOK_LOG[1]), number

    # --- whole entries -----------------------------------------------------------------------------

    @property
    def _where(self) -> str:
        return f"ledger {self.shard} entry {self.number}"

    def _violate(self, invariant: Invariant, what: str) -> None:
        self._findings.violate(invariant, self._where, what)

    def _check_source(self, source: str) -> None:
        """Requests, and entries of one book, come in their order, each at most once."""
        self._findings.checked[Invariant.SOURCES] += 1
        stream, at = place_of(source)
        before = self._sources.get(stream, (-1, 0))
        if at <= before:
            self._violate(Invariant.SOURCES, f"handles {source} after {before[0]}-{before[1]}")
        self._sources[stream] = at
        self._source = at[0]
        settled = self.settles(source) if self._first_settled is not None else None
        if settled is not None and settled[0] not in self._first_settled:  # type: ignore[operator]  # a set by now
            self._first_settled.add(settled[0])  # type: ignore[union-attr]
            self._settlement.settles_from(self.shard, *settled)

    def settled_nothing_of(self, symbol: str) -> bool:
        """Whether the log began with a snapshot and settled nothing of the book since: then it cannot be compared."""
        return self._first_settled is not None and symbol not in self._first_settled

    def _move(self, account: int, currency: str, available: int, held: int) -> None:
        money = self.balances.get((account, currency))
        if money is None:
            money = self.balances[account, currency] = Money()
        money.available += available
        money.held += held
        self._findings.checked[Invariant.NEGATIVE] += 1
        if money.available < 0 or money.held < 0:
            self._violate(
                Invariant.NEGATIVE,
                f"account {account} has {money.available} {currency} available and {money.held} held",
            )

    def _remember(self, one: UsedId) -> None:
        """An id may come again when the ledger has forgotten it."""
        self._used.add(one)
        self._past[one] = None
        if len(self._past) > PAST_MAX:
            self._used.discard(self._past.popitem(last=False)[0])

    def _check_new(self, one: UsedId) -> None:
        self._findings.checked[Invariant.CLIENT_IDS] += 1
        if one in self._used:
            self._violate(Invariant.CLIENT_IDS, f'account {one[0]} uses the id "{one[2]}" a second time')

    def _known(self, event: Filled | HoldReduced | Closed, what: str) -> OwnedOrder | None:
        order = self.orders.get(event.order_id)
        if order is None:
            self._violate(Invariant.DONE, f"order {event.order_id} is {what}, but is not open")
        elif (order.accepted.account, order.accepted.instrument) != (event.account, event.instrument):
            self._violate(
                Invariant.ACCEPTED,
                f"order {event.order_id} is {what} as one of account {event.account} on {event.instrument}",
            )
        return order

    # --- events ------------------------------------------------------------------------------------

    def _instrument_set(self, event: InstrumentSet) -> None:
        self.instruments[event.instrument.symbol] = event.instrument
        if self.shard == 0:
            self.sent[event.instrument.symbol] += 1

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
        self._move(event.account, event.currency, event.amount, 0)
        self.deposits[event.currency] = self.deposits.get(event.currency, 0) + event.amount

    def _accepted(self, event: Accepted) -> None:
        self._findings.checked[Invariant.SEQUENCE] += 1
        if event.order_id != order_ids.order_id(self.count + 1, self.shard):
            self._violate(Invariant.SEQUENCE, f"order {event.order_id} does not follow the {self.count}th of its shard")
        self._findings.checked[Invariant.BLOCKED] += 1
        if self.blocked & {0, event.account}:
            self._violate(Invariant.BLOCKED, f"order {event.order_id} of account {event.account} was accepted")
        self.count = event.order_id >> order_ids.SHARD_BITS
        order = OwnedOrder(event, self._time, event.hold, event.quantity)
        self._check_new(order.used_id)
        self._used.add(order.used_id)
        self.orders[event.order_id] = order
        self._move(event.account, self._held_currency(event), -event.hold, event.hold)
        self._check_hold(order)
        self.sent[event.instrument] += 1
        self._settlement.accepted(event)

    def _filled(self, event: Filled) -> None:
        self._settlement.filled(self._source, event, self._where)
        order, instrument = self._known(event, "filled"), self.instruments.get(event.instrument)
        if order is None or instrument is None:
            return
        self._check_trade(order, event, instrument)
        base, quote = instrument.base, instrument.quote
        taken = event.base_amount
        if event.side == "buy":
            taken = event.cost + event.fee + event.released
            self._move(event.account, quote, event.released, -taken)
            self._move(event.account, base, event.base_amount, 0)
        else:
            self._move(event.account, base, 0, -taken)
            self._move(event.account, quote, event.cost - event.fee, 0)
        if event.fee:
            self._move(FEE_ACCOUNT, quote, event.fee, 0)
        order.hold -= taken
        order.remaining -= event.quantity if order.accepted.quantity else 0
        order.filled += event.quantity
        order.executed_value += event.cost
        self._check_hold(order)
        self._findings.checked[Invariant.QUANTITY] += 1
        if order.remaining < 0:
            self._violate(Invariant.QUANTITY, f"order {event.order_id} has {order.remaining} lots left")

    def _check_trade(self, order: OwnedOrder, event: Filled, instrument: Instrument) -> None:
        """Cost and amount follow from price and quantity, the fee from the order's rate and its fills so far."""
        checked, one = self._findings.checked, order.accepted
        checked[Invariant.TRADES] += 1
        cost, amount = event.price * event.quantity * instrument.tick_value, event.quantity * instrument.lot_value
        if (event.cost, event.base_amount, event.side) != (cost, amount, one.side) or event.account != one.account:
            self._violate(
                Invariant.TRADES,
                f"trade {event.trade_id} moves {event.base_amount} for {event.cost}, it is {amount} for {cost}",
            )
        order.exact_fee += event.cost * (one.maker_fee if event.liquidity == "M" else one.taker_fee)
        order.fees += event.fee
        checked[Invariant.FEES] += 1
        if not 0 <= order.fee_rest < MILLION or order.fee_rest != event.fee_rest:
            self._violate(
                Invariant.FEES,
                f"order {one.order_id} has paid {order.fees} with trade {event.trade_id}, exact are "
                f"{order.exact_fee} millionths",
            )

    def _reduced(self, event: HoldReduced) -> None:
        self._settlement.reduced(self._source, event, self._where)
        order = self._known(event, "reduced")
        if order is None:
            return
        self._move(event.account, self._held_currency(order.accepted), event.released, -event.released)
        order.hold -= event.released
        order.remaining = event.remaining
        self._check_hold(order)

    def _closed(self, event: Closed) -> None:
        self._settlement.closed(self._source, event, self._where)
        order = self._known(event, "closed")
        if order is None:
            return
        self._findings.checked[Invariant.HOLDS] += 1
        if event.released != order.hold:
            self._violate(
                Invariant.HOLDS, f"order {event.order_id} ends and releases {event.released}, it holds {order.hold}"
            )
        self._move(event.account, self._held_currency(order.accepted), event.released, -event.released)
        order.hold -= event.released
        order.remaining = event.remaining
        self.ended.append((order, event))
        del self.orders[event.order_id]
        self._remember(order.used_id)

    # --- holds -------------------------------------------------------------------------------------

    @staticmethod
    def _held_currency(order: Accepted) -> str:
        base, _, quote = order.instrument.partition("-")
        return quote if order.side == "buy" else base

    def _check_hold(self, order: OwnedOrder) -> None:
        """A limit order holds just what it can still cost; a market buy, which is done at once, at least nothing."""
        one, instrument = order.accepted, self.instruments.get(order.accepted.instrument)
        if instrument is None:
            self._violate(Invariant.ACCEPTED, f"order {one.order_id} is of {one.instrument}, which is not known")
            return
        self._findings.checked[Invariant.HOLDS] += 1
        if one.side == "sell":
            need = order.remaining * instrument.lot_value
        elif one.order_type == "market":
            need = max(0, order.hold)
        else:
            cost = one.price * order.remaining * instrument.tick_value
            need = cost + max(0, -((order.fee_rest - cost * max(one.maker_fee, one.taker_fee)) // MILLION))
        if order.hold != need:
            self._violate(Invariant.HOLDS, f"order {one.order_id} holds {order.hold}, it needs {need}")

    def end(self) -> None:
        """What each account has held is what its open orders hold."""
        held: dict[tuple[int, str], int] = {}
        for order in self.orders.values():
            key = order.accepted.account, self._held_currency(order.accepted)
            held[key] = held.get(key, 0) + order.hold
        for key, money in self.balances.items():
            self._findings.checked[Invariant.HOLDS] += 1
            if money.held != held.get(key, 0):
                self._violate(
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
}
