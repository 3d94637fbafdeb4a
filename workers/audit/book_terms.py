"""Terms: what an order asked for binds the book, from when it comes to how it ends."""

from collections.abc import Callable
from itertools import groupby
from operator import attrgetter

from shared.errors import RejectReason
from shared.messages import Conditions, Done, Match, Open
from workers.audit.book_expiry import ends_in_time
from workers.audit.book_lists import is_of_list
from workers.audit.book_modes import REASONS, refuses_rightly
from workers.audit.book_self_trade import ends as ends_for_self_trade
from workers.audit.book_state import FollowedBook
from workers.audit.invariants import Invariant
from workers.audit.naive_book import KnownOrder, Terms

PARTS_MAX = 1_000
NO_CONDITIONS = Conditions()
AT_ONCE = ("IOC", "FOK")


# --- when it comes -------------------------------------------------------------------------------


def goes_together(book: FollowedBook, order: KnownOrder) -> None:
    """Looks at what an order that is taken up asks for."""
    terms = order.terms
    book.findings.checked[Invariant.TERMS] += 1
    if terms.conditions is None and is_plain(terms):
        return
    if wrong := contradiction(terms, terms.conditions or NO_CONDITIONS):
        book.violate(
            Invariant.TERMS, "what does not go together is refused", order.order_id, "a refusal", wrong
        )  # fmt: skip


def is_plain(terms: Terms) -> bool:
    """Whether all of an order without conditions goes together: the quick look at what nearly all orders are."""
    if terms.order_type == "market":
        return not terms.post_only and (terms.quantity > 0 or terms.funds > 0) and terms.time_in_force != "GTT"
    waits = terms.time_in_force == "GTC" or (terms.time_in_force != "GTT" and not terms.post_only)
    return terms.price > 0 < terms.quantity and not terms.funds and waits


def contradiction(terms: Terms, asked: Conditions) -> str:
    """What of an order does not go together; nothing if all does."""
    is_limit, trails = terms.order_type == "limit", bool(asked.trail or asked.trail_bps)
    wrong = {
        "a limit order without price or quantity": is_limit and not (terms.price > 0 and terms.quantity > 0),
        "a limit order with funds": is_limit and terms.funds,
        "a market order without quantity and funds": not is_limit and not (terms.quantity or terms.funds),
        "post-only that takes": terms.post_only and (not is_limit or terms.time_in_force in AT_ONCE),
        "GTT without an end, or an end without GTT": (terms.time_in_force == "GTT") != bool(asked.expires),
        "an end of what never waits": asked.expires and not (is_limit or asked.stop),
        "a post-only stop": asked.stop and terms.post_only,
        "a stop that stands nowhere, or twice": asked.stop and trails == bool(asked.stop_price),
        "a stop price or trail without a stop": not asked.stop and (trails or asked.stop_price),
        "two trails": asked.trail and asked.trail_bps,
        "a trailing stop with a limit": trails and is_limit,
        "a trail in the wrong direction": trails and (asked.stop == "loss") != (terms.side == "sell"),
        "an iceberg that never rests": asked.display_quantity and (not is_limit or terms.time_in_force in AT_ONCE),
        "an iceberg that shows too much or too little": asked.display_quantity
        and not asked.display_quantity <= terms.quantity <= PARTS_MAX * asked.display_quantity,
        "a minimum above the quantity": asked.min_quantity > terms.quantity,
        "a minimum with funds or post-only": asked.min_quantity and (terms.funds or terms.post_only),
    }
    return next((what for what, is_so in wrong.items() if is_so), "")


# --- while it trades -----------------------------------------------------------------------------


def within_limit(book: FollowedBook, order: KnownOrder, event: Match) -> None:
    """Looks at a trade that is worse than its taker, or a party of an auction, allows."""
    book.violate(
        Invariant.TERMS, "no order trades beyond its limit, and none that is post-only takes", order.order_id,
        f"{order.side}s at {order.price or 'any price'}{', post-only' if order.terms.post_only else ''}",
        f"trade {event.trade_id} at {event.price} with a {event.side}er",
    )  # fmt: skip


def within_collar(book: FollowedBook, order: KnownOrder, event: Match) -> None:
    """Looks at a trade while the instrument has a price collar."""
    bound = book.bound(order)
    worse = event.price > bound if order.side == "buy" else event.price < bound
    book.check(
        Invariant.COLLAR, not (bound and worse), "no trade is beyond the collar around the last price before its "
        "command", order.order_id, f"{bound} or better", f"trade {event.trade_id} at {event.price}",
    )  # fmt: skip


# --- where it rests ------------------------------------------------------------------------------


def may_rest(book: FollowedBook, order: KnownOrder, event: Open) -> None:
    """Looks at an order that rests for the first time, or again after an amend."""
    terms = order.terms
    if terms.order_type != "limit" or terms.time_in_force in AT_ONCE or event.price != order.price:
        book.violate(
            Invariant.TERMS, "only limit orders without IOC or FOK rest, at their price", order.order_id,
            f"a {terms.time_in_force} {terms.order_type} order at {order.price}", f"it at {event.price}",
        )  # fmt: skip


def gets_its_minimum(book: FollowedBook, order: KnownOrder) -> None:
    """Looks at an order that rests or ends after it came, without being refused."""
    conditions = order.terms.conditions
    if conditions is not None and conditions.min_quantity and not book.comes_again:
        book.check(
            Invariant.TERMS, book.taken >= conditions.min_quantity,
            "an order with a minimum quantity gets it at once, or nothing", order.order_id,
            f"at least {conditions.min_quantity} lots", book.taken,
        )  # fmt: skip


# --- how it ends ---------------------------------------------------------------------------------


def ends_rightly(book: FollowedBook, order: KnownOrder, event: Done) -> None:
    """Looks at the end of an order that just came, and of any that has a cause."""
    if order is book.arriving:
        arrival_ends(book, order, event)
    if event.cause is None:
        return
    if event.cause in REASONS:
        refuses_rightly(book, order.order_id, event.cause, came=True)
    elif (rule := CAUSES.get(event.cause)) is not None:
        rule(book, order)


def arrival_ends(book: FollowedBook, order: KnownOrder, event: Done) -> None:
    """Looks at an order that came, and does not rest."""
    if order.terms.conditions is not None and book.taken:
        gets_its_minimum(book, order)
    if event.reason != "canceled":
        return
    if book.taken and order.terms.time_in_force == "FOK" and not order.terms.funds:
        book.violate(
            Invariant.TERMS, "fill-or-kill trades all or nothing", order.order_id, "no trade",
            f"{book.taken} lots traded, {order.left} left",
        )  # fmt: skip
    if event.cause is None:
        book.violate(
            Invariant.TERMS, "an order that comes does not end without a cause", order.order_id, "a cause", "none"
        )  # fmt: skip


def had_nobody(book: FollowedBook, order: KnownOrder) -> None:
    """Looks at an order that ends because it found nobody (more) to trade with."""
    against = book.against(order)
    book.findings.checked[Invariant.TERMS] += 1
    if not order.terms.funds and against.meets(order.price):
        front = against.front()
        book.violate(
            Invariant.TERMS, "an order trades on while somebody is there to trade with", order.order_id,
            f"a trade with order {front.order_id if front else 0}", "its end",
        )  # fmt: skip


def was_short(book: FollowedBook, order: KnownOrder) -> None:
    """Looks at an order that ends because it would not have got enough at once."""
    conditions = order.terms.conditions or NO_CONDITIONS
    wanted = order.left if order.terms.time_in_force == "FOK" else conditions.min_quantity
    book.findings.checked[Invariant.TERMS] += 1
    if book.taken or surely_fillable(book, order, wanted):
        book.violate(
            Invariant.TERMS, "fill-or-kill and minimum quantity end an order only if there is too little, and before "
            "it trades", order.order_id, f"{wanted} lots traded", f"its end after {book.taken}",
        )  # fmt: skip


def surely_fillable(book: FollowedBook, order: KnownOrder, wanted: int) -> bool:
    """Whether it would get so much at once. False where own orders, lists or funds make that hard to say."""
    bound = book.bound(order)
    if order.terms.funds or not wanted:
        return False
    for price, level in groupby(book.against(order), key=attrgetter("price")):
        hidden = 0  # comes behind all that is shown at the price
        if bound and (price > bound if order.side == "buy" else price < bound):
            return False
        for one in level:
            if one.account == order.account or one.order_id in book.lists.of_order:
                return False
            wanted -= one.shown
            hidden += one.left - one.shown
            if wanted <= 0:
                return True
        wanted -= hidden
        if wanted <= 0:
            return True
    return False


def would_take(book: FollowedBook, order: KnownOrder) -> None:
    """Looks at a post-only order that is refused when it comes."""
    book.check(
        Invariant.TERMS, order.terms.post_only and book.against(order).meets(order.price) and not book.taken,
        "post-only is refused only where it would take", order.order_id, "it on the book", "its end",
    )  # fmt: skip


def was_beyond_collar(book: FollowedBook, order: KnownOrder) -> None:
    """Looks at an order that ends because of the collar: somebody is there, but too far away."""
    against, bound = book.against(order), book.bound(order)
    book.check(
        Invariant.COLLAR, against.meets(order.price) and bool(bound) and not against.meets(bound),
        "the collar ends only an order that could trade beyond it", order.order_id,
        f"the best of the other side within {order.price or 'any price'} and beyond {bound}", against.best(),
    )  # fmt: skip


CAUSES: dict[RejectReason, Callable[[FollowedBook, KnownOrder], None]] = {
    RejectReason.IMMEDIATE_OR_CANCEL: had_nobody,
    RejectReason.NO_LIQUIDITY: had_nobody,
    RejectReason.FILL_OR_KILL: was_short,
    RejectReason.MINIMUM_QUANTITY: was_short,
    RejectReason.POST_ONLY: would_take,
    RejectReason.PRICE_COLLAR: was_beyond_collar,
    RejectReason.EXPIRED: ends_in_time,
    RejectReason.LINKED_ORDER: is_of_list,
    RejectReason.SELF_TRADE: ends_for_self_trade,
}
