"""What the matrix strikes: real servers, workers from the nursery, and traders who remember what they were promised."""

import contextlib
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import msgspec
from alembic import command
from sqlalchemy import select

import migrations
from cluster.observer import lease_of
from cluster.standing import RolledBack, check_standing
from shared import keys
from shared.connections import open_database
from shared.order_id import to_uuid
from shared.schema import orders
from shared.settings import Settings
from tests import harness
from tests.processes.crash.nursery import Child, Fault
from tests.processes.crash.report import Group
from tests.processes.running import Load
from tests.servers import PostgreSQL, Valkey
from workers.audit.run import audit

INSTRUMENTS = (harness.BTC_USD, harness.ETH_USD)
DURABLE = ("--appendonly", "yes", "--appendfsync", "always", "--aof-load-truncated", "yes")
READY_S = 30.0
LEAVES = 0.2
"""Share of requests after which a trader connects anew, perhaps to another gateway."""


class Trader(Load):
    """Trades, and knows when what was promised."""

    def __init__(self, place: "Place", seed: int, symbols: tuple[str, ...]) -> None:
        self.symbols = symbols
        super().__init__(place, seed)  # type: ignore[arg-type]  # all it wants is ``attached``
        self.placed: list[tuple[float, str, str]] = []
        """When an order was acknowledged (``time.monotonic``), its client id and its order id."""
        self.canceled: list[tuple[float, str]] = []
        """The same of cancels, and the order id."""

    def run(self) -> None:
        """Trade until told to stop."""
        dice = self._random
        with self.open_client() as client:
            while not self.stopping.wait(self.pause_s):
                self._order(client, dice.choice(self.symbols))
                if dice.random() < 0.4 and self.placed:
                    order_id = dice.choice(self.placed[-50:])[2]
                    answer = self._request(client, "DELETE", f"/orders/{order_id}", b"", once=True)
                    if answer is not None:
                        self.canceled.append((time.monotonic(), order_id))

    def open_client(self) -> httpx.Client:
        """The way to the exchange. A connection that lasts would know one gateway only, so it often begins anew."""
        way = f"http://127.0.0.1:{self.settings.port}"
        return httpx.Client(base_url=way, timeout=10, event_hooks={"request": [self._often_leave]})

    def _often_leave(self, request: httpx.Request) -> None:
        if self._random.random() < LEAVES:
            request.headers["Connection"] = "close"

    def _order(self, client: httpx.Client, symbol: str) -> None:
        client_id, cents = uuid.uuid4().hex, 5_000_000 + self._random.randrange(-300, 300)
        body = {
            "product_id": symbol, "side": self._random.choice(("buy", "sell")), "type": "limit", "size": "0.01",
            "client_oid": client_id, "price": f"{cents // 100}.{cents % 100:02}",
        }  # fmt: skip
        answer = self._request(client, "POST", "/orders", msgspec.json.encode(body))
        if answer is not None:
            self.placed.append((time.monotonic(), client_id, answer["id"]))


class Window(msgspec.Struct):
    """From a fault at ``label`` to the next one (``time.monotonic``)."""

    label: str
    since: float
    until: float = float("inf")


class Kept(msgspec.Struct):
    """What became of what was promised: the times of acknowledgement, and of those that were lost or doubled."""

    acknowledged: list[float] = []
    lost: list[float] = []
    doubled: list[float] = []
    problems: list[str] = []
    violations: int = 0

    def count(self, group: Group, windows: Iterable[Window]) -> None:
        """Add to each label's row what was acknowledged while its faults were made and mended."""
        for one in windows:
            row = group.row(one.label)
            for figure, times in (
                ("acknowledged", self.acknowledged), ("lost", self.lost), ("doubled", self.doubled)
            ):  # fmt: skip
                within = sum(one.since <= at < one.until for at in times)
                setattr(row, figure, getattr(row, figure) + within)


class Place:
    """Where traders trade."""

    def __init__(self) -> None:
        self.traders: list[Trader] = []

    def attached(self) -> Settings:
        """What a trader has to know: where the servers and the gateway are."""
        raise NotImplementedError

    def standing(self) -> str:
        """How all workers are, for people."""
        raise NotImplementedError

    def acknowledged(self) -> int:
        """Orders and cancels so far."""
        return sum(len(one.placed) + len(one.canceled) for one in self.traders)

    def wait_for_trade(self, more: int = 5, timeout_s: float = READY_S) -> None:
        """Wait until so many more requests are acknowledged."""
        before = self.acknowledged()
        try:
            wait_until(lambda: self.acknowledged() >= before + more, "trading goes on", timeout_s)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.standing()}") from None

    def finish(self) -> None:
        """Let the traders stop."""
        for one in self.traders:
            one.stopping.set()
        for one in self.traders:
            one.join(10)

    def check(self) -> Kept:
        """Compare what was promised with what PostgreSQL has, and audit. All workers must run, nobody trade."""
        kept = Kept(problems=[problem for one in self.traders for problem in one.problems])
        report = audit(self.attached())
        kept.violations = sum(report.violated.values())
        kept.problems += [str(one) for one in report.violations] + report.notes
        database = open_database(self.attached().database_url)
        with database.connect() as connection:
            for trader in self.traders:
                rows = connection.execute(
                    select(orders.c.client_id, orders.c.order_id, orders.c.done_reason).where(
                        orders.c.account == trader.account
                    )
                ).all()
                compare(trader.placed, trader.canceled, [tuple(row) for row in rows], kept)
        database.dispose()
        return kept


class Exchange(Place):
    """Servers, settings and processes. Names are as in the beats: ``engine:BTC-USD``."""

    def __init__(self, valkey: Valkey, postgresql: PostgreSQL, **changes: Any) -> None:
        super().__init__()
        self.valkey, self.postgresql = valkey, postgresql
        self._children: list[Child] = []
        free = dict.fromkeys(("private_rate", "cancel_rate", "public_rate"), 0)
        quick = {"lease_ms": 500, "snapshot_every": 1000, "log_keep": 1000, "slow_delay_ms": 5, "log_level": "warning"}
        self._cluster = harness.Cluster(
            valkey.url, postgresql.url, INSTRUMENTS, workers=(), **({"gateways": 2} | free | quick | changes)
        )
        self.settings: Settings = self._cluster.settings
        self.folder = self.settings.data_dir
        self.client = self._cluster.client

    @property
    def names(self) -> list[str]:
        """All workers."""
        engines = [f"engine:{one.symbol}" for one in INSTRUMENTS]
        return ["ledger:0", *engines, "pusher", *(f"gateway:{one}" for one in range(self.settings.gateways))]

    def attached(self) -> Settings:
        """What a trader wants to know."""
        return self.settings

    def is_trimmed(self) -> bool:
        """Whether the ledger's log has lost its beginning."""
        first = self.client.xrange(keys.log(keys.shard_tag(0)), count=1)
        return bool(first) and first[0][0] != b"1-0"

    def start_postgresql(self) -> None:
        """Start it again after kill -9; its children may still be about to notice."""
        end = time.monotonic() + READY_S
        while True:
            try:
                self.postgresql.start()
            except RuntimeError:
                assert time.monotonic() < end, "PostgreSQL does not come back"
                time.sleep(0.05)
            else:
                return

    def refusal(self) -> str:
        """Why a start would be refused: what Redis has lost; "" if it would not."""
        with self._cluster.database.connect() as connection:
            try:
                check_standing(self.client, connection)
            except RolledBack as error:
                return str(error)
        return ""

    def sign_of(self, name: str) -> dict[str, Any]:
        """The last sign of life of a worker; empty if there is none."""
        found: dict[str, Any] = msgspec.json.decode(self.client.get(keys.beat(name)) or b"{}")
        return found

    def start(self, name: str, fault: Fault | None = None) -> Child:
        """Start a worker."""
        self._children = [one for one in self._children if not one.is_closed]
        child = Child(name, self.settings, fault, self.log_of(name))
        self._children.append(child)
        return child

    def free_lease(self, name: str) -> None:
        """What the supervisor does for a successor when it has seen a worker die."""
        if lease := lease_of(name):
            self.client.hset(lease[0], mapping={"owner": "", "lease": "0"})
            self.client.publish(lease[1], "released")

    def open(self) -> dict[str, Child]:
        """A first life of each worker; the instruments, and money for nobody yet. Returns when a gateway answers."""
        self.client.set(keys.SHARDS, self.settings.shards)
        children = {name: self.start(name) for name in self.names}
        for instrument in INSTRUMENTS:
            self._cluster.configure(instrument)
        wait_until(lambda: self.answers("/products"), "a gateway answers")
        return children

    def answers(self, path: str) -> bool:
        """Whether a gateway does."""
        try:
            return self._cluster.http.get(path).status_code == 200
        except httpx.HTTPError:
            return False

    def trade(self, count: int) -> None:
        """Let ``count`` traders begin."""
        for seed in range(count):
            trader = Trader(self, seed, tuple(one.symbol for one in INSTRUMENTS))
            self.traders.append(trader)
            trader.start()

    def standing(self) -> str:
        """How all workers are, for people."""
        lines = []
        for name in self.names:
            log = self.log_of(name)
            words = log.read_text(errors="replace").strip().splitlines()[-3:] if log.exists() else []
            lease = lease_of(name)
            held = self.client.hgetall(lease[0]) if lease else {}
            lines.append(f"{name}: {self.sign_of(name)} {held}" + "".join(f"\n    {one}" for one in words))
        return "\n".join(lines)

    def log_of(self, name: str) -> Path:
        """What the lives of a worker have written."""
        return self.folder / f"{name.replace(':', '-')}.log"

    def close(self) -> None:
        """End everything but the servers."""
        self.finish()
        for child in self._children:
            child.end()
        self._cluster.close()


def compare(
    placed: Sequence[tuple[float, str, str]],
    canceled: Sequence[tuple[float, str]],
    rows: Sequence[tuple[str, int, str]],
    kept: Kept,
) -> None:
    """Look for what one trader was promised in its rows: (client id, order id, why it is done, "" if it is open)."""
    have: dict[str, list[str]] = {}
    reasons = {}
    for client_id, number, reason in rows:
        have.setdefault(client_id, []).append(to_uuid(number))
        reasons[to_uuid(number)] = reason
    for at, client_id, order_id in placed:
        kept.acknowledged.append(at)
        found = have.get(client_id, [])
        if order_id not in found:
            kept.lost.append(at)
        if len(found) > 1:
            kept.doubled.append(at)
    for at, order_id in canceled:
        kept.acknowledged.append(at)
        if reasons.get(order_id, "") in ("", "filled"):
            kept.lost.append(at)


def wait_until(condition: Callable[[], Any], what: str, timeout_s: float = READY_S) -> None:
    """Wait. Raises ``AssertionError`` that says what did not come."""
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, f"not within {timeout_s:g} s: {what}"
        time.sleep(0.01)


@contextlib.contextmanager
def exchange(valkey: Valkey, postgresql: PostgreSQL | None = None, **changes: Any) -> Iterator[Exchange]:
    """An exchange on these servers, which go with it."""
    postgresql = postgresql or PostgreSQL()
    try:
        valkey.start()
        postgresql.start()
        command.upgrade(migrations.config(postgresql.url), "head")
        found = Exchange(valkey, postgresql, **changes)
        try:
            yield found
        finally:
            found.close()
    finally:
        valkey.remove()
        postgresql.remove()
