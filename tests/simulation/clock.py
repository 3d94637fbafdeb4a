"""The time of a simulation: what the product finds where it looks for the module ``time``."""

from collections.abc import Callable

START_MS = 1_700_000_000_000


class Clock:
    """Stands still until the scheduler moves it. ``on_sleep`` is told when the running process wants to sleep (ms)."""

    def __init__(self) -> None:
        self.ms = START_MS
        self.on_sleep: Callable[[float], None] = lambda _ms: None

    def monotonic(self) -> float:
        """As ``time.monotonic``."""
        return (self.ms - START_MS) / 1000

    def time_ns(self) -> int:
        """As ``time.time_ns``."""
        return self.ms * 1_000_000

    def sleep(self, seconds: float) -> None:
        """As ``time.sleep``: others go on meanwhile."""
        self.on_sleep(seconds * 1000)
