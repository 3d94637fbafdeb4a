"""The file of a backup: a gzipped tar of parts, and a manifest that names each with its SHA-256."""

import hashlib
import os
import tarfile
from pathlib import Path

import msgspec

from shared.errors import InvalidInput, MatchboxError

FORMAT = 1
MANIFEST = "manifest.json"
_CHUNK = 1 << 20


class Table(msgspec.Struct, frozen=True):
    """A table: its columns in the order of the rows."""

    columns: list[str]
    rows: int


class Manifest(msgspec.Struct):
    """What a backup holds. ``migration``: version of the tables; ``parts``: file -> SHA-256.

    ``redis_keys``: how many keys of Redis are in it; -1: none, since the cluster ran.
    """

    format: int
    version: str
    migration: str
    instant: str
    shards: int
    tables: dict[str, Table]
    redis_keys: int = -1
    parts: dict[str, str] = {}

    @property
    def rows(self) -> int:
        """All rows of all tables."""
        return sum(table.rows for table in self.tables.values())


def digest(path: Path) -> str:
    """SHA-256 of a file."""
    found = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            found.update(chunk)
    return found.hexdigest()


def pack(folder: Path, manifest: Manifest, target: Path) -> None:
    """Make the archive of all files in ``folder``, readable by its owner only. Raises ``InvalidInput`` if it exists."""
    parts = sorted(path for path in folder.iterdir() if path.name != MANIFEST)
    manifest.parts = {path.name: digest(path) for path in parts}
    (folder / MANIFEST).write_bytes(msgspec.json.format(msgspec.json.encode(manifest), indent=2))
    draft = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file, tarfile.open(fileobj=file, mode="w:gz", compresslevel=6) as archive:
            for path in (folder / MANIFEST, *parts):
                archive.add(path, path.name)
            archive.close()
            file.flush()
            os.fsync(file.fileno())
        os.link(draft, target)  # unlike a rename, it never replaces another backup
    except FileExistsError:
        raise InvalidInput(f"{target} exists already; name another file") from None
    except OSError as error:
        raise MatchboxError(f"{target}: {error.strerror}; name another file") from error
    finally:
        draft.unlink(missing_ok=True)


def unpack(source: Path, folder: Path) -> Manifest:
    """Put the parts into ``folder``. Raises ``InvalidInput`` if the file is no backup, or not what was written."""
    try:
        with tarfile.open(source, "r:gz") as archive:
            archive.extractall(folder, filter="data")
        manifest = msgspec.json.decode((folder / MANIFEST).read_bytes(), type=Manifest)
    except FileNotFoundError as error:
        what = "does not exist" if not source.exists() else "is no backup of Matchbox"
        raise InvalidInput(f"{source} {what}") from error
    except (tarfile.TarError, EOFError, OSError, msgspec.DecodeError) as error:
        if isinstance(error, OSError) and error.errno:  # the disk's trouble; a file that is no archive has no number
            raise MatchboxError(
                f"{source} cannot be unpacked into {folder.parent}: {error.strerror}; name another folder with --data"
            ) from error
        raise InvalidInput(f"{source} is no backup of Matchbox, or is cut off: {error}") from error
    if manifest.format != FORMAT:
        raise InvalidInput(f"{source} has format {manifest.format}, this program reads {FORMAT}: use its program")
    for name, expected in manifest.parts.items():
        path = folder / name
        if not path.is_file() or digest(path) != expected:
            raise InvalidInput(f"{source}: {name} is not what was written; use another backup")
    return manifest
