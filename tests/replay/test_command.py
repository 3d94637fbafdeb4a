"""``matchbox replay`` and ``matchbox audit``: what a person and a script see of them."""

import lzma

import msgspec
import psycopg
import pytest
from click.testing import CliRunner, Result

from cli import cli
from tests.replay.exchange import Exchange
from tests.replay.test_feed import recording

pytestmark = pytest.mark.slow


def matchbox(exchange: Exchange, tmp_path, *arguments: str) -> Result:
    environment = exchange.settings.environment() | {"MATCHBOX_DATA": str(tmp_path)}
    return CliRunner().invoke(cli, list(arguments), env=environment)


def test_replay_and_audit(redis_url, database_url, tmp_path):
    """A good replay, then a good audit: exit code 0 and JSON at the end; a wrong row: exit code 1 and its line."""
    with Exchange(redis_url, database_url, "BTC-USD") as exchange:
        done = matchbox(exchange, tmp_path, "replay", recording(tmp_path, 300), "--limit", "200")
        assert done.exit_code == 0, done.output
        assert msgspec.json.decode(done.stdout.splitlines()[-1])["steps"] == 200
        done = matchbox(exchange, tmp_path, "audit")
        assert done.exit_code == 0, done.output
        assert msgspec.json.decode(done.stdout.splitlines()[-1])["violations"] == []
        with psycopg.connect(database_url) as connection:
            connection.execute("UPDATE trades SET price = price + 1 WHERE trade_id = 1")
        done = matchbox(exchange, tmp_path, "audit")
        assert done.exit_code == 1
        assert "POSTGRESQL: trades: BTC-USD trade 1: price is" in done.stdout


def test_a_bad_file_is_one_line(redis_url, tmp_path):
    """What cannot be fed: exit code 1, one line on stderr that names file and place."""
    with Exchange(redis_url, "", "BTC-USD") as exchange:
        path = tmp_path / "bad.csv.xz"
        path.write_bytes(lzma.compress(b"id,price\n1,2\n"))
        done = matchbox(exchange, tmp_path, "replay", str(path))
        assert done.exit_code == 1
        assert done.stdout == ""
        (line,) = done.stderr.splitlines()
        assert line.startswith(f"Error: {path}: line 1: neither a Databento DBN file nor a Bitstamp CSV")
