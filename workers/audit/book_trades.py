"""Trades: between the first who rests and the one who comes, at the price of the first, within the terms of both."""

from shared.messages import Match
from workers.audit.book_icebergs import takes_what_is_shown
from workers.audit.book_modes import may_stay, trades_now
from workers.audit.book_state import NOTHING, FollowedBook
from workers.audit.book_terms import within_collar, within_limit
from workers.audit.invariants import Invariant
from workers.audit.naive_book import KnownOrder


def trade(book: FollowedBook, event: Match) -> None:
    """Looks at a trade of an order that came, and follows it."""
    maker, taker = book.orders.get(event.maker_order_id), book.orders.get(event.taker_order_id)
    price_time_priority(book, event)
    between_two_accounts(book, event, maker)
    taker_just_came(book, event, taker)
    follow(book, event, maker, taker)


def follow(book: FollowedBook, event: Match, maker: KnownOrder | None, taker: KnownOrder | None) -> None:
    """What a trade changes."""
    if event.trade_id != book.trade_id + 1:
        book.violate(Invariant.SEQUENCE, "trade ids have no gap", 0, book.trade_id + 1, event.trade_id)
    book.trade_id, book.last_price, book.prevented = event.trade_id, event.price, NOTHING
    if maker is not None:
        take(book, maker, event)
    if taker is not None:
        take(book, taker, event)


def price_time_priority(book: FollowedBook, event: Match) -> None:
    """The maker is the first in the best level, and the price is its price."""
    book.findings.checked[Invariant.PRIORITY] += 1
    front = book.sides[event.side].front()
    if front is None or front.order_id != event.maker_order_id:
        book.violate(
            Invariant.PRIORITY, "the maker is the first in the best level", event.maker_order_id,
            "nobody" if front is None else f"order {front.order_id} at {front.price}",
            f"it in trade {event.trade_id} at {event.price}",
        )  # fmt: skip
    elif front.price != event.price:
        book.violate(
            Invariant.PRIORITY, "a trade is at its maker's price", front.order_id, front.price,
            f"trade {event.trade_id} at {event.price}",
        )  # fmt: skip


def between_two_accounts(book: FollowedBook, event: Match, maker: KnownOrder | None) -> None:
    """No account trades with itself; and the maker rests, with its account and rate."""
    checked = book.findings.checked
    checked[Invariant.SELF_TRADE] += 1
    if event.maker_account == event.taker_account:
        book.violate(
            Invariant.SELF_TRADE, "no account trades with itself", event.maker_order_id,
            f"another account than {event.maker_account}", f"trade {event.trade_id}",
        )  # fmt: skip
    checked[Invariant.ACCEPTED] += 1
    if maker is None or not maker.rests or maker.account != event.maker_account or maker.maker_fee != event.maker_fee:
        is_another(book, event.maker_order_id, event, f"account {event.maker_account}, {event.maker_fee} ppm")


def taker_just_came(book: FollowedBook, event: Match, taker: KnownOrder | None) -> None:
    """The taker is the one that arrives, with its account and rate, and trades within its terms and the mode."""
    if taker is None or taker is not book.arriving:
        is_another(book, event.taker_order_id, event, "it as taker")
        return
    terms = taker.terms
    if terms.account != event.taker_account or terms.taker_fee != event.taker_fee:
        is_another(book, event.taker_order_id, event, f"account {event.taker_account}, {event.taker_fee} ppm")
    book.findings.checked[Invariant.TERMS] += 1
    worse = event.price > taker.price if taker.side == "buy" else event.price < taker.price
    if (worse and taker.price) or terms.post_only or taker.side == event.side:
        within_limit(book, taker, event)
    if book.mode != "online":
        trades_now(book, event)
    if book.must_end is not None:
        may_stay(book, taker, what=f"trade {event.trade_id}")
    if book.has_collar:
        within_collar(book, taker, event)


def is_another(book: FollowedBook, order_id: int, event: Match, found: str) -> None:
    """A trade tells of other orders, accounts or rates than there are."""
    book.violate(
        Invariant.ACCEPTED, "a trade is between one who rests and one who comes, of their accounts and rates",
        order_id, f"them in trade {event.trade_id}", found,
    )  # fmt: skip


def take(book: FollowedBook, order: KnownOrder, event: Match) -> None:
    """The quantity goes off an order, unless that is by funds; what shows nothing any more leaves its level."""
    book.findings.checked[Invariant.QUANTITY] += 1
    quantity = event.quantity
    if order.rests:
        if order.shown < quantity <= order.left:
            takes_what_is_shown(book, order, event)
        order.shown -= quantity
        if order.shown <= 0:
            book.sides[order.side].remove(order)
            book.used_up[order.order_id] = order
            book.is_watched = book.is_watched or order.left > quantity
    elif order is book.arriving:
        book.taken += quantity
        if not order.terms.quantity:
            return
    if not 0 < quantity <= order.left:
        book.violate(
            Invariant.QUANTITY, "a trade takes no more than there is", order.order_id,
            f"1 to {order.left} lots in trade {event.trade_id}", quantity,
        )  # fmt: skip
    order.left -= quantity
