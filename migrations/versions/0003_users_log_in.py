"""Users log in and can be blocked; API keys may be bound to networks.

Revision: 0003, after 0002
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "users",
        sa.Column("blocked_at", sa.BigInteger(), nullable=True, comment="may neither log in nor use a key since then"),
    )
    op.add_column(
        "users",
        sa.Column(
            "sessions_since",
            sa.BigInteger(),
            server_default="0",
            nullable=False,
            comment="older sessions have ended",
        ),
    )
    op.add_column(
        "api_keys",
        sa.Column(
            "allowed_ips",
            postgresql.ARRAY(sa.Text()),
            server_default="{}",
            nullable=False,
            comment="networks; none: from anywhere",
        ),
    )


def downgrade() -> None:
    op.drop_column("api_keys", "allowed_ips")
    op.drop_column("users", "sessions_since")
    op.drop_column("users", "blocked_at")
