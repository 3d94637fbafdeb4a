"""Whose a violation is: the machines it concerns, by the place that it names."""

import re
from collections.abc import Iterable

from shared import keys

_ENTRY = re.compile(r" entry (\d+)$")


def symbol_of(tag: str) -> str:
    """The instrument of a book's tag, "" for a ledger's."""
    before, behind = keys.instrument_tag("|").split("|")
    return tag[len(before) : -len(behind)] if tag.startswith(before) else ""


def shard_of(tag: str) -> int:
    """The shard of a ledger's tag."""
    before, behind = keys.shard_tag(0).split("0")
    return int(tag[len(before) : -len(behind)])


def tag_of(where: str, symbols: Iterable[str], shards: int) -> str:
    """The machine that is not to go on. What no place belongs to is about money, and so about ledger 0 at least.

    Between a book and a ledger it is the book: halting that keeps both from going on with each other.
    """
    for symbol in symbols:
        tag = keys.instrument_tag(symbol)
        if where.startswith((f"{symbol} entry ", f"{symbol}, ", tag)) or where == symbol:
            return tag
        if where.endswith(keys.outbox(0, symbol).partition("}")[2]):
            return tag
    for shard in range(shards):
        tag = keys.shard_tag(shard)
        if where.startswith((f"ledger {shard} ", tag)):
            return tag
    return keys.shard_tag(0)


def entry_of(where: str) -> int:
    """The number of the entry that a place names; 0 if it names none."""
    found = _ENTRY.search(where)
    return int(found[1]) if found else 0
