"""Reads Bitstamp's order events, as CSV: id, timestamp, exchange.timestamp, price, volume, action, direction.

What its rows mean, seen in the data: ``created`` is a new limit order. ``changed`` with a smaller volume is a fill,
which our engine makes itself, so it is no step. ``changed`` with another price is one of Bitstamp's market orders,
which walks from level to level. ``deleted`` is a cancel, or (volume 0) the last fill; it is a cancel step either way,
so that an order which our engine did not fill leaves with the recorded one. The feed is a little out of order: an
order may be deleted some milliseconds before it is created (then it never was), deleted twice, or changed after it
was deleted.
"""

import csv
from collections import Counter
from collections.abc import Iterable, Iterator

from shared.errors import InvalidInput
from shared.instrument import decimal_of
from shared.messages import Side
from workers.replay.steps import Add, Cancel, Market, Modify, Step, Unreadable

HEADER = ["id", "timestamp", "exchange.timestamp", "price", "volume", "action", "direction"]
SIDES: dict[str, Side] = {"bid": "buy", "ask": "sell"}
MARKET = Market("Bitstamp CSV", "BTC-USD", "0.01", "0.00000001", "0.01", "0.00000001")


class _Row:
    """One checked row."""

    __slots__ = ("action", "order", "price", "side", "time", "volume")

    def __init__(self, fields: list[str]) -> None:
        if len(fields) != len(HEADER):
            raise InvalidInput(f"has {len(fields)} columns, not {len(HEADER)}")
        self.order = _count("id", fields[0])
        self.time = _count("timestamp", fields[1]) * 1_000_000
        self.price = _cents(fields[3])
        self.volume = _count("volume", fields[4])
        self.action = fields[5]
        if self.action not in ("created", "changed", "deleted"):
            raise InvalidInput(f'action "{self.action}" is not created, changed or deleted')
        if fields[6] not in SIDES:
            raise InvalidInput(f'direction "{fields[6]}" is not bid or ask')
        self.side = SIDES[fields[6]]


def _count(name: str, text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise InvalidInput(f'{name} "{text[:40]}" is not a whole number')
    return int(text)


def _cents(text: str) -> int:
    whole, _, part = text.partition(".")
    if len(part) == 2 and len(whole) <= 15 and whole.isdigit() and part.isdigit() and text.isascii():
        return int(whole + part)
    cents = decimal_of(text, "price").scaleb(2)
    if cents != int(cents) or not 0 <= cents < 10**17:
        raise InvalidInput(f"price {text} is not a whole number of cents")
    return int(cents)


class BitstampFlow:
    """Turns rows into steps. ``skipped`` counts the rows that are none, by why."""

    def __init__(self) -> None:
        self.skipped: Counter[str] = Counter()
        self._open: dict[int, tuple[int, int, int]] = {}
        """Id -> price, volume, volume it was created with."""
        self._deleted_early: set[int] = set()

    def steps(self, path: str, lines: Iterable[str]) -> Iterator[Step]:
        """The steps of a file's lines. Raises ``Unreadable`` naming the line."""
        rows = csv.reader(lines, strict=True)
        line = 1
        try:
            header = next(rows, None)
            if header is None:
                raise InvalidInput("the file is empty")
            if header != HEADER:
                shown = ",".join(header)[:100]
                raise InvalidInput(f'the header is "{shown}", not "{",".join(HEADER)}"')
            for line, fields in enumerate(rows, start=2):  # noqa: B007  # named when a row is bad
                step = self._step(_Row(fields))
                if step is not None:
                    yield step
        except Unreadable:
            raise
        except (InvalidInput, csv.Error) as error:
            raise Unreadable(path, f"line {line}", str(error)) from error

    def _step(self, row: _Row) -> Step | None:
        match row.action:
            case "created":
                return self._created(row)
            case "changed":
                return self._changed(row)
        return self._deleted(row)

    def _created(self, row: _Row) -> Step | None:
        if row.order in self._deleted_early:
            self._deleted_early.remove(row.order)
            self.skipped["created after it was deleted"] += 1
            return None
        if row.order in self._open:
            self.skipped["created twice"] += 1
            return None
        if row.volume == 0 or row.price == 0:
            self.skipped["created without a volume or price"] += 1
            return None
        self._open[row.order] = row.price, row.volume, row.volume
        return Add(row.order, row.time, row.side, row.price, row.volume)

    def _changed(self, row: _Row) -> Step | None:
        if row.order not in self._open:
            self.skipped["changed before it was created, or after it was deleted"] += 1
            return None
        price, volume, total = self._open[row.order]
        self._open[row.order] = row.price, row.volume, max(total, row.volume)
        if row.price != price and row.volume and row.price:
            return Modify(row.order, row.time, row.side, row.price, row.volume, filled=max(0, total - row.volume))
        self.skipped["changed by a fill" if row.volume < volume else "changed without an effect"] += 1
        return None

    def _deleted(self, row: _Row) -> Step | None:
        if row.order not in self._open:
            self._deleted_early.add(row.order)
            self.skipped["deleted before it was created, or twice"] += 1
            return None
        del self._open[row.order]
        return Cancel(row.order, row.time)
