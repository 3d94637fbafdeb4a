"""The migrations make what shared/schema.py declares."""

import subprocess
import sys
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, inspect

import migrations
from shared.connections import database_url
from shared.schema import metadata
from tests.servers import PostgreSQL

ROOT = Path(migrations.__file__).parents[1]


@pytest.fixture(scope="module")
def empty_server():
    """A PostgreSQL of this module's own, without tables."""
    server = PostgreSQL()
    try:
        server.start()
        yield server
    finally:
        server.remove()


def tables(url):
    """Names of the tables there are."""
    engine = create_engine(database_url(url))
    try:
        return set(inspect(engine).get_table_names())
    finally:
        engine.dispose()


def test_migrated_database_is_the_declared_schema(empty_server, tmp_path, monkeypatch):
    """After all migrations nothing differs from the schema, whatever the working folder."""
    monkeypatch.chdir(tmp_path)
    migrations.upgrade(empty_server.url)
    engine = create_engine(database_url(empty_server.url))
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, metadata) == []
    engine.dispose()


def test_all_the_way_down_and_up_again(empty_server):
    """Downgrades undo what upgrades did."""
    migrations.upgrade(empty_server.url)
    command.downgrade(migrations.config(empty_server.url), "base")
    assert tables(empty_server.url) == {"alembic_version"}
    migrations.upgrade(empty_server.url)
    assert tables(empty_server.url) == {"alembic_version", *metadata.tables}


def test_several_at_once(empty_server):
    """Hosts that start together and all migrate make the tables once, and all find them."""
    command.downgrade(migrations.config(empty_server.url), "base")
    script = f"import migrations; migrations.upgrade({empty_server.url!r})"
    running = [subprocess.Popen([sys.executable, "-c", script], cwd=ROOT) for _ in range(3)]
    assert [process.wait(60) for process in running] == [0, 0, 0]
    assert tables(empty_server.url) == {"alembic_version", *metadata.tables}
