"""What recovery goes by: the rows of PostgreSQL, one struct per kind, their fields named as the columns.

They are a cut through all logs, each up to a position of its own: a book's rows may be further than the ledger's, or
the other way round. ``reconcile`` makes one state of them.
"""

import msgspec

from shared.instrument import Instrument
from shared.messages import Conditions, ListKind, OrderType, SelfTradePrevention, Side, TimeInForce
from workers.ledger.accounts import Row as BalanceRow
from workers.ledger.orders import Past
from workers.ledger.state import Block


class OrderRow(msgspec.Struct, gc=False):
    """An order that its ledger has not closed."""

    order_id: int
    account: int
    instrument: str
    side: Side
    order_type: OrderType
    price: int
    quantity: int
    funds: int
    specified_funds: int
    time_in_force: TimeInForce
    post_only: bool
    stp: SelfTradePrevention
    maker_fee: int
    taker_fee: int
    client_id: str
    request_id: str
    created_at: int
    hold: int
    remaining: int
    filled: int
    executed_value: int
    fees: int
    fee_rest: int
    conditions: Conditions | None
    rival: int
    due: int
    parent: int


class RestingRow(msgspec.Struct, gc=False):
    """An order that rests on a book."""

    order_id: int
    account: int
    side: Side
    price: int
    remaining: int
    hidden: int
    priority: int


class WaitingRow(msgspec.Struct, gc=False):
    """A stop that sleeps ("active"), or an order that waits in its list ("pending")."""

    order_id: int
    account: int
    side: Side
    status: str
    price: int
    quantity: int
    stop_price: int
    priority: int


class ListedRow(msgspec.Struct, gc=False):
    """An order of a list, at its position in it."""

    order_id: int
    list_id: int
    kind: ListKind
    position: int
    first_fill: bool
    shrunk: bool


class TradeRow(msgspec.Struct, gc=False):
    """A public trade, by the book's log. ``side`` is the maker's."""

    trade_id: int
    sequence: int
    price: int
    quantity: int
    side: Side
    maker_order_id: int
    taker_order_id: int


class FillRow(msgspec.Struct, gc=False):
    """One side of a trade, by a ledger's log."""

    trade_id: int
    order_id: int
    account: int
    side: Side
    liquidity: str
    price: int
    quantity: int


class Position(msgspec.Struct, gc=False, frozen=True):
    """How far PostgreSQL is in a log, and the log's chain there."""

    length: int = 0
    chain: str = ""


class BookRows(msgspec.Struct):
    """All that PostgreSQL has of one book, with what the ledgers' rows say of its trades.

    ``resting`` in the order of priority. ``trade_id`` and ``last_price`` are those of its last trade. ``trades``: the
    latest ones, from the first that concerns a trailing stop or that not every shard has settled. ``settled``: shard ->
    the last trade that it has settled; ``ahead``: fills of trades that the book's rows do not have.
    """

    instrument: Instrument
    sequence: int
    time: int
    trade_id: int = 0
    last_price: int = 0
    resting: list[RestingRow] = []
    waiting: list[WaitingRow] = []
    listed: list[ListedRow] = []
    trades: list[TradeRow] = []
    settled: dict[int, int] = {}
    ahead: list[FillRow] = []


class LedgerRows(msgspec.Struct):
    """All that PostgreSQL has of one account shard: open orders by id, ``past`` the oldest first."""

    shard: int
    shards: int
    time: int = 0
    count: int = 0
    orders: list[OrderRow] = []
    balances: list[BalanceRow] = []
    supply: dict[str, int] = {}
    past: list[Past] = []
    blocks: list[Block] = []
