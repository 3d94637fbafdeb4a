"""Instants as text. Inside they are integers: nanoseconds since the epoch, UTC."""

from datetime import UTC, datetime
from functools import lru_cache

SECOND_NS = 1_000_000_000


@lru_cache(maxsize=4096)
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def iso(time_ns: int) -> str:
    """Nanoseconds since the epoch as ISO 8601 in UTC with microseconds."""
    seconds, rest = divmod(time_ns, SECOND_NS)
    return f"{_second(seconds)}.{rest // 1000:06d}Z"
