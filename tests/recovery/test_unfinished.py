"""A restore that was killed must not start as an empty exchange."""

import os
import signal
import subprocess
import sys
import time

import pytest

from cluster.archive import FORMAT, Manifest, pack
from cluster.claim import RESTORING
from tests.harness import free_port
from tests.nursery import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.timeout(60)]


def matchbox(*arguments):
    return [sys.executable, "-m", "cli", *arguments]


def test_a_killed_restore_is_no_exchange(tmp_path):
    """Start refuses and says what to do, and so does another restore; whatever it had unpacked is in that folder."""
    data, file, parts = tmp_path / "data", tmp_path / "backup.tgz", tmp_path / "parts"
    parts.mkdir()
    pack(parts, Manifest(FORMAT, "0", "head", "now", 1, {}), file)
    command, pipe = matchbox("restore", str(file), "--data", str(data)), tmp_path / "pipe"
    os.mkfifo(pipe)
    end = os.open(pipe, os.O_RDWR)  # it is held up for the last bytes as long as we live
    os.write(end, file.read_bytes()[:-8])
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    leaves = os.environ | {"TMPDIR": str(elsewhere)}
    from_pipe = matchbox("restore", str(pipe), "--data", str(data))
    restore = subprocess.Popen(from_pipe, cwd=ROOT, env=leaves, start_new_session=True)
    while not (data / RESTORING).exists() or not list(data.glob(".backup.*")):
        assert restore.poll() is None
        time.sleep(0.01)
    os.killpg(restore.pid, signal.SIGKILL)
    restore.wait()
    os.close(end)
    assert list(elsewhere.iterdir()) == []
    start = matchbox("start", "--detach", "--data", str(data), "--port", str(free_port()))
    for again, says in ((start, "was not finished; remove the folder"), (command, "is not empty")):
        refused = subprocess.run(again, cwd=ROOT, capture_output=True, text=True)
        assert refused.returncode == 1
        assert says in refused.stderr
