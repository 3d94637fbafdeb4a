"""The call auction: orders collect without matching, and trade at one price when the mode changes.

The price is the one at which most trades; among those the one that leaves least over; then the nearest to the last
price; then the lowest. Who trades is decided by price and time. Nobody takes in an auction, so both sides pay their
maker's rate; in a ``match`` the seller stands as the maker.

Two orders of one account that meet do not trade: whatever their flags, the smaller is canceled and the larger
decremented (``dc``), which leaves the price what it is.
"""

from collections.abc import Iterator

import msgspec

from shared.errors import RejectReason
from shared.messages import BookEvent, Change, Match
from workers.engine.ending import cancel_resting
from workers.engine.levels import BookSide, RestingOrder
from workers.engine.linking import follow
from workers.engine.matching import parts, used_up
from workers.engine.state import BookState


class Indication(msgspec.Struct, frozen=True):
    """What an auction would trade: ``price`` in ticks, ``volume`` in lots, ``imbalance`` (bought less sold) in lots."""

    price: int
    volume: int
    imbalance: int


def indication(book: BookState) -> Indication | None:
    """What an auction would trade if it ended now; None if nobody would."""
    highest, lowest = book.bids.best(), book.asks.best()
    if not highest or not lowest or highest < lowest:
        return None
    buys = list(offers(book, book.bids, lowest))
    sells = list(offers(book, book.asks, highest))
    near = {price + step for price, _ in (*buys, *sells) for step in (-1, 0, 1)} | {book.last_price}
    demand, supply = sum(quantity for _, quantity in buys), 0
    found: list[tuple[tuple[int, int, int, int], Indication]] = []
    for price in sorted(one for one in near if lowest <= one <= highest):
        while buys and buys[-1][0] < price:
            demand -= buys.pop()[1]
        while sells and sells[0][0] <= price:
            supply += sells.pop(0)[1]
        volume = min(demand, supply)
        away = abs(price - book.last_price) if book.last_price else 0
        rank = (-volume, abs(demand - supply), away, price)
        found.append((rank, Indication(price, volume, demand - supply)))
    return min(found, key=lambda one: one[0])[1]


def offers(book: BookState, side: BookSide, worst: int) -> Iterator[tuple[int, int]]:
    """(price, quantity) of the levels not worse than ``worst``, best first; hidden quantity counts.

    Of two legs that cancel each other only the first in priority counts: it comes before the other.
    """
    gone: set[int] = set()
    for level in side.ranked(side.sign * worst):
        if book.lists.of_order:
            yield level.price, sum(quantity for _, quantity in parts(level, book.lists, gone))
        else:
            yield level.price, level.quantity + level.hidden


def uncross(book: BookState, events: list[BookEvent]) -> None:
    """End the auction: all that can trade at its price does, and the book is not crossed any more."""
    found = indication(book)
    if found is None:
        return
    price, followed = found.price, len(events)
    bids, asks = book.bids, book.asks
    while bids.best() >= price and 0 < asks.best() <= price:
        buy, sell = bids.levels[bids.best()].front(), asks.levels[asks.best()].front()
        if buy.account == sell.account:
            decrement_both(book, buy, sell, events)
        else:
            trade_at(book, price, buy, sell, events)
        if book.lists.of_order:
            followed = follow(book, events, followed)
    if book.reference >= 0:
        book.reference = book.last_price


def trade_at(book: BookState, price: int, buy: RestingOrder, sell: RestingOrder, events: list[BookEvent]) -> None:
    """One trade at the auction's price."""
    trade_id = book.trade_id + 1
    quantity = min(buy.remaining, sell.remaining)
    book.sequence += 1
    events.append(
        Match(
            book.sequence, trade_id, sell.order_id, buy.order_id, sell.account, buy.account, "sell", price, quantity,
            sell.maker_fee, buy.maker_fee, auction=True,
        )
    )  # fmt: skip
    for order in (sell, buy):
        book.fill(order, quantity, trade_id, price)
        if not order.remaining:
            used_up(book, order, events)


def decrement_both(book: BookState, buy: RestingOrder, sell: RestingOrder, events: list[BookEvent]) -> None:
    """Two orders of one account: the smaller goes, and takes its quantity off the larger. Equal ones both go."""
    smaller, larger = sorted((buy, sell), key=RestingOrder.left)
    taken, old = smaller.left(), larger.left()
    events.append(cancel_resting(book, smaller, RejectReason.SELF_TRADE))
    if taken == old:
        events.append(cancel_resting(book, larger, RejectReason.SELF_TRADE))
        return
    book.sequence += 1
    book.reduce(larger, old - taken)
    change = Change(book.sequence, larger.order_id, larger.account, larger.side, larger.price, old, old - taken)
    change.hidden = larger.hidden
    events.append(change)
