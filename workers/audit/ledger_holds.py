"""What an order has to hold, worked out anew from its terms; and what two rivals of a list hold together.

A fill, the trigger or the end of one rival ends the other in the same moment, so they hold what the dearer needs.
"""

from collections.abc import Iterator
from itertools import accumulate, pairwise

from shared.instrument import Instrument
from shared.messages import HoldMoved
from workers.audit.invariants import Invariant
from workers.audit.ledger_state import MILLION, FollowedLedger, OwnedOrder


def need(order: OwnedOrder, instrument: Instrument) -> int:
    """The most that an order can still cost, whatever of the amends on their way its book does."""
    one = order.accepted
    if one.side == "sell":
        return (reachable(order)[-1][0] if order.amends else order.remaining) * instrument.lot_value
    if one.funds:
        # What the request named is what it may spend. One by size, before anybody traded, holds what there was.
        spent = order.executed_value + order.fees
        return one.specified_funds - spent if one.specified_funds else max(0, order.hold) + order.due
    cost = (dearest(reachable(order)) if order.amends else order.price * order.remaining) * instrument.tick_value
    return cost + max(0, -((order.fee_rest - cost * max(one.maker_fee, one.taker_fee)) // MILLION))


def reachable(order: OwnedOrder) -> list[tuple[int, int]]:
    """Lots left and price, now and after any choice of the amends on their way: each is done, or refused."""
    found = {(order.remaining, order.price)}
    for amend in order.amends:
        total = max(0, amend.quantity - order.filled)
        found |= {(total if amend.quantity else left, amend.price or price) for left, price in found}
    return sorted(found)


def dearest(terms: list[tuple[int, int]]) -> int:
    """The most that lots can cost, where the n-th next one may be bought at the price of any term with n or more."""
    highest = list(accumulate((price for _, price in reversed(terms)), max))[::-1]
    return sum((left - before) * price for (before, left), price in zip(_steps(terms), highest, strict=True))


def _steps(terms: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    return pairwise([0, *(left for left, _ in terms)])


def check_hold(ledger: FollowedLedger, order: OwnedOrder) -> None:
    """An order holds what it needs, but for what is due; of two rivals, what one does not hold, the other does."""
    one, instrument = order.accepted, ledger.instruments.get(order.accepted.instrument)
    if instrument is None:
        ledger.violate(Invariant.ACCEPTED, f"order {one.order_id} is of {one.instrument}, which is not known")
        return
    ledger.findings.checked[Invariant.HOLDS] += 1
    needed = need(order, instrument)
    rival = ledger.orders.get(order.rival) if order.rival else None
    if rival is not None:
        _check_together(ledger, order, rival, max(needed, need(rival, instrument)))
    elif order.hold + order.due != needed:
        ledger.violate_rule(
            Invariant.HOLDS, "an order holds what it needs", one.order_id, needed - order.due, order.hold
        )  # fmt: skip


def _check_together(ledger: FollowedLedger, order: OwnedOrder, rival: OwnedOrder, needed: int) -> None:
    due = order.due + rival.due
    if order.hold + rival.hold + due != needed or min(order.hold, rival.hold) < 0:
        ledger.violate_rule(
            Invariant.HOLDS, "two rivals hold together what the dearer of them needs", order.accepted.order_id,
            f"{needed - due} with order {order.rival}", f"{order.hold} + {rival.hold}",
        )  # fmt: skip


# --- rivals --------------------------------------------------------------------------------------


def are_rivals(ledger: FollowedLedger) -> None:
    """At the end of an entry: whoever was accepted as a rival has one, and is its."""
    for order_id, rival_id in ledger.named_rivals:
        order, rival = ledger.orders.get(order_id), ledger.orders.get(rival_id)
        same = order is not None and rival is not None and rival.accepted.rival == order_id
        same = same and _kind(order) == _kind(rival)
        ledger.check(
            Invariant.LISTS, same, "rivals are two orders of one account, instrument and side, each the other's",
            order_id, f"order {rival_id} with rival {order_id}", f"rival {rival.accepted.rival if rival else 0}",
        )  # fmt: skip
    ledger.named_rivals.clear()


def _kind(order: OwnedOrder | None) -> tuple[int, str, str] | None:
    return (order.accepted.account, order.accepted.instrument, order.accepted.side) if order is not None else None


def part(ledger: FollowedLedger, order: OwnedOrder, *, filled: bool) -> None:
    """One of two rivals is filled, or closed: from here on each holds for itself.

    Where something is due to one of them their parent is not filled: what closes one of them closes the other with it.
    """
    rival = ledger.orders.get(order.rival)
    order.rival = 0
    if rival is None:
        return
    rival.rival = 0
    if filled or order.due or rival.due:
        ledger.left_alone[rival.accepted.order_id] = order.accepted.order_id
    else:
        check_hold(ledger, rival)


def moved(ledger: FollowedLedger, event: HoldMoved) -> None:
    """Looks at a hold that goes from one rival to the other, and moves it."""
    giver, order = ledger.orders.get(event.from_order_id), ledger.orders.get(event.order_id)
    if giver is None or order is None or (giver.rival, order.rival) != (event.order_id, event.from_order_id):
        ledger.violate_rule(
            Invariant.LISTS, "a hold moves only between two rivals", event.order_id, "its rival's",
            f"{event.amount} of order {event.from_order_id}",
        )  # fmt: skip
        return
    ledger.check(
        Invariant.HOLDS, 0 < event.amount <= giver.hold and order.accepted.account == event.account,
        "a rival gives no more than it holds", event.from_order_id, f"1 to {giver.hold}", event.amount,
    )  # fmt: skip
    giver.hold -= event.amount
    order.hold += event.amount


def rivals_are_closed(ledger: FollowedLedger) -> None:
    """At the end of an entry: whose rival was filled, or closed before their parent was filled, is closed."""
    for order_id, other in ledger.left_alone.items():
        ledger.check(
            Invariant.LISTS, order_id not in ledger.orders, "of two rivals only one is filled: the other closes in "
            "the same entry", order_id, f"its end because of order {other}", "it open",
        )  # fmt: skip
    ledger.left_alone.clear()
