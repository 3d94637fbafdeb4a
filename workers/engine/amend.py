"""Amending an order that rests or sleeps.

Less quantity at the same price keeps its place; anything else takes the order off the book and lets it come again. The
quantity asked for is the total, so that "reduce to N" means the same whatever was filled meanwhile.
"""

import msgspec

from shared.errors import RejectReason
from shared.messages import Amend, AmendRefused, BookEvent, Change
from workers.engine.ending import cancel_resting
from workers.engine.levels import RestingOrder
from workers.engine.placing import crosses, enter_again
from workers.engine.refusal import CLOSED, PARTS_MAX, malformed
from workers.engine.state import BookState
from workers.engine.stops import SleepingOrder


def amend(book: BookState, command: Amend) -> list[BookEvent]:
    """Change one order; or say why not, then it stays as it was."""
    order = book.orders.get(command.order_id)
    sleeping = book.stops.orders.get(command.order_id)
    cause = cannot_amend(book, command, order)
    if cause is None and order is not None:
        return amend_resting(book, command, order)
    if cause is None and sleeping is not None:
        return amend_sleeping(book, command, sleeping)
    return [refused(command, cause or RejectReason.UNKNOWN_ORDER)]


def refused(command: Amend, cause: RejectReason) -> AmendRefused:
    """The answer to an amend that changes nothing."""
    return AmendRefused(command.order_id, command.account, cause, command.request_id)


def cannot_amend(book: BookState, command: Amend, order: RestingOrder | None) -> RejectReason | None:
    """Why nobody, or not this order, may be amended that way now."""
    if book.instrument is None:
        return RejectReason.UNKNOWN_INSTRUMENT
    mode = book.instrument.mode
    if mode in CLOSED:
        return CLOSED[mode]
    if min(command.price, command.quantity, command.stop_price) < 0:
        return RejectReason.INVALID_ORDER
    if order is None:
        return RejectReason.INVALID_ORDER if command.order_id in book.lists.pending else None
    if command.stop_price:
        return RejectReason.INVALID_ORDER
    return RejectReason.POST_ONLY_MODE if mode == "post-only" and not order.post_only else None


def amend_resting(book: BookState, command: Amend, order: RestingOrder) -> list[BookEvent]:
    """Make it smaller in its place, or let it come again."""
    assert book.instrument is not None
    old, price = order.left(), command.price or order.price
    left = old + (command.quantity - order.quantity if command.quantity else 0)
    if left < 0:
        return [refused(command, RejectReason.QUANTITY_TOO_SMALL)]
    if order.conditions is not None and left > PARTS_MAX * (order.conditions.display_quantity or left):
        return [refused(command, RejectReason.INVALID_ORDER)]
    if left == 0:
        return [cancel_resting(book, order)]
    stays = price == order.price and left <= old
    if not stays and order.post_only and book.instrument.mode != "auction" and crosses(book, order, price):
        return [refused(command, RejectReason.POST_ONLY)]
    book.sequence += 1
    change = Change(
        book.sequence, order.order_id, order.account, order.side, price, old, left, "amend", order.price,
        request_id=command.request_id,
    )  # fmt: skip
    events: list[BookEvent] = [change]
    if stays:
        book.reduce(order, left)
        change.hidden = order.hidden
    else:
        again = msgspec.structs.replace(order)
        book.remove(order)
        enter_again(book, again, price, left, events)
    return events


def amend_sleeping(book: BookState, command: Amend, sleeping: SleepingOrder) -> list[BookEvent]:
    """A stop keeps its age. If its condition holds now, it triggers behind this command."""
    order, terms = sleeping.order, sleeping.order.conditions
    assert terms is not None
    if (command.stop_price and sleeping.trails()) or (command.quantity and not order.quantity):
        return [refused(command, RejectReason.INVALID_ORDER)]
    if command.stop_price:
        terms = msgspec.structs.replace(terms, stop_price=command.stop_price)
    price, quantity = command.price or order.price, command.quantity or order.quantity
    amended = msgspec.structs.replace(order, price=price, quantity=quantity, conditions=terms)
    cause = malformed(book, amended)
    if cause is not None:
        return [refused(command, cause)]
    book.sequence += 1
    change = Change(
        book.sequence, order.order_id, order.account, order.side, price, order.quantity, quantity, "amend",
        order.price, stop_price=command.stop_price or sleeping.stop_price, request_id=command.request_id,
    )  # fmt: skip
    book.amend_stop(sleeping, price, quantity, change.stop_price)
    return [change]
