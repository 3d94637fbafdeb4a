"""Backups: what goes into the archive, and how a new cluster is made of it.

PostgreSQL is read in one transaction, so also while the cluster runs. Redis is added if the cluster is stopped, since
nothing changes then; else the backup is restored by ``matchbox recover``, which makes Redis from PostgreSQL.
"""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import psycopg
from alembic import command
from psycopg import sql

import migrations
from cluster.archive import FORMAT, Manifest, Table, pack, unpack
from cluster.record import write_private
from shared import keys
from shared.connections import connect
from shared.errors import InvalidInput, MatchboxError, Unavailable, first_line
from shared.schema import metadata
from shared.settings import Settings

REDIS, SERVER_KEY = "redis.msgpack", "server.key"
_FLEETING = tuple(
    one.encode()
    for one in (keys.beat(""), keys.SUPERVISORS, keys.supervisor(""), keys.PUSHER_LOCK, keys.AUDITOR, keys.PRESSURE)
)
"""What Redis keeps only of those who run."""
_SCAN = 1000


def save(settings: Settings, target: Path, version: str, *, with_redis: bool) -> Manifest:
    """Back the cluster up into a new file. Raises ``MatchboxError``."""
    if target.exists():
        raise InvalidInput(f"{target} exists already; name another file")
    with _beside(target) as name:
        folder = Path(name)
        instant = datetime.now(UTC).isoformat()  # before the first row is read: all of that time is in it
        try:
            migration, tables = _save_tables(settings.database_url, folder)
            manifest = Manifest(FORMAT, version, migration, instant, settings.shards, tables)
            if with_redis:
                manifest.redis_keys = _save_redis(settings.redis_url, folder / REDIS)
            if not settings.server_key and (key := settings.data_dir / SERVER_KEY).exists():
                shutil.copyfile(key, folder / SERVER_KEY)
            pack(folder, manifest, target)
        except OSError as error:
            raise MatchboxError(f"{target}: {error.strerror}; name a file where there is room") from error
    return manifest


def _beside(target: Path) -> tempfile.TemporaryDirectory[str]:
    """A folder for the parts of a backup: where there has to be room for it anyway, and where a killed run is seen."""
    try:
        return tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent)
    except OSError as error:
        raise InvalidInput(f"{target}: {error.strerror}; name a file in a folder that you may write to") from error


@contextmanager
def opened(source: Path, data: Path) -> Iterator[tuple[Path, Manifest]]:
    """The checked parts of a backup, in a folder within the data folder that goes afterwards."""
    with tempfile.TemporaryDirectory(prefix=".backup.", dir=data) as name:
        yield Path(name), unpack(source, Path(name))


def load(settings: Settings, folder: Path, manifest: Manifest) -> None:
    """Fill the empty servers of ``settings`` with the parts in ``folder``. Raises ``MatchboxError``."""
    if settings.shards != manifest.shards:
        raise InvalidInput(f"the backup has {manifest.shards} account shards: set MATCHBOX_SHARDS={manifest.shards}")
    _refuse_filled(settings)
    _load_tables(settings.database_url, folder, manifest)
    if manifest.redis_keys >= 0:
        _load_redis(settings.redis_url, folder / REDIS)
    if (folder / SERVER_KEY).exists() and not settings.server_key:
        write_private(settings.data_dir / SERVER_KEY, (folder / SERVER_KEY).read_bytes())


def check_empty(settings: Settings) -> None:
    """Raise ``InvalidInput`` unless the data folder is empty, or is not there yet."""
    folder = settings.data_dir
    if folder.exists() and any(folder.iterdir()):
        raise InvalidInput(f"{folder} is not empty; restore into an empty data folder: name another with --data")


def _refuse_filled(settings: Settings) -> None:
    with _database(settings.database_url) as connection:
        found = connection.execute("SELECT to_regclass('alembic_version')").fetchone()
        if found and found[0]:
            raise InvalidInput("this PostgreSQL has tables of Matchbox already; restore into an empty database")
    client = connect(settings.redis_url)
    if client.exists(keys.SHARDS, keys.meta(keys.shard_tag(0))):
        raise InvalidInput("this Redis holds a cluster already; restore into an empty one")
    client.close()


# --- PostgreSQL --------------------------------------------------------------------------------------


@contextmanager
def _database(url: str) -> Iterator[psycopg.Connection[Any]]:
    try:
        with psycopg.connect(url.replace("postgresql+psycopg://", "postgresql://", 1)) as connection:
            yield connection
    except psycopg.OperationalError as error:
        raise Unavailable(f"PostgreSQL does not answer: {first_line(error)}") from error


def _save_tables(url: str, folder: Path) -> tuple[str, dict[str, Table]]:
    """All tables as of one instant, each as the text of COPY; and the version they have."""
    tables = {}
    with _database(url) as connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        for name, columns in _columns(connection).items():
            with (folder / f"{name}.copy").open("wb") as file, connection.cursor() as cursor:
                with cursor.copy(_copy(name, columns, "TO STDOUT")) as copy:
                    for block in copy:
                        file.write(block)
                tables[name] = Table(columns, cursor.rowcount)
    assert row is not None
    return row[0], tables


def _columns(connection: psycopg.Connection[Any]) -> dict[str, list[str]]:
    query = """
        SELECT table_name, array_agg(column_name::text ORDER BY ordinal_position) FROM information_schema.columns
        WHERE table_schema = current_schema() AND table_name = ANY(%s) GROUP BY 1 ORDER BY 1"""
    return dict(connection.execute(query, [list(metadata.tables)]).fetchall())


def _copy(table: str, columns: list[str], direction: str) -> sql.Composed:
    names = sql.SQL(", ").join(map(sql.Identifier, columns))
    return sql.SQL("COPY {} ({}) " + direction).format(sql.Identifier(table), names)


def _load_tables(url: str, folder: Path, manifest: Manifest) -> None:
    """Make the tables of the backup's version, fill them, then bring them to ours."""
    config = migrations.config(url)
    command.upgrade(config, manifest.migration)
    with _database(url) as connection:
        for name, table in manifest.tables.items():
            with (folder / f"{name}.copy").open("rb") as file, connection.cursor() as cursor:
                with cursor.copy(_copy(name, table.columns, "FROM STDIN")) as copy:
                    shutil.copyfileobj(file, copy, 1 << 20)
                if cursor.rowcount != table.rows:
                    raise InvalidInput(f"{name}: {cursor.rowcount:,} rows of {table.rows:,}; use another backup")
            _go_on_counting(connection, name, table.columns)
    command.upgrade(config, "head")


def _go_on_counting(connection: psycopg.Connection[Any], table: str, columns: list[str]) -> None:
    """Rows that come later get numbers after those of the backup."""
    for column in columns:
        row = connection.execute("SELECT pg_get_serial_sequence(%s, %s)", (table, column)).fetchone()
        if row and row[0]:
            query = sql.SQL("SELECT setval(%s, coalesce(max({}), 0) + 1, false) FROM {}")
            connection.execute(query.format(sql.Identifier(column), sql.Identifier(table)), (row[0],))


# --- Redis -------------------------------------------------------------------------------------------


def _save_redis(url: str, path: Path) -> int:
    """All keys but those of who runs: [key, milliseconds to live (0: for ever), value as DUMP gives it]."""
    client, count = connect(url), 0
    encoder = msgspec.msgpack.Encoder()
    with path.open("wb") as file:
        for key in client.scan_iter(count=_SCAN):
            value, life_ms = client.dump(key), max(0, client.pttl(key))
            if value is not None and not key.startswith(_FLEETING):
                part = encoder.encode([key, life_ms, value])
                file.write(len(part).to_bytes(8) + part)
                count += 1
    client.close()
    return count


def _load_redis(url: str, path: Path) -> None:
    client = connect(url)
    with path.open("rb") as file:
        while length := file.read(8):
            key, life_ms, value = msgspec.msgpack.decode(file.read(int.from_bytes(length)))
            client.restore(key, life_ms, value)
    client.close()
