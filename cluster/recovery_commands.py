"""``matchbox recover``, ``backup`` and ``restore``: what they need around the work itself."""

import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import click
import msgspec

from cluster import backup
from cluster.archive import Manifest
from cluster.claim import claim_for_restore, restore_finished
from cluster.offline import offline, someone_runs
from cluster.record import attach, read_record
from cluster.standing import losses
from shared.connections import connect, open_database
from shared.errors import MatchboxError
from shared.settings import Settings


class BackupReport(msgspec.Struct):
    """What was saved or put back. ``redis_keys`` -1: none, Redis is made of PostgreSQL."""

    file: str
    instant: str
    bytes: int
    tables: int
    rows: int
    redis_keys: int
    seconds: float


def confirm_recovery(settings: Settings, *, is_sure: bool) -> None:
    """Show what Redis has lost, and have a person agree that it is made anew. Raises ``click.Abort``."""
    client, database = connect(settings.redis_url), open_database(settings.database_url)
    try:
        with database.connect() as connection:
            found = losses(client, connection)
    finally:
        client.close()
        database.dispose()
    for one in found:
        click.echo(str(one))
    if not found:
        click.echo(
            'Redis has all that PostgreSQL knows: a recovery is for a log that nothing can follow ("matchbox audit" '
            "names it), and else only drops what is on its way."
        )
    if not is_sure:
        click.confirm("Make ledgers and books in Redis anew from PostgreSQL?", abort=True)


def backup_to(settings: Settings, file: str, version: str) -> None:
    """Back up a cluster that runs, or one that is stopped, and say what was saved."""
    started, target = time.monotonic(), Path(file).expanduser().resolve()
    if _runs(settings):
        manifest = backup.save(attach(settings), target, version, with_redis=False)
    elif settings.data_dir.exists() or settings.database_url:
        with offline(settings) as found:
            manifest = backup.save(found, target, version, with_redis=True)
    else:
        raise MatchboxError(f"there is no cluster in {settings.data_dir}; name another folder with --data")
    _report(target, manifest, started)


def _runs(settings: Settings) -> bool:
    record = read_record(settings.data_dir)
    if record is not None and record.is_running():
        return True
    return bool(settings.redis_url) and bool(someone_runs(settings.redis_url))


@contextmanager
def restored(settings: Settings, file: str) -> Iterator[tuple[Settings, Manifest]]:
    """Servers filled from a backup, for who makes Redis if the backup has none. What fails leaves no data folder."""
    started, source = time.monotonic(), Path(file).expanduser().resolve()
    backup.check_empty(settings)
    with ExitStack() as undo:
        undo.callback(shutil.rmtree, settings.data_dir, ignore_errors=True)  # it was empty
        claim_for_restore(settings)
        with backup.opened(source, settings.data_dir) as (folder, manifest), offline(settings) as found:
            backup.load(found, folder, manifest)
            yield found, manifest
        restore_finished(settings)
        undo.pop_all()
    _report(source, manifest, started)


def _report(file: Path, manifest: Manifest, started: float) -> None:
    seconds = round(time.monotonic() - started, 3)
    report = BackupReport(
        str(file), manifest.instant, file.stat().st_size, len(manifest.tables), manifest.rows, manifest.redis_keys,
        seconds,
    )  # fmt: skip
    what = f"{report.rows:,} rows of {report.tables} tables"
    redis = f" and {report.redis_keys:,} keys of Redis" if report.redis_keys >= 0 else ""
    click.echo(f"{what}{redis}, as of {report.instant}, {report.bytes:,} bytes in {seconds:.1f} s")
    click.echo(msgspec.json.encode(report).decode())
