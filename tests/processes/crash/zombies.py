"""Owners that are stopped in the middle of their work, replaced, and woken: nothing of theirs may be taken any more.

Each rival is the next to be stopped. It gets the lease when that of the stopped one has ended, as in life.
"""

import random
import signal
import time
from collections import deque
from collections.abc import Callable

from cluster.observer import lease_of
from tests.processes.crash.exchange import Exchange, Window
from tests.processes.crash.lanes import shares, shuffled, tell_of_end, trading
from tests.processes.crash.nursery import Child, Fate, Fault
from tests.processes.crash.points import MACHINE, PUSHER, Point, point_of
from tests.processes.crash.report import Group

STOPS = {
    "machine": (
        "batch read", "batch handled", "commit half sent", "commit sent, no reply", "committed", "before the snapshot",
    ),
    "pusher": (
        "logs read", "before the transaction", "positions moved, no rows", "rows written, no COMMIT",
        "COMMIT, position not in Redis",
    ),
}  # fmt: skip
"""Where owners are stopped."""
WORKERS = ("ledger:0", "engine:BTC-USD", "engine:ETH-USD", "pusher")
AWAKE_S = 0.6
"""How long a woken one may show what it still has under way."""
PATIENCE_S = 60.0
"""How long an owner may take to where it is stopped: it waits for others, who are stopped and replaced, too."""


class Succession:
    """The owners of one lease, one after the other."""

    def __init__(self, name: str, child: Child, labels: deque[str], place: Exchange, dice: random.Random) -> None:
        self.name = name
        self.owner = child
        self.zombie: Child | None = None
        self.stopped: list[str] = []
        self.stale = self.tries = 0
        self.problems: list[str] = []
        self._labels = labels
        self._place = place
        self._dice = dice
        self._epoch = 0
        self._woken_at = self._taken_at = self._since = 0.0

    @property
    def is_done(self) -> bool:
        """Whether all have been stopped, and the last owner is none of them."""
        return self.zombie is None and not self._labels and self.owner.fault is None

    def look(self) -> int:
        """Do what is to be done now. Answers how many were replaced and woken."""
        if self.owner.has_ended() and not self.problems:
            self.problems.append(f"{self.name} ended ({self.owner.exit_code}): {self.owner.last_words()}")
        if self.problems:
            self._give_up()
            return 0
        if self.zombie is None:
            self._look_at_owner()
            return 0
        if not self._woken_at:
            self._look_at_lease()
            return 0
        fates = [one for one in self.zombie.told() if isinstance(one, Fate)]
        self.tries += len(fates)
        self.stale += sum(self._is_stale(one) for one in fates)
        if any(not one.is_written for one in fates) or time.monotonic() > self._woken_at + AWAKE_S:
            self.zombie.end()
            self.zombie = None
            return 1
        return 0

    def _give_up(self) -> None:
        """Nobody is stopped here any more, but the others need an owner."""
        self._labels.clear()
        for one in (self.zombie, self.owner):
            if one is not None and (one.fault is not None or one.has_ended()):
                one.end()
        self.zombie = None
        if self.owner.is_closed:
            self._place.free_lease(self.name)
            self._start()

    def _is_stale(self, fate: Fate) -> bool:
        """Whether a write was taken that was sent when somebody else owned the lease already."""
        return fate.is_written and fate.sent_at > self._taken_at and fate.epoch < self._epoch

    def _look_at_owner(self) -> None:
        if self.owner.fault is None:
            if self._labels:
                self.owner.end()
                self._place.free_lease(self.name)
                self._start()
        elif "reached" in self.owner.told():
            self.stopped.append(self.owner.fault.label)
            self.zombie, self._woken_at = self.owner, 0.0
            self._epoch = self._lease()
            self._start()
        elif time.monotonic() > self._since + PATIENCE_S:
            self.problems.append(f'{self.name} never comes to "{self.owner.fault.label}"')

    def _start(self) -> None:
        fault = None
        if self._labels:
            label = self._labels.popleft()
            fault = Fault(label, self._dice.randint(1, point_of(self.name, label).passes), signal.SIGSTOP)
        self.owner = self._place.start(self.name, fault)
        self._since = time.monotonic()

    def _look_at_lease(self) -> None:
        assert self.zombie is not None
        if (epoch := self._lease()) != self._epoch:
            self._epoch = epoch
            self._taken_at = self._woken_at = time.monotonic()
            self.zombie.send_signal(signal.SIGCONT)
        elif time.monotonic() > self._since + PATIENCE_S:
            self.problems.append(f"{self.name}: nobody took over within {PATIENCE_S:g} s")

    def _lease(self) -> int:
        """The epoch of the present owner."""
        lease = lease_of(self.name)
        assert lease is not None
        return int(self._place.client.hget(lease[0], "epoch") or 0)


def strike_zombies(group: Group, count: int, seed: int, advance: Callable[[int], None]) -> None:
    """Stop, replace and wake ``count`` owners, a quarter of that at each label."""
    for share, dice in shares(-(-count // 4), seed):
        _strike(group, share, dice, advance)


def _strike(group: Group, count: int, dice: random.Random, advance: Callable[[int], None]) -> None:
    with trading() as (place, children):
        points: dict[str, dict[str, Point]] = {"machine": MACHINE, "pusher": PUSHER}
        each = {kind: {one: points[kind][one] for one in labels} for kind, labels in STOPS.items()}
        todo = {kind: shuffled(labels, count, dice) for kind, labels in each.items()}
        lines = [
            Succession(name, children[name], todo["pusher" if name == "pusher" else "machine"], place, dice)
            for name in WORKERS
        ]
        try:
            while not all(one.is_done for one in lines):
                advance(sum(one.look() for one in lines))
                time.sleep(0.01)
            place.wait_for_trade(20)
        finally:
            for line in lines:
                group.problems += line.problems
                row = group.row(f"{line.name.partition(':')[0]} stopped and woken")
                row.faults += len(line.stopped)
                row.stale += line.stale
        tell_of_end(group, place).count(group, [Window("all of them", 0.0)])
        if not sum(line.tries for line in lines):
            group.problems.append("no woken owner tried to write, so nothing was shown")
