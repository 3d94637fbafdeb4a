"""Alembic's entry: run migrations on the database that the configuration names."""

from alembic import context
from sqlalchemy import create_engine, pool, text

from shared.schema import metadata

_LOCK = 0x6D61746368626F78
"""Advisory lock: one migration at a time."""


def _run() -> None:
    url = context.config.get_main_option("sqlalchemy.url")
    assert url is not None
    engine = create_engine(url, poolclass=pool.NullPool)
    with engine.begin() as connection:
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
        context.configure(connection=connection, target_metadata=metadata, compare_server_default=True)
        with context.begin_transaction():
            context.run_migrations()


def _print() -> None:
    """``alembic upgrade --sql``: print the statements."""
    context.configure(dialect_name="postgresql", target_metadata=metadata, literal_binds=True)
    with context.begin_transaction():
        context.run_migrations()


if context.is_offline_mode():
    _print()
else:
    _run()
