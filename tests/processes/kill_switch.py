"""From a kill switch to the last cancel: ``python -m tests.processes.kill_switch`` (``make kill-switch``).

Each switch (account, key, product, everybody) is thrown over the API of a running exchange with so many orders at rest.
Measured until the answer, until the last order's end is in its book's log, and until the last hold is released.
"""

import json
import threading
import time
import uuid
from collections.abc import Sequence
from typing import Any

import click
import httpx
import msgspec

from benchmarks.private_cluster import make_trader
from shared import keys
from shared.connections import connect, open_database
from shared.credentials import SCOPES, create_key, create_user, server_key
from shared.messages import FIELD, Closed, Done, OrderRequest, decode_book_entry, decode_ledger_entry, encode
from tests.processes.running import Cluster, Signer, running_cluster

SYMBOLS = ("BTC-USD", "ETH-USD")
SWITCHES = ("account", "key", "product", "everybody")
ACCOUNTS = 10
"""Among which the orders are divided where a switch concerns everybody's."""
CHUNK = 1000
PLACED_S = 60.0
CANCELED_S = 30.0


class Killed(msgspec.Struct):
    """What one switch took, in ms from the request. ``answered`` is what its user waits for.

    ``placed_ms``: what it had taken to place the orders.
    """

    switch: str
    orders: int
    answered_ms: int = 0
    canceled_ms: int = 0
    released_ms: int = 0
    placed_ms: int = 0


class Figures(msgspec.Struct):
    """The closing line: the slowest of each switch."""

    orders: int
    runs: int
    switches: list[Killed]
    audit: int


class Watch(threading.Thread):
    """Counts the ends of orders in all logs, and keeps when the latest was seen."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self.opened = self.done = self.closed = 0
        self.done_at = self.closed_at = 0.0
        self.stopping = threading.Event()
        self._client = connect(url)
        self._books = [keys.log(keys.instrument_tag(symbol)) for symbol in SYMBOLS]
        self._ends = dict.fromkeys([*self._books, keys.log(keys.shard_tag(0))], "0-0")

    def run(self) -> None:
        """Read until told to stop."""
        while not self.stopping.is_set():
            for stream, entries in self._client.xread(self._ends, count=500, block=50) or ():
                name, now = stream.decode(), time.monotonic()
                self._ends[name] = entries[-1][0].decode()
                for _, fields in entries:
                    if name in self._books:
                        self._see_book(decode_book_entry(fields[FIELD]).events, now)
                    else:
                        self._see_ledger(decode_ledger_entry(fields[FIELD]).events, now)

    def _see_book(self, events: Sequence[Any], now: float) -> None:
        self.opened += sum(type(event).__name__ == "Open" for event in events)
        if count := sum(isinstance(event, Done) for event in events):
            self.done, self.done_at = self.done + count, now

    def _see_ledger(self, events: Sequence[Any], now: float) -> None:
        if count := sum(isinstance(event, Closed) for event in events):
            self.closed, self.closed_at = self.closed + count, now

    def wait(self, what: str, count: int, timeout_s: float) -> None:
        """Wait until so many were seen."""
        end = time.monotonic() + timeout_s
        while getattr(self, what) < count:
            assert time.monotonic() < end, (
                f"not within {timeout_s:g} s: {count} {what}; there are {getattr(self, what)}"
            )
            time.sleep(0.005)


class KillSwitch:
    """A running exchange, an admin, and who has orders in it."""

    def __init__(self, cluster: Cluster, orders: int) -> None:
        self.settings = cluster.attached()
        self.orders = orders
        self.watch = Watch(self.settings.redis_url)
        self.watch.start()
        self._client = connect(self.settings.redis_url)
        self._http = httpx.Client(base_url=f"http://127.0.0.1:{self.settings.port}", timeout=CANCELED_S)
        database = open_database(self.settings.database_url)
        admin = create_user(database, f"admin-{uuid.uuid4().hex[:8]}", "admin")
        self._admin = Signer(create_key(database, admin, [*SCOPES, "admin"], server_key(self.settings)))
        database.dispose()
        self._client.publish(keys.KEYS_CHANNEL, self._admin.key.key)
        self._traders = [self._trader() for _ in range(ACCOUNTS)]

    def _trader(self) -> tuple[int, str]:
        account, key = make_trader(self.settings, {"USD": "10000000"})
        return account, key.key

    def throw(self, switch: str) -> Killed:
        """Place the orders, throw a switch, and lift it again."""
        account, key = self._traders[0]
        bodies: dict[str, dict[str, Any]] = {
            "account": {"account": account},
            "key": {"key": key},
            "product": {"product_id": SYMBOLS[0]},
            "everybody": {"everybody": True},
        }
        accounts = [one for one, _ in self._traders] if switch in ("product", "everybody") else [account]
        symbols = SYMBOLS if switch in ("account", "key", "everybody") else SYMBOLS[:1]
        placing = time.monotonic()
        self._place(accounts, symbols)
        placed_ms = round(1000 * (time.monotonic() - placing))
        done, closed, started = self.watch.done, self.watch.closed, time.monotonic()
        halts = self._call("POST", "/admin/halts", bodies[switch])
        answered = time.monotonic()
        self.watch.wait("done", done + self.orders, CANCELED_S)
        self.watch.wait("closed", closed + self.orders, CANCELED_S)
        for one in halts:
            self._call("DELETE", f"/admin/halts/{one['id']}")
        if switch == "key":
            self._traders[0] = self._trader()
        answered_ms, canceled_ms, released_ms = (
            round(1000 * (moment - started)) for moment in (answered, self.watch.done_at, self.watch.closed_at)
        )
        return Killed(switch, self.orders, answered_ms, canceled_ms, released_ms, placed_ms)

    def _place(self, accounts: Sequence[int], symbols: Sequence[str]) -> None:
        """So many orders at rest, divided among accounts and instruments; straight into the inbox: that is quickest."""
        wanted = self.watch.opened + self.orders
        for start in range(0, self.orders, CHUNK):
            pipe = self._client.pipeline(transaction=False)
            for number in range(start, min(start + CHUNK, self.orders)):
                account, symbol = accounts[number % len(accounts)], symbols[number % len(symbols)]
                order = OrderRequest(uuid.uuid4().hex, account, symbol, "buy", "limit", 1 + number, 100_000)
                pipe.xadd(keys.inbox(0), {FIELD: encode(order)})
            pipe.execute()
        self.watch.wait("opened", wanted, PLACED_S)

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        content = json.dumps(body).encode() if body else b""
        answer = self._http.request(method, path, content=content, headers=self._admin.sign(method, path, content))
        assert answer.status_code == 200, answer.text
        return answer.json()

    def close(self) -> None:
        """End what runs."""
        self.watch.stopping.set()
        self.watch.join(10)
        self._http.close()
        self._client.close()


def told(found: Killed) -> str:
    """One line for people."""
    return (
        f"{found.switch:<10}{found.orders:>7,} orders: answered after {found.answered_ms:,} ms, "
        f"last cancel {found.canceled_ms:,} ms, last hold released {found.released_ms:,} ms; "
        f"placed within {found.placed_ms:,} ms"
    )


@click.command()
@click.option("--orders", type=click.IntRange(1, 10_000), default=10_000, show_default=True, help="Orders at rest.")
@click.option("--runs", type=click.IntRange(1), default=3, show_default=True, help="How often each switch is thrown.")
def main(orders: int, runs: int) -> None:
    """Throw each kill switch over many resting orders and measure how long the last of them lives."""
    slowest: dict[str, Killed] = {}
    with running_cluster(*SYMBOLS) as cluster:
        exchange = KillSwitch(cluster, orders)
        for _ in range(runs):
            for switch in SWITCHES:
                found = exchange.throw(switch)
                click.echo(told(found), err=True)
                slowest[switch] = max(slowest.get(switch, found), found, key=lambda one: one.canceled_ms)
        exchange.close()
        audit = cluster.run("audit", check=False).returncode
    click.echo(msgspec.json.encode(Figures(orders, runs, list(slowest.values()), audit)))


if __name__ == "__main__":
    main()
