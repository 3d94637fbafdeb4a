"""A batch of entries of ledger logs as the least work for PostgreSQL: each row is touched once, whatever happened.

Pure: no I/O, no clock. The changes of a batch are made anew each time, so a batch that failed leaves nothing behind.
"""

from collections.abc import Callable
from typing import Any

import msgspec

from shared.messages import (
    Accepted,
    Amended,
    AmendFailed,
    AmendRequested,
    Closed,
    Filled,
    HoldFunded,
    HoldMoved,
    HoldReduced,
    LedgerEntry,
    LedgerEvent,
    Transferred,
)
from workers.ledger.settlement import movements, taken_from_hold
from workers.pusher.rows import BalanceChange, FillRow, MovementRow, OrderAmend, OrderChange, OrderRow


class LedgerChanges:
    """What a batch of entries of ledger logs changes."""

    def __init__(self) -> None:
        self.new_orders: dict[int, OrderRow] = {}
        self.order_changes: dict[int, OrderChange] = {}
        self.order_amends: dict[int, OrderAmend] = {}
        self.fills: list[FillRow] = []
        self.balances: dict[tuple[int, int, str], BalanceChange] = {}
        self.movements: list[MovementRow] = []

    def add(self, shard: int, position: int, entry: LedgerEntry) -> None:
        """Follow entry ``position`` of the log of ``shard``."""
        for event in entry.events:
            step = _STEPS.get(type(event))
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
        row = self.new_orders[event.order_id] = OrderRow(
            event.order_id, event.account, event.instrument, event.side, event.order_type, event.price,
            event.quantity, event.funds, event.specified_funds, event.time_in_force, event.post_only, event.stp,
            storable(event.client_id), storable(event.request_id), event.maker_fee, event.taker_fee, event.hold,
            event.quantity, time,
        )  # fmt: skip
        if event.conditions is not None:
            row.conditions = event.conditions
        if event.rival or event.parent:
            row.rival, row.parent, row.due = event.rival, event.parent, event.due

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
        if event.quantity:
            order.quantity = event.quantity

    def _close(self, event: Closed, time: int) -> None:
        order = self._order(event.order_id)
        order.hold -= event.released
        order.leave(event.remaining)
        order.settled, order.due = True, 0
        order.done_reason = event.reason
        order.cause = event.cause.value if event.cause else ""
        order.done_at = time

    def _move_hold(self, event: HoldMoved, _time: int) -> None:
        self._order(event.from_order_id).hold -= event.amount
        self._order(event.order_id).hold += event.amount

    def _fund_hold(self, event: HoldFunded, _time: int) -> None:
        order = self._order(event.order_id)
        order.hold += event.amount
        order.due -= event.amount

    def _ask_amend(self, event: AmendRequested, _time: int) -> None:
        if event.hold:
            self._order(event.order_id).hold += event.hold

    def _amend(self, event: Amended, _time: int) -> None:
        order = self._order(event.order_id)
        order.hold -= event.released
        order.leave(event.remaining)
        order.quantity = event.quantity
        if isinstance(order, OrderRow):
            order.price = event.price
            if event.stop_price and order.conditions is not None:
                order.conditions = msgspec.structs.replace(order.conditions, stop_price=event.stop_price)
            return
        before = self.order_amends.get(event.order_id)
        stop_price = event.stop_price or (before.stop_price if before is not None else 0)
        self.order_amends[event.order_id] = OrderAmend(event.order_id, event.price, stop_price)

    def _fail_amend(self, event: AmendFailed, _time: int) -> None:
        if event.released:  # else the order may be closed already, and then nothing of it changes any more
            self._order(event.order_id).hold -= event.released

    def _transfer(self, event: Transferred, time: int) -> None:
        """A transfer is its movement."""


_STEPS: dict[type, Callable[[LedgerChanges, Any, int], None]] = {
    Accepted: LedgerChanges._accept,
    Filled: LedgerChanges._fill,
    HoldReduced: LedgerChanges._reduce,
    Closed: LedgerChanges._close,
    HoldMoved: LedgerChanges._move_hold,
    HoldFunded: LedgerChanges._fund_hold,
    AmendRequested: LedgerChanges._ask_amend,
    Amended: LedgerChanges._amend,
    AmendFailed: LedgerChanges._fail_amend,
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
