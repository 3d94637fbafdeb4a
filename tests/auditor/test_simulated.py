"""The auditor's watch over a simulated cluster in which all goes wrong that may: it raises no alarm."""

import pytest

from shared import keys
from tests.auditor.live import Feed
from tests.simulation.memory import MemoryRedis
from tests.simulation.mutants import without
from tests.simulation.stage import SHARDS
from tests.simulation.world import World
from workers.auditor.watch import Start, Watch
from workers.store import Snapshot, read_snapshots, read_standing

LOOK_EVERY = 5
RENEW_EVERY = 11
SEEDS = range(200)


class WatchedWorld(World):
    """Every few steps the watch takes in where all stand; now and then another one goes on from its replicas."""

    def __init__(self, seed: int, redis: type[MemoryRedis]) -> None:
        super().__init__(seed, None, redis)
        self.found: list[str] = []
        self.compared = 0
        self._feeds = {role.tag: Feed([], 0) for role in self.roles}
        self.watch = self._new({role.tag: Start() for role in self.roles})

    def _new(self, starts: dict[str, Start]) -> Watch:
        watch = Watch(SHARDS, "auto", self._snapshot)
        for tag, start in starts.items():
            watch.add(tag, self._feeds[tag], start)
        return watch

    def _snapshot(self, tag: str, position: int) -> Snapshot | None:
        stored = self.redis.hash_of(keys.snapshot(tag)).get(b"%d" % position)
        return next(iter(read_snapshots({b"": stored})), None) if stored else None

    def _step(self) -> None:
        super()._step()
        if self.steps % LOOK_EVERY == 0 and not self.found:
            self.look()

    def look(self) -> None:
        """Check all that has happened."""
        standings, snapshots = {}, {}
        for tag, feed in self._feeds.items():
            standings[tag] = read_standing(self.redis.hash_of(keys.meta(tag)))
            snapshots[tag] = [int(position) for position in self.redis.hash_of(keys.snapshot(tag))]
            feed.grow([payload for _, payload in self.redis.stream(keys.log(tag)).tape], standings[tag].length)
        watch = self.watch
        watch.cut(standings, snapshots)
        for _ in watch.follow():
            pass
        watch.end()
        self.found += [str(one.violation) for one in watch.take()]
        if self.steps % (LOOK_EVERY * RENEW_EVERY) == 0:
            self.compared += watch.compared
            self.watch = self._new(watch.starts())


@pytest.mark.parametrize("part", range(4))
def test_no_fault_that_is_survived_raises_an_alarm(part):
    """Crashes, zombies, lost replies, late commands, trims, damaged snapshots: all logs and states are found good."""
    compared = 0
    for seed in SEEDS[part::4]:
        with without("") as redis:
            world = WatchedWorld(seed, redis)
            world.run()
        world.look()
        assert world.found == [], f"seed {seed}"
        compared += world.compared + world.watch.compared
    assert compared > 500


@pytest.mark.parametrize("guard", ["version", "hold release", "dedupe"])
def test_a_guard_that_is_off_is_noticed_while_it_happens(guard):
    """What breaks an invariant is found in the run itself, not after its end."""
    for seed in range(60):
        with without(guard) as redis:
            world = WatchedWorld(seed, redis)
            try:
                world.run()
            except Exception as error:  # noqa: BLE001  # a mutant may die of anything
                world.failures.append(str(error))
        if world.found:
            return
    pytest.fail(f"nobody notices that {guard} is off")
