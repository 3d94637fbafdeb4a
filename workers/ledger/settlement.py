"""What money does: pure functions from an order and what happened to it to events, and from events to movements.

Laws of this file:

1. ``movements`` is the only reading of what a ledger event moves. The ledger, PostgreSQL and the audit use it.
2. Fees are ``ppm`` of the cost, rounded up once per order: after each fill, the fees so far add up to
   ``ceil(cost so far x ppm / 1e6)``. ``fee_rest`` (0 <= rest < 1e6, in millionths of the smallest unit) is what that
   rounding has charged ahead.
3. A hold always covers what its order can still cost. For a buy limit it is exactly ``buy_hold`` of what remains;
   the law of (2) makes ``buy_hold(before) >= cost + fee + buy_hold(after)`` for every fill at the limit or better.
"""

from functools import lru_cache
from typing import Literal

import msgspec

from shared.errors import CorruptState
from shared.instrument import Instrument
from shared.messages import (
    FEE_ACCOUNT,
    Accepted,
    Closed,
    Done,
    Filled,
    HoldReduced,
    LedgerEvent,
    Liquidity,
    Match,
    Side,
    Transferred,
)
from workers.ledger.orders import OpenOrder

MILLION = 1_000_000
"""Fee rates are in parts per million."""

MovementKind = Literal["transfer", "hold", "match", "fee"]


class Movement(msgspec.Struct, gc=False, frozen=True):
    """A change of one balance, in the currency's smallest units. ``available + held`` is its signed amount."""

    account: int
    currency: str
    available: int
    held: int
    kind: MovementKind


# --- rates and holds ---------------------------------------------------------------------------


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


def needed_hold(order: OpenOrder, instrument: Instrument, remaining: int, fee_rest: int) -> int:
    """What the order has to hold when ``remaining`` lots of it are left.

    A market buy keeps what it has: its book may still spend all of it, and it is done in the same moment.
    """
    if order.side == "sell":
        return remaining * instrument.lot_value
    if order.order_type == "market":
        return order.hold
    return buy_hold(instrument, order.price, remaining, max(order.maker_fee, order.taker_fee), fee_rest)


# --- what the book did, as ledger events ---------------------------------------------------------


def fill(order: OpenOrder, instrument: Instrument, match: Match, liquidity: Liquidity) -> Filled:
    """One side of a trade. Raises ``CorruptState`` if the order does not allow it."""
    side, price, quantity = order.side, match.price, match.quantity
    if order.price and (price > order.price if side == "buy" else price < order.price):
        raise _contradiction(order, f"traded at {price}, its limit is {order.price}")
    if order.quantity and quantity > order.remaining:
        raise _contradiction(order, f"traded {quantity} lots, it has {order.remaining} left")
    if (match.side == side) != (liquidity == "M"):
        raise _contradiction(order, f"is the {match.side} side's {liquidity} of trade {match.trade_id}, but a {side}")
    cost = price * quantity * instrument.tick_value
    fee, rest = charge(cost, order.maker_fee if liquidity == "M" else order.taker_fee, order.fee_rest)
    released = 0
    if side == "buy":
        spent = cost + fee
        if order.order_type == "limit":
            released = order.hold - spent - needed_hold(order, instrument, order.remaining - quantity, rest)
        if released < 0 or spent > order.hold:
            raise _contradiction(order, f"costs {spent} in trade {match.trade_id}, it holds {order.hold}")
    return Filled(
        order.account, order.order_id, order.instrument, match.trade_id, match.sequence, side, liquidity, price,
        quantity, cost, quantity * instrument.lot_value, fee, released, rest,
    )  # fmt: skip


def reduction(order: OpenOrder, instrument: Instrument, remaining: int) -> HoldReduced:
    """The order has only ``remaining`` lots left, without a trade. Raises ``CorruptState`` if it had fewer."""
    if order.quantity and not 0 <= remaining <= order.remaining:
        raise _contradiction(order, f"was reduced to {remaining} lots, it has {order.remaining} left")
    released = order.hold - needed_hold(order, instrument, remaining, order.fee_rest)
    return HoldReduced(order.account, order.order_id, order.instrument, remaining, released, order.side)


def closure(order: OpenOrder, done: Done) -> Closed:
    """The order is done. Raises ``CorruptState`` if book and ledger disagree on what is left of it."""
    if order.order_type == "limit" and done.remaining != order.remaining:
        raise _contradiction(order, f"is done with {done.remaining} lots left, the ledger has {order.remaining}")
    return Closed(
        order.account, order.order_id, order.instrument, done.reason, order.hold, done.remaining, done.cause, order.side
    )


def _contradiction(order: OpenOrder, what: str) -> CorruptState:
    return CorruptState(
        f"{order.instrument}: {order.side} order {order.order_id} of account {order.account} {what}; "
        'run "matchbox audit"'
    )


# --- what events move ------------------------------------------------------------------------------


def taken_from_hold(event: Filled | HoldReduced | Closed) -> int:
    """By how much the event makes its order's hold smaller."""
    if type(event) is not Filled:
        return event.released
    return event.cost + event.fee + event.released if event.side == "buy" else event.base_amount


def movements(event: LedgerEvent) -> list[Movement]:
    """What a ledger event moves, in an order in which no balance becomes negative; [] for events without money.

    The currencies are in the instrument's symbol. The fee account is that of the shard whose log the event is from.
    """
    match event:
        case Filled():
            return _trade(event)
        case Accepted():
            return _hold(event, event.hold)
        case Closed() | HoldReduced():
            return _hold(event, -event.released)
        case Transferred():
            return [Movement(event.account, event.currency, event.amount, 0, "transfer")]
        case _:
            return []


def hold_currency(side: Side, symbol: str) -> str:
    """The currency that an order of the instrument holds."""
    base, quote = _currencies(symbol)
    return quote if side == "buy" else base


@lru_cache(maxsize=4096)
def _currencies(symbol: str) -> tuple[str, str]:
    base, _, quote = symbol.partition("-")
    return base, quote


def _hold(event: Accepted | HoldReduced | Closed, amount: int) -> list[Movement]:
    if not amount:
        return []
    return [Movement(event.account, hold_currency(event.side, event.instrument), -amount, amount, "hold")]


def _trade(event: Filled) -> list[Movement]:
    account, fee = event.account, event.fee
    base, quote = _currencies(event.instrument)
    if event.side == "buy":
        released = event.released
        moved = [
            Movement(account, quote, released, -event.cost - released, "match"),
            Movement(account, base, event.base_amount, 0, "match"),
        ]
        if fee:
            moved.append(Movement(account, quote, 0, -fee, "fee"))
            moved.append(Movement(FEE_ACCOUNT, quote, fee, 0, "fee"))
        return moved
    moved = [
        Movement(account, base, 0, -event.base_amount, "match"),
        Movement(account, quote, event.cost, 0, "match"),
    ]
    if fee:
        moved.append(Movement(account, quote, -fee, 0, "fee"))
        moved.append(Movement(FEE_ACCOUNT, quote, fee, 0, "fee"))
    return moved
