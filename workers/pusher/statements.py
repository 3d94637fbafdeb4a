"""The statements that write a batch, each for any number of rows.

The rows go as one JSON text, which PostgreSQL takes apart itself (``json_to_recordset``): encoding costs Python a
microsecond a row, and the event loop is free while the server works. Measured for 5,000 orders: 52 ms, 4 of them in
Python. ``unnest`` of arrays took 110 ms, half of it in Python; COPY 21 ms, all in Python, and it cannot update.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
from sqlalchemy import JSON, Text, bindparam, case, cast, column, delete, func, literal, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.sql.schema import Table

from shared.order_id import SHARD_MASK
from shared.schema import (
    balances,
    fills,
    instruments,
    list_orders,
    movements,
    orders,
    positions,
    resting_orders,
    trades,
    waiting_orders,
)
from workers.pusher.book_changes import BookChanges
from workers.pusher.ledger_changes import LedgerChanges
from workers.pusher.rows import (
    BalanceChange,
    BookRow,
    FillRow,
    Gone,
    InstrumentRow,
    ListRow,
    MovementRow,
    OrderAmend,
    OrderChange,
    OrderRow,
    PositionRow,
    PositionStart,
    RestingChange,
    RestingRow,
    Shrunk,
    TradeRow,
    WaitingChange,
    WaitingRow,
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
    yield AMEND_ORDERS, list(changes.order_amends.values())
    yield ADD_FILLS, changes.fills
    yield CHANGE_BALANCES, list(changes.balances.values())
    yield ADD_MOVEMENTS, changes.movements


def book_writes(changes: BookChanges) -> Iterator[Write]:
    """What a batch of book logs writes, in an order that fits."""
    yield SET_INSTRUMENTS, [InstrumentRow(*one) for one in changes.configured.items()]
    yield SET_BOOKS, list(changes.books.values())
    yield ADD_TRADES, changes.trades
    yield REMOVE_GONE, [Gone(one) for one in changes.gone]
    yield CHANGE_RESTING, list(changes.resting_changes.values())
    yield CHANGE_WAITING, list(changes.waiting_changes.values())
    yield ADD_RESTING, list(changes.opened.values())
    yield ADD_WAITING, list(changes.waiting.values())
    yield ADD_LISTED, list(changes.listed.values())
    yield SHRINK_LISTED, [Shrunk(one) for one in changes.shrunk]


def _recordset(table: Table, kind: type[msgspec.Struct], **like: str) -> Any:
    """The rows as a table, typed as the columns of ``table``. ``like``: whose type a field has that is no column."""
    columns = [column(name, table.c[like.get(name, name)].type) for name in kind.__struct_fields__]
    rows = cast(bindparam("rows", type_=Text), JSON)
    return func.json_to_recordset(rows).table_valued(*columns).render_derived(name="r", with_types=True)


def _given(rows: Any, kind: type[msgspec.Struct]) -> dict[str, Any]:
    """The columns of rows as they were encoded: a default that was left out is put in again, unless it is null."""
    defaults = {field.name: field.default for field in msgspec.structs.fields(kind)}
    return {
        name: rows.c[name]
        if default is msgspec.NODEFAULT or default is None
        else func.coalesce(rows.c[name], literal(default, literal_execute=True))
        for name, default in defaults.items()
    }


def _insert(table: Table, kind: type[msgspec.Struct]) -> Any:
    values = _given(_recordset(table, kind), kind)
    return insert(table).from_select(list(values), select(*values.values()))


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


def _set_books() -> Any:
    rows, now = _recordset(instruments, BookRow), instruments.c
    return (
        update(instruments)
        .values(sequence=func.greatest(now.sequence, rows.c.sequence), time=rows.c.time)
        .where(now.symbol == rows.c.symbol)
    )


def _change_orders() -> Any:
    rows, now = _recordset(orders, OrderChange, remaining_set="remaining"), orders.c
    new = _given(rows, OrderChange)
    return (
        update(orders)
        .values(
            hold=now.hold + new["hold"],
            quantity=func.coalesce(new["quantity"], now.quantity),
            remaining=func.coalesce(new["remaining_set"], now.remaining) + new["remaining"],
            filled=now.filled + new["filled"],
            executed_value=now.executed_value + new["executed_value"],
            fees=now.fees + new["fees"],
            fee_rest=func.coalesce(new["fee_rest"], now.fee_rest),
            due=case((new["settled"], 0), else_=now.due + new["due"]),
            **{name: new[name] for name in ("settled", "done_reason", "cause", "done_at")},
        )
        .where(now.order_id == rows.c.order_id)
    )


def _amend_orders() -> Any:
    rows, now = _recordset(orders, OrderAmend, stop_price="price"), orders.c
    conditions = now.conditions.op("||")(func.jsonb_build_object("stop_price", rows.c.stop_price))
    return (
        update(orders)
        .values(
            price=rows.c.price,
            conditions=case((rows.c.stop_price != 0, conditions), else_=now.conditions),
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
    rows, now = _recordset(resting_orders, RestingChange, remaining_set="remaining"), resting_orders.c
    new = _given(rows, RestingChange)
    return (
        update(resting_orders)
        .values(
            remaining=func.coalesce(new["remaining_set"], now.remaining) + new["remaining"],
            hidden=func.coalesce(new["hidden"], now.hidden),
        )
        .where(now.order_id == rows.c.order_id)
    )


def _change_waiting() -> Any:
    rows, now = _recordset(waiting_orders, WaitingChange), waiting_orders.c
    return (
        update(waiting_orders)
        .values(price=rows.c.price, quantity=rows.c.quantity, stop_price=rows.c.stop_price)
        .where(now.order_id == rows.c.order_id)
    )


def _remove_gone() -> Any:
    """From both tables at once: whether an order rested or waited is not known."""
    rows = _recordset(resting_orders, Gone)
    gone = select(rows.c.order_id).cte("gone")
    woken = delete(waiting_orders).where(waiting_orders.c.order_id == gone.c.order_id).cte("woken")
    return delete(resting_orders).where(resting_orders.c.order_id == gone.c.order_id).add_cte(woken)


def _shrink_listed() -> Any:
    rows = _recordset(list_orders, Shrunk)
    return update(list_orders).values(shrunk=True).where(list_orders.c.order_id == rows.c.order_id)


NEWEST_ORDER = (
    select(orders.c.order_id)
    .where(orders.c.order_id.op("&")(SHARD_MASK) == bindparam("shard"))
    .order_by(orders.c.order_id.desc())
    .limit(1)
)
"""The last order of a shard that PostgreSQL has."""
START_POSITIONS = _insert(positions, PositionStart).on_conflict_do_nothing()
MOVE_POSITIONS = _move_positions()
SET_INSTRUMENTS = _set_instruments()
SET_BOOKS = _set_books()
ADD_ORDERS = _insert(orders, OrderRow)
CHANGE_ORDERS = _change_orders()
AMEND_ORDERS = _amend_orders()
ADD_FILLS = _insert(fills, FillRow)
CHANGE_BALANCES = _change_balances()
ADD_MOVEMENTS = _insert(movements, MovementRow)
ADD_TRADES = _insert(trades, TradeRow)
ADD_RESTING = _insert(resting_orders, RestingRow)
CHANGE_RESTING = _change_resting()
ADD_WAITING = _insert(waiting_orders, WaitingRow)
CHANGE_WAITING = _change_waiting()
REMOVE_GONE = _remove_gone()
ADD_LISTED = _insert(list_orders, ListRow)
SHRINK_LISTED = _shrink_listed()
