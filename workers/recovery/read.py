"""Reads PostgreSQL as of one instant."""

from typing import Any

import msgspec
from sqlalchemy import Connection, Select, and_, func, or_, select

from shared import keys
from shared.errors import InvalidSetting, Unavailable
from shared.instrument import Instrument
from shared.messages import Conditions
from shared.order_id import SHARD_BITS, SHARD_MASK, shard_of_order
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
    users,
    waiting_orders,
)
from workers.ledger.orders import PAST_MAX, Past
from workers.ledger.state import Block
from workers.recovery.rows import (
    BookRows,
    FillRow,
    LedgerRows,
    ListedRow,
    OrderRow,
    Position,
    RestingRow,
    TradeRow,
    WaitingRow,
)

_CHUNK = 10_000


class Read(msgspec.Struct):
    """All rows that recovery goes by; ``positions`` by tag, ``accounts``: how many have a balance."""

    positions: dict[str, Position]
    books: dict[str, BookRows]
    ledgers: dict[int, LedgerRows]
    accounts: int = 0


def read(connection: Connection, shards: int) -> Read:
    """What PostgreSQL has, at one instant if the connection sees one (REPEATABLE READ).

    Raises ``InvalidSetting`` if the cluster had more shards, ``Unavailable`` if there is nothing to recover.
    """
    at = {row.tag: Position(row.length, row.chain) for row in connection.execute(select(positions))}
    if not at:
        raise Unavailable("PostgreSQL has followed no log: there is nothing to recover")
    known = [keys.shard_tag(shard) for shard in range(SHARD_MASK + 1) if keys.shard_tag(shard) in at]
    if len(known) > shards or keys.shard_tag(len(known) - 1) not in at:
        raise InvalidSetting(f"MATCHBOX_SHARDS={shards}: PostgreSQL has followed the shards {', '.join(known)}")
    open_orders = _open_orders(connection)
    trailing = {
        one.order_id for one in open_orders if one.conditions and (one.conditions.trail or one.conditions.trail_bps)
    }
    ledgers = {shard: _ledger(connection, shard, shards) for shard in range(shards)}
    for order in open_orders:
        ledgers[shard_of_order(order.order_id)].orders.append(order)
    found = connection.execute(select(instruments).order_by(instruments.c.symbol))
    books = {row.symbol: _book(connection, row, shards, trailing) for row in found.all()}
    accounts = connection.scalar(select(func.count(balances.c.account.distinct())).where(balances.c.account != 0))
    return Read(at, books, ledgers, accounts or 0)


def _rows[One: msgspec.Struct](connection: Connection, kind: type[One], query: Select[Any]) -> list[One]:
    return [kind(*row) for row in connection.execution_options(yield_per=_CHUNK).execute(query)]


def _columns(table: Any, kind: type[msgspec.Struct]) -> Select[Any]:
    return select(*(table.c[name] for name in kind.__struct_fields__))


def _open_orders(connection: Connection) -> list[OrderRow]:
    found = _rows(connection, OrderRow, _columns(orders, OrderRow).where(~orders.c.settled).order_by(orders.c.order_id))
    for order in found:
        if order.conditions is not None:
            order.conditions = msgspec.convert(order.conditions, Conditions)
    return found


# --- a shard ---------------------------------------------------------------------------------------


def _ledger(connection: Connection, shard: int, shards: int) -> LedgerRows:
    of_shard = orders.c.order_id.op("&")(SHARD_MASK) == shard
    money, line = balances.c, movements.c
    newest = select(orders.c.order_id).where(of_shard).order_by(orders.c.order_id.desc()).limit(1)
    held = select(money.account, money.currency, money.available, money.held).where(money.shard == shard)
    supply = select(line.currency, func.sum(line.amount)).where(line.shard == shard, line.kind == "transfer")
    times = (
        select(func.max(orders.c.created_at)).where(of_shard),
        select(func.max(orders.c.done_at)).where(of_shard),
        select(func.max(line.time)).where(line.shard == shard),
    )
    blocked = select(users.c.account, users.c.blocked_at).where(users.c.blocked_at.is_not(None))
    return LedgerRows(
        shard, shards,
        time=max(connection.scalar(one) or 0 for one in times),
        count=(connection.scalar(newest) or 0) >> SHARD_BITS,
        balances=[tuple(row) for row in connection.execute(held)],
        supply={currency: int(amount) for currency, amount in connection.execute(supply.group_by(line.currency))},
        past=_past(connection, shard),
        blocks=[
            Block(account, "blocked before the recovery", time)
            for account, time in connection.execute(blocked)
            if keys.shard_of(account, shards) == shard
        ],
    )  # fmt: skip


def _past(connection: Connection, shard: int) -> list[Past]:
    """The ids that make a repeated request harmless, as many as a ledger remembers: the oldest first."""
    one, line = orders.c, movements.c
    closed = (
        select(one.done_at, one.account, one.client_id, one.request_id, one.order_id)
        .where(one.settled, one.order_id.op("&")(SHARD_MASK) == shard)
        .order_by(one.done_at.desc(), one.order_id.desc())
        .limit(PAST_MAX)
    )
    moved = (
        select(line.time, line.account, line.reference)
        .where(line.kind == "transfer", line.shard == shard)
        .order_by(line.movement_id.desc())
        .limit(PAST_MAX)
    )
    found: list[tuple[int, int, Past]] = []
    for time, account, client_id, request_id, order_id in connection.execute(closed):
        found.append((time, order_id, Past(account, "c" if client_id else "r", client_id or request_id, order_id)))
    for at, (time, account, reference) in enumerate(connection.execute(moved)):
        found.append((time, -at, Past(account, "t", reference, 0)))
    found.sort(key=lambda row: row[:2])
    return [past for _, _, past in found[-PAST_MAX:]]


# --- a book ----------------------------------------------------------------------------------------


def _book(connection: Connection, row: Any, shards: int, trailing: set[int]) -> BookRows:
    symbol = row.symbol
    rest, wait, listed, trade, fill = resting_orders, waiting_orders, list_orders, trades.c, fills.c
    resting = _columns(rest, RestingRow).where(rest.c.instrument == symbol).order_by(rest.c.priority)
    waiting = _columns(wait, WaitingRow).where(wait.c.instrument == symbol).order_by(wait.c.priority, wait.c.order_id)
    here = [select(one.c.order_id).where(one.c.instrument == symbol) for one in (rest, wait)]
    mates = select(listed.c.list_id).where(or_(*(listed.c.order_id.in_(one) for one in here)))
    last = connection.execute(
        select(trade.trade_id, trade.price).where(trade.instrument == symbol).order_by(trade.trade_id.desc()).limit(1)
    ).first()
    trade_id, last_price = last or (0, 0)
    found = BookRows(
        msgspec.convert(row.definition, Instrument), row.sequence, row.time, trade_id, last_price,
        resting=_rows(connection, RestingRow, resting),
        waiting=_rows(connection, WaitingRow, waiting),
        listed=_rows(connection, ListedRow, _columns(listed, ListedRow).where(listed.c.list_id.in_(mates))),
    )  # fmt: skip
    for shard in range(shards):
        of_shard = fill.order_id.op("&")(SHARD_MASK) == shard
        newest = select(fill.trade_id).where(fill.instrument == symbol, of_shard).order_by(fill.trade_id.desc())
        found.settled[shard] = connection.scalar(newest.limit(1)) or 0
    ahead = _columns(fills, FillRow).where(fill.instrument == symbol, fill.trade_id > found.trade_id)
    found.ahead = _rows(connection, FillRow, ahead)
    ages = [one.priority for one in found.waiting if one.status == "active" and one.order_id in trailing]
    found.trades = _rows(connection, TradeRow, _needed_trades(symbol, found.settled, ages))
    return found


def _needed_trades(symbol: str, settled: dict[int, int], ages: list[int]) -> Select[Any]:
    """Trades that a shard has not settled, and those that trailing stops (which fell asleep at ``ages``) followed."""
    trade = trades.c
    needed = [
        and_(
            trade.trade_id > settled[shard],
            or_(*(one.op("&")(SHARD_MASK) == shard for one in (trade.maker_order_id, trade.taker_order_id))),
        )
        for shard in settled
    ]
    if ages:
        needed.append(trade.sequence > min(ages))
    return _columns(trades, TradeRow).where(trade.instrument == symbol, or_(*needed)).order_by(trade.trade_id)
