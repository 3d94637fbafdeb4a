"""One simulated run: a seed, a cluster in memory, a scheduler that decides who goes next and what goes wrong.

Everything random comes from the seed, so a run can be had again, with every step written down.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import msgspec

from shared import keys
from tests.audit.recorded import SYMBOLS
from tests.simulation.flow import Flow
from tests.simulation.follower import Follower
from tests.simulation.gateway import Gateway
from tests.simulation.memory import MemoryRedis
from tests.simulation.process import Process
from tests.simulation.stage import SHARDS, Stage
from workers.engine.process import EngineHandler
from workers.handler import Handler
from workers.ledger.process import LedgerHandler

STORM_STEPS_MAX = 20_000
HEALING_STEPS_MAX = 20_000
PASSING_MS = (0, 0, 0, 0, 1, 1, 2, 5)


class Role(msgspec.Struct):
    """What the supervisor keeps running: one process of it, or two where one stands by."""

    name: str
    tag: str
    make: Callable[[], Handler]
    processes: list[Process] = []
    count: int = 0


class Hole(msgspec.Struct):
    """An entry that vanished while somebody had still to read it."""

    stream: str
    number: int
    passed: set[str]
    """The tags whose machine had read the entry before."""

    @property
    def is_of_book(self) -> bool:
        """Whether a book's log lost it: then a ledger goes on without that book."""
        return self.stream in [keys.log(keys.instrument_tag(symbol)) for symbol in SYMBOLS]


class World(Stage):
    """A cluster of two account shards and two instruments, its clients, and what happens to them."""

    def __init__(
        self, seed: int, trace: Callable[[str], None] | None = None, redis: type[MemoryRedis] = MemoryRedis
    ) -> None:
        super().__init__(seed, trace, redis)
        dice = self.dice
        self._plain = self.settings.with_changes(core="python")
        self.births: list[tuple[float, Role]] = []
        self._damaged: set[str] = set()
        self.hole: Hole | None = None
        self.clock.on_sleep = self._sleep
        self.roles = [*self._ledgers(), *self._books()]
        self.gateway = Gateway(self, Flow(dice, SHARDS, self.clock), dice.choice((12, 20, 30)))
        self.follower = Follower(self, [role.tag for role in self.roles])
        self._fault_at = self.clock.ms + 50.0
        self._hole_at = dice.randint(1, 15) if self.faults.has_hole else -1
        self._count_actors()

    def _ledgers(self) -> Iterator[Role]:
        for shard in range(SHARDS):
            skew = self.dice.choice((0, 0, -40, 70)) * 1_000_000  # nobody's clock is quite right

            def make(shard: int = shard, skew: int = skew) -> Handler:
                return LedgerHandler(self.settings, shard, lambda: self.clock.time_ns() + skew)

            yield Role(f"ledger {shard}", keys.shard_tag(shard), make)

    def _books(self) -> Iterator[Role]:
        for symbol in SYMBOLS:
            tag = keys.instrument_tag(symbol)
            yield Role(f"engine {symbol}", tag, partial(self._book, symbol))

    def _book(self, symbol: str) -> Handler:
        """Either core, which may take over from each other at any moment."""
        return EngineHandler(self.dice.choice((self.settings, self._plain)), symbol)

    # --- the run ---

    def run(self) -> None:
        """Storm, then heal: nothing goes wrong any more, and everything comes to its end."""
        with self.as_modules():
            try:
                for role in self.roles:
                    for _ in range(1 if self.dice.random() < 0.7 else 2):
                        self._start(role)
                while self.gateway.has_more and self.steps < STORM_STEPS_MAX:
                    self._step()
                    if self.failures:
                        return
                if self.hole is None:
                    self._heal()
                else:
                    self._run_into_hole()
            finally:
                for process in self.processes:
                    if not process.is_over:
                        process.kill()

    def _heal(self) -> None:
        self.note("world", "heals")
        self.faults.heal()
        for process in self.processes:
            process.ready_at = min(process.ready_at, self.clock.ms + 300.0)
        end = self.steps + HEALING_STEPS_MAX
        while not self.failures and not (self.steps % 25 == 0 and self.is_drained()):
            self._step()
            if self.steps > end:
                self.failures.append(f"it does not come to an end: {', '.join(self._unfinished())}")

    def _run_into_hole(self) -> None:
        for _ in range(1_000):
            self._step()

    def _step(self) -> None:
        """One of those who can does something; if nobody can, time passes."""
        self.steps += 1
        dice = self.dice.random
        now = self.clock.ms = self.clock.ms + PASSING_MS[int(dice() * len(PASSING_MS))]
        if self.gateway.has_more:
            if now >= self._fault_at:
                self._go_wrong()
            if self.gateway.left <= self._hole_at and self.hole is None:
                self._make_hole()
        while self.births and self.births[0][0] <= now:
            self._start(self.births.pop(0)[1])
        if self.under_way and dice() < 0.2:
            self.under_way.pop(int(dice() * len(self.under_way)))()
            return
        actors = self.actors
        first = int(dice() * len(actors))
        for at in range(first - len(actors), first):
            if actors[at].is_ready(now):
                self._let(actors[at])
                return
        soonest = min(
            [self.gateway.ready_at, *(one.ready_at for one in self.processes), *(at for at, _ in self.births)]
        )
        self.clock.ms = max(now, int(soonest) + 1)

    def _let(self, actor: Any) -> None:
        self.running = actor
        actor.go()
        if not isinstance(actor, Process):
            return
        if actor.is_over:
            self._bury(actor)
        elif self.hole is None and (trouble := actor.handler.trouble()):
            self.failures.append(f"{actor.name} goes on without a source: {trouble}")

    def _sleep(self, ms: float) -> None:
        self.running.wait(ms)

    # --- processes ---

    def _start(self, role: Role) -> None:
        role.count += 1
        process = Process(self, f"{role.name} #{role.count}", role.make())
        role.processes.append(process)
        self._count_actors()
        self.note(process.name, "starts")

    def _bury(self, process: Process) -> None:
        """A process has ended: the supervisor starts another, unless it said why nobody should."""
        [role] = [role for role in self.roles if process in role.processes]
        role.processes.remove(process)
        self._count_actors()
        if process.error is None:
            if not role.processes:
                self.births.append((self.clock.ms + self.dice.choice((0, 50, 400)), role))
                self.births.sort(key=lambda one: one[0])
        elif self.hole is None or (self.hole.is_of_book and isinstance(process.handler, LedgerHandler)):
            self.failures.append(f"{process.name} stops: {process.error}")

    def _count_actors(self) -> None:
        self.processes = [process for role in self.roles for process in role.processes]
        self.actors: list[Any] = [*self.processes, self.gateway, self.follower]

    def owner(self, role: Role) -> Process | None:
        """The process that owns the tag, if it stands where Redis does and serves."""
        epoch, owner, version = self.redis.hmget(keys.meta(role.tag), b"epoch", b"owner", b"version")
        for process in role.processes:
            store = process.store
            is_owner = (b"%d" % store.epoch, store.owner.encode()) == (epoch, owner)
            if is_owner and process.stands_at() == (int(version or b"0"), True):
                return process
        return None

    # --- faults ---

    def _go_wrong(self) -> None:
        dice = self.dice
        self._fault_at = self.clock.ms + 2 * dice.random() * self.faults.every_ms
        processes = self.processes
        if not self.faults.processes or not processes:
            return
        serving = [one for one in processes if one.stands_at()[1]] if dice.random() < 0.8 else []
        process, kind = dice.choice(serving or processes), dice.choice(self.faults.processes)
        if kind == "crash" and self._can_damage(process.handler.tag) and dice.random() < 0.5:
            kind = "damaged snapshot"
        self.faults.counts[kind] += 1
        self.note(process.name, f"--- {kind} ---")
        if kind == "damaged snapshot":
            self._damage_snapshot(process.handler.tag)
        if kind in ("crash", "damaged snapshot"):
            process.kill()
            self._bury(process)
        elif kind == "stop":
            process.is_stopping = True
        elif kind == "zombie":
            self._stop_for_long(process)
        elif kind == "reset":
            process.reset()
        elif kind == "server clock":
            self.drift_ms += dice.choice((-700, 700))
        else:
            self.redis.scripts.clear()

    def _stop_for_long(self, process: Process) -> None:
        """It sleeps past its lease; somebody takes over; it wakes up and goes on with what it was doing."""
        process.pause(self.clock.ms + self.settings.lease_ms * (0.5 + 2 * self.dice.random()))
        [role] = [role for role in self.roles if process in role.processes]
        if len(role.processes) == 1:
            self._start(role)

    def _can_damage(self, tag: str) -> bool:
        """One snapshot of a tag may be bad: there are two."""
        return tag not in self._damaged and len(self.redis.hash_of(keys.snapshot(tag))) == 2

    def _damage_snapshot(self, tag: str) -> None:
        """The newest is not what was written, and is needed now."""
        self._damaged.add(tag)
        name = keys.snapshot(tag)
        newest = max(self.redis.hash_of(name), key=int)
        self.redis.hset(name, {newest: self.redis.hash_of(name)[newest][:-1] + b"?"})

    def _make_hole(self) -> None:
        """Drop the next entry of a gapless stream that a machine, or the follower, has still to read."""
        found: list[tuple[str, int]] = []
        for role in self.roles:
            found.append((keys.log(role.tag), len(self.follower.archive[role.tag])))
            found += [(name, at) for name, at in self._positions(role.tag).items() if not keys.is_inbox(name)]
        found = [(name, at) for name, at in found if self.redis.stream(name).top[0] > at]
        if not found:
            return
        name, position = self.dice.choice(found)
        passed = {
            role.tag
            for role in self.roles
            if max([self._positions(role.tag).get(name, 0), *(one.has_read(name) for one in role.processes)]) > position
        }
        stream = self.redis.stream(name)
        stream.drop(stream.ids.index((position + 1, 0)))
        self.redis.writes += 1
        self.hole = Hole(name, position + 1, passed)
        self.faults.counts["hole"] += 1
        self.note("world", f"--- {name} loses {position + 1}-0 ---")

    def _positions(self, tag: str) -> dict[str, int]:
        """Up to where a tag's machine has read its sources, as Redis knows."""
        return {
            name.decode()[3:]: int(value.partition(b"-")[0])
            for name, value in self.redis.hash_of(keys.meta(tag)).items()
            if name.startswith(b"at:")
        }

    # --- the end ---

    def is_drained(self) -> bool:
        """Whether everything asked is answered, read and written."""
        return not self._unfinished()

    def _unfinished(self) -> list[str]:
        found = ["answers"] if self.gateway.has_more or self.gateway.is_waiting else []
        for role in self.roles:
            owner = self.owner(role)
            length = len(self.redis.stream(keys.log(role.tag)).tape)
            if len(self.follower.archive[role.tag]) < length:
                found.append(f"follower of {role.tag}")
            if owner is None:
                found.append(role.name)
                continue
            meta = self.redis.hash_of(keys.meta(role.tag))
            for source in owner.handler.sources():
                tape = self.redis.stream(source).tape
                if tape and meta.get(b"at:" + source.encode()) != tape[-1][0]:
                    found.append(f"{role.name} at {source}")
        return found
