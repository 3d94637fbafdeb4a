"""What PostgreSQL knows: older orders, fills, trades, candles, account history, behind by the pusher's lag; and users.

Raises ``ApiError`` 503 when PostgreSQL is away; nothing else of the gateway needs it.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Concatenate

import msgspec
from psycopg.errors import UndefinedTable
from sqlalchemy import BigInteger, ColumnElement, Connection, Row, Select, and_, func, literal, select
from sqlalchemy.engine.interfaces import IsolationLevel
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from shared import keys
from shared.errors import first_line
from shared.messages import Conditions
from shared.schema import balances, fills, movements, orders, positions, trades
from workers.gateway.errors import unavailable
from workers.gateway.known_orders import KnownOrder
from workers.gateway.market import TRADES_KEPT, Past, Trade
from workers.gateway.paging import Page
from workers.gateway.window import DAY_MINUTES, HOUR_NS, MINUTE_NS, MONTH_HOURS, Bucket, Window
from workers.ledger.orders import OpenOrder

QUERY_TIMEOUT_S = 5.0
PAST_TIMEOUT_S = 60.0
AWAY = "PostgreSQL, which keeps the history, cannot be reached just now; it goes on by itself, try again"
"""Trading and market data do not need it."""

_ORDER_COLUMNS = [orders.c[name] for name in OpenOrder.__struct_fields__ if name in orders.c and name != "request_id"]


class Candle(msgspec.Struct, array_like=True):
    """What was traded in one span: ``start`` in ns, prices in ticks, volume in lots."""

    start: int
    low: int
    high: int
    open: int
    close: int
    volume: int


class History:
    """Reads of PostgreSQL. ``trouble`` is what went wrong last, "" when all is well."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self.trouble = ""

    @asynccontextmanager
    async def _connect(
        self, timeout_s: float = QUERY_TIMEOUT_S, isolation: IsolationLevel = "REPEATABLE READ"
    ) -> AsyncIterator[AsyncConnection]:
        """A connection that sees one moment; its absence becomes a 503."""
        try:
            async with asyncio.timeout(timeout_s), self._engine.connect() as connection:
                await connection.execution_options(isolation_level=isolation)
                yield connection
        except (OperationalError, InterfaceError, PoolTimeout, OSError, TimeoutError) as error:
            # DBAPIError's own text repeats the statement; its cause says what happened.
            cause = error.orig if isinstance(error, DBAPIError) else error
            self.trouble = first_line(cause)
            raise unavailable(AWAY) from error
        except ProgrammingError as error:
            if not isinstance(error.orig, UndefinedTable):
                raise
            self.trouble = 'PostgreSQL has no tables yet: run "python -m cluster.migrate"'
            raise unavailable(AWAY) from error
        self.trouble = ""

    async def rows(self, query: Select[Any], timeout_s: float = QUERY_TIMEOUT_S) -> Sequence[Row[Any]]:
        """All rows of a query."""
        async with self._connect(timeout_s) as connection:
            found: Sequence[Row[Any]] = (await connection.execute(query)).all()
        return found

    async def write[**P, T](self, act: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run ``act`` in a transaction of its own: the one thing here that writes, for what no log knows."""
        async with self._connect(isolation="READ COMMITTED") as connection:
            found = await connection.run_sync(act, *args, **kwargs)
            await connection.commit()
        return found

    async def ping(self) -> None:
        """Raises ``ApiError`` 503 if PostgreSQL does not answer."""
        await self.rows(select(literal(1)), timeout_s=2.0)

    # --- orders ---

    async def order(self, account: int, order_id: int) -> KnownOrder | None:
        """The account's order."""
        return await self._one_order(orders.c.order_id == order_id, orders.c.account == account)

    async def order_by_client_id(self, account: int, client_id: str) -> KnownOrder | None:
        """The account's latest order with its own id."""
        return await self._one_order(orders.c.account == account, orders.c.client_id == client_id)

    async def _one_order(self, *conditions: ColumnElement[bool]) -> KnownOrder | None:
        found = await self.rows(_orders().where(*conditions).order_by(orders.c.order_id.desc()).limit(1))
        return known_order(found[0]) if found else None

    async def orders(self, account: int, page: Page, *conditions: ColumnElement[bool]) -> list[KnownOrder]:
        """A page of the account's orders, one more than its limit, in the page's direction."""
        query = page.select(_orders().where(orders.c.account == account, *conditions), orders.c.order_id)
        return [known_order(row) for row in await self.rows(query)]

    async def length(self, tag: str) -> int:
        """Up to which entry of a log PostgreSQL has all."""
        found = await self.rows(select(positions.c.length).where(positions.c.tag == tag))
        return int(found[0].length) if found else 0

    # --- the market ---

    async def past(self, symbol: str, now_ns: int) -> tuple[int, Past]:
        """What a market starts from, and the entry of its book's log up to which that is so."""
        tag = keys.instrument_tag(symbol)
        async with self._connect(PAST_TIMEOUT_S) as connection:
            length = (await connection.execute(select(positions.c.length).where(positions.c.tag == tag))).scalar()
            newest = (await connection.execute(_last_trades(symbol, TRADES_KEPT))).all()
            minutes = (
                await connection.execute(_candles(symbol, MINUTE_NS, _since(now_ns, DAY_MINUTES, MINUTE_NS)))
            ).all()
            hours = (await connection.execute(_candles(symbol, HOUR_NS, _since(now_ns, MONTH_HOURS, HOUR_NS)))).all()
        window = Window(
            [Bucket(row.bucket, row.open, row.high, row.low, row.close, int(row.volume)) for row in reversed(minutes)],
            [(row.bucket, int(row.volume)) for row in reversed(hours)],
        )
        return int(length or 0), Past([trade(row) for row in reversed(newest)], window)

    async def trades(self, symbol: str, page: Page) -> list[Trade]:
        """A page of trades, one more than its limit, in the page's direction."""
        query = page.select(select(trades).where(trades.c.instrument == symbol), trades.c.trade_id)
        return [trade(row) for row in await self.rows(query)]

    async def candles(self, symbol: str, span_ns: int, start_ns: int, end_ns: int, limit: int) -> list[Candle]:
        """Up to ``limit`` candles that begin in [start, end], newest first."""
        first, last = -(-start_ns // span_ns) * span_ns, end_ns // span_ns * span_ns + span_ns
        query = _candles(symbol, span_ns, trades.c.time >= first, trades.c.time < last).limit(limit)
        return [
            Candle(row.bucket * span_ns, row.low, row.high, row.open, row.close, int(row.volume))
            for row in await self.rows(query)
        ]

    # --- the account ---

    async def fills(self, account: int, page: Page, *conditions: ColumnElement[bool]) -> Sequence[Row[Any]]:
        """A page of the account's fills, one more than its limit, in the page's direction."""
        return await self.rows(
            page.select(select(fills).where(fills.c.account == account, *conditions), fills.c.fill_id)
        )

    async def transfers(self, account: int, page: Page, *conditions: ColumnElement[bool]) -> Sequence[Row[Any]]:
        """A page of the account's deposits and withdrawals, one more than its limit, in the page's direction."""
        query = select(movements).where(movements.c.account == account, movements.c.kind == "transfer", *conditions)
        return await self.rows(page.select(query, movements.c.movement_id))

    async def statement(
        self, account: int, currency: str, page: Page, *conditions: ColumnElement[bool]
    ) -> list[tuple[Row[Any], int]]:
        """A page of the account's movements in a currency, each with the balance it led to.

        That balance is today's less all that came after; one transaction sees both.
        """
        mine = (movements.c.account == account, movements.c.currency == currency)
        number, amount = movements.c.movement_id, movements.c.amount
        today = select(func.coalesce(func.sum(balances.c.available + balances.c.held), 0)).where(
            balances.c.account == account, balances.c.currency == currency
        )
        query = page.select(select(movements).where(*mine, *conditions), number)
        async with self._connect() as connection:
            found = (await connection.execute(query)).all()
            ids = [row.movement_id for row in found]
            low, high = min(ids, default=0), max(ids, default=0)
            later = select(func.coalesce(func.sum(amount), 0)).where(*mine, number > high)
            balance = int((await connection.execute(today)).scalar_one())
            balance -= int((await connection.execute(later)).scalar_one())
            between = select(number, amount).where(*mine, number.between(low, high)).order_by(number.desc())
            led_to = {}
            for row in (await connection.execute(between)).all():
                led_to[row.movement_id] = balance
                balance -= row.amount
        return [(row, led_to[row.movement_id]) for row in found]


def _orders() -> Select[Any]:
    done = [orders.c[name] for name in ("created_at", "settled", "done_reason", "cause", "done_at")]
    return select(*_ORDER_COLUMNS, *done)


def known_order(row: Row[Any]) -> KnownOrder:
    """A row of ``orders`` as an order."""
    fields = {column.name: getattr(row, column.name) for column in _ORDER_COLUMNS}
    if fields["conditions"] is not None:
        fields["conditions"] = msgspec.convert(fields["conditions"], Conditions)
    order = OpenOrder(**fields, request_id="", time=row.created_at)
    if not row.settled:
        return KnownOrder(order)
    return KnownOrder(order, row.done_reason, row.cause, row.done_at or row.created_at)


def trade(row: Row[Any]) -> Trade:
    """A row of ``trades`` as a trade."""
    return Trade(row.trade_id, row.price, row.quantity, row.side, row.time)


def _last_trades(symbol: str, count: int) -> Select[Any]:
    return select(trades).where(trades.c.instrument == symbol).order_by(trades.c.trade_id.desc()).limit(count)


def _candles(symbol: str, span_ns: int, *conditions: ColumnElement[bool]) -> Select[Any]:
    """Trades summed up by spans, newest first; ``bucket`` counts spans since the epoch."""
    bucket = (trades.c.time // literal(span_ns, BigInteger)).label("bucket")
    sums = (
        select(
            bucket,
            func.min(trades.c.price).label("low"),
            func.max(trades.c.price).label("high"),
            func.sum(trades.c.quantity).label("volume"),
            func.min(trades.c.trade_id).label("first"),
            func.max(trades.c.trade_id).label("last"),
        )
        .where(trades.c.instrument == symbol, *conditions)
        .group_by(bucket)
        .subquery()
    )
    first, last = trades.alias(), trades.alias()
    return (
        select(sums, first.c.price.label("open"), last.c.price.label("close"))
        .join(first, and_(first.c.instrument == symbol, first.c.trade_id == sums.c.first))
        .join(last, and_(last.c.instrument == symbol, last.c.trade_id == sums.c.last))
        .order_by(sums.c.bucket.desc())
    )


def _since(now_ns: int, spans: int, span_ns: int) -> ColumnElement[bool]:
    """Trades of the last ``spans`` spans, the running one included."""
    return trades.c.time >= (now_ns // span_ns - spans + 1) * span_ns
