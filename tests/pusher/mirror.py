"""Whether PostgreSQL says what the machines say."""

import msgspec
from sqlalchemy import select
from sqlalchemy.dialects import postgresql

from shared import keys
from shared.messages import Conditions, decode_book_entry
from shared.schema import ORDER_STATUS, orders
from tests.pusher.rebuild import rebuilt
from tests.pusher.rows import rows
from workers.engine.book import OrderBook

OPEN_ORDER_COLUMNS = (
    "account", "instrument", "side", "order_type", "price", "quantity", "funds", "specified_funds", "time_in_force",
    "post_only", "stp", "maker_fee", "taker_fee", "client_id", "request_id", "hold", "remaining", "filled",
    "executed_value", "fees", "fee_rest", "due",
)  # fmt: skip


def assert_mirrors(url, market):
    """Every table says what the market's ledgers and books say, and each entry was written exactly once."""
    _assert_positions(url, market)
    _assert_books(url, market)
    _assert_orders(url, market)
    _assert_money(url, market)


def _assert_positions(url, market):
    found = {row["tag"]: (row["length"], row["chain"]) for row in rows(url, "SELECT * FROM positions")}
    assert found == {tag: (market.lengths[tag], market.chains[tag]) for tag in market.lengths}


def _assert_books(url, market):
    for symbol, book in market.books.items():
        assert _state(rebuilt(url, symbol)) == _state(book), f"{symbol}: another book comes from its rows"
        found = rows(url, "SELECT * FROM resting_orders WHERE instrument = %s", symbol)
        for side, sign in (("buy", -1), ("sell", 1)):
            ranked = sorted((r for r in found if r["side"] == side), key=lambda r: (sign * r["price"], r["priority"]))
            assert [(r["order_id"], r["account"], r["price"], r["remaining"], r["hidden"]) for r in ranked] == [
                (o.order_id, o.account, o.price, o.remaining, o.hidden) for o in book.resting(side)
            ]
        waiting = rows(url, "SELECT * FROM waiting_orders WHERE instrument = %s", symbol)
        assert len(waiting) == len(list(book.sleeping())) + len(list(book.pending()))
        (instrument,) = rows(url, "SELECT * FROM instruments WHERE symbol = %s", symbol)
        last = decode_book_entry(market.last[keys.instrument_tag(symbol)])
        assert (instrument["sequence"], instrument["time"]) == (book.sequence, last.time)
        assert instrument["definition"]["symbol"] == symbol
        (trades,) = rows(url, "SELECT count(*) AS n, max(trade_id) AS last FROM trades WHERE instrument = %s", symbol)
        assert (trades["n"], trades["last"] or 0) == (book.trade_id, book.trade_id)


def _state(book):
    """All of a book but what its rows do not keep: times, the order of what has none, stop prices without a stop."""
    copy = OrderBook.load(book.dump())
    copy.time = 0
    state = msgspec.json.decode(copy.dump())
    for place in (*(place for place, _, _ in state["sleeping"]), *state["pending"]):
        place["time"] = 0
    for order in (*state["bids"], *state["asks"]):
        if order[-1] is not None:
            order[-1].pop("stop_price", None)
    state["pending"].sort(key=lambda place: place["order_id"])
    state["lists"].sort(key=lambda one: one[1])
    for one in state["lists"]:
        one[-1] = one[-1] and one[0] != 0  # whether it shrunk matters while it is one's parent
    return state


def _assert_orders(url, market):
    found = {row["order_id"]: row for row in rows(url, "SELECT * FROM orders")}
    assert len(found) == sum(ledger.count for ledger in market.ledgers)
    children: dict[int, list[int]] = {}
    for order_id in sorted(found):
        children.setdefault(found[order_id]["parent"], []).append(order_id)
    still_open = {order.order_id: order for ledger in market.ledgers for order in ledger.orders}
    assert {order_id for order_id, row in found.items() if not row["settled"]} == still_open.keys()
    for order_id, order in still_open.items():
        row = found[order_id]
        assert {name: row[name] for name in OPEN_ORDER_COLUMNS} == {
            name: getattr(order, name) for name in OPEN_ORDER_COLUMNS
        }
        assert (row["created_at"], row["done_reason"], row["done_at"]) == (order.time, "", 0)
        assert row["conditions"] == (order.conditions and msgspec.to_builtins(order.conditions))
        assert _rival_now(found, row) == order.rival
        assert children.get(order_id, []) == list(order.children)
    for row in found.values():
        assert row["conditions"] is None or msgspec.convert(row["conditions"], Conditions)
        if row["settled"]:
            assert (row["hold"], row["due"]) == (0, 0)
            assert row["done_reason"] in ("filled", "canceled", "rejected")
            assert row["done_at"] >= row["created_at"]
    _assert_statuses(url, market, found)


def _rival_now(found, row):
    """Two rivals are rivals until one of them is filled or closed."""
    both = (row, found[row["rival"]]) if row["rival"] else ()
    return row["rival"] if both and not any(one["filled"] or one["settled"] for one in both) else 0


def _assert_statuses(url, market, found):
    expected = {order_id: "done" if row["settled"] else "pending" for order_id, row in found.items()}
    for book in market.books.values():
        expected |= dict.fromkeys(book.orders, "open")
        expected |= {sleeping.order.order_id: "active" for sleeping in book.sleeping()}
        expected |= {place.order_id: "pending" for place in book.pending()}
    query = select(orders.c.order_id, ORDER_STATUS.label("status")).compile(
        dialect=postgresql.dialect(), compile_kwargs={"literal_binds": True}
    )
    assert {row["order_id"]: row["status"] for row in rows(url, str(query))} == expected


def _assert_money(url, market):
    found = {
        (r["shard"], r["account"], r["currency"]): (r["available"], r["held"])
        for r in rows(url, "SELECT * FROM balances")
    }
    expected = {
        (ledger.shard, account, currency): (balance.available, balance.held)
        for ledger in market.ledgers
        for account in ledger.accounts
        for currency, balance in ledger.balances(account).items()
    }
    assert found == expected
    totals = "SELECT shard, account, currency, sum(amount) AS amount FROM movements GROUP BY 1, 2, 3"
    moved = {(r["shard"], r["account"], r["currency"]): int(r["amount"]) for r in rows(url, totals)}
    assert {key: amount for key, amount in moved.items() if amount} == {
        key: sum(both) for key, both in expected.items() if sum(both)
    }
    fills = """
        SELECT o.order_id, o.filled, o.executed_value, o.fees, coalesce(sum(f.quantity), 0) AS quantity,
               coalesce(sum(f.cost), 0) AS cost, coalesce(sum(f.fee), 0) AS fee
        FROM orders o LEFT JOIN fills f USING (order_id) GROUP BY 1"""
    for row in rows(url, fills):
        assert (row["filled"], row["executed_value"], row["fees"]) == (row["quantity"], row["cost"], row["fee"])


def positions_published(client, market):
    """Whether Redis knows that PostgreSQL has all of it."""
    return all(
        client.hget(keys.consumers(keys.log(tag)), keys.POSTGRESQL) == b"%d-0" % length
        for tag, length in market.lengths.items()
    )
