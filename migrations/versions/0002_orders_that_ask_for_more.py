"""Orders that ask for more: conditions, amends, lists, and where the book has them.

Revision: 0002, after 0001
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "instruments",
        sa.Column("time", sa.BigInteger(), server_default="0", nullable=False, comment="of its book's last entry"),
    )
    op.add_column(
        "orders",
        sa.Column(
            "conditions",
            postgresql.JSONB(none_as_null=True, astext_type=sa.Text()),
            nullable=True,
            comment="shared.messages.Conditions as of now; null: a plain order",
        ),
    )
    op.add_column(
        "orders",
        sa.Column(
            "rival",
            sa.BigInteger(),
            server_default="0",
            nullable=False,
            comment="the two share their holds until one is filled or closed",
        ),
    )
    op.add_column(
        "orders",
        sa.Column(
            "parent",
            sa.BigInteger(),
            server_default="0",
            nullable=False,
            comment="what its fills bring is held for this",
        ),
    )
    op.add_column(
        "orders",
        sa.Column(
            "due",
            sa.BigInteger(),
            server_default="0",
            nullable=False,
            comment="what is still to be held out of that",
        ),
    )
    op.alter_column("resting_orders", "remaining", comment="of an iceberg: what it shows")
    op.add_column(
        "resting_orders",
        sa.Column(
            "hidden", sa.BigInteger(), server_default="0", nullable=False, comment="what an iceberg does not show"
        ),
    )
    op.create_table(
        "waiting_orders",
        sa.Column("order_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("instrument", sa.Text(), nullable=False),
        sa.Column("account", sa.BigInteger(), nullable=False),
        sa.Column("side", sa.Text(), nullable=False),
        sa.Column(
            "status", sa.Text(), nullable=False, comment="active (a stop that sleeps) or pending (waits in its list)"
        ),
        sa.Column("price", sa.BigInteger(), nullable=False),
        sa.Column("quantity", sa.BigInteger(), nullable=False),
        sa.Column(
            "stop_price",
            sa.BigInteger(),
            nullable=False,
            comment="where it stood at its last event; a trailing stop has followed the trades since",
        ),
        sa.Column(
            "priority",
            sa.BigInteger(),
            nullable=False,
            comment="sequence at which it fell asleep; 0 while it is pending",
        ),
        sa.PrimaryKeyConstraint("order_id"),
    )
    op.create_index(op.f("ix_waiting_orders_instrument"), "waiting_orders", ["instrument"], unique=False)
    op.create_table(
        "list_orders",
        sa.Column("order_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("instrument", sa.Text(), nullable=False),
        sa.Column("list_id", sa.BigInteger(), nullable=False, comment="the first of its orders"),
        sa.Column("kind", sa.Text(), nullable=False, comment="oco, oto or otoco"),
        sa.Column("position", sa.Integer(), nullable=False, comment="from 0; the parent of oto and otoco is the first"),
        sa.Column("first_fill", sa.Boolean(), nullable=False),
        sa.Column(
            "shrunk",
            sa.Boolean(),
            server_default="false",
            nullable=False,
            comment="self-trade prevention took some of it: a parent will never be filled whole",
        ),
        sa.PrimaryKeyConstraint("order_id"),
    )
    op.create_index(op.f("ix_list_orders_instrument"), "list_orders", ["instrument"], unique=False)
    op.create_index(op.f("ix_list_orders_list_id"), "list_orders", ["list_id"], unique=False)


def downgrade() -> None:
    op.drop_index(op.f("ix_list_orders_list_id"), table_name="list_orders")
    op.drop_index(op.f("ix_list_orders_instrument"), table_name="list_orders")
    op.drop_table("list_orders")
    op.drop_index(op.f("ix_waiting_orders_instrument"), table_name="waiting_orders")
    op.drop_table("waiting_orders")
    op.drop_column("resting_orders", "hidden")
    op.alter_column("resting_orders", "remaining", comment=None, existing_comment="of an iceberg: what it shows")
    op.drop_column("orders", "due")
    op.drop_column("orders", "parent")
    op.drop_column("orders", "rival")
    op.drop_column("orders", "conditions")
    op.drop_column("instruments", "time")
