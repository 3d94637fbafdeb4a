"""Pages of a list, newest first: ``before`` asks for newer, ``after`` for older than a cursor, as Coinbase has it.

The cursors of a page are the headers ``CB-BEFORE`` (its newest item) and ``CB-AFTER`` (its oldest; absent on the last
page). ``before`` answers the page next to the cursor, so whoever pages towards the present misses nothing.
"""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from sqlalchemy import Column, ColumnElement, Row, Select

from workers.gateway.errors import bad_request

LIMIT_MAX = 1000
LIMIT_DEFAULT = 100
_CURSOR_MAX = 2**63 - 1


class Page(msgspec.Struct, frozen=True):
    """What part of a list is asked for. Cursors are numbers that grow with newness; 0: none."""

    limit: int = LIMIT_DEFAULT
    before: int = 0
    after: int = 0

    @property
    def ascending(self) -> bool:
        """Whether to look from the cursor towards newer items."""
        return self.before > 0 and not self.after

    def holds(self, cursor: int) -> bool:
        """Whether an item with this cursor lies in the range."""
        return cursor > self.before and (not self.after or cursor < self.after)

    def select(self, query: Select[Any], column: Column[Any] | ColumnElement[Any]) -> Select[Any]:
        """The query, cut to one row more than the page (which tells whether there is another page)."""
        if self.before:
            query = query.where(column > self.before)
        if self.after:
            query = query.where(column < self.after)
        return query.order_by(column if self.ascending else column.desc()).limit(self.limit + 1)

    def cut[Item](self, items: Sequence[Item], cursor: Callable[[Item], int]) -> "Cut[Item]":
        """The page out of up to ``limit`` + 1 ``items``, in the order ``select`` gives them."""
        more = len(items) > self.limit
        kept = list(items[: self.limit])
        if self.ascending:
            kept.reverse()
            more = True  # the cursor itself is older
        newest, oldest = (cursor(kept[0]), cursor(kept[-1])) if kept else (0, 0)
        return Cut(kept, newest, oldest if more else 0)


class Cut[Item](msgspec.Struct):
    """A page: its items, newest first, and the cursors around it (0: none)."""

    items: list[Item]
    before: int
    after: int

    def headers(self, render: Callable[[int], str] = str) -> dict[str, str]:
        """The page's headers; ``render`` gives a cursor its public form."""
        found = {}
        if self.before:
            found["CB-BEFORE"] = render(self.before)
        if self.after:
            found["CB-AFTER"] = render(self.after)
        return found


def cursor_of(text: str | None, name: str) -> int:
    """A cursor from a query; 0 if absent. Raises ``ApiError`` 400."""
    if not text:
        return 0
    if not text.isascii() or not text.isdigit() or int(text[:20]) > _CURSOR_MAX:
        raise bad_request(f'{name} "{text[:40]}" is not a cursor; use the CB-BEFORE and CB-AFTER headers of a page')
    return int(text)


def row_number(name: str) -> Callable[[Row[Any]], int]:
    """The cursor of a row: its column ``name``."""
    return lambda row: int(getattr(row, name))
