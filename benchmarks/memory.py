"""What every process takes as orders come and go: that it ends somewhere, and where.

    python -m benchmarks.memory [--quick]

A whole cluster, whose logs keep 20,000 entries; each order rests and is canceled, as fast as the ledger takes them.
Ended orders are remembered, so memory grows until as many are as may be; from then on it must stay.
"""

import time
from typing import Any

import click
import msgspec
import psutil
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from benchmarks.private_cluster import make_trader, private_cluster
from cluster.record import read_record
from shared import keys
from shared.connections import connect
from shared.messages import FIELD, CancelRequest, OrderRequest, encode
from shared.settings import Settings

SYMBOL = "BTC-USD"
CHUNK = 200
AHEAD = 3_000
"""Log entries the ledger may be behind: each order makes three there."""
KEPT = 20_000
DRAIN_S = 120.0
REDIS = "in Redis"


class Load:
    """Orders and their cancels, straight into the inbox of shard 0."""

    def __init__(self, client: Any, account: int) -> None:
        self.orders = 0
        self._client = client
        self._account = account
        self._before = self._length()

    def _length(self) -> int:
        return int(self._client.hget(keys.meta(keys.shard_tag(0)), "length") or 0)

    def send(self) -> None:
        """Send so many; wait while the ledger is behind."""
        pipe = self._client.pipeline(transaction=False)
        for number in range(self.orders, self.orders + CHUNK):
            order = OrderRequest(
                f"r{number}", self._account, SYMBOL, "buy", "limit", 100, 10**8, client_id=f"c{number}"
            )
            pipe.xadd(keys.inbox(0), {FIELD: encode(order)})
            pipe.xadd(keys.inbox(0), {FIELD: encode(CancelRequest(f"x{number}", self._account, 0, f"c{number}"))})
        pipe.execute()
        self.orders += CHUNK
        self.wait(AHEAD)

    def wait(self, behind: int = 0) -> None:
        """Wait until the ledger is no further behind."""
        end = time.monotonic() + DRAIN_S
        while self._length() - self._before < 3 * self.orders - behind:
            if time.monotonic() > end:
                raise SystemExit(f"the ledger has not come so far within {DRAIN_S:g} s")
            time.sleep(0.02)


def megabytes(settings: Settings, client: Any) -> dict[str, int]:
    """Resident memory of each process, and what Redis counts as used, in MB."""
    record = read_record(settings.data_dir)
    assert record is not None, "it runs"
    found = {}
    for one in record.processes:
        try:
            found[one.name] = round(psutil.Process(one.pid).memory_info().rss / 1e6)
        except psutil.NoSuchProcess:
            continue
    return found | {REDIS: round(client.info("memory")["used_memory"] / 1e6)}


def run(orders: int, rounds: int, pause_s: float = 10) -> list[dict[str, int]]:
    """``rounds`` rounds of so many orders; memory before, and after each, when all has been trimmed that is to be.

    ``pause_s``: how long that is waited for.
    """
    with private_cluster("everysec", SYMBOL, log_keep=str(KEPT), snapshot_every=str(KEPT)) as settings:
        account, _ = make_trader(settings, {"USD": "1000000"})
        with connect(settings.redis_url) as client, Progress(console=Console(stderr=True), transient=True) as progress:
            load = Load(client, account)
            figures = [{"orders": 0, **megabytes(settings, client)}]
            task = progress.add_task("orders and cancels", total=orders * rounds)
            for _ in range(rounds):
                for _ in range(orders // CHUNK):
                    load.send()
                    progress.advance(task, CHUNK)
                load.wait()
                time.sleep(pause_s)
                figures.append({"orders": load.orders, **megabytes(settings, client)})
    return figures


def show(figures: list[dict[str, int]]) -> None:
    """A table for people, then one JSON line."""
    table = Table(title="memory in MB", box=None)
    table.add_column("orders")
    for one in figures:
        table.add_column(f"{one['orders']:,}", justify="right")
    for name in sorted(figures[-1].keys() - {"orders"}):
        table.add_row(name, *(str(one.get(name, "-")) for one in figures))
    Console().print(table)
    print(msgspec.json.encode({"benchmark": "memory", "rounds": figures}).decode())


@click.command(help=__doc__)
@click.option("--quick", is_flag=True, help="Two rounds of 10,000 orders, not six of 60,000.")
def main(quick: bool) -> None:
    """Measure."""
    show(run(10_000, 2) if quick else run(60_000, 6))


if __name__ == "__main__":
    main()
