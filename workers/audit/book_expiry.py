"""GTT: what has expired is gone before anything else can happen to it."""

from collections.abc import Iterable
from itertools import takewhile

from shared.errors import RejectReason
from shared.messages import BookEvent, Done
from workers.audit.book_state import FollowedBook
from workers.audit.invariants import Invariant
from workers.audit.naive_book import KnownOrder

BEFORE = (RejectReason.EXPIRED, RejectReason.LINKED_ORDER)
"""Causes of the ends that come before what the command asked for."""


def time_goes_on(book: FollowedBook, time: int) -> None:
    """The time of a book never goes back."""
    if time < book.time:
        book.violate(Invariant.EXPIRY, "the time of a book never goes back", 0, f"{book.time} or later", time)
    book.time = time


def expired_first(book: FollowedBook, events: Iterable[BookEvent]) -> None:
    """Looks at how an entry begins; a leg that the end of another took along need not expire itself."""
    leading = [event for event in takewhile(_ends_before, events) if isinstance(event, Done)]
    linked = {event.order_id for event in leading if event.cause is RejectReason.LINKED_ORDER}
    found = [event.order_id for event in leading if event.order_id not in linked]
    due = [order_id for order_id in book.deadlines.due(book.time, book.orders) if order_id not in linked]
    late = next((order_id for order_id in due if order_id not in found), due[0] if due else 0)
    book.check(
        Invariant.EXPIRY, found == due, "what has expired is gone before anything can meet it, the earliest first",
        late, f"the ends of {due} before all else", f"those of {found}",
    )  # fmt: skip


def _ends_before(event: BookEvent) -> bool:
    return isinstance(event, Done) and event.reason == "canceled" and event.cause in BEFORE


def ends_in_time(book: FollowedBook, order: KnownOrder) -> None:
    """Looks at an order that is said to have expired."""
    expires = _expires(order)
    book.check(
        Invariant.EXPIRY, 0 < expires <= book.time, "an order expires when its time has come, and no sooner",
        order.order_id, f"its end at {expires or 'no time'}", f"it at {book.time}",
    )  # fmt: skip


def comes_in_time(book: FollowedBook, order: KnownOrder) -> None:
    """Looks at an order that is taken up."""
    if expires := _expires(order):
        book.check(
            Invariant.EXPIRY, expires > book.time, "an order that has expired is not taken up", order.order_id,
            f"its refusal from {expires} on", f"it at {book.time}",
        )  # fmt: skip


def _expires(order: KnownOrder) -> int:
    return order.terms.conditions.expires if order.terms.conditions is not None else 0
