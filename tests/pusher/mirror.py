"""Whether PostgreSQL says what the machines say."""

import psycopg
from psycopg.rows import dict_row

from shared import keys

OPEN_ORDER_COLUMNS = (
    "account", "instrument", "side", "order_type", "price", "quantity", "funds", "specified_funds", "time_in_force",
    "post_only", "stp", "maker_fee", "taker_fee", "client_id", "request_id", "hold", "remaining", "filled",
    "executed_value", "fees", "fee_rest",
)  # fmt: skip


def rows(url, query, *arguments):
    """All rows of a query, as dicts."""
    with psycopg.connect(url, row_factory=dict_row) as connection:
        return connection.execute(query, arguments).fetchall()


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
        found = rows(url, "SELECT * FROM resting_orders WHERE instrument = %s", symbol)
        for side, sign in (("buy", -1), ("sell", 1)):
            ranked = sorted((r for r in found if r["side"] == side), key=lambda r: (sign * r["price"], r["priority"]))
            assert [(r["order_id"], r["account"], r["price"], r["remaining"]) for r in ranked] == [
                (o.order_id, o.account, o.price, o.remaining) for o in book.resting(side)
            ]
        (instrument,) = rows(url, "SELECT * FROM instruments WHERE symbol = %s", symbol)
        assert instrument["sequence"] == book.sequence
        assert instrument["definition"]["symbol"] == symbol
        (trades,) = rows(url, "SELECT count(*) AS n, max(trade_id) AS last FROM trades WHERE instrument = %s", symbol)
        assert (trades["n"], trades["last"] or 0) == (book.trade_id, book.trade_id)


def _assert_orders(url, market):
    found = {row["order_id"]: row for row in rows(url, "SELECT * FROM orders")}
    assert len(found) == sum(ledger.count for ledger in market.ledgers)
    still_open = {order.order_id: order for ledger in market.ledgers for order in ledger.orders}
    assert {order_id for order_id, row in found.items() if not row["settled"]} == still_open.keys()
    for order_id, order in still_open.items():
        row = found[order_id]
        assert {name: row[name] for name in OPEN_ORDER_COLUMNS} == {
            name: getattr(order, name) for name in OPEN_ORDER_COLUMNS
        }
        assert (row["created_at"], row["done_reason"], row["done_at"]) == (order.time, "", 0)
    for row in found.values():
        if row["settled"]:
            assert row["hold"] == 0
            assert row["done_reason"] in ("filled", "canceled", "rejected")
            assert row["done_at"] >= row["created_at"]


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
