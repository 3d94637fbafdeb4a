"""The crash matrix (``tests/processes/crash``) as ``make test`` runs it; ``make crash-matrix`` runs more of it."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from shared.order_id import to_uuid
from tests.processes.crash import points
from tests.processes.crash.exchange import Kept, compare
from tests.processes.crash.points import Point

ROOT = Path(__file__).parents[2]
FAULTS = {
    "machines and pusher": 20, "gateways": 20, "supervisors": 20, "zombies": 20, "servers": 7, "everysec": 10,
    "full": 2,
}  # fmt: skip
"""At each label; of owners that are stopped and woken, a quarter of that. ``make test`` has no room for supervisors of
whole clusters, which need seconds to come back: ``make crash-matrix`` has."""
KILLED = {"machines and pusher": ("machine", "pusher"), "gateways": ("gateway",), "supervisors": ("supervisor",)}
DEATHS, ZOMBIES, SERVERS = 20, 50, 20
"""At the least: deaths at each label of a process, owners stopped and woken, servers killed."""
LABELS = [
    (name, label)
    for name, kind in (
        ("ledger:0", "machine"), ("engine:BTC-USD", "machine"), ("pusher", "pusher"), ("gateway:0", "gateway"),
        ("supervisor", "supervisor"),
    )
    for label in points.POINTS[kind]
]  # fmt: skip


@pytest.mark.parametrize(("name", "label"), LABELS, ids=[f"{name} {label}" for name, label in LABELS])
def test_every_label_names_something_that_exists(name, label):
    """A method that was renamed takes its label with it, loudly."""
    points.resolve(points.point_of(name, label).where)


def test_a_label_whose_method_is_gone_is_an_error():
    """Arming it raises, so the process never starts."""
    for where in ("workers.store:RedisStore.nothing", "workers.store:Nobody.commit", "workers.store:nothing"):
        with pytest.raises(LookupError, match="does not exist any more"):
            points.arm(Point(where), 1, lambda: None)


@pytest.mark.parametrize("passes", [1, 3])
def test_a_point_strikes_once_and_at_the_pass_it_was_told(monkeypatch, passes):
    """Neither earlier nor again, and what does not count is not counted."""

    class Worker:
        def read(self, found):
            return found

    struck = []
    monkeypatch.setattr(points, "Worker", Worker, raising=False)
    points.arm(Point(f"{points.__name__}:Worker.read"), passes, lambda: struck.append(number))
    for number in range(1, 10):
        Worker().read([])
        Worker().read([number])
    assert struck == [passes]


def test_what_was_promised_and_is_not_there_is_lost():
    """An order without a row, one with two, and a cancel of an order that is open or was filled are all found out."""
    placed = [(1.0, "kept", to_uuid(1)), (2.0, "lost", to_uuid(2)), (3.0, "twice", to_uuid(3))]
    canceled = [(4.0, to_uuid(1)), (5.0, to_uuid(3)), (6.0, to_uuid(4))]
    rows = [("kept", 1, "canceled"), ("twice", 3, ""), ("twice", 4, "filled")]
    kept = Kept()
    compare(placed, canceled, rows, kept)
    assert (kept.lost, kept.doubled) == ([2.0, 5.0, 6.0], [3.0])
    assert kept.acknowledged == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_nothing_is_lost_and_nothing_is_doubled():
    """Whoever dies wherever: every acknowledged request is there once, no stale write was taken, the audit is clean."""
    command = [sys.executable, "-m", "tests.processes.crash"]
    for group, count in FAULTS.items():
        command += ["--group", f"{group}={count}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    print(done.stderr)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["acknowledged"] > 1000
    faults = Counter[tuple[str, str]]()
    for row, count in found["faults"].items():
        group, _, rest = row.partition(": ")
        faults[group, rest.rpartition(": ")[2]] += count  # what ledger and books share is one label
    for group, kinds in KILLED.items():
        for label in (label for kind in kinds for label in points.POINTS[kind]):
            assert faults[group, label] >= DEATHS, f"{group}: {label}"
    sums = Counter[str]()
    for (group, _), count in faults.items():
        sums[group] += count
    assert sums["zombies"] >= ZOMBIES
    assert sums["servers"] >= SERVERS
    assert found["lost"] == found["doubled"] == found["stale"] == found["violations"] == found["problems"] == 0
