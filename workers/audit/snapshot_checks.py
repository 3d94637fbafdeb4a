"""Holds snapshots against the fold of the log up to their position: what a restart would begin with is right."""

from typing import Any

from shared import keys
from shared.errors import CorruptState
from workers.audit.book_checks import BookChecks
from workers.audit.history import LogView
from workers.audit.invariants import Findings, Invariant
from workers.audit.ledger_checks import LedgerChecks
from workers.engine.book import OrderBook
from workers.ledger.ledger import Ledger
from workers.store import Snapshot


def compare_at_position(
    snapshot: Snapshot, log: LogView, checks: LedgerChecks | BookChecks, findings: Findings
) -> None:
    """Compare a snapshot behind the audit's first entry when the log reaches its position."""
    where = f"{keys.snapshot(log.tag)} {snapshot.position}"
    if log.start < snapshot.position <= log.standing.length:
        log.at(snapshot.position, lambda: compare(snapshot, log, checks, findings, where))


def compare(
    snapshot: Snapshot, log: LogView, checks: LedgerChecks | BookChecks, findings: Findings, where: str
) -> None:
    """Compare a snapshot with a log that has been followed to its position."""
    findings.check(
        Invariant.SNAPSHOTS, snapshot.chain == log.chain, where,
        f"its chain is {snapshot.chain}, the log's {log.chain}",
    )  # fmt: skip
    try:
        if isinstance(checks, BookChecks):
            _compare_book(OrderBook.load(snapshot.state), checks, findings, where)
        else:
            _compare_ledger(Ledger.load(snapshot.state), checks, findings, where)
    except CorruptState as error:
        findings.violate(Invariant.SNAPSHOTS, where, str(error))


def _compare_book(book: OrderBook, checks: BookChecks, findings: Findings, where: str) -> None:
    for name in ("sequence", "trade_id", "last_price", "instrument"):
        saved, right = getattr(book, name), getattr(checks, name)
        findings.check(Invariant.SNAPSHOTS, saved == right, where, f"{name} is {saved}, the log says {right}")
    for side, resting in checks.sides.items():
        saved_orders = [(one.order_id, one.account, one.price, one.remaining, one.hidden) for one in book.resting(side)]
        right_orders = [(one.order_id, one.account, one.price, one.shown, one.left - one.shown) for one in resting]
        _compare_rows(f"{side} orders", saved_orders, right_orders, findings, where)
    sleeping = [(one.order.order_id, one.stop_price, one.order.price, one.order.quantity) for one in book.sleeping()]
    sleepers = checks.sleepers.by_id.values()
    asleep = [(one.order.order_id, one.stop_price, one.order.price, one.order.left) for one in sleepers]
    _compare_rows("sleeping stops", sorted(sleeping), sorted(asleep), findings, where)
    pending = sorted(one.order_id for one in book.pending())
    _compare_rows("orders that wait in lists", pending, sorted(checks.lists.waiting), findings, where)
    saved_lists = sorted((one.parent, one.legs, one.waiting, one.first_fill, one.shrunk) for one in book.lists.all())
    lists = {id(one): one for one in checks.lists.of_order.values()}.values()
    right_lists = sorted((one.parent, one.legs, one.waits, one.first_fill, one.shrunk) for one in lists)
    _compare_rows("lists", saved_lists, right_lists, findings, where)


def _compare_rows(name: str, saved: list[Any], right: list[Any], findings: Findings, where: str) -> None:
    differing = [pair for pair in zip(saved, right, strict=False) if pair[0] != pair[1]][:1]
    findings.check(
        Invariant.SNAPSHOTS, saved == right, where,
        f"has {len(saved)} {name}, the log {len(right)}; the first to differ are {differing}",
    )  # fmt: skip


def _compare_ledger(ledger: Ledger, checks: LedgerChecks, findings: Findings, where: str) -> None:
    findings.check(
        Invariant.SNAPSHOTS, ledger.count == checks.count, where, f"counts {ledger.count} orders, not {checks.count}"
    )
    for name in ("instruments", "last_prices"):
        same = getattr(ledger, name) == getattr(checks, name)
        findings.check(Invariant.SNAPSHOTS, same, where, f"has other {name} than the log")
    same = ledger.blocks.keys() == checks.blocked
    findings.check(Invariant.SNAPSHOTS, same, where, "has other kill switches than the log")
    saved = {
        (account, currency): (balance.available, balance.held)
        for account in ledger.accounts
        for currency, balance in ledger.balances(account).items()
    }
    right = {key: (one.available, one.held) for key, one in checks.balances.items()}
    for account, currency in saved.keys() | right.keys():
        has, should = (found.get((account, currency), (0, 0)) for found in (saved, right))  # none yet is nothing
        findings.check(
            Invariant.SNAPSHOTS, has == should, where,
            f"account {account} has {has} {currency} (available, held), the log says {should}",
        )  # fmt: skip
    orders = {
        one.order_id: (
            one.hold, one.remaining, one.filled, one.executed_value, one.fees, one.fee_rest, one.price, one.quantity,
            one.conditions, one.rival, one.due, [amend.request_id for amend in one.amends],
        )
        for one in ledger.orders
    }  # fmt: skip
    owned = {
        number: (
            one.hold, one.remaining, one.filled, one.executed_value, one.fees, one.fee_rest, one.price, one.quantity,
            one.conditions, one.rival, one.due, [amend.request_id for amend in one.amends],
        )
        for number, one in checks.orders.items()
    }  # fmt: skip
    for number in orders.keys() | owned.keys():
        findings.check(
            Invariant.SNAPSHOTS, orders.get(number) == owned.get(number), where,
            f"order {number} is {orders.get(number)}, the log says {owned.get(number)}",
        )  # fmt: skip
