"""The tables of PostgreSQL, as the migrations make them and the pusher fills them.

All money, prices and quantities are integers in the units of ``shared.messages``; times are nanoseconds. The rows
are what the logs say: ``positions`` holds, per log, the entry up to which that is so, and moves in the same
transaction as the rows.

Each table follows logs of one kind, since the logs do not wait for each other: ``orders``, ``fills``, ``balances`` and
``movements`` the ledgers', ``instruments``, ``resting_orders``, ``waiting_orders``, ``list_orders`` and ``trades`` the
books'. Where an order is therefore takes a look at both: ``ORDER_STATUS``.

With ``orders`` for the terms that never change, the books' tables hold all that a book is: who rests in which order
(``priority``), which stops sleep (the oldest first), which orders of lists wait, and which belong together. A list is
what is left of it: its parent while its legs wait, those of its legs that still rest, sleep or wait.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    UniqueConstraint,
    case,
    exists,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

metadata = MetaData()

positions = Table(
    "positions",
    metadata,
    Column("tag", Text, primary_key=True),
    Column("length", BigInteger, nullable=False),
    Column("chain", String(40), nullable=False, comment="of the log up to length"),
    Column("chain_before", String(40), nullable=False, comment="of the log up to length - 1"),
)

users = Table(
    "users",
    metadata,
    Column("account", BigInteger, primary_key=True, autoincrement=True),
    Column("name", Text, nullable=False, unique=True),
    Column("password_hash", Text, nullable=False, server_default=""),
    Column("role", Text, nullable=False, server_default="trader"),
    Column("created_at", BigInteger, nullable=False),
    Column("blocked_at", BigInteger, comment="may neither log in nor use a key since then"),
    Column("sessions_since", BigInteger, nullable=False, server_default="0", comment="older sessions have ended"),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("key", Text, primary_key=True),
    Column("account", BigInteger, nullable=False, index=True),
    Column("secret", LargeBinary, nullable=False, comment="encrypted with the server's key"),
    Column("passphrase_hash", LargeBinary, nullable=False),
    Column("scopes", ARRAY(Text), nullable=False),
    Column("label", Text, nullable=False, server_default=""),
    Column("created_at", BigInteger, nullable=False),
    Column("revoked_at", BigInteger),
    Column("allowed_ips", ARRAY(Text), nullable=False, server_default="{}", comment="networks; none: from anywhere"),
)

instruments = Table(
    "instruments",
    metadata,
    Column("symbol", Text, primary_key=True),
    Column("definition", JSONB, nullable=False),
    Column("sequence", BigInteger, nullable=False, server_default="0", comment="last public sequence of its book"),
    Column("time", BigInteger, nullable=False, server_default="0", comment="of its book's last entry"),
)

orders = Table(
    "orders",
    metadata,
    Column("order_id", BigInteger, primary_key=True, autoincrement=False),
    Column("account", BigInteger, nullable=False),
    Column("instrument", Text, nullable=False),
    Column("side", Text, nullable=False),
    Column("order_type", Text, nullable=False),
    Column("price", BigInteger, nullable=False),
    Column("quantity", BigInteger, nullable=False),
    Column("funds", BigInteger, nullable=False),
    Column("specified_funds", BigInteger, nullable=False),
    Column("time_in_force", Text, nullable=False),
    Column("post_only", Boolean, nullable=False),
    Column("stp", Text, nullable=False),
    Column("client_id", Text, nullable=False),
    Column("request_id", Text, nullable=False),
    Column("maker_fee", Integer, nullable=False),
    Column("taker_fee", Integer, nullable=False),
    Column("hold", BigInteger, nullable=False, comment="what is still held, from the ledger"),
    Column("remaining", BigInteger, nullable=False, comment="lots, from the ledger"),
    Column("filled", BigInteger, nullable=False, server_default="0"),
    Column("executed_value", BigInteger, nullable=False, server_default="0"),
    Column("fees", BigInteger, nullable=False, server_default="0"),
    Column("fee_rest", Integer, nullable=False, server_default="0"),
    Column("settled", Boolean, nullable=False, server_default="false", comment="the ledger has closed it"),
    Column("created_at", BigInteger, nullable=False),
    Column("done_reason", Text, nullable=False, server_default=""),
    Column("cause", Text, nullable=False, server_default=""),
    Column("done_at", BigInteger, nullable=False, server_default="0"),
    Column("conditions", JSONB(none_as_null=True), comment="shared.messages.Conditions as of now; null: a plain order"),
    Column(
        "rival",
        BigInteger,
        nullable=False,
        server_default="0",
        comment="the two share their holds until one is filled or closed",
    ),
    Column("parent", BigInteger, nullable=False, server_default="0", comment="what its fills bring is held for this"),
    Column("due", BigInteger, nullable=False, server_default="0", comment="what is still to be held out of that"),
)
Index("orders_by_account", orders.c.account, orders.c.order_id.desc())
Index("orders_by_client_id", orders.c.account, orders.c.client_id, postgresql_where=orders.c.client_id != "")

resting_orders = Table(
    "resting_orders",
    metadata,
    Column("order_id", BigInteger, primary_key=True, autoincrement=False),
    Column("instrument", Text, nullable=False, index=True),
    Column("account", BigInteger, nullable=False),
    Column("side", Text, nullable=False),
    Column("price", BigInteger, nullable=False),
    Column("remaining", BigInteger, nullable=False, comment="of an iceberg: what it shows"),
    Column("priority", BigInteger, nullable=False, comment="sequence at which it came to the back of its level"),
    Column("hidden", BigInteger, nullable=False, server_default="0", comment="what an iceberg does not show"),
)

waiting_orders = Table(
    "waiting_orders",
    metadata,
    Column("order_id", BigInteger, primary_key=True, autoincrement=False),
    Column("instrument", Text, nullable=False, index=True),
    Column("account", BigInteger, nullable=False),
    Column("side", Text, nullable=False),
    Column("status", Text, nullable=False, comment="active (a stop that sleeps) or pending (waits in its list)"),
    Column("price", BigInteger, nullable=False),
    Column("quantity", BigInteger, nullable=False),
    Column(
        "stop_price",
        BigInteger,
        nullable=False,
        comment="where it stood at its last event; a trailing stop has followed the trades since",
    ),
    Column("priority", BigInteger, nullable=False, comment="sequence at which it fell asleep; 0 while it is pending"),
)

list_orders = Table(
    "list_orders",
    metadata,
    Column("order_id", BigInteger, primary_key=True, autoincrement=False),
    Column("instrument", Text, nullable=False, index=True),
    Column("list_id", BigInteger, nullable=False, index=True, comment="the first of its orders"),
    Column("kind", Text, nullable=False, comment="oco, oto or otoco"),
    Column("position", Integer, nullable=False, comment="from 0; the parent of oto and otoco is the first"),
    Column("first_fill", Boolean, nullable=False),
    Column(
        "shrunk",
        Boolean,
        nullable=False,
        server_default="false",
        comment="self-trade prevention took some of it: a parent will never be filled whole",
    ),
)

ORDER_STATUS = case(
    (orders.c.settled, "done"),
    (exists().where(resting_orders.c.order_id == orders.c.order_id), "open"),
    (exists().where(waiting_orders.c.order_id == orders.c.order_id, waiting_orders.c.status == "active"), "active"),
    else_="pending",
)
"""Where an order is: done, open (rests), active (a stop that sleeps), or pending: on its way, or waiting in its list.

To be selected from ``orders``. PostgreSQL may be further in the book's log than in the ledger's: an order that left its
book is pending for that moment.
"""

trades = Table(
    "trades",
    metadata,
    Column("instrument", Text, nullable=False),
    Column("trade_id", BigInteger, nullable=False),
    Column("sequence", BigInteger, nullable=False),
    Column("price", BigInteger, nullable=False),
    Column("quantity", BigInteger, nullable=False),
    Column("side", Text, nullable=False, comment="the maker's"),
    Column("maker_order_id", BigInteger, nullable=False),
    Column("taker_order_id", BigInteger, nullable=False),
    Column("time", BigInteger, nullable=False),
    PrimaryKeyConstraint("instrument", "trade_id"),
)
Index("trades_by_time", trades.c.instrument, trades.c.time)

fills = Table(
    "fills",
    metadata,
    Column("fill_id", BigInteger, primary_key=True, autoincrement=True),
    Column("instrument", Text, nullable=False),
    Column("trade_id", BigInteger, nullable=False),
    Column("order_id", BigInteger, nullable=False, index=True),
    Column("account", BigInteger, nullable=False),
    Column("side", Text, nullable=False),
    Column("liquidity", Text, nullable=False),
    Column("price", BigInteger, nullable=False),
    Column("quantity", BigInteger, nullable=False),
    Column("cost", BigInteger, nullable=False),
    Column("fee", BigInteger, nullable=False),
    Column("time", BigInteger, nullable=False),
    UniqueConstraint("instrument", "trade_id", "order_id"),
)
Index("fills_by_account", fills.c.account, fills.c.fill_id.desc())

balances = Table(
    "balances",
    metadata,
    Column("account", BigInteger, nullable=False),
    Column("shard", Integer, nullable=False, comment="tells the fee accounts of the shards apart"),
    Column("currency", Text, nullable=False),
    Column("available", BigInteger, nullable=False),
    Column("held", BigInteger, nullable=False),
    PrimaryKeyConstraint("account", "shard", "currency"),
)

movements = Table(
    "movements",
    metadata,
    Column("movement_id", BigInteger, primary_key=True, autoincrement=True),
    Column("account", BigInteger, nullable=False),
    Column("shard", Integer, nullable=False),
    Column("position", BigInteger, nullable=False, comment="entry of the shard's log"),
    Column("currency", Text, nullable=False),
    Column("amount", BigInteger, nullable=False, comment="signed change of available + held"),
    Column("kind", Text, nullable=False, comment="transfer, match or fee"),
    Column("reference", Text, nullable=False, server_default="", comment="trade, order or request"),
    Column("time", BigInteger, nullable=False),
)
Index("movements_by_account", movements.c.account, movements.c.currency, movements.c.movement_id.desc())
