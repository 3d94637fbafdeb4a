"""What goes wrong, and how often: each seed draws a few kinds of faults, some runs a storm of one."""

import random
from collections import Counter

ROUND_TRIPS = ("lost request", "lost reply", "refused write")
"""Of one round trip to Redis."""
PROCESSES = ("crash", "stop", "zombie", "reset", "server clock", "script flush")
"""Of a whole process, its connections, or the server."""
OTHERS = ("duplicate send", "follower crash")
RATES = (0.0, 0.0, 0.003, 0.01, 0.03)


class Faults:
    """Draws faults and counts them."""

    def __init__(self, dice: random.Random) -> None:
        self._dice = dice
        self.counts: Counter[str] = Counter()
        self.round_trips = [kind for kind in ROUND_TRIPS if dice.random() < 0.6]
        self.rate = dice.choice(RATES) if self.round_trips else 0.0
        self.processes = [kind for kind in PROCESSES if dice.random() < 0.6]
        self.every_ms = dice.choice((100, 300, 1_000))
        if dice.random() < 0.3:  # a storm of one kind
            self.processes, self.every_ms = [dice.choice(("crash", "zombie", "zombie"))], 60
        self._others = {kind: dice.choice((0.0, 0.05, 0.3)) for kind in OTHERS}
        self.has_hole = dice.random() < 0.04
        """Whether an entry vanishes that somebody has still to read: whoever reads its stream has to halt."""

    def heal(self) -> None:
        """Nothing goes wrong any more."""
        self.rate, self.processes, self._others = 0.0, [], {}

    def mishap(self, _who: str) -> str:
        """What happens to a round trip; nearly always ""."""
        if not self.rate or self._dice.random() >= self.rate:
            return ""
        kind = self._dice.choice(self.round_trips)
        self.counts[kind] += 1
        return kind

    def happens(self, kind: str) -> bool:
        """Whether one of the other kinds happens now."""
        rate = self._others.get(kind, 0.0)
        if not rate or self._dice.random() >= rate:
            return False
        self.counts[kind] += 1
        return True
