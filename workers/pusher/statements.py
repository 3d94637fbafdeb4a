"""The statements that write a batch, each for any number of rows.

The rows go as one JSON text, which PostgreSQL takes apart itself (``json_to_recordset``): encoding costs Python a
microsecond a row, and the event loop is free while the server works. Measured for 5,000 orders: 52 ms, 4 of them in
Python. ``unnest`` of arrays took 110 ms, half of it in Python; COPY 21 ms, all in Python, and it cannot update.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
from sqlalchemy import JSON, Text, bindparam, cast, column, delete, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.sql.schema import Table

from shared.schema import balances, fills, instruments, movements, orders, positions, resting_orders, trades
from workers.pusher.fold import BookChanges, LedgerChanges
from workers.pusher.rows import (
    BalanceChange,
    FillRow,
    Gone,
    InstrumentRow,
    MovementRow,
    OrderChange,
    OrderRow,
    PositionRow,
    PositionStart,
    RestingChange,
    RestingRow,
    SequenceRow,
    TradeRow,
)

Write = tuple[Any, list[Any]]
"""A statement and its rows."""

_encode = msgspec.json.Encoder().encode


def parameters(rows: Iterable[msgspec.Struct]) -> dict[str, str]:
    """What a statement of this file is executed with."""
    return {"rows": _encode(rows).decode()}


def ledger_writes(changes: LedgerChanges) -> Iterator[Write]:
    """What a batch of ledger logs writes, in an order that fits."""
    yield ADD_ORDERS, list(changes.new_orders.values())
    yield CHANGE_ORDERS, list(changes.order_changes.values())
    yield ADD_FILLS, changes.fills
    yield CHANGE_BALANCES, list(changes.balances.values())
    yield ADD_MOVEMENTS, changes.movements


def book_writes(changes: BookChanges) -> Iterator[Write]:
    """What a batch of book logs writes, in an order that fits."""
    yield SET_INSTRUMENTS, [InstrumentRow(*one) for one in changes.configured.items()]
    yield SET_SEQUENCES, [SequenceRow(*one) for one in changes.sequences.items()]
    yield ADD_TRADES, changes.trades
    yield REMOVE_RESTING, [Gone(one) for one in changes.gone]
    yield CHANGE_RESTING, list(changes.resting_changes.values())
    yield ADD_RESTING, list(changes.opened.values())


def _recordset(table: Table, kind: type[msgspec.Struct], **like: str) -> Any:
    """The rows as a table, typed as the columns of ``table``. ``like``: whose type a field has that is no column."""
    columns = [column(name, table.c[like.get(name, name)].type) for name in kind.__struct_fields__]
    rows = cast(bindparam("rows", type_=Text), JSON)
    return func.json_to_recordset(rows).table_valued(*columns).render_derived(name="r", with_types=True)


def _insert(table: Table, kind: type[msgspec.Struct]) -> Any:
    rows, names = _recordset(table, kind), kind.__struct_fields__
    return insert(table).from_select(names, select(*(rows.c[name] for name in names)))


def _move_positions() -> Any:
    """The guard: a position moves only from where the batch began. Fewer rows than positions: roll back."""
    rows = _recordset(positions, PositionRow, from_length="length", from_chain="chain")
    return (
        update(positions)
        .values(length=rows.c.length, chain=rows.c.chain, chain_before=rows.c.chain_before)
        .where(positions.c.tag == rows.c.tag)
        .where(positions.c.length == rows.c.from_length)
        .where(positions.c.chain == rows.c.from_chain)
    )


def _set_instruments() -> Any:
    rows = _insert(instruments, InstrumentRow)
    return rows.on_conflict_do_update(index_elements=["symbol"], set_={"definition": rows.excluded.definition})


def _set_sequences() -> Any:
    rows = _recordset(instruments, SequenceRow)
    return update(instruments).values(sequence=rows.c.sequence).where(instruments.c.symbol == rows.c.symbol)


def _change_orders() -> Any:
    rows, now = _recordset(orders, OrderChange, remaining_set="remaining"), orders.c
    return (
        update(orders)
        .values(
            hold=now.hold + rows.c.hold,
            remaining=func.coalesce(rows.c.remaining_set, now.remaining) + rows.c.remaining,
            filled=now.filled + rows.c.filled,
            executed_value=now.executed_value + rows.c.executed_value,
            fees=now.fees + rows.c.fees,
            fee_rest=func.coalesce(rows.c.fee_rest, now.fee_rest),
            **{name: rows.c[name] for name in ("settled", "done_reason", "cause", "done_at")},
        )
        .where(now.order_id == rows.c.order_id)
    )


def _change_balances() -> Any:
    rows, now = _insert(balances, BalanceChange), balances.c
    return rows.on_conflict_do_update(
        index_elements=["account", "shard", "currency"],
        set_={"available": now.available + rows.excluded.available, "held": now.held + rows.excluded.held},
    )


def _change_resting() -> Any:
    rows, now = _recordset(resting_orders, RestingChange), resting_orders.c
    return update(resting_orders).values(remaining=now.remaining + rows.c.remaining).where(
        now.order_id == rows.c.order_id
    )  # fmt: skip


def _remove_resting() -> Any:
    rows = _recordset(resting_orders, Gone)
    return delete(resting_orders).where(resting_orders.c.order_id == rows.c.order_id)


START_POSITIONS = _insert(positions, PositionStart).on_conflict_do_nothing()
MOVE_POSITIONS = _move_positions()
SET_INSTRUMENTS = _set_instruments()
SET_SEQUENCES = _set_sequences()
ADD_ORDERS = _insert(orders, OrderRow)
CHANGE_ORDERS = _change_orders()
ADD_FILLS = _insert(fills, FillRow)
CHANGE_BALANCES = _change_balances()
ADD_MOVEMENTS = _insert(movements, MovementRow)
ADD_TRADES = _insert(trades, TradeRow)
ADD_RESTING = _insert(resting_orders, RestingRow)
CHANGE_RESTING = _change_resting()
REMOVE_RESTING = _remove_resting()
