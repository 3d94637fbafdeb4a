"""In which order an exchange lists an aggressor's fills, and when two lists of fills are equal.

Within one price CME lists the makers in the order in which they were filled, each once, except those with a display
quantity whose shown part was used up: they come last, whether a next part of them was shown or they were done. (Every
refreshed iceberg of the recording shows that.) The engine fills by priority and says each part of an iceberg by
itself; ``listed`` tells it the way CME does.
"""

from collections.abc import Container, Iterable
from itertools import groupby

from shared.messages import BookEvent, Done, Match, Open
from workers.replay.exchange_event import Fill

PASSED_MIN = 2
"""Makers which one that is listed last without another sign of a display quantity must have in front of it, at least,
that came after it. Two makers whose places are exchanged are thus never taken for that."""


def listed(events: Iterable[BookEvent], taker: int, icebergs: Container[int]) -> list[Fill]:
    """What the engine's events say an aggressor got, the way CME lists it."""
    filled: dict[tuple[int, int], int] = {}
    used_up = set()
    for event in events:
        if isinstance(event, Match) and event.taker_order_id == taker:
            level = event.price, event.maker_order_id
            filled[level] = filled.get(level, 0) + event.quantity
        elif isinstance(event, Open | Done) and event.order_id in icebergs:
            used_up.add(event.order_id)
    prices = {price: number for number, price in enumerate(dict.fromkeys(price for price, _ in filled))}
    order = sorted(filled, key=lambda level: (prices[level[0]], level[1] in used_up))
    return [Fill(maker, price, filled[price, maker]) for price, maker in order]


def recorded(fills: Iterable[Fill]) -> list[Fill]:
    """A recording's fills, with those of one maker at one price added up where they follow each other."""
    merged: list[Fill] = []
    for fill in fills:
        if merged and merged[-1][:2] == fill[:2]:
            merged[-1] = fill._replace(quantity=merged[-1].quantity + fill.quantity)
        else:
            merged.append(fill)
    return merged


def has_one_listed_last(ours: list[Fill], theirs: list[Fill], done: Container[int]) -> bool:
    """Whether the lists differ only by makers that are ``done`` and stand last at their price, one at each."""
    if sorted(ours) != sorted(theirs) or [fill.price for fill in ours] != [fill.price for fill in theirs]:
        return False
    levels = zip(_by_price(ours), _by_price(theirs), strict=True)
    return all(mine == other or _moved_last(mine, other, done) for mine, other in levels)


def _by_price(fills: list[Fill]) -> list[list[Fill]]:
    return [list(group) for _, group in groupby(fills, key=lambda fill: fill.price)]


def _moved_last(ours: list[Fill], theirs: list[Fill], done: Container[int]) -> bool:
    last = theirs[-1]
    if last not in ours or last.order not in done:
        return False
    passed = len(ours) - 1 - ours.index(last)
    return passed >= PASSED_MIN and [fill for fill in ours if fill != last] == theirs[:-1]
