"""Which entries may be written: PostgreSQL is to hold a state in which the machines were, and not a mix of two.

The logs are read independently, and one may be far behind another. An entry is written after, or together with, what
it answers: what a book does with an order after that was accepted, what a ledger settles after the book did it. So
``matchbox recover`` finds no trade of an order that nobody knows, and none settled that the book has not.

Pure: no I/O, no clock.
"""

from typing import Any

import msgspec

from shared import keys
from shared.messages import Accepted, Activate, BookEntry, Done, LedgerEntry, ListPlaced, Received
from shared.order_id import SHARD_BITS, shard_of_order

_BOOK, _LOG = keys.instrument_tag("|").split("|")[0], keys.log("")


class Entry(msgspec.Struct, gc=False):
    """An entry of a log, and what must be written before it: (log's tag, up to where).

    A ledger's entry needs a book's log up to an entry; a book's entry needs a shard's orders up to a count, of which a
    ledger's entry ``accepts`` the latest.
    """

    number: int
    message: Any
    needs: tuple[tuple[str, int], ...] = ()
    accepts: int = 0


def ledger_entry(number: int, entry: LedgerEntry) -> Entry:
    """An entry of a ledger's log."""
    accepts = 0
    for event in entry.events:
        if type(event) is Accepted:
            accepts = event.order_id >> SHARD_BITS
    if not entry.source.startswith(_BOOK):
        return Entry(number, entry, (), accepts)
    stream, _, place = entry.source.partition(" ")
    settled = int(place.partition("-")[0])
    return Entry(number, entry, ((stream.removesuffix(_LOG), settled),), accepts)


def book_entry(number: int, entry: BookEntry) -> Entry:
    """An entry of a book's log."""
    newest: dict[int, int] = {}
    for event in entry.events:
        kind = type(event)
        if kind is Received or kind is Activate or (kind is Done and event.reason == "rejected"):  # type: ignore[union-attr]
            _note(newest, event.order_id)  # type: ignore[union-attr]
        elif kind is ListPlaced:
            for order in event.orders:  # type: ignore[union-attr]
                _note(newest, order.order_id)
    return Entry(number, entry, tuple((keys.shard_tag(shard), count) for shard, count in newest.items()))


def _note(newest: dict[int, int], order_id: int) -> None:
    shard = shard_of_order(order_id)
    newest[shard] = max(newest.get(shard, 0), order_id >> SHARD_BITS)


def writable(entries: dict[str, list[Entry]], reached: dict[str, int], accepted: dict[str, int]) -> dict[str, int]:
    """How many entries of each log may be written.

    ``reached``: how far PostgreSQL is in the books' logs, ``accepted``: the orders that it has of each shard; nobody
    waits for a log that is in neither. Of logs that are read from their positions on, one can always go on.
    """
    known = reached | accepted
    counts = dict.fromkeys(entries, 0)
    moved = True
    while moved:
        moved = False
        for tag, own in entries.items():
            start = at = counts[tag]
            while at < len(own) and all(known.get(other, need) >= need for other, need in own[at].needs):
                one = own[at]
                if tag in accepted:
                    known[tag] = max(known[tag], one.accepts)
                elif tag in reached:
                    known[tag] = one.number
                at += 1
            counts[tag] = at
            moved |= at > start
    return counts
