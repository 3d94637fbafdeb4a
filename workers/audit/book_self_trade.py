"""Self-trade prevention: what happens to two orders of one account that meet, as the taker's flag says.

``dc`` cancels the smaller and takes its quantity off the larger, ``co`` cancels the resting one, ``cn`` the arriving
one, ``cb`` both. In an auction nobody takes: there it is ``dc``.
"""

from shared.messages import Change
from workers.audit.book_state import FollowedBook
from workers.audit.invariants import Invariant
from workers.audit.naive_book import OTHER, KnownOrder

RULE = "self-trade prevention touches two orders of one account that meet, as the taker's flag says"


def ends(book: FollowedBook, order: KnownOrder) -> None:
    """Looks at an order that is said to end because it met its own account."""
    if order.rests:
        holds = _meets_own(book, order, {"dc", "co", "cb"})
        book.prevented = (order.account, order.left)
    else:
        flag, front = order.terms.stp, book.against(order).front()
        alone = flag == "cn" and front is not None and front.account == order.account
        holds = order is book.arriving and (alone or (flag in ("dc", "cb") and book.prevented[0] == order.account))
    book.findings.checked[Invariant.SELF_TRADE] += 1
    if not holds:
        book.violate(
            Invariant.SELF_TRADE, RULE, order.order_id, "an order of its account that it meets",
            f"its end with {order.terms.stp}",
        )  # fmt: skip


def shrinks(book: FollowedBook, order: KnownOrder, event: Change) -> None:
    """Looks at an order that is said to get smaller because it met its own account."""
    taken, funds = event.old_quantity - event.new_quantity, order.terms.funds
    if not order.rests:
        account, lots = book.prevented
        holds = account == order.account and order.terms.stp == "dc" and (taken == lots or bool(funds))
    elif book.arriving is not None:
        by_funds = bool(book.arriving.terms.funds)
        holds = _meets_own(book, order, {"dc"}) and (taken == book.arriving.left or by_funds)
        book.prevented = (order.account, taken)
    else:
        holds = book.clearing is not None and book.prevented == (order.account, taken)
    book.findings.checked[Invariant.SELF_TRADE] += 1
    if not holds:
        book.violate(
            Invariant.SELF_TRADE, RULE, order.order_id, "dc, and the lots of the smaller taken off the larger",
            f"{taken} lots taken off",
        )  # fmt: skip


def _meets_own(book: FollowedBook, resting: KnownOrder, flags: set[str]) -> bool:
    """Whether a resting order is the next that the arriving one, or the first of the other side, would trade with."""
    if book.sides[resting.side].front() is not resting:
        return False
    taker = book.arriving
    if taker is None:
        other = book.sides[OTHER[resting.side]].front()
        ended = book.prevented == (resting.account, resting.left)  # two equal ones both go
        return book.clearing is not None and (ended or (other is not None and other.account == resting.account))
    meets = taker.side != resting.side and book.sides[resting.side].meets(book.bound(taker))
    return meets and taker.account == resting.account and taker.terms.stp in flags
