"""The command and the gateway themselves refuse to start with secrets that everybody knows."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    "command", [["cli", "start"], ["cli", "start", "--detach"], ["cluster.background"], ["workers.gateway", "0"]]
)
def test_they_do_not_start(tmp_path, command):
    """Before anything runs, with one line that names the variable."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MATCHBOX_")}
    environment |= {
        "MATCHBOX_DATA": str(tmp_path / "data"),
        "MATCHBOX_REDIS_URL": "redis://:password@192.0.2.1",
        "MATCHBOX_DATABASE_URL": "postgresql://matchbox@192.0.2.1/matchbox",
        "MATCHBOX_SERVER_KEY": "n2yyA0n8f4JqS0gJm5hJr1kq3vVQyS8nYx4w",
    }
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode != 0
    assert "MATCHBOX_REDIS_URL has a password that everybody knows" in done.stderr.strip().splitlines()[-1]
    assert not (tmp_path / "data" / "cluster.json").exists()
