"""A whole cluster as a user runs it, and a load that remembers what it was promised."""

import base64
import contextlib
import hashlib
import hmac
import json
import os
import random
import signal
import subprocess
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import httpx
import msgspec
import psutil
from redis.exceptions import RedisError
from sqlalchemy import select

from benchmarks.private_cluster import free_port, make_trader
from cluster.record import attach, read_record
from cluster.status import status_of, status_without_redis
from shared.connections import connect, open_database
from shared.credentials import ApiKey
from shared.order_id import to_uuid
from shared.schema import orders
from shared.settings import Settings
from tests.nursery import Child

SYMBOL = "BTC-USD"
RUN_S = 120.0


class Cluster:
    """A cluster in a folder of its own, driven by its command line."""

    def __init__(self, folder: str, **changes: str) -> None:
        self.settings = Settings().with_changes(data=folder, port=free_port(), **changes)

    def run(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """``matchbox ARGUMENTS``, from the nursery."""
        environment = dict(os.environ) | self.settings.environment()
        with tempfile.TemporaryDirectory(prefix="matchbox-run-") as folder:
            out, errors = Path(folder, "out"), Path(folder, "errors")
            code = Child("cli", arguments, environment, out, errors=errors).wait(RUN_S)
            done = subprocess.CompletedProcess(arguments, code, out.read_text(), errors.read_text())
        assert not check or done.returncode == 0, f"matchbox {' '.join(arguments)}:\n{done.stdout}{done.stderr}"
        return done

    def attached(self) -> Settings:
        """Settings with the URLs of its servers."""
        return attach(self.settings)

    def rows(self) -> dict[str, dict]:
        """What ``matchbox status`` shows, by process name; asked here, since a command takes 0.5 s to start."""
        settings = self.attached()
        record = read_record(settings.data_dir)
        assert record is not None
        with connect(settings.redis_url) as client:
            try:
                found = status_of(client)
            except RedisError as error:
                found = status_without_redis(record, settings.data_dir, str(error))
        return {row.process: msgspec.to_builtins(row) for row in found.processes}

    def pid_of(self, name: str) -> int:
        """Process id, 0 if it does not run now."""
        return self.rows().get(name, {}).get("pid", 0)

    def kill(self, name: str, number: int = signal.SIGKILL) -> int:
        """Kill a process by its pid; answers the pid."""
        pid = self.pid_of(name)
        assert pid, f"{name} does not run"
        os.kill(pid, number)
        return pid

    def wait_for_new(self, name: str, old_pid: int, timeout_s: float = 30.0) -> float:
        """Seconds until another process runs under the name."""
        started = time.monotonic()
        while time.monotonic() - started < timeout_s:
            row = self.rows().get(name, {})
            if row.get("pid") not in (0, None, old_pid) and row["state"] == "running":
                return time.monotonic() - started
            time.sleep(0.05)
        raise AssertionError(f"{name} did not come back within {timeout_s} s: {self.run('logs', name).stdout}")

    def leftovers(self) -> list[str]:
        """Processes that mention its folder, and sockets in it."""
        folder = str(self.settings.data_dir)
        lines = []
        for process in psutil.process_iter(["pid", "cmdline"]):
            line = " ".join(process.info["cmdline"] or [])
            if folder in line and process.info["pid"] != os.getpid():
                lines.append(line)
        return lines + [str(path) for path in Path(folder).rglob("*") if path.is_socket()]


@contextlib.contextmanager
def running_cluster(*instruments: str, demo: bool = False, **changes: str) -> Iterator[Cluster]:
    """A started cluster with ``instruments``; stopped, and its folder removed, at the end."""
    with tempfile.TemporaryDirectory(prefix="matchbox-test-") as folder:
        cluster = Cluster(folder, **changes)
        cluster.run("start", "--detach", *(["--demo"] if demo else []))
        try:
            for symbol in instruments:
                cluster.run(
                    "instrument", "add", symbol, "--tick", "0.01", "--lot", "0.00000001", "--taker-fee-bps", "20"
                )
            yield cluster
        finally:
            cluster.run("stop", check=False)


class Signer:
    """Who has an API key."""

    def __init__(self, key: ApiKey) -> None:
        self.key = key

    def sign(self, method: str, path: str, body: bytes) -> dict[str, str]:
        """Coinbase Exchange's headers."""
        stamp = f"{time.time():.3f}"
        text = f"{stamp}{method}{path}".encode() + body
        signature = hmac.digest(base64.b64decode(self.key.secret), text, hashlib.sha256)
        return {
            "Content-Type": "application/json",
            "CB-ACCESS-KEY": self.key.key,
            "CB-ACCESS-SIGN": base64.b64encode(signature).decode(),
            "CB-ACCESS-TIMESTAMP": stamp,
            "CB-ACCESS-PASSPHRASE": self.key.passphrase,
        }


class Load(threading.Thread):
    """Posts and cancels orders until told to stop; a request without an answer is repeated under the same client id.

    ``acknowledged``: client id -> order id, for every order the exchange answered with 200.
    ``symbols``: what it trades. ``pause_s``: between two orders, for whatever dies next to it needs the cores, too.
    """

    symbols: tuple[str, ...] = (SYMBOL,)
    pause_s = 0.01

    def __init__(self, cluster: Cluster, seed: int) -> None:
        super().__init__(daemon=True)
        self.settings = cluster.attached()
        deposits = {"USD": "10000000"} | {symbol.partition("-")[0]: "1000" for symbol in self.symbols}
        self.account, key = make_trader(self.settings, deposits)
        self.sign = Signer(key).sign
        self.acknowledged: dict[str, str] = {}
        self.problems: list[str] = []
        self.retries = 0
        self.stopping = threading.Event()
        self._random = random.Random(seed)

    def run(self) -> None:
        """Trade."""
        with self.open_client() as client:
            while not self.stopping.wait(self.pause_s):
                self._place(client)
                if self._random.random() < 0.4 and self.acknowledged:
                    order_id = self._random.choice(list(self.acknowledged.values())[-50:])
                    self._request(client, "DELETE", f"/orders/{order_id}", b"", once=True)

    def open_client(self) -> httpx.Client:
        """The way to the exchange."""
        return httpx.Client(base_url=f"http://127.0.0.1:{self.settings.port}", timeout=10)

    def _place(self, client: httpx.Client) -> None:
        side = self._random.choice(("buy", "sell"))
        ticks = 5_000_000 + self._random.randrange(-300, 300)
        client_id = uuid.uuid4().hex
        order = {
            "product_id": self._random.choice(self.symbols), "side": side, "type": "limit", "client_oid": client_id,
            "price": f"{ticks // 100}.{ticks % 100:02}", "size": "0.01",
        }  # fmt: skip
        answer = self._request(client, "POST", "/orders", json.dumps(order).encode())
        if answer is not None:
            self.acknowledged[client_id] = answer["id"]

    def _request(self, client: httpx.Client, method: str, path: str, body: bytes, once: bool = False) -> dict | None:
        while not self.stopping.is_set():
            try:
                answer = client.request(method, path, content=body, headers=self.sign(method, path, body))
            except httpx.HTTPError:
                self.retries += 1
                time.sleep(0.05)
                continue
            if answer.status_code == 200:
                return answer.json()
            if answer.status_code != 503:
                if not once or answer.status_code != 404:
                    self.problems.append(f"{method} {path}: {answer.status_code} {answer.text}")
                return None
            self.retries += 1
            time.sleep(0.05)
        return None

    def finish(self) -> None:
        """Stop and wait."""
        self.stopping.set()
        self.join(30)

    def recorded(self) -> list[tuple[str, str]]:
        """Client id and order id of each order that PostgreSQL has of it."""
        database = open_database(self.settings.database_url)
        with database.connect() as connection:
            mine = select(orders.c.client_id, orders.c.order_id).where(orders.c.account == self.account)
            found = [(client_id, to_uuid(order_id)) for client_id, order_id in connection.execute(mine)]
        database.dispose()
        return found
