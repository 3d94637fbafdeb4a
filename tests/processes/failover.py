"""How long a book pauses when its host dies: ``python -m tests.processes.failover --runs 20`` (``make failover N=20``).

Each run kills the host that owns everything, lets it come back, and then stops the other one in order, so that
everything is where it was; then the first is cut off from the servers, is back, and the other one stopped again.
Under load all the while; at the end every promise is looked for, and the audit runs.
"""

import statistics
import sys
import time
from collections.abc import Sequence

import click
import msgspec

from tests.processes.hosts import TAGS, WORKERS, Host, RoamingLoad, Watch, lost_and_doubled, two_hosts, writers

WARM_S = 1.5
WORK_S = 0.5


class Pauses(msgspec.Struct):
    """The longest time without an entry in each log, one per run and log: ms."""

    median_ms: int = 0
    max_ms: int = 0
    count: int = 0


class Figures(msgspec.Struct):
    """The closing line. ``killed``: a host died; ``stopped``: it was stopped in order; ``joined``: it came (back).

    ``cut_off``: it lost its network, ``mended``: and had it again.
    """

    runs: int
    lease_ms: int
    killed: Pauses
    stopped: Pauses
    joined: Pauses
    cut_off: Pauses
    mended: Pauses
    writers: int
    acknowledged: int
    lost: int
    doubled: int
    violations: int
    seconds: float


class Failover:
    """Two hosts under load, and what happens to them. The first of ``hosts`` has everything."""

    def __init__(self, hosts: list[Host]) -> None:
        self.hosts = hosts
        self.watch = Watch(hosts[1].settings.redis_url)
        self.moved: dict[str, set[int]] = {tag: set() for tag in TAGS}
        """Epochs whose owner has written. Who lost the lease while recovering was seen, but tells of nothing."""
        self.loads = [RoamingLoad(hosts, 1), RoamingLoad(hosts[::-1], 2)]
        self.watch.start()
        for load in self.loads:
            load.start()
        self.wait_served(20)

    def wait_served(self, count: int, timeout_s: float = 60.0) -> None:
        """Wait until each load has ``count`` more orders acknowledged: clients of either host can trade."""
        wanted, end = [len(load.acknowledged) + count for load in self.loads], time.monotonic() + timeout_s
        while any(len(load.acknowledged) < least for load, least in zip(self.loads, wanted, strict=True)):
            assert time.monotonic() < end, f"not within {timeout_s:g} s: {count} orders of each client"
            time.sleep(0.02)

    def kill_owner(self) -> dict[str, float]:
        """The host that has everything dies; the other one takes it. Answers each log's pause in seconds."""
        since = time.monotonic()
        self.hosts[0].die()
        return self._moved(since)

    def cut_off_owner(self) -> dict[str, float]:
        """The host that has everything reaches no server any more, and is none the wiser.

        One client is at either host. The one at the second stays: who asks one that is cut off waits 5 s for its 503.
        """
        self.loads[0].go_to(self.hosts)
        self.loads[1].go_to(self.hosts[1:])
        time.sleep(WORK_S)
        since = time.monotonic()
        self.hosts[0].cut_off()
        return self._moved(since)

    def reconnect(self) -> dict[str, float]:
        """The host that was cut off is back, with all that it thought meanwhile."""
        since = time.monotonic()
        self.hosts[1].reconnect()
        self.hosts[1].wait_joined()
        self.loads[1].go_to(self.hosts)
        time.sleep(WORK_S)
        return self.pauses(since)

    def stop_owner(self) -> dict[str, float]:
        """The same, but it is stopped in order."""
        since = time.monotonic()
        self.hosts[0].run("stop")
        return self._moved(since)

    def _moved(self, since: float) -> dict[str, float]:
        self.watch.wait_moved(since)
        for tag, epoch in zip(TAGS, self.owners(), strict=True):
            self.moved[tag].add(epoch)
        self.hosts.reverse()
        self.wait_served(10)
        return self.pauses(since)

    def come_back(self) -> dict[str, float]:
        """The host that has nothing starts; answers how long each log paused meanwhile."""
        since = time.monotonic()
        self.hosts[1].run("start", "--detach")
        self.hosts[1].wait_joined()
        time.sleep(WORK_S)
        return self.pauses(since)

    def owners(self) -> list[int]:
        """The epoch of each log's present owner."""
        return [self.watch.owners[tag][-1][0] for tag in TAGS]

    def pauses(self, since: float) -> dict[str, float]:
        """The longest pause of each log."""
        return {tag: self.watch.pause(tag, since) for tag in TAGS}

    def finish(self) -> None:
        """End the load."""
        for load in self.loads:
            load.finish()
        self.watch.finish()

    def writers(self) -> int:
        """How many ownerships there were, of all logs, by the workers' own words and by what Redis showed."""
        told = {name: writers(self.hosts, name) for name in WORKERS[: len(TAGS)]}
        for name, tag in zip(told, TAGS, strict=True):
            seen, epochs = [epoch for epoch, *_ in self.watch.owners[tag]], [epoch for epoch, _ in told[name]]
            both = f"{name}: Redis showed the epochs {seen}, the workers tell of {epochs}"
            assert seen == sorted(set(seen)), both
            assert self.moved[tag] <= set(epochs), f"{both}; those of {self.moved[tag]} have written"
        return sum(map(len, told.values()))


def summary(found: Sequence[dict[str, float]]) -> Pauses:
    """Median and maximum of all logs' pauses."""
    every = [round(1000 * pause) for pauses in found for pause in pauses.values()]
    return Pauses(round(statistics.median(every)), max(every), len(every)) if every else Pauses()


def told(what: str, pauses: dict[str, float]) -> str:
    """One line for people."""
    return f"{what:<8}" + "  ".join(f"{tag} {1000 * pause:,.0f} ms" for tag, pause in pauses.items())


@click.command()
@click.option("--runs", type=click.IntRange(1), default=5, show_default=True, help="How often each host loses all.")
@click.option("--lease-ms", type=click.IntRange(500), default=3000, show_default=True, help="MATCHBOX_LEASE_MS.")
def main(runs: int, lease_ms: int) -> None:
    """Kill and stop hosts under load and measure how long trading pauses; exit code 1 if anything was lost."""
    started = time.monotonic()
    pauses: dict[str, list[dict[str, float]]] = {}
    with two_hosts(lease_ms) as hosts:
        failover = Failover(hosts)
        for number in range(runs):
            click.echo(f"run {number + 1} of {runs}", err=True)
            for what, act in (
                ("killed", failover.kill_owner),
                ("joined", failover.come_back),
                ("stopped", failover.stop_owner),
                ("joined", failover.come_back),
                ("cut_off", failover.cut_off_owner),
                ("mended", failover.reconnect),
                ("stopped", failover.stop_owner),
                ("joined", failover.come_back),
            ):
                pauses.setdefault(what, []).append(act())
                click.echo(told(what, pauses[what][-1]), err=True)
        failover.finish()
        audit = hosts[0].run("audit", check=False)
        lost, doubled = lost_and_doubled(failover.loads)
        figures = Figures(
            runs=runs,
            lease_ms=lease_ms,
            **{what: summary(found) for what, found in pauses.items()},
            writers=failover.writers(),
            acknowledged=sum(len(load.acknowledged) for load in failover.loads),
            lost=lost,
            doubled=doubled,
            violations=sum(msgspec.json.decode(audit.stdout.splitlines()[-1])["violated"].values()),
            seconds=round(time.monotonic() - started, 1),
        )
    click.echo(msgspec.json.encode(figures))
    sys.exit(bool(lost or doubled or audit.returncode))


if __name__ == "__main__":
    main()
