"""The file of a backup: what comes out is what went in, or nothing."""

import errno
import os
import tarfile

import pytest

from cluster.archive import FORMAT, Manifest, Table, pack, unpack
from cluster.backup import check_empty, save
from shared.errors import InvalidInput, MatchboxError
from shared.settings import Settings

ROWS = bytes(range(256)) * 400


@pytest.fixture
def backup(tmp_path):
    """A small backup."""
    folder, file = tmp_path / "parts", tmp_path / "backup"
    folder.mkdir()
    (folder / "users.copy").write_bytes(ROWS)
    pack(folder, Manifest(FORMAT, "1", "0003", "now", 1, {"users": Table(["account"], 2)}), file)
    return file


def unpacked(file, tmp_path):
    folder = tmp_path / "new"
    folder.mkdir()
    return folder, unpack(file, folder)


def test_what_comes_out_went_in(backup, tmp_path):
    """The parts and the manifest; readable by its owner only, for it holds secrets."""
    folder, manifest = unpacked(backup, tmp_path)
    assert (folder / "users.copy").read_bytes() == ROWS
    assert (manifest.rows, manifest.tables["users"].columns) == (2, ["account"])
    assert backup.stat().st_mode & 0o077 == 0


def test_a_backup_never_replaces_another(backup, tmp_path):
    """The file is refused, and nothing of the attempt is left."""
    before = backup.read_bytes()
    with pytest.raises(InvalidInput, match="exists already"):
        pack(tmp_path / "parts", Manifest(FORMAT, "1", "0003", "now", 1, {}), backup)
    assert backup.read_bytes() == before
    assert sorted(os.listdir(tmp_path)) == ["backup", "parts"]


@pytest.mark.parametrize("size", [0, 100, -300])
def test_a_file_that_is_cut_off_is_refused(backup, tmp_path, size):
    """Wherever within its parts it ends."""
    backup.write_bytes(backup.read_bytes()[:size])
    with pytest.raises(InvalidInput, match="no backup of Matchbox"):
        unpacked(backup, tmp_path)


def test_a_changed_part_is_refused(backup, tmp_path):
    """The manifest knows the hash of each part."""
    folder, _ = unpacked(backup, tmp_path)
    (folder / "users.copy").write_bytes(ROWS[1:])
    with tarfile.open(backup, "w:gz") as archive:
        for path in sorted(folder.iterdir()):
            archive.add(path, path.name)
    with pytest.raises(InvalidInput, match="is not what was written"):
        unpack(backup, tmp_path / "new")


def test_another_format_is_refused(tmp_path):
    """A newer program's backup is not guessed at."""
    (tmp_path / "parts").mkdir()
    pack(tmp_path / "parts", Manifest(FORMAT + 1, "2", "0009", "now", 1, {}), tmp_path / "backup")
    with pytest.raises(InvalidInput, match="use its program"):
        unpacked(tmp_path / "backup", tmp_path)


def test_only_an_empty_folder_is_filled(tmp_path):
    """A cluster is never put over another."""
    check_empty(Settings(data=str(tmp_path / "none")))
    check_empty(Settings(data=str(tmp_path)))
    (tmp_path / "server.key").touch()
    with pytest.raises(InvalidInput, match="is not empty"):
        check_empty(Settings(data=str(tmp_path)))


def test_a_full_disk_is_not_taken_for_a_bad_backup(backup, tmp_path, monkeypatch):
    """What is said names the folder that is full, and not a good backup."""

    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(tarfile.TarFile, "extractall", full)
    with pytest.raises(
        MatchboxError, match=f"cannot be unpacked into {tmp_path}: No space left on device; name another"
    ):
        unpack(backup, tmp_path / "into")


def test_a_backup_that_finds_no_room_says_so_and_leaves_nothing(tmp_path, monkeypatch):
    """No traceback, and no part of a backup."""

    def full(_url, folder):
        (folder / "orders.copy").write_bytes(b"some rows")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("cluster.backup._save_tables", full)
    with pytest.raises(MatchboxError, match=r"one.backup: No space left on device; name a file where there is room"):
        save(Settings(data=str(tmp_path)), tmp_path / "one.backup", "1", with_redis=False)
    assert list(tmp_path.iterdir()) == []
