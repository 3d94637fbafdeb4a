"""A book from the rows of PostgreSQL alone: what ``matchbox recover`` will have to go by.

The ledger's rows serve for what never changes of an order, so it does not matter how far they are.
"""

import msgspec

from shared.instrument import Instrument
from shared.messages import Conditions, Place
from tests.pusher.rows import rows
from workers.engine.book import OrderBook
from workers.engine.levels import RestingOrder
from workers.engine.lists import OrderList
from workers.engine.stops import SleepingOrder

TERMS = "o.order_type, o.funds, o.time_in_force, o.post_only, o.stp, o.maker_fee, o.taker_fee, o.client_id"
RESTING = f"""
    SELECT r.*, {TERMS}, o.conditions, (
        SELECT coalesce(sum(t.quantity), 0)::bigint FROM trades t
        WHERE t.instrument = r.instrument AND r.order_id IN (t.maker_order_id, t.taker_order_id)
    ) AS filled
    FROM resting_orders r JOIN orders o USING (order_id) WHERE r.instrument = %s ORDER BY r.priority"""
WAITING = f"""
    SELECT w.*, {TERMS}, o.conditions FROM waiting_orders w JOIN orders o USING (order_id)
    LEFT JOIN list_orders l USING (order_id) WHERE w.instrument = %s ORDER BY w.priority, l.list_id, l.position"""
LISTS = """
    SELECT l.*, w.status FROM list_orders l LEFT JOIN waiting_orders w USING (order_id)
    LEFT JOIN resting_orders r USING (order_id)
    WHERE l.instrument = %s AND (w.order_id IS NOT NULL OR r.order_id IS NOT NULL) ORDER BY l.list_id, l.position"""


def rebuilt(url, symbol):
    """The book as PostgreSQL knows it; the times at which orders came to it are not kept (0)."""
    book = OrderBook()
    (instrument,) = rows(url, "SELECT * FROM instruments WHERE symbol = %s", symbol)
    book.configure(msgspec.convert(instrument["definition"], Instrument))
    book.sequence, book.time = instrument["sequence"], instrument["time"]
    trades = rows(url, "SELECT * FROM trades WHERE instrument = %s ORDER BY trade_id", symbol)
    if trades:
        book.trade_id, book.last_price = trades[-1]["trade_id"], trades[-1]["price"]
    for row in rows(url, RESTING, symbol):
        book.rest(resting(row))
    for row in rows(url, WAITING, symbol):
        place = waiting(row)
        if row["status"] == "pending":
            book.wait(place)
            continue
        sleeping = SleepingOrder(place, row["priority"], row["stop_price"])
        if sleeping.trails():
            for trade in trades:
                if trade["sequence"] > sleeping.age:
                    sleeping.follow(trade["price"])
        book.sleep(sleeping)
    lists: dict[int, list[dict]] = {}
    for row in rows(url, LISTS, symbol):
        lists.setdefault(row["list_id"], []).append(row)
    for members in lists.values():
        if (found := linked(members)) is not None:
            book.restore_list(found)
    return book


def conditions(row):
    """What the order asks for."""
    return None if row["conditions"] is None else msgspec.convert(row["conditions"], Conditions)


def resting(row):
    """A row as a resting order; its total is what was filled and what is left."""
    return RestingOrder(
        row["order_id"], row["account"], row["side"], row["price"], row["remaining"], row["maker_fee"],
        row["filled"] + row["remaining"] + row["hidden"], row["taker_fee"], row["stp"], row["post_only"],
        row["hidden"], conditions(row),
    )  # fmt: skip


def waiting(row):
    """A row as an order that waits; an amended stop price may be in the book's log only."""
    asked = conditions(row)
    if asked is not None and asked.stop_price:
        asked = msgspec.structs.replace(asked, stop_price=row["stop_price"])
    return Place(
        row["order_id"], row["account"], 0, row["side"], row["order_type"], row["price"], row["quantity"],
        row["funds"], row["time_in_force"], row["post_only"], row["stp"], row["maker_fee"], row["taker_fee"],
        row["client_id"], asked,
    )  # fmt: skip


def linked(members):
    """What is left of a list, from those of its orders that the book still has; None: nothing that matters."""
    kind = members[0]["kind"]
    legs = [row for row in members if kind == "oco" or row["position"]]
    is_waiting = kind != "oco" and any(row["status"] == "pending" for row in legs)
    if not legs or (len(legs) == 1 and not is_waiting):
        return None
    parent = members[0]["order_id"] if is_waiting else 0
    first_fill = kind != "oco" and members[0]["first_fill"]
    shrunk = is_waiting and members[0]["shrunk"]
    return OrderList(parent, [row["order_id"] for row in legs], is_waiting, first_fill, shrunk=shrunk)
