"""Icebergs: what they show at a time, and that the next part goes to the back of the queue."""

from shared.messages import Match, Open
from workers.audit.book_state import FollowedBook
from workers.audit.invariants import Invariant
from workers.audit.naive_book import KnownOrder


def takes_what_is_shown(book: FollowedBook, order: KnownOrder, event: Match) -> None:
    """Looks at a trade that takes more than its maker shows, though no more than it has."""
    book.violate(
        Invariant.ICEBERGS, "at one price all that is shown fills before what is hidden", order.order_id,
        f"at most {order.shown} lots in trade {event.trade_id}", event.quantity,
    )  # fmt: skip


def shows_its_part(book: FollowedBook, order: KnownOrder, event: Open) -> None:
    """Looks at an order that opens, or opens again with its next part."""
    conditions = order.terms.conditions
    display = conditions.display_quantity if conditions is not None else 0
    shown = min(order.left, display) if display else order.left
    book.check(
        Invariant.ICEBERGS, event.remaining == shown, "an order shows all it has, an iceberg its display quantity",
        order.order_id, f"{shown} of {order.left} lots shown", event.remaining,
    )  # fmt: skip


def refreshed_at_once(book: FollowedBook) -> None:
    """Before anything else happens to the book: whoever has shown all and has more, shows the next part."""
    for order in book.used_up.values():
        if order.left > 0:
            book.violate(
                Invariant.ICEBERGS, "the next part of an iceberg comes at once, to the back of its level",
                order.order_id, f"an open with some of its {order.left} lots", "none yet",
            )  # fmt: skip


def hides_less_first(book: FollowedBook, order: KnownOrder, left: int, hidden: int) -> None:
    """Looks at a resting order that got smaller without a trade; it shows what it showed, as far as that goes."""
    expected = max(0, left - order.shown)
    book.findings.checked[Invariant.ICEBERGS] += 1
    if hidden != expected:
        book.violate(
            Invariant.ICEBERGS, "an order that gets smaller hides less before it shows less", order.order_id,
            f"{expected} of {left} lots hidden", hidden,
        )  # fmt: skip
