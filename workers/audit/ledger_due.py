"""Holds that are due: what waits behind a parent is paid with what that brings, before anybody else can have it."""

from shared.instrument import Instrument
from shared.messages import Filled, HoldFunded
from workers.audit.invariants import Invariant
from workers.audit.ledger_holds import reachable
from workers.audit.ledger_state import MILLION, FollowedLedger, OwnedOrder


def brings(parent: OwnedOrder, instrument: Instrument) -> int:
    """What the rest of an order brings at least when all of it is filled, whatever of its amends its book does."""
    one = parent.accepted
    if one.side == "buy":
        return reachable(parent)[0][0] * instrument.lot_value
    costs = (left * price * instrument.tick_value for left, price in reachable(parent))
    rate = max(one.maker_fee, one.taker_fee)
    return min(cost - max(0, -((parent.fee_rest - cost * rate) // MILLION)) for cost in costs)


def waits_behind(ledger: FollowedLedger, order: OwnedOrder) -> None:
    """Looks at an order that counts on what another one, of its account and accepted with it, will bring."""
    one, parent = order.accepted, ledger.orders.get(order.accepted.parent)
    fits = parent is not None and (parent.accepted.account, parent.accepted.instrument) == (one.account, one.instrument)
    ledger.check(
        Invariant.LISTS, fits and one.due > 0, "what waits behind an order is of its account and instrument",
        one.order_id, f"order {one.parent} of account {one.account}, and something due", f"{one.due} due",
    )  # fmt: skip
    if parent is not None:
        parent.children += (one.order_id,)
        counts_on_enough(ledger, parent)


def counts_on_enough(ledger: FollowedLedger, parent: OwnedOrder) -> None:
    """Looks at a parent: what is due behind it is no more than it brings. One that shrank never lets them go live."""
    instrument = ledger.instruments.get(parent.accepted.instrument)
    if instrument is None or parent.shrunk:
        return
    due = sum(child.due for child in map(ledger.orders.get, parent.children) if child is not None)
    least = brings(parent, instrument)
    ledger.check(
        Invariant.HOLDS, due <= least, "what waits behind an order counts on no more than that surely brings",
        parent.accepted.order_id, f"{least} or less", due,
    )  # fmt: skip


def fill_brings(ledger: FollowedLedger, parent: OwnedOrder, event: Filled) -> None:
    """A fill of a parent: as much of what it brings as is due has to be held for its children next, in their order."""
    left = event.base_amount if event.side == "buy" else event.cost - event.fee
    for order_id in parent.children:
        child = ledger.orders.get(order_id)
        if child is not None and (amount := min(left, child.due)):
            left -= amount
            ledger.unfunded.append((order_id, amount))


def funded(ledger: FollowedLedger, event: HoldFunded) -> None:
    """Looks at a hold of an open order out of what its parent's fill brought, and follows it."""
    due = ledger.unfunded.popleft() if ledger.unfunded else (0, 0)
    ledger.check(
        Invariant.HOLDS, due == (event.order_id, event.amount),
        "what a parent's fill brings is held for whom it is due to, at once", event.order_id,
        f"{due[1]} for order {due[0]}", event.amount,
    )  # fmt: skip
    order = ledger.orders[event.order_id]
    order.due -= event.amount
    ledger.release(order, -event.amount)


def all_is_funded(ledger: FollowedLedger) -> None:
    """Before the next fill, and at the end of an entry."""
    for order_id, amount in ledger.unfunded:
        ledger.violate_rule(
            Invariant.HOLDS, "what a parent's fill brings is held for whom it is due to, at once", order_id,
            f"{amount} more held", "nothing",
        )  # fmt: skip
    ledger.unfunded.clear()
