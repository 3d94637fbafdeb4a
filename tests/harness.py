"""A small cluster for tests: real workers as child processes on the fixtures' servers, without a supervisor.

    with Cluster(redis_url, database_url) as cluster:
        alice = cluster.user(USD="10000")
        assert alice.order("buy", "100.00", "0.5")["settled"] is False

They come from the nursery (``tests/nursery.py``), which saves four seconds of imports a cluster. Whoever tests the
supervisor itself uses ``tests/processes/running.py``.
"""

import base64
import contextlib
import hmac
import json
import os
import secrets
import signal
import socket
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
import msgspec

from shared import keys
from shared.connections import connect, open_database
from shared.credentials import SCOPES, ApiKey, Scope, create_key, create_user, server_key
from shared.instrument import Instrument, make_instrument, money_units
from shared.messages import InstrumentRequest, TransferRequest, encode
from shared.settings import Settings
from shared.submit import Submitter
from tests.nursery import Child, Constants, told

START_S = 60.0
STOP_S = 10.0
PATIENCE_MS = 15_000
"""How long a ledger may stand still on a busy machine before a gateway refuses what a test asks."""
HTTP_S = 30.0
BTC_USD = make_instrument("BTC-USD", "0.01", "0.00000001", maker_fee=1000, taker_fee=2000)
ETH_USD = make_instrument("ETH-USD", "0.01", "0.0001")


class Trader(msgspec.Struct):
    """A user with an API key, who can sign."""

    account: int
    name: str
    key: ApiKey
    http: httpx.Client

    def headers(self, method: str, target: str, body: bytes = b"", at: str = "") -> dict[str, str]:
        """The headers that sign a request; ``target`` is the path with its query."""
        stamp = at or str(int(time.time()))
        return {
            "CB-ACCESS-KEY": self.key.key,
            "CB-ACCESS-SIGN": self.sign(stamp, method, target, body),
            "CB-ACCESS-TIMESTAMP": stamp,
            "CB-ACCESS-PASSPHRASE": self.key.passphrase,
        }

    def sign(self, stamp: str, method: str, target: str, body: bytes = b"") -> str:
        """The signature alone."""
        text = stamp.encode() + method.encode() + target.encode() + body
        return base64.b64encode(hmac.digest(base64.b64decode(self.key.secret), text, "sha256")).decode()

    def login(self) -> dict[str, str]:
        """The fields that sign a WebSocket subscription."""
        stamp = str(time.time())
        signature = self.sign(stamp, "GET", "/users/self/verify")
        return {"timestamp": stamp, "key": self.key.key, "passphrase": self.key.passphrase, "signature": signature}

    def call(self, method: str, target: str, body: Any = None) -> httpx.Response:
        """A signed request."""
        content = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        return self.http.request(method, target, content=content, headers=self.headers(method, target, content))

    def order(self, side: str, price: str, size: str, product_id: str = "BTC-USD", **more: Any) -> dict[str, Any]:
        """A limit order that must be accepted."""
        body = {"product_id": product_id, "side": side, "price": price, "size": size, **more}
        answer = self.call("POST", "/orders", body)
        assert answer.status_code == 200, answer.text
        return answer.json()


class Cluster:
    """Ledgers, engines, the pusher and gateways, from ``start`` to ``stop``. Names as in the beats: ``ledger:0``."""

    def __init__(
        self,
        redis_url: str,
        database_url: str,
        instruments: Sequence[Instrument] = (BTC_USD,),
        *,
        workers: Sequence[str] = ("ledger", "engine", "pusher", "gateway"),
        **changes: Any,
    ) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="matchbox-test-")
        self.settings = Settings(
            data=self._folder.name, port=free_port(), redis_url=redis_url, database_url=database_url, lease_ms=1000,
            argon_time_cost=1, argon_memory_cost=64, argon_parallelism=1,
            request_timeout_ms=PATIENCE_MS, inbox_age_ms=PATIENCE_MS,
        ).with_changes(**changes)  # fmt: skip  # real passwords take half a second each
        self.instruments = list(instruments)
        self.processes: dict[str, Child] = {}
        self.client = connect(redis_url)
        self.database = open_database(database_url)
        self.http = httpx.Client(base_url=self.url, timeout=HTTP_S)
        self.submitter = Submitter(self.client, self.settings.shards)
        self._workers = workers
        self.modules: dict[str, str] = {}
        """What a process runs in place of its worker."""
        self.constants: dict[str, Constants] = {}
        """Constants of the product that have another value in a process."""

    @property
    def url(self) -> str:
        """Where the gateway answers."""
        return f"http://{self.settings.host}:{self.settings.port}"

    @property
    def names(self) -> list[str]:
        """The processes it is made of, in the order in which they start."""
        found = {
            "ledger": [f"ledger:{shard}" for shard in range(self.settings.shards)],
            "engine": [f"engine:{one.symbol}" for one in self.instruments],
            "pusher": ["pusher"],
            "auditor": ["auditor"],
            "gateway": [f"gateway:{number}" for number in range(self.settings.gateways)],
        }
        return [name for kind in self._workers for name in found[kind]]

    def __enter__(self) -> Self:
        with ExitStack() as unless_open:
            unless_open.callback(self.close)
            self.client.set(keys.SHARDS, self.settings.shards)
            for name in self.names:
                self.start(name)
            for name in self.names:
                if name.startswith("ledger"):
                    self.wait_ready(name)
            for instrument in self.instruments:
                self.configure(instrument)
            for name in self.names:
                self.wait_ready(name)
            if "gateway" in self._workers:
                self.wait_listed()
            unless_open.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            error.add_note(told())  # the logs go with the folder
        self.close()

    # --- processes ---

    def start(self, name: str, **changes: Any) -> None:
        """Start a process; does not wait for it. ``changes``: its own settings."""
        kind, _, argument = name.partition(":")
        self.processes[name] = Child(
            self.modules.get(name, f"workers.{kind}.__main__"),
            [argument] if argument else [],
            os.environ | self.settings.with_changes(**changes).environment(),
            self.log(name),
            constants=self.constants.get(name),
        )

    def log(self, name: str) -> Path:
        """What a process writes."""
        return Path(self._folder.name) / f"{name.replace(':', '-')}.log"

    def wait_ready(self, name: str) -> None:
        """Wait until a process says that it runs."""
        end = time.monotonic() + START_S
        pid = self.processes[name].pid
        while time.monotonic() < end:
            assert not self.processes[name].has_ended(), f"{name} ended:\n{self.log(name).read_text()}"
            beat = self.client.get(keys.beat(name))
            if beat and (sign := json.loads(beat))["pid"] == pid and sign["state"] == "running":
                return
            time.sleep(0.02)
        raise AssertionError(f"{name} is not ready after {START_S} s:\n{self.log(name).read_text()}")

    def wait_listed(self) -> None:
        """Wait until every gateway knows every instrument: one that runs may not have heard yet what was added last."""
        end, missing = time.monotonic() + START_S, set(range(self.settings.gateways))
        while missing:
            assert time.monotonic() < end, f"gateways {missing} do not know {self.instruments} after {START_S} s"
            with httpx.Client(base_url=self.url, timeout=HTTP_S) as another:  # whichever of them the kernel chooses
                health = another.get("/health").json()
            if health["instruments"] >= len(self.instruments):
                missing.discard(health["gateway"])
            else:
                time.sleep(0.02)

    def kill(self, name: str, number: int = signal.SIGKILL) -> int:
        """Send a signal and wait for the end; answers the exit code."""
        process = self.processes.pop(name)
        process.send_signal(number)
        return process.wait(STOP_S)

    def restart(self, name: str, number: int = signal.SIGKILL) -> None:
        """Kill a process, start it again, and wait for it."""
        self.kill(name, number)
        self.start(name)
        self.wait_ready(name)

    def close(self) -> None:
        """End everything, the gateways first."""
        for name in reversed(list(self.processes)):
            with contextlib.suppress(TimeoutError):
                self.kill(name, signal.SIGTERM)
        self.http.close()
        self.client.close()
        self.database.dispose()
        self._folder.cleanup()

    # --- what a test needs in it ---

    def configure(self, instrument: Instrument) -> None:
        """Add an instrument, or change its rules or mode."""
        self.client.hset(keys.INSTRUMENTS, instrument.symbol, encode(instrument))
        self.submitter.submit_to_all(InstrumentRequest(secrets.token_hex(8), instrument))

    def user(self, scopes: Sequence[Scope] = SCOPES, name: str = "", **deposits: str) -> Trader:
        """A new user with an API key and money: ``user(USD="1000", BTC="2")``."""
        name = name or f"user-{secrets.token_hex(4)}"
        account = create_user(self.database, name)
        trader = Trader(account, name, self.key(account, scopes), self.http)
        for currency, amount in deposits.items():
            self.deposit(account, currency, amount)
        return trader

    def key(self, account: int, scopes: Sequence[Scope] = SCOPES) -> ApiKey:
        """One more API key, announced to the gateways."""
        made = create_key(self.database, account, scopes, server_key(self.settings))
        self.client.publish(keys.KEYS_CHANNEL, made.key)
        return made

    def deposit(self, account: int, currency: str, amount: str) -> None:
        """Give an account test money."""
        scales = {one.base: one.base_scale for one in self.instruments}
        scales |= {one.quote: one.quote_scale for one in self.instruments}
        self.submitter.submit(
            TransferRequest(secrets.token_hex(8), account, currency, money_units(amount, scales[currency]))
        )


def free_port() -> int:
    """A port nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
