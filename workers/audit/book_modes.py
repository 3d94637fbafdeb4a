"""Modes: what an instrument lets in, and when it trades."""

from shared.errors import RejectReason
from shared.messages import Match
from workers.audit.book_state import FollowedBook
from workers.audit.invariants import Invariant
from workers.audit.naive_book import KnownOrder, Terms

R = RejectReason
CLOSED = {"halted": R.HALTED, "delisted": R.HALTED, "cancel-only": R.CANCEL_ONLY}
NARROW = {"post-only": R.POST_ONLY_MODE, "limit-only": R.LIMIT_ONLY_MODE, "auction": R.AUCTION_MODE}
TRADING = ("online", "limit-only")
REASONS = {*CLOSED.values(), *NARROW.values()}
ADMITS = "a mode lets in only what it admits"


def kept_out(mode: str, terms: Terms) -> RejectReason | None:
    """Why an order that comes to the book may not trade or rest there in this mode, if so."""
    if mode in CLOSED:
        return CLOSED[mode]
    conditions = terms.conditions
    minimum = conditions is not None and conditions.min_quantity
    admitted = {
        "post-only": terms.post_only,
        "limit-only": terms.order_type == "limit",
        "auction": terms.order_type == "limit" and terms.time_in_force in ("GTC", "GTT") and not minimum,
    }
    return None if admitted.get(mode, True) else NARROW[mode]


def lets_in(book: FollowedBook, order: KnownOrder, *, to_sleep: bool) -> None:
    """Looks at an order that is taken up. A stop may fall asleep wherever orders come in at all."""
    cause = CLOSED.get(book.mode) if to_sleep else kept_out(book.mode, order.terms)
    book.check(
        Invariant.MODES, cause is None, ADMITS, order.order_id, f"a refusal ({cause}) in mode {book.mode}",
        "it taken up",
    )  # fmt: skip


def lets_list_in(book: FollowedBook, order_id: int) -> None:
    """Looks at a list that is taken up."""
    cause = CLOSED.get(book.mode)
    book.check(
        Invariant.MODES, cause is None, ADMITS, order_id, f"a refusal ({cause}) in mode {book.mode}", "it taken up"
    )


def lets_amend(book: FollowedBook, order: KnownOrder) -> None:
    """Looks at an order that is amended."""
    cause = CLOSED.get(book.mode)
    if book.mode == "post-only" and order.rests and not order.terms.post_only:
        cause = R.POST_ONLY_MODE
    book.check(
        Invariant.MODES, cause is None, "a mode lets amend only what it lets in", order.order_id,
        f"a refusal ({cause}) in mode {book.mode}", "a change",
    )  # fmt: skip


def trades_now(book: FollowedBook, event: Match) -> None:
    """Looks at a trade that is not an auction's, where the mode is not online."""
    book.check(
        Invariant.MODES, book.mode in TRADING, "there is trade only while the instrument is online or limit-only",
        event.taker_order_id, f"no trade {event.trade_id} in mode {book.mode}", f"one at {event.price}",
    )  # fmt: skip


def may_stay(book: FollowedBook, order: KnownOrder, *, what: str) -> None:
    """Looks at a trade or a rest of an order that went live where the mode keeps it out."""
    if book.must_end is not None:
        book.violate(
            Invariant.MODES, "what goes live in a mode that keeps it out ends at once", order.order_id,
            f"its end ({book.must_end}) in mode {book.mode}", what,
        )  # fmt: skip


def refuses_rightly(book: FollowedBook, order_id: int, cause: RejectReason, *, came: bool) -> None:
    """Looks at a refusal because of the mode. ``came``: the order was let in, and ends for it."""
    due = book.must_end if came else CLOSED.get(book.mode) or NARROW.get(book.mode)
    book.check(
        Invariant.MODES, cause == due, "a refusal names the mode in force", order_id,
        f"{due or 'none'} in mode {book.mode}", cause,
    )  # fmt: skip
