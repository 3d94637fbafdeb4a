"""Holds PostgreSQL against the logs: every row is what the logs say, up to the position PostgreSQL itself names.

All is read in one transaction that sees one instant. Rows that cannot change any more (trades, fills, orders that are
done) are compared in batches while the logs are read; the rest when a log reaches PostgreSQL's position in it.
"""

from collections.abc import Callable, Iterable
from typing import Any

import msgspec
from sqlalchemy import Connection, Select, any_, func, select

from shared import keys
from shared.instrument import Instrument
from shared.messages import BookEntry, Change, Done, Filled, LedgerEntry, ListPlaced, Match
from shared.order_id import SHARD_MASK
from shared.schema import balances, fills, movements, orders, positions, trades
from workers.audit.book_checks import BookChecks
from workers.audit.history import LogView
from workers.audit.invariants import Findings, Invariant
from workers.audit.ledger_checks import LedgerChecks
from workers.audit.row_tables import (
    FILL,
    FILLS,
    IDS,
    LISTED,
    LISTS,
    ORDER,
    ORDERS,
    RESTING,
    RULES,
    TRADE,
    TRADES,
    WAITING,
    WAITS,
    Row,
    list_rows,
    order_row,
    rests,
    waiting_rows,
)

BATCH = 2000


class RowChecks:
    """Compares rows with what the logs say."""

    def __init__(self, connection: Connection, findings: Findings) -> None:
        self._connection = connection
        self._findings = findings
        self._limits: dict[str, int] = {}
        self._trades: dict[str, dict[int, Row]] = {}
        self._fills: dict[str, dict[tuple[int, int], Row]] = {}
        self._listed: dict[str, dict[int, list[Any]]] = {}
        self._unlisted: dict[str, dict[int, Row]] = {}
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
        """A book's entry: its trades are rows, and so are the orders of lists."""
        if number > self._limits.get(keys.instrument_tag(symbol), 0):
            return
        rows, listed = self._trades.setdefault(symbol, {}), self._listed.setdefault(symbol, {})
        for event in entry.events:
            if isinstance(event, Match):
                rows[event.trade_id] = (
                    event.sequence, event.price, event.quantity, event.side, event.maker_order_id,
                    event.taker_order_id, entry.time,
                )  # fmt: skip
            elif isinstance(event, ListPlaced):
                listed.update(list_rows(event))
            elif listed and isinstance(event, Change | Done) and event.order_id in listed:
                self._follow_listed(symbol, event)
        if len(rows) >= BATCH:
            self._flush_trades(symbol)

    def _follow_listed(self, symbol: str, event: Change | Done) -> None:
        """The row of a list's order changes once more, or never again."""
        if isinstance(event, Change):
            listed = self._listed[symbol][event.order_id]
            listed[LISTED.index("shrunk")] |= event.reason == "stp"
            return
        over = self._unlisted.setdefault(symbol, {})
        over[event.order_id] = tuple(self._listed[symbol].pop(event.order_id))
        if len(over) >= BATCH:
            self._flush_listed(symbol)

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
        for symbol in self._unlisted:
            self._flush_listed(symbol)

    def _flush_listed(self, symbol: str) -> None:
        expected, self._unlisted[symbol] = self._unlisted[symbol], {}
        self._compare_listed(symbol, expected)

    def _compare_listed(self, symbol: str, expected: dict[int, Row]) -> None:
        found = self._rows(LISTS, 1, symbol=symbol, ids=list(expected))
        self._same(expected, found, LISTED, lambda order_id: f"list_orders: {symbol} order {order_id}")

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
        of_shard = orders.c.order_id.op("&")(SHARD_MASK) == shard
        expected = {order_id: order_row(order, None, 0) for order_id, order in checks.orders.items()}
        self._same(expected, self._rows(ORDERS.where(of_shard, ~orders.c.settled), 1), ORDER, _order)
        self._count(
            select(func.count()).select_from(orders).where(of_shard), checks.count, f"orders: shard {shard}", "rows"
        )
        if is_complete:
            fills_of_shard = fills.c.order_id.op("&")(SHARD_MASK) == shard
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
        symbol = checks.symbol
        for side, resting in checks.sides.items():
            found = self._rows(rests(side), 1, symbol=symbol)
            expected = {one.order_id: (one.account, one.price, one.shown, one.left - one.shown) for one in resting}
            self._same(expected, found, RESTING, lambda order_id: f"resting_orders: {symbol} order {order_id}")
            self._findings.check(
                Invariant.POSTGRESQL, list(expected) == list(found) or expected != found, f"resting_orders: {symbol}",
                f"the {side} orders have another priority than on the book",
            )  # fmt: skip
        self._same(
            waiting_rows(checks), self._rows(WAITS, 1, symbol=symbol), WAITING,
            lambda order_id: f"waiting_orders: {symbol} order {order_id}",
        )  # fmt: skip
        listed = self._listed.get(symbol, {})
        self._compare_listed(symbol, {order_id: tuple(row) for order_id, row in listed.items()})
        self._count(
            select(func.count()).where(trades.c.instrument == symbol), checks.trade_id, f"trades: {symbol}", "rows"
        )
        self._compare_rules(checks)

    def _compare_rules(self, checks: BookChecks) -> None:
        if checks.instrument is None:
            return
        row = self._connection.execute(RULES, {"symbol": checks.symbol}).first()
        found = (msgspec.convert(row[0], Instrument), *row[1:]) if row else None
        expected = (checks.instrument, checks.sequence, checks.time)
        self._findings.check(
            Invariant.POSTGRESQL, found == expected, f"instruments: {checks.symbol}",
            f"has rules, sequence and time {found}, the log {expected}",
        )  # fmt: skip


def _order(order_id: int) -> str:
    return f"orders: order {order_id}"
