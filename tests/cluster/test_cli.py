"""The command line against a real cluster of real workers, as a person uses it."""

import json
import os
import subprocess
import sys
from typing import Any

import pytest
from click.testing import CliRunner

from cli import cli
from tests.cluster.conftest import Cluster, free_port, wait_for
from tests.nursery import ROOT

pytestmark = pytest.mark.slow


def matchbox(*arguments, cwd=ROOT, **settings: Any):
    """Run a command; answers (exit code, stdout, stderr)."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MATCHBOX_")}
    environment |= {f"MATCHBOX_{name.upper()}": str(value) for name, value in settings.items()}
    done = subprocess.run(
        [sys.executable, str(ROOT / "cli.py"), *map(str, arguments)],
        capture_output=True, text=True, cwd=cwd, env=environment, timeout=100,
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


def works(*arguments, **options):
    code, out, err = matchbox(*arguments, **options)
    assert code == 0, err
    return out


def fails(*arguments, **options):
    """The one line with which a command fails."""
    code, _, err = matchbox(*arguments, **options)
    assert code == 1
    assert err.startswith("Error: ")
    assert err.count("\n") == 1, err
    return err


def helped(command):
    """What a command says of itself, without a process of its own."""
    told = CliRunner().invoke(cli, [command, "--help"])
    assert told.exit_code == 0, told.output
    return told.output


def rows(folder):
    found = json.loads(works("status", "--json", "--data", "a", cwd=folder))["processes"]
    return {row["process"]: row for row in found}


def test_a_person_runs_an_exchange(folder):
    """Start, add, make users and money, halt, resume, remove, look, stop: each command does what its help says."""
    port = free_port()
    assert f"http://127.0.0.1:{port}" in works(
        "start", "--detach", "--data", "a", "--port", port, "--gateways", 2, cwd=folder
    )
    try:
        at = ("--data", "a")
        wait_for(
            lambda: [rows(folder).get(f"gateway:{n}", {}).get("state") for n in (0, 1)] == ["running"] * 2,
            40,
            "both run",
        )
        works("instrument", "add", "BTC-USD", "--tick", "0.01", "--lot", "0.00000001", *at, cwd=folder)
        wait_for(lambda: rows(folder).get("engine:BTC-USD", {}).get("state") == "running", 40, "engine runs")
        assert "exists already" in fails("instrument", "add", "BTC-USD", "--tick", "1", "--lot", "1", *at, cwd=folder)
        assert "alice has account 1" in works("user", "create", "alice", *at, cwd=folder)
        assert "alice got 1000 USD" in works("deposit", "alice", "USD", "1e3", *at, cwd=folder)
        assert '"bob" does not exist' in fails("deposit", "bob", "USD", "1", *at, cwd=folder)
        assert "not used by any instrument" in fails("deposit", "alice", "XYZ", "1", *at, cwd=folder)
        assert works("key", "create", "alice", *at, cwd=folder).split()[::2] == ["key", "secret", "passphrase"]
        works("instrument", "halt", "BTC-USD", *at, cwd=folder)
        (listed,) = json.loads(works("instrument", "list", "--json", *at, cwd=folder))
        assert (listed["symbol"], listed["mode"]) == ("BTC-USD", "halted")
        works("instrument", "resume", "BTC-USD", *at, cwd=folder)
        works("instrument", "mode", "BTC-USD", "post-only", *at, cwd=folder)
        assert json.loads(works("instrument", "list", "--json", *at, cwd=folder))[0]["mode"] == "post-only"
        assert "nobody met" in works("instrument", "auction", "BTC-USD", "--seconds", "1", *at, cwd=folder)
        works("instrument", "remove", "BTC-USD", *at, cwd=folder)
        wait_for(lambda: "engine:BTC-USD" not in rows(folder), 40, "engine stopped")
        assert "PostgreSQL" in works("logs", "postgres", "-n", "50", *at, cwd=folder)
        assert "already runs in" in fails("start", "--data", "a", "--port", port, cwd=folder)
    finally:
        stopped = works("stop", "--data", "a", cwd=folder)
    assert "stopped supervisor, " in stopped
    assert "nothing runs in" in works("stop", "--data", "a", cwd=folder)
    cluster = Cluster(folder / "a")
    assert not cluster.leftovers()


def test_a_command_starts_quickly():
    """What only some commands need is not loaded for all: alembic and SQLAlchemy take three times as long as it all."""
    code = "import sys, cli; print(sorted({'alembic', 'sqlalchemy', 'psycopg', 'litestar'} & set(sys.modules)))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert loaded.stdout == "[]\n"


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("status",), "no cluster runs in"),
        (("instrument", "list"), "no cluster runs in"),
        (("deposit", "alice", "USD", "1"), "no cluster runs in"),
        (("logs",), "no log of"),
        (("start", "--port", "99999"), 'MATCHBOX_PORT="99999"'),
        (("start", "--gateways", "0"), 'MATCHBOX_GATEWAYS="0"'),
        (("start", "--data", "/proc/matchbox"), "data folder /proc/matchbox"),
    ],
)
def test_errors_are_one_line(folder, arguments, complaint):
    """What cannot be done is said in one line on stderr with exit code 1, never in a traceback."""
    assert complaint in fails(*arguments, cwd=folder)


def test_redis_away_is_one_line(folder):
    """A Redis that does not answer is named; no traceback."""
    assert "Redis does not answer" in fails("status", cwd=folder, redis_url=f"unix://{folder}/nobody")


def test_the_help_teaches():
    """The help of every command has a sentence, and the first one shows examples."""
    overview = works("--help")
    assert "matchbox start --demo" in overview
    assert "MATCHBOX_LOG_LEVEL " in helped("start")
    for command in cli.commands:
        assert command in overview
        assert len(helped(command).splitlines()) > 3
