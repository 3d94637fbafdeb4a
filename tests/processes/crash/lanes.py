"""Workers that kill themselves under load, each in a lane of its own: one dies, the next is born to die elsewhere.

Ledger, books, pusher and both gateways die at the same time and independently, so faults meet each other.
"""

import random
import signal
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from multiprocessing.connection import wait

from tests.processes.crash.exchange import DURABLE, Exchange, Kept, Place, Window, exchange
from tests.processes.crash.nursery import Child, Fault
from tests.processes.crash.points import GATEWAY, MACHINE, PUSHER, Point, point_of
from tests.processes.crash.report import Group
from tests.servers import Valkey

TRADERS = 4
SHARE = 40
NUDGE_S = 0.05
TRIES_MAX = 15
PROBLEMS_MAX = 3
LEASE_ENDS = 0.1
"""Share of deaths after which nobody frees the lease: the successor waits until it ends."""
Advance = Callable[[int], None]


class Lane:
    """One worker after another under one name."""

    def __init__(self, name: str, child: Child, labels: "deque[str]", place: Exchange, dice: random.Random) -> None:
        self.name = name
        self.child = child
        self.windows: list[Window] = []
        self.problems: list[str] = []
        self.faults: list[str] = []
        self._labels = labels
        self._place = place
        self._dice = dice
        self._was_nudged = False
        self._tries = 0

    @property
    def kind(self) -> str:
        """Which machine or worker it is."""
        return self.name.partition(":")[0]

    @property
    def fault(self) -> Fault | None:
        """What the present process is to do."""
        return self.child.fault

    @property
    def is_done(self) -> bool:
        """Whether nobody has to die any more."""
        return self.fault is None and (not self._labels or self._is_broken)

    @property
    def _is_broken(self) -> bool:
        """Whether so much went wrong that to go on would only repeat it."""
        return len(self.problems) >= PROBLEMS_MAX

    def look(self) -> int:
        """Do what is to be done now. Answers how many faults there were."""
        if self.child.has_ended():
            return self._bury()
        if self.fault is None:
            if not self.is_done:
                self.child.end()
                self._follow(self._next())
            return 0
        age, point = time.monotonic() - self.child.started_at, point_of(self.name, self.fault.label)
        if point.nudge and age > NUDGE_S and not self._was_nudged and self._runs():
            self._was_nudged = True
            self.child.send_signal(point.nudge)
        if age > point.life_s:
            self._despair()
        return 0

    def _runs(self) -> bool:
        """Whether the worker says that it does: it owns its tag and has recovered."""
        sign = self._place.sign_of(self.name)
        return (sign.get("pid"), sign.get("state")) == (self.child.pid, "running")

    def _bury(self) -> int:
        fault, code = self.fault, self.child.exit_code
        if fault is None or code != -signal.SIGKILL or "reached" not in self.child.told():
            label = fault.label if fault else "no fault"
            self.problems.append(f'{self.name} ended by itself ({code}) at "{label}": {self.child.last_words()}')
        reached = fault is not None and code == -signal.SIGKILL
        if reached and fault is not None:
            self.faults.append(fault.label)
        self.child.close()
        if self._dice.random() >= LEASE_ENDS:
            self._place.free_lease(self.name)
        self._tries = 0
        self._follow(self._next())
        return int(reached)

    def _next(self) -> str | None:
        return self._labels.popleft() if self._labels and not self._is_broken else None

    def _despair(self) -> None:
        """It lives on and on: its point was not reached. Its successor tries again."""
        assert self.fault is not None
        label = self.fault.label
        self._tries += 1
        self.child.end()
        self._place.free_lease(self.name)
        if self._tries >= TRIES_MAX:
            self.problems.append(f'{self.name} never comes to "{label}"')
            self._tries = 0
            self._follow(None)
        else:
            self._follow(label)

    def _follow(self, label: str | None) -> None:
        now = time.monotonic()
        if self.windows:
            self.windows[-1].until = now
        fault = None
        if label is not None:
            fault = Fault(label, self._dice.randint(1, point_of(self.name, label).passes))
            self.windows.append(Window(f"{self.kind}: {label}", now))
        self._was_nudged = False
        self.child = self._place.start(self.name, fault)


def strike_workers(group: Group, count: int, seed: int, advance: Advance) -> None:
    """``count`` deaths at each label of ledger, books and pusher, while the gateways live."""
    for share, dice in shares(count, seed):
        _strike(group, {"machine": MACHINE, "pusher": PUSHER}, share, dice, advance)


def strike_gateways(group: Group, count: int, seed: int, advance: Advance) -> None:
    """``count`` deaths at each label of the gateways."""
    for share, dice in shares(count, seed):
        _strike(group, {"gateway": GATEWAY}, share, dice, advance)


def shares(count: int, seed: int) -> Iterator[tuple[int, random.Random]]:
    """``count`` in parts, and dice for each: every part has an exchange of its own, so that its state stays small."""
    dice = random.Random(seed)
    for done in range(0, count, SHARE):
        yield min(SHARE, count - done), dice


def _strike(group: Group, todo: dict[str, dict[str, Point]], count: int, dice: random.Random, advance: Advance) -> None:
    with trading() as (place, children):
        lanes = _lanes(place, children, {kind: shuffled(labels, count, dice) for kind, labels in todo.items()}, dice)
        try:
            while not all(one.is_done for one in lanes):
                advance(sum(one.look() for one in lanes))
                wait([one.child.process.sentinel for one in lanes], 0.02)
            place.wait_for_trade(20)
            if "machine" in todo and not place.is_trimmed():
                group.problems.append("no log was trimmed, so nothing was shown of trimming")
        finally:
            for lane in lanes:
                group.problems += lane.problems
                for label in lane.faults:
                    group.row(f"{lane.kind}: {label}").faults += 1
        kept = tell_of_end(group, place)
        for lane in lanes:  # an acknowledged request counts where somebody was about to die
            kept.count(group, lane.windows)


def strike_one_by_one(
    group: Group,
    place: Place,
    blows: Mapping[str, Callable[[], None]],
    count: int,
    dice: random.Random,
    advance: Advance,
) -> Kept:
    """Deal each blow ``count`` times, in any order; trade goes on after each. The end of the trading."""
    order = [label for label in blows for _ in range(count)]
    dice.shuffle(order)
    windows: list[Window] = []
    for label in order:
        if windows:
            windows[-1].until = time.monotonic()
        windows.append(Window(label, time.monotonic()))
        time.sleep(dice.random() * 0.1)
        blows[label]()
        group.row(label).faults += 1
        place.wait_for_trade(3)
        advance(1)
    place.wait_for_trade(20)
    kept = tell_of_end(group, place)
    kept.count(group, windows)
    return kept


def tell_of_end(group: Group, place: Place) -> Kept:
    """End the trading; what became of it, and the audit."""
    place.finish()
    kept = place.check()
    group.problems += kept.problems
    group.violations += kept.violations
    return kept


def shuffled(labels: dict[str, Point], count: int, dice: random.Random) -> deque[str]:
    """Each label ``count`` times, in any order."""
    found = [one for one in labels for _ in range(count)]
    dice.shuffle(found)
    return deque(found)


@contextmanager
def trading() -> Iterator[tuple[Exchange, dict[str, Child]]]:
    """An exchange on which traders trade, and that often writes snapshots."""
    with exchange(Valkey(*DURABLE), snapshot_every=12, log_keep=100) as place:
        children = place.open()
        place.trade(TRADERS)
        place.wait_for_trade()
        yield place, children


def _lanes(place: Exchange, children: dict[str, Child], todo: dict[str, deque[str]], dice: random.Random) -> list[Lane]:
    """Ledger and books share what is to be done to machines, and both gateways what is done to gateways."""
    kinds = {"ledger": "machine", "engine": "machine"}
    lanes = []
    for name, child in children.items():
        kind = name.partition(":")[0]
        lanes.append(Lane(name, child, todo.get(kinds.get(kind, kind), deque()), place, dice))
    return lanes
