"""Supervisors that kill themselves while they start, restart and stop what they supervise.

Most of them supervise workers that only beat: what a supervisor can break is who runs, and that takes no trade to see.
Some supervise a whole cluster with its own servers, under load.
"""

import contextlib
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from alembic import command

import migrations
from cluster.plan import INITDB, MIGRATIONS, SERVERS
from cluster.record import RECORD_FILE, attach, read_record
from shared import keys
from shared.connections import connect
from shared.messages import encode
from shared.settings import Settings
from tests import harness
from tests.processes import running
from tests.processes.crash.exchange import Place, Trader, Window, wait_until
from tests.processes.crash.lanes import tell_of_end
from tests.processes.crash.nursery import Child, Fault
from tests.processes.crash.points import SUPERVISOR
from tests.processes.crash.report import Group
from tests.servers import PostgreSQL, Valkey

Advance = Callable[[int], None]
LIFE_S = 30.0
NUDGE_S = 1.0
"""Between two kills, so that the supervisor has seen the next worker run: those that die before are given up in the
end, and never had a lease to free."""
GONE_S = 15.0
"""How long after its death a supervisor's workers may still be there."""
WORKERS = ("ledger:0", "engine:BTC-USD", "gateway:0", "pusher")


class Supervised:
    """One supervisor after another over one data folder. ``kind``: ``supervisor``, or ``fakes``."""

    def __init__(self, kind: str, settings: Settings, dice: random.Random, is_serving: Callable[[], bool]) -> None:
        self.settings = settings
        self.problems: list[str] = []
        self._kind = kind
        self._dice = dice
        self._is_serving = is_serving
        self._log = settings.data_dir / "crash.log"
        self._living: Child | None = None
        self._strangers: set[str] = set()

    def start(self, fault: Fault | None = None) -> Child:
        """Start a supervisor."""
        self._strangers = set(os.listdir("/proc"))
        self._living = Child(self._kind, self.settings, fault, self._log)
        return self._living

    def stop(self) -> None:
        """Stop the last one in order, if it still runs, and wait for it."""
        assert self._living is not None
        if not self._living.has_ended():
            self._living.send_signal(signal.SIGTERM)
            self._living.process.join(LIFE_S)
        self._living.end()

    def die_at(self, label: str) -> None:
        """A supervisor starts, and is brought to its death at ``label``; of what it ran, no worker outlives it."""
        point = SUPERVISOR[label]
        child = self.start(Fault(label, self._dice.randint(1, point.passes)))
        end, next_nudge, was_told = time.monotonic() + LIFE_S, 0.0, False
        while not child.has_ended():
            now = time.monotonic()
            if now > end:
                self.problems.append(f'the supervisor never comes to "{label}"')
                break
            if now > next_nudge and self._is_serving() and not was_told:
                next_nudge = now + NUDGE_S
                if point.nudge:
                    child.send_signal(point.nudge)
                    was_told = True
                else:
                    self._kill_a_worker(child)
            time.sleep(0.01)
        code = child.exit_code
        if code != -signal.SIGKILL:
            self.problems.append(f'the supervisor ended by itself ({code}) at "{label}": {child.last_words()}')
        child.end()
        self._expect_nobody(label)

    def _kill_a_worker(self, child: Child) -> None:
        record = read_record(self.settings.data_dir)
        if record is None or record.pid != child.pid:
            return
        pids = {one.name: one.pid for one in record.processes if one.name in ("ledger:0", "engine:BTC-USD")}
        if pids:
            self._quietly_kill(self._dice.choice(list(pids.values())))

    def _quietly_kill(self, pid: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)

    def _expect_nobody(self, label: str) -> None:
        end = time.monotonic() + GONE_S
        while left := self.workers():
            if time.monotonic() > end:
                self.problems.append(f'died at "{label}": {", ".join(left)} still run after {GONE_S:g} s')
                return
            time.sleep(0.01)

    def workers(self) -> list[str]:
        """The workers that run, of whatever supervisor."""
        return sorted(name for name, _ in self._processes())

    def _processes(self) -> list[tuple[str, int]]:
        """(name, pid) of each worker whose data folder this is, and that is no older than the supervisor."""
        wanted, found = f"MATCHBOX_DATA={self.settings.data_dir}".encode(), []
        for pid in set(os.listdir("/proc")) - self._strangers:
            entry = Path("/proc", pid)
            try:
                name = _name_of((entry / "cmdline").read_bytes().split(b"\0"))
                if name and wanted in (entry / "environ").read_bytes().split(b"\0"):
                    found.append((name, int(pid)))
            except (FileNotFoundError, ProcessLookupError, PermissionError, NotADirectoryError):
                continue
        return found

    def expect_all(self) -> None:
        """A supervisor brings everything back: each worker once, and as its record says; stopped, it leaves nothing."""
        child = self.start()
        try:
            wait_until(lambda: self._is_serving() and set(self.workers()) >= set(WORKERS), "the cluster is back")
            wait_until(lambda: self._recorded() == dict(self._processes()), "the record is true")
            twice = [name for name, count in Counter(self.workers()).items() if count > 1]
            if twice:
                self.problems.append(f"running twice: {', '.join(twice)}")
            child.send_signal(signal.SIGTERM)
            child.process.join(LIFE_S)
            if child.exit_code != 0 or self.workers() or (self.settings.data_dir / RECORD_FILE).exists():
                self.problems.append(f"a stop leaves {self.workers()} and ends with {child.exit_code}")
        except AssertionError as error:
            self.problems.append(f"{error}: {self.workers()}, recorded {self._recorded()}: {child.last_words()}")
        finally:
            if not child.has_ended():
                child.process.kill()
                child.process.join()
            child.close()

    def _recorded(self) -> dict[str, int]:
        record = read_record(self.settings.data_dir)
        others = (*SERVERS, INITDB, MIGRATIONS)
        return {one.name: one.pid for one in record.processes if one.name not in others} if record else {}


def _name_of(words: list[bytes]) -> str:
    """The worker that a command line starts, "" if it is none: a fake one, or ``python -m workers.engine BTC-USD``."""
    texts = [word.decode(errors="replace") for word in words]
    for at, text in enumerate(texts):
        if text.endswith("fake_worker.py"):
            return texts[at + 1]
        if text.startswith("workers."):
            return ":".join(filter(None, [text.removeprefix("workers."), texts[at + 1]]))
    return ""


def strike_supervisors(group: Group, count: int, seed: int, advance: Advance) -> None:
    """``count`` deaths of supervisors at each label, over workers that only beat."""
    dice, valkey, postgresql = random.Random(seed), Valkey(), PostgreSQL()
    try:
        valkey.start()
        postgresql.start()
        command.upgrade(migrations.config(postgresql.url), "head")
        with TemporaryDirectory(prefix="matchbox-crash-") as folder, connect(valkey.url) as client:
            client.hset(keys.INSTRUMENTS, "BTC-USD", encode(harness.BTC_USD))
            settings = Settings().with_changes(
                data=folder, port=harness.free_port(), redis_url=valkey.url, database_url=postgresql.url, drain_ms=300
            )
            line = Supervised("fakes", settings, dice, lambda: True)
            line._is_serving = lambda: len(line.workers()) >= len(WORKERS)
            labels = [label for label in SUPERVISOR for _ in range(count)]
            dice.shuffle(labels)
            for number, label in enumerate(labels):
                line.die_at(label)
                group.row(label).faults += 1
                if number % 20 == 0:
                    line.expect_all()
                advance(1)
            line.expect_all()
            group.problems += line.problems
    finally:
        valkey.remove()
        postgresql.remove()


class WholeCluster(Place):
    """A cluster as a user runs it, under load."""

    def __init__(self, cluster: running.Cluster) -> None:
        super().__init__()
        self._cluster = cluster

    def attached(self) -> Settings:
        """By its record."""
        return attach(self._cluster.settings)

    def standing(self) -> str:
        """The end of the supervisor's log."""
        return (self._cluster.settings.data_dir / "crash.log").read_text()[-2000:]

    def serves(self) -> bool:
        """Whether it has acknowledged something lately."""
        before = self.acknowledged()
        time.sleep(0.05)
        return self.acknowledged() > before


def strike_whole_clusters(group: Group, count: int, seed: int, advance: Advance) -> None:
    """``count`` / 20 deaths at each label of a supervisor with real workers and its own servers."""
    dice = random.Random(seed)
    labels = [label for label in SUPERVISOR for _ in range(-(-count // 20))]
    dice.shuffle(labels)
    with TemporaryDirectory(prefix="matchbox-crash-") as folder:
        cluster = running.Cluster(folder)
        place = WholeCluster(cluster)
        line = Supervised("supervisor", cluster.settings, dice, place.serves)
        try:
            _open(line, cluster, place)
            windows = []
            for label in labels:
                windows.append(Window(label, time.monotonic()))
                line.die_at(label)
                windows[-1].until = time.monotonic()
                group.row(label).faults += 1
                advance(20)
            line.start()
            place.wait_for_trade(20, timeout_s=60)
            tell_of_end(group, place).count(group, windows)
        finally:
            place.finish()
            line.stop()
            group.problems += line.problems


def _open(line: Supervised, cluster: running.Cluster, place: WholeCluster) -> None:
    """A first life of the cluster: make an instrument, and let traders begin."""
    add = ("instrument", "add", "BTC-USD", "--tick", "0.01", "--lot", "0.00000001")
    first = line.start()
    wait_until(lambda: "gateway:0" in line.workers(), "the gateway is started")
    wait_until(lambda: cluster.run(*add, check=False).returncode == 0, "an instrument is added")
    place.traders = [Trader(place, number, ("BTC-USD",)) for number in range(3)]
    for trader in place.traders:
        trader.start()
    place.wait_for_trade()
    first.end()
