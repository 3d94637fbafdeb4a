"""What an auction has to do, worked out from all that rests: at every price at which somebody changes their mind."""

from collections.abc import Iterable
from itertools import accumulate, pairwise, takewhile
from typing import NamedTuple

from workers.audit.naive_book import KnownOrder, NaiveSide
from workers.audit.naive_waiting import KnownLists


class Clearing(NamedTuple):
    """The price (ticks) at which an auction trades, how much (lots), and how much bought is left over sold (lots)."""

    price: int
    volume: int
    imbalance: int


def clearing(buys: NaiveSide, sells: NaiveSide, lists: KnownLists, last_price: int) -> Clearing | None:
    """The most volume, then the least left over, then the nearest to the last price, then the lowest price.

    None if nobody would trade.
    """
    bid, ask = buys.best(), sells.best()
    if not (bid and ask) or bid < ask:
        return None
    offered = _by_price(takewhile(lambda one: one.price <= bid, _first_legs(sells, lists)))
    wanted = _by_price(takewhile(lambda one: one.price >= ask, _first_legs(buys, lists)))
    # Between two neighbours in ``steps`` nobody comes or goes: a buyer goes above his price, a seller comes at his.
    steps = sorted({*offered, *(price + 1 for price in wanted), bid + 1})
    supply = accumulate(offered.get(price, 0) for price in steps)
    gone = accumulate(wanted.get(price - 1, 0) for price in steps)
    total = sum(wanted.values())
    found = []
    for (low, above), sold, left in zip(pairwise(steps), supply, gone, strict=False):
        bought = total - left
        price = min(max(low, last_price), above - 1) if last_price else low
        rank = (-min(bought, sold), abs(bought - sold), abs(price - last_price) if last_price else 0, price)
        found.append((rank, Clearing(price, min(bought, sold), bought - sold)))
    return min(found)[1]


def _first_legs(side: NaiveSide, lists: KnownLists) -> Iterable[KnownOrder]:
    """All that counts of a side: of two that cancel each other, the one that comes first."""
    gone: set[int] = set()
    for order in side:
        if order.order_id not in gone:
            gone.update(lists.rivals(order.order_id))
            yield order


def _by_price(orders: Iterable[KnownOrder]) -> dict[int, int]:
    found: dict[int, int] = {}
    for order in orders:
        found[order.price] = found.get(order.price, 0) + order.left
    return found
