"""The first tables.

Revision: 0001, after
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "api_keys",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("account", sa.BigInteger(), nullable=False),
        sa.Column("secret", sa.LargeBinary(), nullable=False, comment="encrypted with the server's key"),
        sa.Column("passphrase_hash", sa.LargeBinary(), nullable=False),
        sa.Column("scopes", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("label", sa.Text(), server_default="", nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("revoked_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("key"),
    )
    op.create_index(op.f("ix_api_keys_account"), "api_keys", ["account"], unique=False)
    op.create_table(
        "balances",
        sa.Column("account", sa.BigInteger(), nullable=False),
        sa.Column("shard", sa.Integer(), nullable=False, comment="tells the fee accounts of the shards apart"),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("available", sa.BigInteger(), nullable=False),
        sa.Column("held", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("account", "shard", "currency"),
    )
    op.create_table(
        "fills",
        sa.Column("fill_id", sa.BigInteger(), autoincrement=True, nullable=False),
        sa.Column("instrument", sa.Text(), nullable=False),
        sa.Column("trade_id", sa.BigInteger(), nullable=False),
        sa.Column("order_id", sa.BigInteger(), nullable=False),
        sa.Column("account", sa.BigInteger(), nullable=False),
        sa.Column("side", sa.Text(), nullable=False),
        sa.Column("liquidity", sa.Text(), nullable=False),
        sa.Column("price", sa.BigInteger(), nullable=False),
        sa.Column("quantity", sa.BigInteger(), nullable=False),
        sa.Column("cost", sa.BigInteger(), nullable=False),
        sa.Column("fee", sa.BigInteger(), nullable=False),
        sa.Column("time", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("fill_id"),
        sa.UniqueConstraint("instrument", "trade_id", "order_id"),
    )
    op.create_index("fills_by_account", "fills", ["account", sa.literal_column("fill_id DESC")], unique=False)
    op.create_index(op.f("ix_fills_order_id"), "fills", ["order_id"], unique=False)
    op.create_table(
        "instruments",
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("definition", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column(
            "sequence", sa.BigInteger(), server_default="0", nullable=False, comment="last public sequence of its book"
        ),
        sa.PrimaryKeyConstraint("symbol"),
    )
    op.create_table(
        "movements",
        sa.Column("movement_id", sa.BigInteger(), autoincrement=True, nullable=False),
        sa.Column("account", sa.BigInteger(), nullable=False),
        sa.Column("shard", sa.Integer(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False, comment="entry of the shard's log"),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False, comment="signed change of available + held"),
        sa.Column("kind", sa.Text(), nullable=False, comment="transfer, match or fee"),
        sa.Column("reference", sa.Text(), server_default="", nullable=False, comment="trade, order or request"),
        sa.Column("time", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("movement_id"),
    )
    op.create_index(
        "movements_by_account",
        "movements",
        ["account", "currency", sa.literal_column("movement_id DESC")],
        unique=False,
    )
    op.create_table(
        "orders",
        sa.Column("order_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("account", sa.BigInteger(), nullable=False),
        sa.Column("instrument", sa.Text(), nullable=False),
        sa.Column("side", sa.Text(), nullable=False),
        sa.Column("order_type", sa.Text(), nullable=False),
        sa.Column("price", sa.BigInteger(), nullable=False),
        sa.Column("quantity", sa.BigInteger(), nullable=False),
        sa.Column("funds", sa.BigInteger(), nullable=False),
        sa.Column("specified_funds", sa.BigInteger(), nullable=False),
        sa.Column("time_in_force", sa.Text(), nullable=False),
        sa.Column("post_only", sa.Boolean(), nullable=False),
        sa.Column("stp", sa.Text(), nullable=False),
        sa.Column("client_id", sa.Text(), nullable=False),
        sa.Column("request_id", sa.Text(), nullable=False),
        sa.Column("maker_fee", sa.Integer(), nullable=False),
        sa.Column("taker_fee", sa.Integer(), nullable=False),
        sa.Column("hold", sa.BigInteger(), nullable=False, comment="what is still held, from the ledger"),
        sa.Column("remaining", sa.BigInteger(), nullable=False, comment="lots, from the ledger"),
        sa.Column("filled", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("executed_value", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("fees", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("fee_rest", sa.Integer(), server_default="0", nullable=False),
        sa.Column("settled", sa.Boolean(), server_default="false", nullable=False, comment="the ledger has closed it"),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("done_reason", sa.Text(), server_default="", nullable=False),
        sa.Column("cause", sa.Text(), server_default="", nullable=False),
        sa.Column("done_at", sa.BigInteger(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("order_id"),
    )
    op.create_index("orders_by_account", "orders", ["account", sa.literal_column("order_id DESC")], unique=False)
    op.create_index(
        "orders_by_client_id",
        "orders",
        ["account", "client_id"],
        unique=False,
        postgresql_where=sa.text("client_id != ''"),
    )
    op.create_table(
        "positions",
        sa.Column("tag", sa.Text(), nullable=False),
        sa.Column("length", sa.BigInteger(), nullable=False),
        sa.Column("chain", sa.String(length=40), nullable=False, comment="of the log up to length"),
        sa.Column("chain_before", sa.String(length=40), nullable=False, comment="of the log up to length - 1"),
        sa.PrimaryKeyConstraint("tag"),
    )
    op.create_table(
        "resting_orders",
        sa.Column("order_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("instrument", sa.Text(), nullable=False),
        sa.Column("account", sa.BigInteger(), nullable=False),
        sa.Column("side", sa.Text(), nullable=False),
        sa.Column("price", sa.BigInteger(), nullable=False),
        sa.Column("remaining", sa.BigInteger(), nullable=False),
        sa.Column(
            "priority", sa.BigInteger(), nullable=False, comment="sequence at which it came to the back of its level"
        ),
        sa.PrimaryKeyConstraint("order_id"),
    )
    op.create_index(op.f("ix_resting_orders_instrument"), "resting_orders", ["instrument"], unique=False)
    op.create_table(
        "trades",
        sa.Column("instrument", sa.Text(), nullable=False),
        sa.Column("trade_id", sa.BigInteger(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("price", sa.BigInteger(), nullable=False),
        sa.Column("quantity", sa.BigInteger(), nullable=False),
        sa.Column("side", sa.Text(), nullable=False, comment="the maker's"),
        sa.Column("maker_order_id", sa.BigInteger(), nullable=False),
        sa.Column("taker_order_id", sa.BigInteger(), nullable=False),
        sa.Column("time", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("instrument", "trade_id"),
    )
    op.create_index("trades_by_time", "trades", ["instrument", "time"], unique=False)
    op.create_table(
        "users",
        sa.Column("account", sa.BigInteger(), autoincrement=True, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("password_hash", sa.Text(), server_default="", nullable=False),
        sa.Column("role", sa.Text(), server_default="trader", nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("account"),
        sa.UniqueConstraint("name"),
    )


def downgrade() -> None:
    op.drop_table("users")
    op.drop_index("trades_by_time", table_name="trades")
    op.drop_table("trades")
    op.drop_index(op.f("ix_resting_orders_instrument"), table_name="resting_orders")
    op.drop_table("resting_orders")
    op.drop_table("positions")
    op.drop_index("orders_by_client_id", table_name="orders", postgresql_where=sa.text("client_id != ''"))
    op.drop_index("orders_by_account", table_name="orders")
    op.drop_table("orders")
    op.drop_index("movements_by_account", table_name="movements")
    op.drop_table("movements")
    op.drop_table("instruments")
    op.drop_index(op.f("ix_fills_order_id"), table_name="fills")
    op.drop_index("fills_by_account", table_name="fills")
    op.drop_table("fills")
    op.drop_table("balances")
    op.drop_index(op.f("ix_api_keys_account"), table_name="api_keys")
    op.drop_table("api_keys")
