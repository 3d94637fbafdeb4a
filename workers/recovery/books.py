"""A book from its rows and the terms that the ledgers have of its orders.

Each order must be open in its ledger, and what is left of it there what its row says: see ``reconcile``.
"""

from collections.abc import Callable

import msgspec

from shared.messages import Conditions, Place
from workers.engine.book import OrderBook
from workers.engine.levels import RestingOrder
from workers.engine.lists import OrderList
from workers.engine.stops import SleepingOrder
from workers.ledger.orders import OpenOrder
from workers.recovery.rows import BookRows, ListedRow, RestingRow, WaitingRow

OrderOf = Callable[[int], OpenOrder]
"""The open order with an id."""


def build_book(rows: BookRows, order_of: OrderOf) -> OrderBook:
    """The book of ``rows``."""
    book = OrderBook()
    book.configure(rows.instrument)
    book.sequence, book.time = rows.sequence, rows.time
    book.trade_id, book.last_price = rows.trade_id, rows.last_price
    for row in rows.resting:
        book.rest(_resting(row, order_of(row.order_id)))
    for waiting in rows.waiting:
        place = _place(waiting, order_of(waiting.order_id))
        if waiting.status == "pending":
            book.wait(place)
        else:
            book.sleep(_sleeping(waiting, place, rows))
    for found in _lists(rows):
        book.restore_list(found)
    return book


def _resting(row: RestingRow, order: OpenOrder) -> RestingOrder:
    left = row.remaining + row.hidden
    return RestingOrder(
        row.order_id, row.account, row.side, row.price, row.remaining, order.maker_fee, order.filled + left,
        order.taker_fee, order.stp, order.post_only, row.hidden, order.conditions,
    )  # fmt: skip


def _place(row: WaitingRow, order: OpenOrder) -> Place:
    return Place(
        row.order_id, row.account, order.time, row.side, order.order_type, row.price, row.quantity, order.funds,
        order.time_in_force, order.post_only, order.stp, order.maker_fee, order.taker_fee, order.client_id,
        _with_stop_price(row, order),
    )  # fmt: skip


def _with_stop_price(row: WaitingRow, order: OpenOrder) -> Conditions | None:
    asked = order.conditions
    if asked is None or not asked.stop_price:
        return asked
    return msgspec.structs.replace(asked, stop_price=row.stop_price)


def _sleeping(row: WaitingRow, place: Place, rows: BookRows) -> SleepingOrder:
    """A trailing stop's row says where it stood at its last event: it has followed the trades since."""
    sleeping = SleepingOrder(place, row.priority, row.stop_price)
    if sleeping.trails():
        for trade in rows.trades:
            if trade.sequence > sleeping.age:
                sleeping.follow(trade.price)
    return sleeping


def _lists(rows: BookRows) -> list[OrderList]:
    """The lists that still matter, by those of their orders that are on the book, in the order of their coming."""
    pending = {row.order_id for row in rows.waiting if row.status == "pending"}
    living = {row.order_id for row in rows.waiting} | {row.order_id for row in rows.resting}
    by_list: dict[int, list[ListedRow]] = {}
    for row in rows.listed:
        if row.order_id in living:
            by_list.setdefault(row.list_id, []).append(row)
    found = (_linked(sorted(by_list[one], key=lambda row: row.position), pending) for one in sorted(by_list))
    return [one for one in found if one is not None]


def _linked(members: list[ListedRow], pending: set[int]) -> OrderList | None:
    """What is left of a list. None: nothing that matters."""
    first = members[0]
    legs = [row for row in members if first.kind == "oco" or row.position]
    waits = first.kind != "oco" and any(row.order_id in pending for row in legs)
    if not legs or (len(legs) == 1 and not waits):
        return None
    parent = first.order_id if waits else 0
    first_fill = first.kind != "oco" and first.first_fill
    return OrderList(parent, [row.order_id for row in legs], waits, first_fill, shrunk=waits and first.shrunk)
