"""Times in queries: ISO 8601, or seconds since the epoch, to nanoseconds. Pure."""

import re
from datetime import UTC, datetime, timedelta

from shared.instants import SECOND_NS
from workers.gateway.errors import bad_request

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LAST_S = 7_258_118_400
"""The year 2200: nanoseconds up to then fit PostgreSQL's 64 bits."""
_SECONDS = re.compile(r"\d{1,10}", re.ASCII)


def time_ns(text: str | None, name: str) -> int | None:
    """The time in a query; None if absent. Raises ``ApiError`` 400 that shows how to write it."""
    if not text:
        return None
    found = int(text) * SECOND_NS if _SECONDS.fullmatch(text) else _iso_ns(text)
    if found is None:
        raise bad_request(f'{name} "{text[:40]}" is not a time; write 2025-01-31T12:00:00Z, or seconds since 1970')
    return _in_range(found, text, name)


def end_ns(text: str | None, name: str) -> int | None:
    """The same for a last moment: all of its microsecond, since that is what clients are shown of a time."""
    found = time_ns(text, name)
    return None if found is None else found + 999


_INSTANT = re.compile(r"(\d{4}-\d\d-\d\d)[Tt](\d\d:\d\d:\d\d)(?:\.(\d+))?([Zz]|[+-]\d\d:\d\d)", re.ASCII)


def instant_ns(text: str, name: str) -> int:
    """An instant as RFC 3339 has it, to the nanosecond. Raises ``ApiError`` 400 that shows how to write it."""
    found = _INSTANT.fullmatch(text)
    whole = _iso_ns(f"{found[1]}T{found[2]}{found[4].upper()}") if found else None
    if found is None or whole is None:
        raise bad_request(f'{name} "{text[:40]}" is not a time; write it with its offset, as in 2030-01-31T12:00:00Z')
    return _in_range(whole, text, name) + int((found[3] or "")[:9].ljust(9, "0"))


def _in_range(found: int, text: str, name: str) -> int:
    if not 0 <= found <= _LAST_S * SECOND_NS:
        raise bad_request(
            f'{name} "{text[:40]}" is out of range: times here are from 1970-01-01T00:00:00Z to 2200-01-01T00:00:00Z'
        )
    return found


def _iso_ns(text: str) -> int | None:
    try:
        moment = datetime.fromisoformat(text.replace(" ", "+"))  # an unescaped "+" of a query arrives as a space
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return (moment - _EPOCH) // timedelta(microseconds=1) * 1000
    except (ValueError, OverflowError):
        return None
