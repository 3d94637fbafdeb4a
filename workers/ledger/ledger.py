"""The ledger: a pure state machine that owns the money, the open-order index and the limits of one account shard.

Laws of this file:

1. No clock, no randomness, no I/O, no logging, no float: the same inputs give the same events, byte for byte.
2. ``apply`` and ``settle`` only decide; the state changes in ``fold`` alone (state.py), so a state folded from recorded
   events is the state that produced them.
3. Every request is answered by exactly one event, an accepted list by one for each order; a refusal is an event too.
4. Nothing becomes negative, and the money inside is what came in less what went out.
"""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from shared.errors import RejectReason
from shared.instrument import MONEY_MAX, money_text
from shared.messages import (
    AmendRequest,
    Blocked,
    BlockRequest,
    Cancel,
    CancelAll,
    CancelAllRequest,
    CancelAllRequested,
    CancelRequest,
    CancelRequested,
    Configure,
    Duplicate,
    InstrumentRequest,
    InstrumentSet,
    LedgerEvent,
    OrderListRequest,
    OrderRequest,
    Rejected,
    Request,
    Tick,
    Transferred,
    TransferRequest,
)
from shared.order_id import order_id
from workers.ledger import amending, risk
from workers.ledger.conditions import check_conditions
from workers.ledger.listing import Sent, accept, decide_list, rejected
from workers.ledger.orders import OpenOrder
from workers.ledger.risk import Limits, Refusal
from workers.ledger.settlement import hold_currency
from workers.ledger.settling import Settling

__all__ = ["Ledger", "Limits"]

Answer = tuple[LedgerEvent, Sent]


class Ledger(Settling):
    """The ledger of one account shard. See ``LedgerState`` for its attributes and views."""

    # --- requests --------------------------------------------------------------------------------

    def apply(self, request: Request, now_ns: int) -> tuple[list[LedgerEvent], Sent]:
        """Decide a request: the events it causes, folded already, and what the books have to be told."""
        self.time = max(self.time, now_ns)
        if type(request) is OrderListRequest:
            events, commands = decide_list(self, request)
            for event in events:
                self.fold(event)
            return events, commands
        event, commands = self._DECIDE[type(request)](self, request)
        self.fold(event)
        return [event], commands

    def refuse(self, why: str, now_ns: int) -> list[LedgerEvent]:
        """Answer what is no request at all, so that the log shows it."""
        self.time = max(self.time, now_ns)
        return [Rejected("", 0, RejectReason.INVALID_ORDER, f"the request cannot be read: {why}")]

    def due(self, now_ns: int) -> Sent:
        """Tell the books that have an order of this shard whose time has come what time it is; each order once.

        They may have expired it already, behind any later command: a tick too many does no harm. It changes nothing
        that a snapshot knows, so no event says it; a ledger that is made from its log asks again.
        """
        expired = (self.orders.get(number) for number in self.orders.deadlines.due(now_ns))
        symbols = sorted({order.instrument for order in expired if order is not None})
        return [(symbol, Tick(now_ns)) for symbol in symbols]

    def _order(self, request: OrderRequest) -> Answer:
        account, request_id, client_id = request.account, request.request_id, request.client_id
        refusal = risk.check_sender(account, self.shard, self.shards) or risk.check_ids(request_id, client_id)
        if refusal:
            return _rejected(request, refusal)
        first = self.orders.first(account, "c" if client_id else "r", client_id or request_id)
        if first is not None:
            return Duplicate(request_id, account, first), []
        if self.blocks and (refusal := self.blocked(account)):
            return _rejected(request, refusal)
        instrument = self.instruments.get(request.instrument)
        if instrument is None:
            return _rejected(request, risk.PRODUCT_NOT_FOUND)
        if refusal := risk.check_order(request, instrument, len(self.orders.of(account)), self.limits):
            return _rejected(request, refusal)
        last_price = self.last_prices.get(instrument.symbol, 0)
        if request.conditions is not None and (refusal := check_conditions(request, instrument, self.time, last_price)):
            return _rejected(request, refusal)
        available = self.accounts.balance(account, hold_currency(request.side, instrument.symbol)).available
        terms = risk.terms_of(request, instrument, available, last_price, self.limits)
        if isinstance(terms, Refusal):
            return _rejected(request, terms)
        number = order_id(self.count + 1, self.shard)
        accepted, place = accept(request, instrument, number, terms, self.time)
        return accepted, [(instrument.symbol, place)]

    def _amend(self, request: AmendRequest) -> Answer:
        refusal = risk.check_sender(request.account, self.shard, self.shards) or risk.check_ids(request.request_id)
        order = refusal or self.blocked(request.account) or self._open_order(request)
        if isinstance(order, Refusal):
            return _rejected(request, order)
        instrument = self.instruments[order.instrument]
        last_price = self.last_prices.get(order.instrument, 0)
        if refusal := amending.check_amend(request, order, instrument, last_price, self.limits):
            return _rejected(request, refusal)
        available = self.accounts.balance(order.account, hold_currency(order.side, order.instrument)).available
        rival = self.orders.get(order.rival)
        due = sum(child.due for child in map(self.orders.get, order.children) if child is not None)
        terms = amending.amend_terms(request, order, rival, due, instrument, available, self.time)
        if isinstance(terms, Refusal):
            return _rejected(request, terms)
        return terms[0], [(order.instrument, terms[1])]

    def _cancel(self, request: CancelRequest) -> Answer:
        refusal = risk.check_sender(request.account, self.shard, self.shards)
        order = refusal or self._open_order(request)
        if isinstance(order, Refusal):
            return _rejected(request, order)
        command = Cancel(order.order_id, order.account, self.time, request.request_id)
        requested = CancelRequested(request.request_id, order.account, order.order_id, order.instrument)
        return requested, [(order.instrument, command)]

    def _open_order(self, request: AmendRequest | CancelRequest) -> OpenOrder | Refusal:
        """The order of the account that the request names."""
        account = request.account
        number = request.order_id or self.by_client_id(account, request.client_id)
        order = self.orders.get(number)
        if order is None and self.orders.closed_account(number) == account:
            return risk.ORDER_DONE
        if order is None or order.account != account or request.instrument not in ("", order.instrument):
            return risk.ORDER_NOT_FOUND
        return order

    def _cancel_all(self, request: CancelAllRequest) -> Answer:
        account, side = request.account, request.side
        everyones = not account and bool(request.instrument)
        if refusal := None if everyones else risk.check_sender(account, self.shard, self.shards):
            return _rejected(request, refusal)
        if request.instrument and request.instrument not in self.instruments:
            return _rejected(request, risk.PRODUCT_NOT_FOUND)
        if side not in ("", "buy", "sell"):
            return _rejected(request, Refusal(RejectReason.INVALID_ORDER, "side must be buy or sell"))
        orders = [
            order
            for order in (self.orders if everyones else self.orders.of(account).values())
            if request.instrument in ("", order.instrument) and side in ("", order.side)
        ]
        symbols = [request.instrument] if everyones else sorted({order.instrument for order in orders})
        event = CancelAllRequested(request.request_id, account, symbols, [order.order_id for order in orders])
        return event, [(symbol, CancelAll(account, self.time, side, request.request_id)) for symbol in symbols]

    def _block(self, request: BlockRequest) -> Answer:
        """Blocks and cancels in one entry: behind it, nothing of the account reaches a book any more."""
        account, number, reason = request.account, request.request_id, request.reason
        refusal = risk.check_sender(account, self.shard, self.shards) if account else None
        refusal = refusal or risk.check_ids(number) or risk.check_reason(reason)
        if refusal:
            return _rejected(request, refusal)
        if not request.blocked:
            return Blocked(number, account, [], blocked=False, reason=reason), []
        orders = self.orders.of(account).values()
        symbols = sorted({order.instrument for order in orders} if account else self.instruments)
        commands: Sent = [(symbol, CancelAll(account, self.time, "", number)) for symbol in symbols]
        return Blocked(number, account, symbols, True, reason), commands

    def _transfer(self, request: TransferRequest) -> Answer:
        account, currency, amount = request.account, request.currency, request.amount
        refusal = risk.check_sender(account, self.shard, self.shards) or risk.check_ids(request.request_id)
        if refusal:
            return _rejected(request, refusal)
        if self.knows_transfer(account, request.request_id):
            return Duplicate(request.request_id, account), []
        if refusal := self._check_transfer(request):
            return _rejected(request, refusal)
        return Transferred(request.request_id, account, currency, amount), []

    def _check_transfer(self, request: TransferRequest) -> Refusal | None:
        """Money in a currency has to fit 64 bits wherever trading takes it, so all of it together has to."""
        account, currency, amount = request.account, request.currency, request.amount
        if amount == 0:
            return Refusal(RejectReason.INVALID_ORDER, "amount must not be 0")
        if amount < 0 and (refusal := self.blocked(account)):
            return refusal
        scale = self.scales.get(currency)
        if scale is None:
            return Refusal(RejectReason.UNKNOWN_CURRENCY, "Currency not found: no product has it")
        balance = self.accounts.balance(account, currency)
        if -amount > balance.available:
            return risk.INSUFFICIENT_FUNDS
        owned = balance.available + balance.held
        if amount > 0 and request.most and owned + amount > request.most:
            return risk.too_much_money(request.most, owned, currency, scale)
        most = MONEY_MAX // self.shards
        if amount > 0 and self.supply.get(currency, 0) + amount > most:
            return Refusal(
                RejectReason.LIMIT_EXCEEDED,
                f"amount is too large: all accounts of the shard together can have at most {money_text(most, scale)} "
                f"{currency}",
            )
        return None

    def _instrument(self, request: InstrumentRequest) -> Answer:
        instrument = request.instrument
        known = self.instruments.get(instrument.symbol)
        if refusal := risk.check_instrument(instrument, known, self.scales):
            return Rejected(request.request_id, 0, refusal.reason, refusal.message), []
        commands: Sent = [(instrument.symbol, Configure(instrument, self.time))] if self.shard == 0 else []
        return InstrumentSet(request.request_id, instrument), commands

    _DECIDE: ClassVar[Mapping[type, Callable[[Any, Any], Answer]]] = {
        OrderRequest: _order,
        AmendRequest: _amend,
        CancelRequest: _cancel,
        CancelAllRequest: _cancel_all,
        TransferRequest: _transfer,
        BlockRequest: _block,
        InstrumentRequest: _instrument,
    }


def _rejected(
    request: OrderRequest | AmendRequest | CancelRequest | CancelAllRequest | TransferRequest | BlockRequest,
    refusal: Refusal,
) -> Answer:
    client_id = request.client_id if isinstance(request, OrderRequest | AmendRequest | CancelRequest) else ""
    return rejected(request.request_id, request.account, refusal, client_id), []
