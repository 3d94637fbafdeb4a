"""Open, high, low, last and volume of the last 24 hours, and the volume of 30 days, kept up trade by trade. Pure.

Trades fall into buckets by the minute (24 hours) and by the hour (30 days); a bucket leaves as a whole. High and low
over the full buckets are remembered, so a trade costs the same however many there are.
"""

from collections import deque
from collections.abc import Iterable

import msgspec

MINUTE_NS = 60_000_000_000
HOUR_NS = 60 * MINUTE_NS
DAY_MINUTES = 24 * 60
MONTH_HOURS = 30 * 24


class Bucket(msgspec.Struct, gc=False):
    """What was traded in one span of time: prices in ticks, volume in lots. ``number`` counts spans since the epoch."""

    number: int
    open: int
    high: int
    low: int
    close: int
    volume: int


class Stats(msgspec.Struct, frozen=True):
    """The figures of 24 hours (prices 0: no trade in them) and the volume of 30 days."""

    open: int
    high: int
    low: int
    volume: int
    volume_month: int


class Window:
    """The rolling figures of one instrument."""

    def __init__(self, minutes: Iterable[Bucket] = (), hours: Iterable[tuple[int, int]] = ()) -> None:
        """From the buckets of the past, the oldest first; ``hours`` are (number, volume)."""
        self._minutes = deque(minutes)
        self._hours = deque(list(hour) for hour in hours)
        self._volume = sum(bucket.volume for bucket in self._minutes)
        self._month = sum(volume for _, volume in self._hours)
        self._high, self._low = 0, 0
        self._summarize()

    def add(self, time_ns: int, price: int, quantity: int) -> None:
        """One more trade, not older than the ones before."""
        minute, hour = time_ns // MINUTE_NS, time_ns // HOUR_NS
        last = self._minutes[-1] if self._minutes else None
        if last is not None and last.number >= minute:
            last.high = max(last.high, price)
            last.low = min(last.low, price)
            last.close = price
            last.volume += quantity
        else:
            self._minutes.append(Bucket(minute, price, price, price, price, quantity))
            self._summarize()
        self._volume += quantity
        self._month += quantity
        if self._hours and self._hours[-1][0] >= hour:
            self._hours[-1][1] += quantity
        else:
            self._hours.append([hour, quantity])

    def stats(self, now_ns: int) -> Stats:
        """The figures as of ``now_ns``."""
        self._expire(now_ns)
        volume_month = self._month
        if not self._minutes:
            return Stats(0, 0, 0, 0, volume_month)
        last = self._minutes[-1]
        high = max(self._high, last.high)
        low = min(self._low or last.low, last.low)
        return Stats(self._minutes[0].open, high, low, self._volume, volume_month)

    def _expire(self, now_ns: int) -> None:
        oldest, left = now_ns // MINUTE_NS - DAY_MINUTES, False
        while self._minutes and self._minutes[0].number <= oldest:
            self._volume -= self._minutes.popleft().volume
            left = True
        if left:
            self._summarize()
        oldest_hour = now_ns // HOUR_NS - MONTH_HOURS
        while self._hours and self._hours[0][0] <= oldest_hour:
            self._month -= self._hours.popleft()[1]

    def _summarize(self) -> None:
        """High and low of all buckets but the last, which still changes."""
        whole = list(self._minutes)[:-1]
        self._high = max((bucket.high for bucket in whole), default=0)
        self._low = min((bucket.low for bucket in whole), default=0)
