"""How many requests a second: token buckets, each as one number (the generic cell rate algorithm).

The buckets are this process's own. A client that spreads itself over N gateway processes gets N times the rate; one
connection meets one process.
"""

import math
import time
from collections.abc import Callable

from shared.instants import SECOND_NS
from shared.settings import Settings
from workers.gateway.errors import ApiError, too_many

BURST_S = 2
"""A bucket that nobody used for this long is full: that many seconds' requests may come at once."""
TRACKED_MIN = 4096


class Rate:
    """``per_s`` requests a second for each client, 0 for any number; ``what`` is in the words of the refusal."""

    def __init__(
        self, what: str, per_s: int, burst_s: int = BURST_S, clock: Callable[[], int] = time.monotonic_ns
    ) -> None:
        self._what = what
        self._per_s = per_s
        self._gap_ns = SECOND_NS // per_s if per_s else 0
        self._burst_ns = max(burst_s * SECOND_NS, self._gap_ns)
        self._clock = clock
        self._full_at: dict[int | str, int] = {}
        """When each client's bucket is full again, if it is not now."""
        self._sweep_at = TRACKED_MIN

    def take(self, who: int | str, count: int = 1) -> None:
        """``count`` requests of a client. Raises ``ApiError`` 429 if that is too many just now: then none counts."""
        if not self._gap_ns:
            return
        now = self._clock()
        full_at = max(self._full_at.get(who, 0), now) + count * self._gap_ns
        late = full_at - now - self._burst_ns
        if late > 0:
            raise self._refusal(math.ceil(late / SECOND_NS))
        self._full_at[who] = full_at
        if len(self._full_at) >= self._sweep_at:
            self._sweep(now)

    def _refusal(self, wait_s: int) -> ApiError:
        return too_many(f"{self._what} rate limit exceeded: {self._per_s} a second; try again in {wait_s} s", wait_s)

    def _sweep(self, now: int) -> None:
        """Forget full buckets: a client that is unknown has one."""
        self._full_at = {who: full_at for who, full_at in self._full_at.items() if full_at > now}
        self._sweep_at = max(TRACKED_MIN, 2 * len(self._full_at))


class Rates:
    """The buckets of one gateway process.

    Those of signed requests are the account's, so that more keys or sessions do not make more requests; cancels have
    their own, since whoever trades too fast must still get out. Unsigned requests are their address's.
    """

    def __init__(self, settings: Settings) -> None:
        self.private = Rate("Private", settings.private_rate)
        self.cancels = Rate("Cancel", settings.cancel_rate)
        self.public = Rate("Public", settings.public_rate)

    def of(self, method: str) -> Rate:
        """The bucket for a signed request."""
        return self.cancels if method == "DELETE" else self.private
