"""The rows that an audit compares: which columns, how they are read, and what the logs say must be in them."""

from collections.abc import Iterable
from typing import Any

import msgspec
from sqlalchemy import ARRAY, BigInteger, Select, any_, bindparam, select

from shared.messages import Closed, ListPlaced
from shared.schema import fills, instruments, list_orders, orders, resting_orders, trades, waiting_orders
from workers.audit.book_checks import BookChecks
from workers.audit.ledger_state import OwnedOrder

Row = tuple[Any, ...]


class Unknown:
    """Equal to anything: what was said before the audit's first entry, and no snapshot tells."""

    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = None  # type: ignore[assignment]  # never a key


UNKNOWN = Unknown()
IDS = bindparam("ids", type_=ARRAY(BigInteger))
TRADE = ("sequence", "price", "quantity", "side", "maker_order_id", "taker_order_id", "time")
FILL = ("account", "side", "liquidity", "price", "quantity", "cost", "fee", "time")
ORDER = (
    "account", "instrument", "side", "order_type", "price", "quantity", "funds", "specified_funds", "time_in_force",
    "post_only", "stp", "client_id", "request_id", "maker_fee", "taker_fee", "hold", "remaining", "filled",
    "executed_value", "fees", "fee_rest", "settled", "created_at", "conditions", "rival", "parent", "due",
    "done_reason", "cause", "done_at",
)  # fmt: skip
RESTING = ("account", "price", "remaining", "hidden")
WAITING = ("account", "side", "status", "price", "quantity", "stop_price", "priority")
LISTED = ("list_id", "kind", "position", "first_fill", "shrunk")

TRADES = select(trades.c.trade_id, *(trades.c[name] for name in TRADE)).where(
    trades.c.instrument == bindparam("symbol"), trades.c.trade_id == any_(IDS)
)
FILLS = select(fills.c.trade_id, fills.c.order_id, *(fills.c[name] for name in FILL)).where(
    fills.c.instrument == bindparam("symbol"), fills.c.trade_id == any_(IDS)
)
ORDERS = select(orders.c.order_id, *(orders.c[name] for name in ORDER))
LISTS = select(list_orders.c.order_id, *(list_orders.c[name] for name in LISTED)).where(
    list_orders.c.instrument == bindparam("symbol"), list_orders.c.order_id == any_(IDS)
)
WAITS = select(waiting_orders.c.order_id, *(waiting_orders.c[name] for name in WAITING)).where(
    waiting_orders.c.instrument == bindparam("symbol")
)
RULES = select(instruments.c.definition, instruments.c.sequence, instruments.c.time).where(
    instruments.c.symbol == bindparam("symbol")
)


def rests(side: str) -> Select[Any]:
    """The resting orders of one side of ``symbol``, in priority order."""
    one = resting_orders.c
    rank = one.price.desc() if side == "buy" else one.price
    found = select(one.order_id, *(one[name] for name in RESTING))
    return found.where(one.instrument == bindparam("symbol"), one.side == side).order_by(rank, one.priority)


def order_row(order: OwnedOrder, closed: Closed | None, time: int) -> Row:
    """The row of an order, open or closed at ``time``, as in ``ORDER``."""
    one = order.accepted
    end = (closed.reason, closed.cause.value if closed.cause else "", time) if closed else ("", "", 0)
    conditions = msgspec.to_builtins(order.conditions) if order.conditions is not None else None
    bonds = (UNKNOWN, UNKNOWN) if order.is_restored else (one.rival, one.parent)
    return (
        one.account, one.instrument, one.side, one.order_type, order.price, order.quantity, one.funds,
        one.specified_funds, one.time_in_force, one.post_only, one.stp, storable(one.client_id),
        storable(one.request_id), one.maker_fee, one.taker_fee, order.hold, order.remaining, order.filled,
        order.executed_value, order.fees, order.fee_rest, closed is not None, order.time, conditions, *bonds,
        0 if closed else order.due, *end,
    )  # fmt: skip


def waiting_rows(book: BookChecks) -> dict[int, Row]:
    """The rows of the stops that sleep, and of the orders that wait for their lists, as in ``WAITING``."""
    found: dict[int, Row] = {}
    for order_id, sleeper in book.sleepers.by_id.items():
        one = sleeper.order
        told = sleeper.told if sleeper.told >= 0 else UNKNOWN if sleeper.trails else sleeper.stop_price
        found[order_id] = (one.account, one.side, "active", one.price, one.left, told, sleeper.age)
    for order_id in book.lists.waiting:
        one = book.orders[order_id]
        stop_price = one.terms.conditions.stop_price if one.terms.conditions is not None else 0
        found[order_id] = (one.account, one.side, "pending", one.price, one.left, stop_price, 0)
    return found


def list_rows(event: ListPlaced) -> Iterable[tuple[int, list[Any]]]:
    """The rows of a list's orders, as in ``LISTED``, which self-trade prevention may still change."""
    for position, order in enumerate(event.orders):
        yield order.order_id, [event.orders[0].order_id, event.kind, position, event.first_fill, False]


def storable(text: str) -> str:
    """Text as PostgreSQL keeps it: without NUL."""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}")
