"""A follower like the pusher: reads every log without a gap, keeps position and rows in one transaction, tells both.

Its database is a list a log, which dies with nobody; what it has read and not committed dies with it.
"""

from shared import keys
from shared.chain import advance
from tests.simulation.memory import raw
from tests.simulation.stage import Stage
from workers.follow import LogGap, numbered


class Follower:
    """Reads the logs of ``tags``."""

    def __init__(self, world: Stage, tags: list[str]) -> None:
        self.name = "follower"
        self.ready_at = float(world.clock.ms)
        self.archive: dict[str, list[bytes]] = {tag: [] for tag in tags}
        self.chains = dict.fromkeys(tags, "")
        self.gaps: dict[str, LogGap] = {}
        self._told = dict.fromkeys(tags, 0)
        self._looked_at = -1
        self._world = world

    def is_ready(self, now: float) -> bool:
        """Whether it has something to do."""
        return now >= self.ready_at and self._looked_at != self._world.redis.writes

    def go(self) -> None:
        """Read one log, write, tell: each may be as far as it gets."""
        world = self._world
        self.ready_at = world.clock.ms + world.dice.choice((1, 5, 50))
        logs = [tag for tag in self.archive if tag not in self.gaps and self._is_behind(tag)]
        if logs:
            self._follow(world.dice.choice(logs))
        else:
            self._looked_at = world.redis.writes

    def _is_behind(self, tag: str) -> bool:
        length = len(self.archive[tag])
        return self._told[tag] < length or self._world.redis.stream(keys.log(tag)).has_after((length, 0))

    def _follow(self, tag: str) -> None:
        world, log, rows = self._world, keys.log(tag), self.archive[tag]
        entries = world.redis.stream(log).after((len(rows), 0), world.dice.choice((1, 10, 100)))
        try:
            found = numbered(log, len(rows), entries)  # type: ignore[arg-type]  # lists for tuples
        except LogGap as gap:
            self.gaps[tag] = gap
            world.note(self.name, f"halts: {gap}")
            return
        if world.faults.happens("follower crash"):
            return
        rows += [payload for _, payload in found]
        self.chains[tag] = advance(self.chains[tag], (payload for _, payload in found))
        if len(rows) > self._told[tag] and not world.faults.happens("follower crash"):
            self._told[tag] = len(rows)
            world.redis.hset(keys.consumers(log), {raw(keys.POSTGRESQL): b"%d-0" % len(rows)})
