"""What a ledger is, and the few ways in which it changes.

Laws:

1. ``fold`` is the only thing that changes the state. Deciding (ledger.py) goes through it, and so does following
   recorded events: the two cannot come to differ.
2. Events carry every number. Folding one decides nothing and computes nothing but sums.
3. Two ledgers with the same ``dump()`` and limits decide alike.
"""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Self

import msgspec

from shared.errors import CorruptState
from shared.instrument import Instrument
from shared.messages import (
    Accepted,
    Amended,
    AmendFailed,
    AmendRequested,
    Blocked,
    Closed,
    Filled,
    HoldFunded,
    HoldMoved,
    HoldReduced,
    InstrumentSet,
    LastPrice,
    LedgerEntry,
    LedgerEvent,
    Transferred,
)
from shared.order_id import SHARD_BITS
from workers.ledger.accounts import Accounts, Balance, Row
from workers.ledger.orders import AskedAmend, OpenOrder, OrderIndex, Past
from workers.ledger.risk import Limits, Refusal, blocked_trading
from workers.ledger.settlement import movements, taken_from_hold

FORMAT = 1
"""Version of the snapshot: raised when an older program could not read it, or a field changes its meaning."""


class Block(msgspec.Struct, array_like=True, frozen=True):
    """The kill switch of an account (0: of all) since ``time`` (ns)."""

    account: int
    reason: str
    time: int


class Snapshot(msgspec.Struct):
    """Everything a ledger is, for a snapshot."""

    format: int
    shard: int
    shards: int
    time: int
    count: int
    instruments: list[Instrument]
    last_prices: dict[str, int]
    supply: dict[str, int]
    balances: list[Row]
    orders: list[OpenOrder]
    past: list[Past]
    blocks: list[Block] = []


class _Header(msgspec.Struct):
    format: int


_encode = msgspec.json.Encoder(order="deterministic").encode
_decode = msgspec.json.Decoder(Snapshot).decode
_decode_header = msgspec.json.Decoder(_Header).decode


class LedgerState:
    """The state of account shard ``shard`` of ``shards``: the accounts with ``account % shards == shard``.

    ``time`` is the latest stamp (ns), ``count`` the orders accepted so far, ``last_prices`` in ticks, ``scales`` the
    decimals of each currency, ``supply`` what came in less what went out through this shard, per currency, ``blocks``
    the kill switches that are on, by account (0: all).
    """

    def __init__(self, shard: int, shards: int = 1, limits: Limits | None = None) -> None:
        self.shard = shard
        self.shards = shards
        self.limits = limits or Limits()
        self.time = 0
        self.count = 0
        self.instruments: dict[str, Instrument] = {}
        self.last_prices: dict[str, int] = {}
        self.scales: dict[str, int] = {}
        self.supply: dict[str, int] = {}
        self.accounts = Accounts()
        self.orders = OrderIndex()
        self.blocks: dict[int, Block] = {}

    # --- views ---------------------------------------------------------------------------------

    def balances(self, account: int) -> Mapping[str, Balance]:
        """The account's balances by currency: a live view, not to be changed."""
        return self.accounts.of(account)

    def order(self, number: int) -> OpenOrder | None:
        """The open order with this id."""
        return self.orders.get(number)

    def open_orders(self, account: int) -> list[OpenOrder]:
        """The account's open orders, the oldest first."""
        return list(self.orders.of(account).values())

    def by_client_id(self, account: int, client_id: str) -> int:
        """The order that the account gave this id, open or closed lately; 0 if there is none."""
        return self.orders.first(account, "c", client_id) or 0

    def knows_transfer(self, account: int, request_id: str) -> bool:
        """Whether the account has made this transfer, lately."""
        return self.orders.first(account, "t", request_id) is not None

    def blocked(self, account: int) -> Refusal | None:
        """Why the account may not trade, if so."""
        block = self.blocks.get(0) or self.blocks.get(account)
        return None if block is None else blocked_trading(block.account, block.reason)

    # --- the primitives ----------------------------------------------------------------------------

    def fold_entry(self, entry: LedgerEntry) -> None:
        """Follow one recorded entry of the ledger's log."""
        self.time = entry.time
        for event in entry.events:
            self.fold(event)

    def fold(self, event: LedgerEvent) -> None:
        """Change the state as the event says. Raises ``CorruptState`` if it speaks of what is not there."""
        primitive = self._PRIMITIVES.get(type(event))
        if primitive is not None:
            primitive(self, event)

    def _accepted(self, event: Accepted) -> None:
        self.count = event.order_id >> SHARD_BITS
        self.accounts.move(movements(event))
        order = OpenOrder(
            event.order_id, event.account, event.instrument, event.side, event.order_type, event.price, event.quantity,
            event.funds, event.specified_funds, event.time_in_force, event.post_only, event.stp, event.maker_fee,
            event.taker_fee, event.client_id, event.request_id, self.time, event.hold, event.quantity,
            conditions=event.conditions, rival=event.rival, due=event.due,
        )  # fmt: skip
        self.orders.add(order)
        if event.parent:
            self.orders.known(event.parent, event.account, event.instrument).children += (event.order_id,)

    def _filled(self, event: Filled) -> None:
        order = self.orders.known(event.order_id, event.account, event.instrument)
        self.accounts.move(movements(event))
        order.hold -= taken_from_hold(event)
        if order.quantity:
            order.remaining -= event.quantity
        order.filled += event.quantity
        order.executed_value += event.cost
        order.fees += event.fee
        order.fee_rest = event.fee_rest
        if order.rival:
            self._part(order)
        self.last_prices[event.instrument] = event.price

    def _hold_reduced(self, event: HoldReduced) -> None:
        order = self.orders.known(event.order_id, event.account, event.instrument)
        self.accounts.move(movements(event))
        order.hold -= event.released
        order.remaining = event.remaining
        order.quantity = event.quantity or order.quantity

    def _amend_requested(self, event: AmendRequested) -> None:
        order = self.orders.known(event.order_id, event.account, event.instrument)
        self.accounts.move(movements(event))
        order.hold += event.hold
        order.amends += (AskedAmend(event.request_id, event.price, event.quantity, event.stop_price),)

    def _amended(self, event: Amended) -> None:
        order = self.orders.known(event.order_id, event.account, event.instrument)
        self.accounts.move(movements(event))
        order.hold -= event.released
        order.amends = order.amends[1:]
        order.price, order.quantity, order.remaining = event.price, event.quantity, event.remaining
        if event.stop_price and order.conditions is not None:
            order.conditions = msgspec.structs.replace(order.conditions, stop_price=event.stop_price)

    def _amend_failed(self, event: AmendFailed) -> None:
        order = self.orders.get(event.order_id)
        if order is not None:  # else it was closed before, and its hold with it
            self.accounts.move(movements(event))
            order.hold -= event.released
            order.amends = order.amends[1:]

    def _closed(self, event: Closed) -> None:
        order = self.orders.known(event.order_id, event.account, event.instrument)
        self.accounts.move(movements(event))
        self.orders.remove(order)
        if order.rival:
            self._part(order)

    def _part(self, order: OpenOrder) -> None:
        """Two rivals share their holds until one of them is filled or closed."""
        rival = self.orders.get(order.rival)
        order.rival = 0
        if rival is not None:
            rival.rival = 0

    def _hold_moved(self, event: HoldMoved) -> None:
        self.orders.known(event.from_order_id, event.account, event.instrument).hold -= event.amount
        self.orders.known(event.order_id, event.account, event.instrument).hold += event.amount

    def _hold_funded(self, event: HoldFunded) -> None:
        order = self.orders.known(event.order_id, event.account, event.instrument)
        self.accounts.move(movements(event))
        order.hold += event.amount
        order.due -= event.amount

    def _transferred(self, event: Transferred) -> None:
        self.accounts.move(movements(event))
        self.supply[event.currency] = self.supply.get(event.currency, 0) + event.amount
        self.orders.add_transfer(event.account, event.request_id)

    def _blocked(self, event: Blocked) -> None:
        self.blocks.pop(event.account, None)
        if event.blocked:
            self.blocks[event.account] = Block(event.account, event.reason, self.time)

    def _instrument_set(self, event: InstrumentSet) -> None:
        instrument = event.instrument
        self.instruments[instrument.symbol] = instrument
        self.scales[instrument.base] = instrument.base_scale
        self.scales[instrument.quote] = instrument.quote_scale

    def _last_price(self, event: LastPrice) -> None:
        self.last_prices[event.instrument] = event.price

    _PRIMITIVES: ClassVar[Mapping[type, Callable[[Any, Any], None]]] = {
        Accepted: _accepted,
        Filled: _filled,
        HoldReduced: _hold_reduced,
        Closed: _closed,
        AmendRequested: _amend_requested,
        Amended: _amended,
        AmendFailed: _amend_failed,
        HoldMoved: _hold_moved,
        HoldFunded: _hold_funded,
        Transferred: _transferred,
        Blocked: _blocked,
        InstrumentSet: _instrument_set,
        LastPrice: _last_price,
    }

    def _instrument_of(self, symbol: str) -> Instrument:
        try:
            return self.instruments[symbol]
        except KeyError:
            raise CorruptState(
                f'{symbol}: shard {self.shard} does not know this instrument; run "matchbox audit"'
            ) from None

    # --- snapshots -----------------------------------------------------------------------------------

    def dump(self) -> bytes:
        """The whole state; equal states give equal bytes."""
        snapshot = Snapshot(
            FORMAT, self.shard, self.shards, self.time, self.count, list(self.instruments.values()), self.last_prices,
            self.supply, self.accounts.rows(), list(self.orders), self.orders.past(), list(self.blocks.values()),
        )  # fmt: skip
        return _encode(snapshot)

    @classmethod
    def load(cls, state: bytes, limits: Limits | None = None) -> Self:
        """The ledger that was dumped. Raises ``CorruptState``."""
        try:
            if (version := _decode_header(state).format) != FORMAT:
                raise CorruptState(
                    f"ledger snapshot has format {version}, this program reads {FORMAT}: use its program"
                )
            found = _decode(state)
        except msgspec.MsgspecError as error:
            raise CorruptState(f"ledger snapshot is unreadable ({error}): load an older one") from error
        ledger = cls(found.shard, found.shards, limits)
        ledger.time, ledger.count = found.time, found.count
        for instrument in found.instruments:
            ledger._instrument_set(InstrumentSet("", instrument))
        ledger.last_prices, ledger.supply = found.last_prices, found.supply
        ledger.accounts = Accounts(found.balances)
        ledger.orders = OrderIndex(found.orders, found.past)
        ledger.blocks = {block.account: block for block in found.blocks}
        return ledger
