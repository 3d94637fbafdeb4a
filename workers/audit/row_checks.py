"""Holds PostgreSQL against the logs: every row is what the logs say, up to the position PostgreSQL itself names.

All is read in one transaction that sees one instant. Rows that cannot change any more (trades, fills, orders that are
done) are compared in batches while the logs are read; the rest when a log reaches PostgreSQL's position in it.
"""

from collections.abc import Callable, Iterable
from typing import Any

import msgspec
from sqlalchemy import ARRAY, BigInteger, Connection, Select, any_, bindparam, func, select

from shared import keys
from shared.instrument import Instrument
from shared.messages import BookEntry, Closed, Filled, LedgerEntry, Match
from shared.order_id import SHARD_BITS
from shared.schema import balances, fills, instruments, movements, orders, positions, resting_orders, trades
from workers.audit.book_checks import BookChecks
from workers.audit.history import LogView
from workers.audit.invariants import Findings, Invariant
from workers.audit.ledger_checks import LedgerChecks, OwnedOrder

BATCH = 2000
IDS = bindparam("ids", type_=ARRAY(BigInteger))
TRADE = ("sequence", "price", "quantity", "side", "maker_order_id", "taker_order_id", "time")
FILL = ("account", "side", "liquidity", "price", "quantity", "cost", "fee", "time")
ORDER = (
    "account", "instrument", "side", "order_type", "price", "quantity", "funds", "specified_funds", "time_in_force",
    "post_only", "stp", "client_id", "request_id", "maker_fee", "taker_fee", "hold", "remaining", "filled",
    "executed_value", "fees", "fee_rest", "settled", "created_at", "done_reason", "cause", "done_at",
)  # fmt: skip
TRADES = select(trades.c.trade_id, *(trades.c[name] for name in TRADE)).where(
    trades.c.instrument == bindparam("symbol"), trades.c.trade_id == any_(IDS)
)
FILLS = select(fills.c.trade_id, fills.c.order_id, *(fills.c[name] for name in FILL)).where(
    fills.c.instrument == bindparam("symbol"), fills.c.trade_id == any_(IDS)
)
ORDERS = select(orders.c.order_id, *(orders.c[name] for name in ORDER))
SHARD = (1 << SHARD_BITS) - 1

Row = tuple[Any, ...]


class RowChecks:
    """Compares rows with what the logs say."""

    def __init__(self, connection: Connection, findings: Findings) -> None:
        self._connection = connection
        self._findings = findings
        self._limits: dict[str, int] = {}
        self._trades: dict[str, dict[int, Row]] = {}
        self._fills: dict[str, dict[tuple[int, int], Row]] = {}
        self._orders: dict[int, Row] = {}
        self._fill_counts: dict[int, int] = {}
        self.positions = {
            tag: (length, chain)
            for tag, length, chain in connection.execute(select(positions.c.tag, positions.c.length, positions.c.chain))
        }
        """Tag -> how far PostgreSQL is in its log, and the chain there."""

    def compare_at_position(self, log: LogView, checks: LedgerChecks | BookChecks) -> str:
        """Compare what this log says when it reaches PostgreSQL's position. Answers why not, if that is impossible."""
        length, chain = self.positions.get(log.tag, (0, ""))
        name, most = keys.log(log.tag), log.standing.length
        ahead = f'PostgreSQL is ahead of Redis ({length:,} > {most:,}); run "matchbox recover"'
        self._findings.check(Invariant.POSTGRESQL, length <= most, name, ahead)
        if not log.start <= length <= most:
            return f"{name}: PostgreSQL is at {length:,}, the audit begins at {log.start:,}: its rows are not compared"
        self._limits[log.tag] = length

        def compare() -> None:
            self._findings.check(
                Invariant.POSTGRESQL, log.chain == chain, name,
                f"PostgreSQL has followed another log up to {length:,}: its chain is {chain}, the log's {log.chain}",
            )  # fmt: skip
            if isinstance(checks, BookChecks):
                self._compare_book(checks)
            else:
                self._compare_ledger(checks, is_complete=log.start == 0)

        log.at(length, compare)
        return ""

    # --- while the logs are read ---------------------------------------------------------------------

    def book_entry(self, symbol: str, number: int, entry: BookEntry) -> None:
        """A book's entry: its trades are rows."""
        if number > self._limits.get(keys.instrument_tag(symbol), 0):
            return
        rows = self._trades.setdefault(symbol, {})
        for event in entry.events:
            if isinstance(event, Match):
                rows[event.trade_id] = (
                    event.sequence, event.price, event.quantity, event.side, event.maker_order_id,
                    event.taker_order_id, entry.time,
                )  # fmt: skip
        if len(rows) >= BATCH:
            self._flush_trades(symbol)

    def ledger_entry(self, checks: LedgerChecks, number: int, entry: LedgerEntry) -> None:
        """A ledger's entry, followed by ``checks``: its fills are rows, and so are the orders that it closes."""
        if number > self._limits.get(keys.shard_tag(checks.shard), 0):
            return
        for event in entry.events:
            if isinstance(event, Filled):
                rows = self._fills.setdefault(event.instrument, {})
                rows[event.trade_id, event.order_id] = (
                    event.account, event.side, event.liquidity, event.price, event.quantity, event.cost, event.fee,
                    entry.time,
                )  # fmt: skip
                self._fill_counts[checks.shard] = self._fill_counts.get(checks.shard, 0) + 1
                if len(rows) >= BATCH:
                    self._flush_fills(event.instrument)
        for order, closed in checks.ended:
            self._orders[order.accepted.order_id] = order_row(order, closed, entry.time)
        if len(self._orders) >= BATCH:
            self._flush_orders()

    def end(self) -> None:
        """Compare what is left."""
        for symbol in self._trades:
            self._flush_trades(symbol)
        for symbol in self._fills:
            self._flush_fills(symbol)
        self._flush_orders()

    def _flush_trades(self, symbol: str) -> None:
        expected, self._trades[symbol] = self._trades[symbol], {}
        found = self._rows(TRADES, 1, symbol=symbol, ids=list(expected))
        self._same(expected, found, TRADE, lambda trade_id: f"trades: {symbol} trade {trade_id}")

    def _flush_fills(self, symbol: str) -> None:
        expected, self._fills[symbol] = self._fills[symbol], {}
        found = self._rows(FILLS, 2, symbol=symbol, ids=[trade_id for trade_id, _ in expected])
        found = {key: row for key, row in found.items() if key in expected}
        self._same(expected, found, FILL, lambda key: f"fills: {symbol} trade {key[0]} of order {key[1]}")

    def _flush_orders(self) -> None:
        expected, self._orders = self._orders, {}
        found = self._rows(ORDERS.where(orders.c.order_id == any_(IDS)), 1, ids=list(expected))
        self._same(expected, found, ORDER, _order)

    def _rows(self, statement: Select[Any], keys_: int, **parameters: Any) -> dict[Any, Row]:
        """Rows by their first column, or their first two."""
        found = self._connection.execute(statement, parameters)
        if keys_ == 1:
            return {row[0]: tuple(row[1:]) for row in found}
        return {tuple(row[:keys_]): tuple(row[keys_:]) for row in found}

    def _same(
        self, expected: dict[Any, Row], found: dict[Any, Row], columns: Iterable[str], name: Callable[[Any], str]
    ) -> None:
        self._findings.checked[Invariant.POSTGRESQL] += len(expected)
        if expected == found:
            return
        for key in expected.keys() | found.keys():
            log, row = expected.get(key), found.get(key)
            if log is None or row is None:
                what = "is missing" if row is None else "is in no log"
            elif log != row:
                differing = [
                    f"{column} is {had}, the logs say {right}"
                    for column, had, right in zip(columns, row, log, strict=True)
                    if had != right
                ]
                what = "; ".join(differing)
            else:
                continue
            self._findings.violate(Invariant.POSTGRESQL, name(key), what)

    # --- at PostgreSQL's position ----------------------------------------------------------------------

    def _count(self, statement: Select[Any], expected: int, where: str, what: str) -> None:
        found = self._connection.scalar(statement) or 0
        self._findings.check(
            Invariant.POSTGRESQL, found == expected, where, f"has {found:,} {what}, the logs say {expected:,}"
        )

    def _compare_ledger(self, checks: LedgerChecks, *, is_complete: bool) -> None:
        shard = checks.shard
        of_shard = orders.c.order_id.op("&")(SHARD) == shard
        expected = {
            order_id: order_row(order, None, 0) for order_id, order in checks.orders.items()
        }  # fmt: skip
        self._same(expected, self._rows(ORDERS.where(of_shard, ~orders.c.settled), 1), ORDER, _order)
        self._count(
            select(func.count()).select_from(orders).where(of_shard), checks.count, f"orders: shard {shard}", "rows"
        )
        if is_complete:
            fills_of_shard = fills.c.order_id.op("&")(SHARD) == shard
            self._count(
                select(func.count()).select_from(fills).where(fills_of_shard),
                self._fill_counts.get(shard, 0), f"fills: shard {shard}", "rows",
            )  # fmt: skip
        money = balances.c
        self._same(
            {key: (one.available, one.held) for key, one in checks.balances.items() if one.available or one.held},
            self._rows(
                select(money.account, money.currency, money.available, money.held).where(
                    money.shard == shard, (money.available != 0) | (money.held != 0)
                ),
                2,
            ),
            ("available", "held"),
            lambda key: f"balances: account {key[0]} {key[1]} of shard {shard}",
        )
        self._compare_movements(checks)

    def _compare_movements(self, checks: LedgerChecks) -> None:
        """The lines of each statement add up to the balance."""
        line = movements.c
        found = self._rows(
            select(line.account, line.currency, func.sum(line.amount))
            .where(line.shard == checks.shard)
            .group_by(line.account, line.currency)
            .having(func.sum(line.amount) != 0),
            2,
        )
        expected = {key: (one.available + one.held,) for key, one in checks.balances.items()}
        self._same(
            {key: row for key, row in expected.items() if row[0]},
            {key: (int(row[0]),) for key, row in found.items()},
            ("sum of amounts",),
            lambda key: f"movements: account {key[0]} {key[1]} of shard {checks.shard}",
        )

    def _compare_book(self, checks: BookChecks) -> None:
        symbol, one = checks.symbol, resting_orders.c
        for side, resting in checks.sides.items():
            rank = one.price.desc() if side == "buy" else one.price
            found = self._rows(
                select(one.order_id, one.account, one.price, one.remaining)
                .where(one.instrument == symbol, one.side == side)
                .order_by(rank, one.priority),
                1,
            )
            expected = {order.order_id: (order.account, order.price, order.remaining) for order in resting}
            self._same(
                expected, found, ("account", "price", "remaining"),
                lambda order_id: f"resting_orders: {symbol} order {order_id}",
            )  # fmt: skip
            self._findings.check(
                Invariant.POSTGRESQL, list(expected) == list(found) or expected != found, f"resting_orders: {symbol}",
                f"the {side} orders have another priority than on the book",
            )  # fmt: skip
        self._count(
            select(func.count()).where(trades.c.instrument == symbol), checks.trade_id, f"trades: {symbol}", "rows"
        )
        self._compare_rules(checks)

    def _compare_rules(self, checks: BookChecks) -> None:
        row = self._connection.execute(
            select(instruments.c.definition, instruments.c.sequence).where(instruments.c.symbol == checks.symbol)
        ).first()
        if checks.instrument is None:
            return
        rules = msgspec.convert(row[0], Instrument) if row else None
        self._findings.check(
            Invariant.POSTGRESQL, rules == checks.instrument and row is not None and row[1] == checks.sequence,
            f"instruments: {checks.symbol}",
            f"has sequence {row[1] if row else None} and {rules}, the log {checks.sequence} and {checks.instrument}",
        )  # fmt: skip


def order_row(order: OwnedOrder, closed: Closed | None, time: int) -> Row:
    """The row of an order, open or closed at ``time``, as in ``ORDER``."""
    one = order.accepted
    end = (closed.reason, closed.cause.value if closed.cause else "", time) if closed else ("", "", 0)
    return (
        one.account, one.instrument, one.side, one.order_type, one.price, one.quantity, one.funds,
        one.specified_funds, one.time_in_force, one.post_only, one.stp, storable(one.client_id),
        storable(one.request_id), one.maker_fee, one.taker_fee, order.hold, order.remaining, order.filled,
        order.executed_value, order.fees, order.fee_rest, closed is not None, order.time, *end,
    )  # fmt: skip


def storable(text: str) -> str:
    """Text as PostgreSQL keeps it: without NUL."""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}")


def _order(order_id: int) -> str:
    return f"orders: order {order_id}"
