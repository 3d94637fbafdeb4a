"""A whole cluster for a benchmark, in a temporary folder, started and stopped by its own command line."""

import contextlib
import socket
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator

from cluster.record import attach
from shared import keys
from shared.connections import connect, open_database
from shared.credentials import ApiKey, create_key, create_user, server_key
from shared.instrument import money_units
from shared.messages import TransferRequest
from shared.settings import Settings
from shared.submit import Submitter

RATE = 1_000_000
"""Requests a second that are let through: counted like any, and never too many."""


def free_port() -> int:
    """A TCP port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def private_cluster(durability: str, symbol: str = "BTC-USD", **changes: str) -> Iterator[Settings]:
    """Settings of a running cluster with one instrument."""
    with tempfile.TemporaryDirectory(prefix="matchbox-bench-") as folder:
        rates = dict.fromkeys(("private_rate", "cancel_rate", "public_rate"), RATE)
        settings = Settings().with_changes(data=folder, port=free_port(), durability=durability, **rates, **changes)
        environment = settings.environment()
        matchbox(["start", "--detach"], environment)
        try:
            matchbox(["instrument", "add", symbol, "--tick", "0.01", "--lot", "0.00000001"], environment)
            yield attach(settings)
        finally:
            matchbox(["stop"], environment)


def matchbox(arguments: list[str], environment: dict[str, str]) -> None:
    """Run one command of the command line, and show what it said if it failed."""
    command = [sys.executable, "-m", "cli", *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"matchbox {' '.join(arguments)}: {done.stderr or done.stdout}")


def make_trader(settings: Settings, deposits: dict[str, str]) -> tuple[int, ApiKey]:
    """An account with money and a key for the API."""
    database = open_database(settings.database_url)
    account = create_user(database, f"trader-{uuid.uuid4().hex[:8]}")
    key = create_key(database, account, ["view", "trade"], server_key(settings))
    database.dispose()
    with connect(settings.redis_url) as client:
        client.publish(keys.KEYS_CHANNEL, key.key)
        submitter = Submitter(client, settings.shards)
        for currency, amount in deposits.items():
            submitter.submit(TransferRequest(uuid.uuid4().hex, account, currency, money_units(amount, 10)))
    return account, key
