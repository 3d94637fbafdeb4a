"""A private Valkey for a benchmark: the one the cluster embeds, in a temporary folder, gone afterwards."""

import contextlib
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import redis

from cluster.child import Child
from cluster.embedded import valkey
from shared.connections import connect
from shared.settings import Settings


@contextlib.contextmanager
def private_valkey(durability: str) -> Iterator[tuple[str, Any]]:
    """URL and client of a fresh server with ``appendfsync`` as asked."""
    with tempfile.TemporaryDirectory(prefix="matchbox-bench-") as folder:
        server = valkey(Settings().with_changes(data=folder, durability=durability))
        child = Child("valkey", server.command, Path(folder))
        client = connect(server.url)
        try:
            _wait(client)
            yield server.url, client
        finally:
            client.close()
            child.stop()
            while child.poll() is None:
                time.sleep(0.01)
            server.clean()


def _wait(client: Any, timeout_s: float = 10.0) -> None:
    end = time.monotonic() + timeout_s
    while True:
        try:
            client.ping()
        except redis.exceptions.ConnectionError:
            if time.monotonic() > end:
                raise
            time.sleep(0.02)
        else:
            return
