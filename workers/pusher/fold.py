"""A batch of log entries as the least work for PostgreSQL: each row is touched once, whatever happened to it.

Pure: no I/O, no clock. The changes of a batch are made anew each time, so a batch that failed leaves nothing behind.
"""

from collections.abc import Callable
from typing import Any

from shared.instrument import Instrument
from shared.messages import (
    Accepted,
    BookEntry,
    Change,
    Closed,
    Configured,
    Done,
    Filled,
    HoldReduced,
    LedgerEntry,
    LedgerEvent,
    Match,
    Open,
    Received,
    Transferred,
)
from workers.ledger.settlement import movements, taken_from_hold
from workers.pusher.rows import (
    BalanceChange,
    FillRow,
    MovementRow,
    OrderChange,
    OrderRow,
    RestingChange,
    RestingRow,
    TradeRow,
)


class LedgerChanges:
    """What a batch of entries of ledger logs changes."""

    def __init__(self) -> None:
        self.new_orders: dict[int, OrderRow] = {}
        self.order_changes: dict[int, OrderChange] = {}
        self.fills: list[FillRow] = []
        self.balances: dict[tuple[int, int, str], BalanceChange] = {}
        self.movements: list[MovementRow] = []

    def add(self, shard: int, position: int, entry: LedgerEntry) -> None:
        """Follow entry ``position`` of the log of ``shard``."""
        for event in entry.events:
            step = _LEDGER_STEPS.get(type(event))
            if step is not None:
                step(self, event, entry.time)
                self._move(shard, position, event, entry.time)

    def _move(self, shard: int, position: int, event: LedgerEvent, time: int) -> None:
        for one in movements(event):
            key = (one.account, shard, one.currency)
            change = self.balances.get(key)
            if change is None:
                change = self.balances[key] = BalanceChange(*key, 0, 0)
            change.available += one.available
            change.held += one.held
            if one.kind != "hold":
                amount = one.available + one.held
                self.movements.append(
                    MovementRow(
                        one.account, shard, position, one.currency, amount, one.kind, _reference(event), time
                    )
                )  # fmt: skip

    def _order(self, order_id: int) -> OrderRow | OrderChange:
        order = self.new_orders.get(order_id) or self.order_changes.get(order_id)
        if order is None:
            order = self.order_changes[order_id] = OrderChange(order_id)
        return order

    def _accept(self, event: Accepted, time: int) -> None:
        self.new_orders[event.order_id] = OrderRow(
            event.order_id, event.account, event.instrument, event.side, event.order_type, event.price,
            event.quantity, event.funds, event.specified_funds, event.time_in_force, event.post_only, event.stp,
            storable(event.client_id), storable(event.request_id), event.maker_fee, event.taker_fee, event.hold,
            event.quantity, time,
        )  # fmt: skip

    def _fill(self, event: Filled, time: int) -> None:
        self.fills.append(
            FillRow(
                event.instrument, event.trade_id, event.order_id, event.account, event.side, event.liquidity,
                event.price, event.quantity, event.cost, event.fee, time,
            )
        )  # fmt: skip
        order = self._order(event.order_id)
        order.hold -= taken_from_hold(event)
        order.remaining -= event.quantity  # a market order's is set by its closure, in the same entry
        order.filled += event.quantity
        order.executed_value += event.cost
        order.fees += event.fee
        order.fee_rest = event.fee_rest

    def _reduce(self, event: HoldReduced, _time: int) -> None:
        order = self._order(event.order_id)
        order.hold -= event.released
        order.leave(event.remaining)

    def _close(self, event: Closed, time: int) -> None:
        order = self._order(event.order_id)
        order.hold -= event.released
        order.leave(event.remaining)
        order.settled = True
        order.done_reason = event.reason
        order.cause = event.cause.value if event.cause else ""
        order.done_at = time

    def _transfer(self, event: Transferred, time: int) -> None:
        """A transfer is its movement."""


_LEDGER_STEPS: dict[type, Callable[[LedgerChanges, Any, int], None]] = {
    Accepted: LedgerChanges._accept,
    Filled: LedgerChanges._fill,
    HoldReduced: LedgerChanges._reduce,
    Closed: LedgerChanges._close,
    Transferred: LedgerChanges._transfer,
}


def storable(text: str) -> str:
    """Text as PostgreSQL can keep it: it has no NUL character."""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}") if "\0" in text else text


def _reference(event: LedgerEvent) -> str:
    """What a movement belongs to: a transfer's request, or instrument:trade:order."""
    if type(event) is Transferred:
        return storable(event.request_id)
    return f"{event.instrument}:{event.trade_id}:{event.order_id}"  # type: ignore[union-attr]  # a Filled


class BookChanges:
    """What a batch of entries of book logs changes.

    A resting order of an earlier batch is not known here, only by how much it changes. An order that comes and goes
    within the batch leaves no trace among the resting ones.
    """

    def __init__(self) -> None:
        self.configured: dict[str, Instrument] = {}
        self.sequences: dict[str, int] = {}
        self.opened: dict[int, RestingRow] = {}
        self.resting_changes: dict[int, RestingChange] = {}
        self.gone: set[int] = set()
        self.trades: list[TradeRow] = []
        self._arriving = 0

    def add(self, symbol: str, entry: BookEntry) -> None:
        """Follow the next entry of the log of ``symbol``."""
        for event in entry.events:
            step = _BOOK_STEPS.get(type(event))
            if step is not None:
                step(self, symbol, event, entry.time)

    def _receive(self, symbol: str, event: Received, _time: int) -> None:
        self.sequences[symbol] = event.sequence
        self._arriving = event.order_id

    def _open(self, symbol: str, event: Open, _time: int) -> None:
        self.sequences[symbol] = event.sequence
        self.opened[event.order_id] = RestingRow(
            event.order_id, symbol, event.account, event.side, event.price, event.remaining, event.sequence
        )

    def _match(self, symbol: str, event: Match, time: int) -> None:
        self.sequences[symbol] = event.sequence
        self.trades.append(
            TradeRow(
                symbol, event.trade_id, event.sequence, event.price, event.quantity, event.side,
                event.maker_order_id, event.taker_order_id, time,
            )
        )  # fmt: skip
        self._reduce(event.maker_order_id, event.quantity)

    def _change(self, symbol: str, event: Change, _time: int) -> None:
        self.sequences[symbol] = event.sequence
        self._reduce(event.order_id, event.old_quantity - event.new_quantity)

    def _reduce(self, order_id: int, quantity: int) -> None:
        """Take from a resting order; where the order is an arriving one, there is no row that this changes."""
        resting = self.opened.get(order_id) or self.resting_changes.get(order_id)
        if resting is None:
            resting = self.resting_changes[order_id] = RestingChange(order_id, 0)
        resting.remaining -= quantity

    def _done(self, symbol: str, event: Done, _time: int) -> None:
        self.sequences[symbol] = event.sequence
        order_id = event.order_id
        if self.opened.pop(order_id, None) is None and order_id != self._arriving:
            self.resting_changes.pop(order_id, None)
            self.gone.add(order_id)

    def _configure(self, symbol: str, event: Configured, _time: int) -> None:
        self.configured[symbol] = event.instrument


_BOOK_STEPS: dict[type, Callable[[BookChanges, str, Any, int], None]] = {
    Received: BookChanges._receive,
    Open: BookChanges._open,
    Match: BookChanges._match,
    Change: BookChanges._change,
    Done: BookChanges._done,
    Configured: BookChanges._configure,
}
