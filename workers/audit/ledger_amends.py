"""Amends: each request gets exactly one end (amended, failed, or the end of its order), in the order of asking."""

import msgspec

from shared.messages import Amended, AmendFailed, AmendRequested
from shared.order_id import SHARD_BITS
from workers.audit.invariants import Invariant
from workers.audit.ledger_due import counts_on_enough
from workers.audit.ledger_holds import check_hold
from workers.audit.ledger_state import FollowedLedger, OwnedOrder

LATE_MAX = 100_000
"""Orders whose amends came too late that are remembered."""
ONCE = "each amend is answered once, in the order of asking"


def requested(ledger: FollowedLedger, order: OwnedOrder, event: AmendRequested) -> None:
    """An amend goes to the book. What it may need is held before."""
    ledger.check(
        Invariant.AMENDS, bool(event.price or event.quantity or event.stop_price) and event.hold >= 0,
        "an amend asks for something, and holds for it first", event.order_id, "a value, and a hold of 0 or more",
        f"hold {event.hold}",
    )  # fmt: skip
    ledger.check(
        Invariant.AMENDS, not order.due, "what waits behind another order is not amended", event.order_id, "a refusal",
        f"{order.due} due",
    )  # fmt: skip
    order.amends += (event,)
    ledger.release(order, -event.hold)
    check_hold(ledger, order)
    if order.children:
        counts_on_enough(ledger, order)


def amended(ledger: FollowedLedger, order: OwnedOrder, event: Amended) -> None:
    """Looks at an amend that the book has done, and follows it."""
    asked = _answer(ledger, order, event)
    if asked is not None:
        left = asked.quantity - order.filled if asked.quantity else order.remaining
        expected = (asked.price or order.price, asked.quantity or order.quantity, left, asked.stop_price)
        found = (event.price, event.quantity, event.remaining, event.stop_price)
        ledger.check(
            Invariant.AMENDS, expected == found, "an amend does what was asked for", event.order_id,
            f"price, quantity, remaining and stop price {expected}", found,
        )  # fmt: skip
    ledger.check(
        Invariant.AMENDS, event.remaining > 0 or not order.quantity, "an amend never goes below what is filled",
        event.order_id, "something left", f"{event.remaining} of {event.quantity}, filled {order.filled}",
    )  # fmt: skip
    order.price, order.quantity, order.remaining = event.price, event.quantity, event.remaining
    if event.stop_price and order.conditions is not None:
        order.conditions = msgspec.structs.replace(order.conditions, stop_price=event.stop_price)
    ledger.release(order, event.released)
    check_hold(ledger, order)


def failed(ledger: FollowedLedger, order: OwnedOrder | None, event: AmendFailed) -> None:
    """Looks at an amend that the book has refused. Was its order closed, then that was its end, and this repeats it."""
    if order is not None:
        _answer(ledger, order, event)
        ledger.release(order, event.released)
        check_hold(ledger, order)
        return
    late = ledger.late_amends.get(event.order_id)
    if late is None and event.order_id >> SHARD_BITS <= ledger.first_count:
        return  # it was closed before the audit's first entry
    late = late or []
    at = late.index(event.request_id) if event.request_id in late[:2] else -1  # the first may have ended the order
    ledger.check(
        Invariant.AMENDS, at >= 0 and not event.released, ONCE, event.order_id, f"one of {late} to come too late",
        f"{event.request_id}, and {event.released} released",
    )  # fmt: skip
    del late[: at + 1]


def closed(ledger: FollowedLedger, order: OwnedOrder) -> None:
    """The end of an order is that of the amends on their way. What the book says of them comes too late."""
    if order.amends:
        ledger.late_amends[order.accepted.order_id] = [one.request_id for one in order.amends]
        if len(ledger.late_amends) > LATE_MAX:
            ledger.late_amends.popitem(last=False)


def _answer(ledger: FollowedLedger, order: OwnedOrder, event: Amended | AmendFailed) -> AmendRequested | None:
    """The amend that is answered: the oldest on its way."""
    under_way = [one.request_id for one in order.amends]
    is_right = under_way[:1] == [event.request_id]
    ledger.check(
        Invariant.AMENDS, is_right, ONCE, event.order_id, f"the answer to the first of {under_way}", event.request_id
    )
    asked, order.amends = order.amends[:1], order.amends[1:]
    return asked[0] if is_right else None
