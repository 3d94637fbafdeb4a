"""What an order has to hold: the worst that its book can still make it pay or deliver.

Laws of this file:

1. Fees are ``ppm`` of the cost, rounded up once per order: after each fill, the fees so far add up to
   ``ceil(cost so far x ppm / 1e6)``. ``fee_rest`` (0 <= rest < 1e6, in millionths of the smallest unit) is what that
   rounding has charged ahead.
2. A hold covers what its order can still cost, whatever of what is on its way to the book the book will do. By (1),
   ``with_fee(before) >= cost + fee + with_fee(after)`` for every fill that costs no more than the lots it takes were
   held for.
3. Two rivals of a list, of which a fill, the trigger or the end of one ends the other, never both cost something: they
   hold together what the dearer needs. The book cancels one in the entry in which the other is filled; there, and
   where one closes, the ledger moves what the other needs to it first.
4. What an order that waits behind its parent needs may be ``due``: up to what the parent surely brings when all of it
   is filled. Each fill of the parent is followed by the hold of as much of what it brought, in the same entry, before
   anybody else can have it. The book lets the waiting orders in behind the last fill, and only if all was filled.
"""

from shared.instrument import Instrument
from workers.ledger.orders import OpenOrder

MILLION = 1_000_000
"""Fee rates are in parts per million."""


def charge(cost: int, rate: int, fee_rest: int) -> tuple[int, int]:
    """The fee of one more fill of an order, and the order's new ``fee_rest``."""
    exact = cost * rate - fee_rest
    if exact <= 0:
        return 0, -exact
    fee = -(-exact // MILLION)
    return fee, fee * MILLION - exact


def with_fee(cost: int, rate: int, fee_rest: int = 0) -> int:
    """What has to be held for spending ``cost``: the cost and the fee still to come."""
    exact = cost * rate - fee_rest
    return cost - (-exact // MILLION) if exact > 0 else cost


def spendable(hold: int, rate: int) -> int:
    """The largest cost that ``hold`` covers together with its fee."""
    return hold * MILLION // (MILLION + rate)


def buy_hold(instrument: Instrument, price: int, quantity: int, rate: int, fee_rest: int = 0) -> int:
    """What a buy of ``quantity`` at ``price`` or better can still cost."""
    return with_fee(price * quantity * instrument.tick_value, rate, fee_rest)


def brings(side: str, instrument: Instrument, price: int, quantity: int, rate: int, fee_rest: int = 0) -> int:
    """What an order surely brings when all of ``quantity`` is filled at ``price`` or better (0: at any)."""
    if side == "buy":
        return quantity * instrument.lot_value
    cost = price * quantity * instrument.tick_value
    return 2 * cost - with_fee(cost, rate, fee_rest)


def needed_hold(order: OpenOrder, instrument: Instrument, remaining: int, filled: int, fee_rest: int) -> int:
    """What the order has to hold when ``remaining`` lots of it are left and ``filled`` are not.

    A buy that its funds bound keeps what it has: its book may still spend all of it, and it is done in the same moment.
    Any other buy has a price that it will not go beyond, a market stop its bound (which a trailing stop that wakes may
    narrow, but never widen).
    """
    if order.amends:
        return _needed_under_way(order, instrument, remaining, filled, fee_rest)
    if order.side == "sell":
        return remaining * instrument.lot_value
    if order.funds:
        return _funds_left(order)
    return buy_hold(instrument, order.price, remaining, max(order.maker_fee, order.taker_fee), fee_rest)


def _funds_left(order: OpenOrder) -> int:
    """What a buy bounded by funds can still spend. One by size has nobody that it shares its hold with."""
    return order.specified_funds - order.executed_value - order.fees if order.specified_funds else order.hold


def still_needed(order: OpenOrder, instrument: Instrument) -> int:
    """What the order as it is has to hold."""
    return needed_hold(order, instrument, order.remaining, order.filled, order.fee_rest)


def _needed_under_way(order: OpenOrder, instrument: Instrument, remaining: int, filled: int, fee_rest: int) -> int:
    """The same while amends are on their way, each of which the book may carry out or refuse, between any two fills.

    A buy holds for each lot the highest price at which it can still be bought: the n-th lot (filled ones included) by
    any terms with a total of n or more. Self-trade prevention only makes totals smaller.
    """
    terms = reachable(order, filled + remaining)
    most = max(total for _, total in terms)
    if order.side == "sell":
        return (most - filled) * instrument.lot_value
    if order.funds:
        return _funds_left(order)
    cost = highest = 0
    steps = sorted(terms, key=lambda one: -one[1])
    for (price, total), (_, below) in zip(steps, [*steps[1:], (0, filled)], strict=True):
        highest = max(highest, price)
        cost += highest * max(0, total - max(below, filled))
    rate = max(order.maker_fee, order.taker_fee)
    return with_fee(cost * instrument.tick_value, rate, fee_rest)


def reachable(order: OpenOrder, total: int) -> set[tuple[int, int]]:
    """The terms (price, total lots) that an order of ``total`` lots has or can come to have."""
    terms = {(order.price, total)}
    for one in order.amends:
        terms |= {(one.price or price, one.quantity or lots) for price, lots in terms}
    return terms
