"""A ledger from its rows: exactly the state that its log left at PostgreSQL's position, but for amends under way.

What those hold more is in the orders' holds; ``reconcile`` sees to it.
"""

from collections.abc import Iterable

from shared.instrument import Instrument
from shared.messages import InstrumentSet
from workers.ledger.accounts import Accounts
from workers.ledger.ledger import Ledger
from workers.ledger.orders import OpenOrder, OrderIndex
from workers.recovery.rows import LedgerRows, OrderRow


def build_ledger(rows: LedgerRows, instruments: Iterable[Instrument], last_prices: dict[str, int]) -> Ledger:
    """The ledger of ``rows``. It follows the books' rules, and knows the prices of their last trades (ticks)."""
    ledger = Ledger(rows.shard, rows.shards)
    ledger.time, ledger.count = rows.time, rows.count
    for instrument in instruments:
        ledger.fold(InstrumentSet("", instrument))
    ledger.last_prices = dict(last_prices)
    ledger.supply = dict(rows.supply)
    ledger.accounts = Accounts(rows.balances)
    ledger.orders = OrderIndex(_open_orders(rows.orders), rows.past)
    ledger.blocks = {block.account: block for block in rows.blocks}
    return ledger


def _open_orders(rows: Iterable[OrderRow]) -> list[OpenOrder]:
    by_id = {row.order_id: row for row in rows}
    children: dict[int, list[int]] = {}
    for order_id in sorted(by_id):
        if parent := by_id[order_id].parent:
            children.setdefault(parent, []).append(order_id)
    return [_open_order(by_id[one], by_id, tuple(children.get(one, ()))) for one in sorted(by_id)]


def _open_order(row: OrderRow, by_id: dict[int, OrderRow], children: tuple[int, ...]) -> OpenOrder:
    rival = by_id.get(row.rival)
    return OpenOrder(
        row.order_id, row.account, row.instrument, row.side, row.order_type, row.price, row.quantity, row.funds,
        row.specified_funds, row.time_in_force, row.post_only, row.stp, row.maker_fee, row.taker_fee, row.client_id,
        row.request_id, row.created_at, row.hold, row.remaining, row.filled, row.executed_value, row.fees,
        row.fee_rest, row.conditions, (), row.rival if rival and not (rival.filled or row.filled) else 0, row.due,
        children,
    )  # fmt: skip
