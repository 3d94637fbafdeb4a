"""Two hosts that run one exchange: two supervisors, each with a data folder and a port, on one Redis and PostgreSQL.

A host here is a data folder on this machine: what dies with a host is every process of its supervisor, at once. What
is cut off is its way to Redis and PostgreSQL; clients still reach its gateway.
"""

import contextlib
import itertools
import re
import secrets
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import httpx
import msgspec
import psutil
from redis.exceptions import RedisError

from cluster import instruments
from cluster.child import log_path
from cluster.commands import log_folder
from cluster.record import read_record
from shared import keys
from shared.connections import connect
from shared.instrument import make_instrument
from tests.processes.running import Cluster, Load
from tests.processes.wire import Wire
from tests.servers import PostgreSQL, Valkey

SYMBOLS = ("BTC-USD", "ETH-USD")
TAGS = (keys.shard_tag(0), *map(keys.instrument_tag, SYMBOLS))
WORKERS = ("ledger:0", *map(keys.engine, SYMBOLS), "pusher", "gateway:0")
JOINED_S = 40.0
_OWNED = re.compile(r"event=recovered .*?epoch=(\d+) .*?length=(\d+)")


class Host(Cluster):
    """One host. ``pids`` are those of its supervisor and of all that this has started."""

    wires: Sequence[Wire] = ()

    def cut_off(self) -> None:
        """Its network fails: it goes on, and reaches no server."""
        for wire in self.wires:
            wire.cut()

    def reconnect(self) -> None:
        """Its network is back."""
        for wire in self.wires:
            wire.mend()

    def pids(self) -> dict[str, int]:
        """Its processes, by name."""
        record = read_record(self.settings.data_dir)
        return {} if record is None else {"supervisor": record.pid} | {one.name: one.pid for one in record.processes}

    def die(self) -> None:
        """Lose power: kill -9 of all of it at once, the supervisor first, which could else free the leases."""
        processes = [psutil.Process(pid) for pid in self.pids().values() if psutil.pid_exists(pid)]
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(processes, timeout=10)

    def states(self) -> dict[str, str]:
        """What its workers say of themselves, by name."""
        with connect(self.settings.redis_url) as client:
            pids = self.pids()
            beats = {}
            for name in WORKERS:
                pattern = f"{keys.beat(name)}@*:{pids.get(name, 0)}"
                beats[name] = [client.get(key) for key in client.scan_iter(pattern, count=1000)]
        return {name: msgspec.json.decode(found[0])["state"] for name, found in beats.items() if found and found[0]}

    def wait_joined(self) -> None:
        """Wait until all its workers work, or wait for their turn."""
        end = time.monotonic() + JOINED_S
        while not all(self.states().get(name) in ("running", "waiting") for name in WORKERS):
            assert time.monotonic() < end, f"{self.settings.data_dir.name} has not joined: {self.states()}"
            time.sleep(0.1)

    def owned(self, worker: str) -> list[tuple[int, int]]:
        """(epoch, length of the log) each time a worker of this host became an owner, by the worker's own words."""
        log = log_path(log_folder(self.settings), worker)
        return [(int(epoch), int(length)) for epoch, length in _OWNED.findall(log.read_text())] if log.exists() else []


@contextlib.contextmanager
def two_hosts(lease_ms: int = 3000) -> Iterator[list[Host]]:
    """Two running hosts, the first of which was there first and can be cut off, with two instruments."""
    redis = Valkey("--appendonly", "yes", "--appendfsync", "always")
    database = PostgreSQL()
    with tempfile.TemporaryDirectory(prefix="mb-hosts-") as folder, contextlib.ExitStack() as closing:
        for server in (redis, database):
            closing.callback(server.remove)
            server.start()
        wires = [Wire(f"{redis.folder}/s"), Wire(f"{database.folder}/.s.PGSQL.5432")]
        for wire in wires:
            closing.callback(wire.close)
        common = {"server_key": secrets.token_urlsafe(32), "lease_ms": str(lease_ms)}
        wired = {
            "redis_url": f"redis://127.0.0.1:{wires[0].port}",
            "database_url": f"postgresql://postgres@127.0.0.1:{wires[1].port}/matchbox",
        }
        hosts = [
            Host(str(Path(folder) / "one"), **common, **wired),
            Host(str(Path(folder) / "two"), **common, redis_url=redis.url, database_url=database.url),
        ]
        hosts[0].wires = wires
        for host in hosts:
            closing.callback(host.run, "stop", check=False)
            host.run("start", "--detach")
            if host is hosts[0]:
                with connect(redis.url) as client:
                    for symbol in SYMBOLS:
                        instruments.add(client, make_instrument(symbol, "0.01", "0.00000001"))
                host.wait_joined()  # else the other one may be the first at a book
        for host in hosts:
            host.wait_joined()
        yield hosts


class Watch(threading.Thread):
    """Sees every log grow, by its own clock, and who owns it.

    ``arrivals``: tag -> when something came. ``owners``: tag -> (epoch, owner, when it was first seen), in order.
    """

    def __init__(self, redis_url: str) -> None:
        super().__init__(daemon=True)
        self.arrivals: dict[str, list[float]] = {tag: [] for tag in TAGS}
        self.owners: dict[str, list[tuple[int, str, float]]] = {tag: [] for tag in TAGS}
        self.stopping = threading.Event()
        self._client = connect(redis_url)

    def run(self) -> None:
        """Look until told to stop."""
        ends = dict.fromkeys(map(keys.log, TAGS), "0-0")
        while not self.stopping.is_set():
            with contextlib.suppress(RedisError):
                for stream, entries in self._client.xread(ends, count=500, block=20) or ():
                    ends[stream.decode()] = entries[-1][0].decode()
                    self.arrivals[stream.decode().removesuffix(keys.log(""))].append(time.monotonic())
                for tag in TAGS:
                    epoch, owner = self._client.hmget(keys.meta(tag), "epoch", "owner")
                    known = self.owners[tag][-1:]
                    if owner and (int(epoch), owner.decode()) not in [one[:2] for one in known]:
                        self.owners[tag].append((int(epoch), owner.decode(), time.monotonic()))

    def wait_moved(self, since: float, timeout_s: float = 30.0) -> None:
        """Wait until everything has an owner that it got after ``since``, who has written."""
        end = time.monotonic() + timeout_s
        while not all(self._has_moved(tag, since) for tag in TAGS):
            assert time.monotonic() < end, f"not within {timeout_s:g} s: everything has moved: {self.owners}"
            time.sleep(0.02)

    def _has_moved(self, tag: str, since: float) -> bool:
        moved = self.owners[tag][-1][2]
        return moved > since and any(arrived > moved for arrived in self.arrivals[tag][-1:])

    def pause(self, tag: str, since: float) -> float:
        """The longest time without an entry that ended after ``since``, in seconds."""
        pairs = itertools.pairwise(self.arrivals[tag])
        return max((after - before for before, after in pairs if after > since), default=float("inf"))

    def finish(self) -> None:
        """Stop and wait."""
        self.stopping.set()
        self.join(10)
        self._client.close()


class RoamingClient(httpx.Client):
    """A client that knows both gateways: when one does not answer, it goes on at the other."""

    def __init__(self, ports: Sequence[int]) -> None:
        super().__init__(timeout=10)
        self.ports = list(ports)

    def request(self, method: str, path: str, **more: object) -> httpx.Response:  # type: ignore[override]
        """Ask the present gateway. Raises ``httpx.HTTPError``; after that or a 503 the other one is asked next."""
        is_served = False
        try:
            answer = super().request(method, f"http://127.0.0.1:{self.ports[0]}{path}", **more)  # type: ignore[arg-type]
            is_served = answer.status_code != 503
            return answer
        finally:
            if not is_served:
                self.ports = [*self.ports[1:], self.ports[0]]


class RoamingLoad(Load):
    """A load that goes on at the other host."""

    symbols = SYMBOLS

    def __init__(self, hosts: Sequence[Host], seed: int) -> None:
        super().__init__(hosts[0], seed)
        self._ports = [host.settings.port for host in hosts]

        self._client = RoamingClient(self._ports)

    def open_client(self) -> httpx.Client:
        """The way to the exchange: every second load begins at the second host."""
        return self._client

    def go_to(self, hosts: Sequence[Host]) -> None:
        """Ask the first of them next, and from now on nobody else than these."""
        self._client.ports = [host.settings.port for host in hosts]


def writers(hosts: Sequence[Host], worker: str) -> list[tuple[int, int]]:
    """(epoch, length of the log) of each ownership on any host, by epoch. Raises ``AssertionError``: two at once.

    Each says with which entry it began. Had two of them written at once, the later one would have begun before the
    end of the earlier one: their lengths would not rise with their epochs, or an epoch would be had twice.
    """
    found = sorted(one for host in hosts for one in host.owned(worker))
    for (epoch, length), (later, grown) in itertools.pairwise(found):
        assert epoch < later, f"{worker}: two owners in epoch {epoch}"
        assert length <= grown, f"{worker}: epoch {later} began at {grown:,}, before epoch {epoch} at {length:,}"
    return found


def lost_and_doubled(loads: Sequence[Load]) -> tuple[int, int]:
    """How many acknowledged orders PostgreSQL does not have, and how many client ids have more than one order."""
    lost = doubled = 0
    for load in loads:
        found = load.recorded()
        doubled += len(found) - len(dict(found))
        lost += len(set(load.acknowledged.items()) - set(found))
    return lost, doubled
