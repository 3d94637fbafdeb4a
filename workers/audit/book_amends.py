"""Amends: less at the same price keeps its place, anything else comes again."""

from shared.errors import RejectReason
from shared.messages import AmendRefused, Change
from workers.audit.book_icebergs import hides_less_first
from workers.audit.book_modes import CLOSED, lets_amend
from workers.audit.book_state import NOTHING, FollowedBook
from workers.audit.book_stops import follows_the_trades, stands_elsewhere
from workers.audit.invariants import Invariant
from workers.audit.naive_book import KnownOrder


def amended(book: FollowedBook, order: KnownOrder, event: Change) -> None:
    """Looks at an amend, and follows it."""
    lets_amend(book, order)
    as_it_was(book, order, event)
    sleeper = book.sleepers.by_id.get(order.order_id)
    if sleeper is not None:
        follows_the_trades(book, sleeper, event)
        stands_elsewhere(book, sleeper, event.price, event.new_quantity, event.stop_price)
    elif not order.rests:
        book.violate(
            Invariant.AMENDS, "only what rests or sleeps is amended", order.order_id, "a refusal", "a change"
        )  # fmt: skip
    elif event.price == order.price and event.new_quantity <= order.left:
        hides_less_first(book, order, event.new_quantity, event.hidden)
        order.left, order.shown = event.new_quantity, event.new_quantity - event.hidden
    else:
        come_again(book, order, event)


def as_it_was(book: FollowedBook, order: KnownOrder, event: Change) -> None:
    """Looks at what an amend tells of the order before, and that something is left of it after."""
    was, told = (order.price, order.left), (event.old_price, event.old_quantity)
    book.check(
        Invariant.AMENDS, was == told, "an amend tells of the order as it was", order.order_id,
        f"price and quantity {was}", told,
    )  # fmt: skip
    book.check(
        Invariant.AMENDS, event.new_quantity > 0 or not order.left, "an amend never goes below what is filled",
        order.order_id, "something left, or the end of the order", f"{event.new_quantity} lots left",
    )  # fmt: skip


def come_again(book: FollowedBook, order: KnownOrder, event: Change) -> None:
    """Follow an order that loses its place. What it does next, it does as one that arrives."""
    book.sides[order.side].remove(order)
    order.price, order.left = event.price, event.new_quantity
    book.arriving, book.comes_again, book.taken, book.must_end = order, True, 0, None
    book.prevented = NOTHING


def refused(book: FollowedBook, event: AmendRefused) -> None:
    """Looks at a refusal, as far as the book alone says whether it is right."""
    order, reason = book.orders.get(event.order_id), event.reason
    if book.instrument is None or reason is RejectReason.UNKNOWN_INSTRUMENT:
        is_right = book.instrument is None and reason is RejectReason.UNKNOWN_INSTRUMENT
    elif book.mode in CLOSED:
        is_right = reason is CLOSED[book.mode]
    elif reason is RejectReason.UNKNOWN_ORDER:
        is_right = order is None
    elif reason is RejectReason.POST_ONLY_MODE:
        is_right = book.mode == "post-only"
    elif reason is RejectReason.POST_ONLY:
        is_right = order is not None and order.terms.post_only
    else:
        is_right = reason not in CLOSED.values()
    book.check(
        Invariant.AMENDS, is_right, "an amend is refused for what is so", event.order_id,
        f"another answer while the order {'is' if order is None else 'is not'} gone, in mode {book.mode}", reason,
    )  # fmt: skip
