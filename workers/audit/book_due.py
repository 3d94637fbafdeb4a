"""What a command sets off behind itself: who is due comes, in the order in which they became so, and nobody else."""

from shared.messages import Activate, Match, Received
from workers.audit import book_auction, book_lists, book_stops
from workers.audit.book_icebergs import refreshed_at_once
from workers.audit.book_state import FollowedBook
from workers.audit.invariants import Invariant
from workers.audit.naive_book import KnownOrder


def before_a_trade(book: FollowedBook) -> None:
    """What the trade before has set off has to be done."""
    refreshed_at_once(book)
    if book.lists.owed:
        book_lists.rivals_are_gone(book)
    if book.lists.early:
        book_lists.reason_follows(book)


def set_off(book: FollowedBook, event: Match) -> None:
    """What a trade means to lists and stops."""
    linked = book.lists.of_order
    for order_id in (event.maker_order_id, event.taker_order_id) if linked else ():
        if order_id in linked:
            book_lists.filled(book, order_id)
    if book.sleepers.trailing:
        book.sleepers.follow(event.price)


def between_two(book: FollowedBook, coming: int = 0) -> None:
    """One has traded as far as it could, the next is to come: find out who is due now."""
    refreshed_at_once(book)
    if book.lists.owed:
        book_lists.rivals_are_gone(book)
    if book.lists.early:
        book_lists.reason_follows(book, coming)
    if book.clearing is not None:
        book_auction.all_has_traded(book)
    book_stops.find_due(book)


def comes(book: FollowedBook, order: KnownOrder, event: Received | Activate) -> None:
    """Looks at an order that waited in the book, and comes."""
    between_two(book, order.order_id)
    is_due = _is_next(book, order.order_id)
    book_stops.same_terms(book, order, event)
    if order.order_id in book.sleepers.by_id and isinstance(event, Received):
        book_stops.triggers(book, order, event)
        if order.order_id in book.lists.of_order:
            book_lists.owe(book, order.order_id)
    elif order.order_id in book.lists.waiting:
        book_lists.goes_live(book, order, is_due)
    else:
        book.violate(Invariant.DONE, "an order comes once", order.order_id, "nothing", f"it at {event.sequence}")


def _is_next(book: FollowedBook, order_id: int) -> bool:
    """Whether it is due; whoever is before it must have ended meanwhile."""
    queue = book.queue
    while queue and queue[0] not in book.orders:
        queue.popleft()
    if order_id not in queue:
        return False
    if queue[0] != order_id:
        rule = book_stops.oldest_first if order_id in book.sleepers.by_id else _in_turn
        rule(book, order_id, queue[0])
    queue.remove(order_id)
    return True


def _in_turn(book: FollowedBook, order_id: int, before: int) -> None:
    book.violate(
        Invariant.LISTS, "children come in the order of their list, before any stop", order_id,
        f"order {before} first", "it",
    )  # fmt: skip


def all_came(book: FollowedBook) -> None:
    """At the end of an entry."""
    between_two(book)
    for order in [one for one in book.used_up.values() if one.left > 0]:
        del book.used_up[order.order_id]  # an iceberg that never came back, which was said
    for order_id in book.queue:
        if order_id not in book.orders:
            continue
        sleeper = book.sleepers.by_id.get(order_id)
        if sleeper is not None:
            book.violate(
                Invariant.STOPS, "a stop triggers in the entry in which the last trade passes its stop price",
                order_id, f"it, standing at {sleeper.stop_price} with the last trade at {book.last_price}", "it asleep",
            )  # fmt: skip
        else:
            book.violate(
                Invariant.LISTS, "children go live in the entry in which their parent is filled", order_id,
                "it on the book", "it waiting",
            )  # fmt: skip
    book.queue.clear()
    book.is_watched = bool(book.sleepers.by_id or book.lists.of_order or book.lists.waiting)
