"""Why the book does not take an order up: the instrument's mode, the order's shape."""

from shared.errors import RejectReason
from shared.messages import Conditions, Place
from workers.engine.state import BookState

LASTING = ("GTC", "IOC", "FOK")
PARTS_MAX = 1_000
"""Parts in which an iceberg may be shown: a bound on what one arriving order can set off."""
WHOLE_BPS = 10_000
CLOSED = {
    "halted": RejectReason.HALTED,
    "delisted": RejectReason.HALTED,
    "cancel-only": RejectReason.CANCEL_ONLY,
}


def refusal(book: BookState, order: Place) -> RejectReason | None:
    """Why the book does not take the order up, if so."""
    if book.instrument is None:
        return RejectReason.UNKNOWN_INSTRUMENT
    mode = book.instrument.mode
    if mode != "online":
        cause = refused_by_mode(mode, order)
        if cause is not None:
            return cause
    return malformed(book, order)


def malformed(book: BookState, order: Place) -> RejectReason | None:
    """What is wrong with the order itself, in whatever mode."""
    if order.conditions is not None:
        cause = bad_conditions(order, order.conditions)
        if cause is None and 0 < order.conditions.expires <= book.time:
            cause = RejectReason.EXPIRED
        if cause is not None:
            return cause
    elif order.time_in_force == "GTT":
        return RejectReason.INVALID_ORDER
    if order.order_type == "limit":
        valid = order.price > 0 and order.quantity > 0 and not order.funds
        valid = valid and not (order.post_only and order.time_in_force in ("IOC", "FOK"))
    else:
        valid = order.price >= 0 and order.quantity >= 0 and order.funds >= 0 and bool(order.quantity or order.funds)
        valid = valid and not order.post_only
    return None if valid else RejectReason.INVALID_ORDER


def bad_conditions(order: Place, conditions: Conditions) -> RejectReason | None:
    """Whether what the order asks for goes together."""
    valid = min(conditions.expires, conditions.display_quantity, conditions.min_quantity) >= 0
    valid = valid and bool(conditions.expires) == (order.time_in_force == "GTT")
    if conditions.expires:
        valid = valid and (order.order_type == "limit" or bool(conditions.stop))
    if conditions.display_quantity:
        valid = valid and order.order_type == "limit" and order.time_in_force in ("GTC", "GTT")
        valid = valid and conditions.display_quantity <= order.quantity <= PARTS_MAX * conditions.display_quantity
    if conditions.min_quantity:
        valid = valid and conditions.min_quantity <= order.quantity and not order.funds and not order.post_only
    return None if valid and good_stop(order, conditions) else RejectReason.INVALID_ORDER


def good_stop(order: Place, conditions: Conditions) -> bool:
    """A stop has a stop price or trails; an order that is none has nothing of that."""
    trails = conditions.trail != 0 or conditions.trail_bps != 0
    if not conditions.stop:
        return not trails and not conditions.stop_price
    if order.post_only:
        return False
    if not trails:
        return conditions.stop_price > 0
    follows = "loss" if order.side == "sell" else "entry"
    if conditions.trail:
        one = conditions.trail > 0 and not conditions.trail_bps
    else:
        one = 0 < conditions.trail_bps <= WHOLE_BPS
    return one and conditions.stop == follows and order.order_type == "market" and not conditions.stop_price


def refused_by_mode(mode: str, order: Place) -> RejectReason | None:
    """Which orders a mode other than online keeps out. A stop may go to sleep wherever orders come in at all."""
    if mode in CLOSED:
        return CLOSED[mode]
    if order.conditions is not None and order.conditions.stop:
        return None
    if mode == "post-only":
        return None if order.post_only else RejectReason.POST_ONLY_MODE
    if mode == "limit-only":
        return None if order.order_type == "limit" else RejectReason.LIMIT_ONLY_MODE
    assert mode in ("auction", "online")
    if mode == "online":
        return None
    at_once = order.time_in_force in ("IOC", "FOK") or (order.conditions is not None and order.conditions.min_quantity)
    return RejectReason.AUCTION_MODE if order.order_type == "market" or at_once else None
