"""What money does: pure functions from an order and what happened to it to events, and from events to movements.

Laws of this file:

1. ``movements`` is the only reading of what a ledger event moves. The ledger, PostgreSQL and the audit use it.
2. A fill is paid out of its order's hold (holds.py says how large that is), and what it leaves too large is released.
"""

from functools import lru_cache
from typing import Literal

import msgspec

from shared.errors import CorruptState
from shared.instrument import Instrument
from shared.messages import (
    FEE_ACCOUNT,
    Accepted,
    Amended,
    AmendFailed,
    AmendRefused,
    AmendRequested,
    Change,
    Closed,
    Done,
    Filled,
    HoldFunded,
    HoldReduced,
    LedgerEvent,
    Liquidity,
    Match,
    Side,
    Transferred,
)
from workers.ledger.holds import charge, needed_hold, still_needed
from workers.ledger.orders import AskedAmend, OpenOrder

MovementKind = Literal["transfer", "hold", "match", "fee"]


class Movement(msgspec.Struct, gc=False, frozen=True):
    """A change of one balance, in the currency's smallest units. ``available + held`` is its signed amount."""

    account: int
    currency: str
    available: int
    held: int
    kind: MovementKind


# --- what the book did, as ledger events ---------------------------------------------------------


def fill(order: OpenOrder, instrument: Instrument, match: Match, liquidity: Liquidity) -> Filled:
    """One side of a trade. Raises ``CorruptState`` if the order does not allow it."""
    side, price, quantity = order.side, match.price, match.quantity
    if order.price and (price > order.price if side == "buy" else price < order.price):
        raise _contradiction(order, f"traded at {price}, its limit is {order.price}")
    if order.quantity and quantity > order.remaining:
        raise _contradiction(order, f"traded {quantity} lots, it has {order.remaining} left")
    if (match.side == side) != (liquidity == "M") and not match.auction:
        raise _contradiction(order, f"is the {match.side} side's {liquidity} of trade {match.trade_id}, but a {side}")
    cost = price * quantity * instrument.tick_value
    fee, rest = charge(cost, order.maker_fee if liquidity == "M" else order.taker_fee, order.fee_rest)
    released = 0
    if side == "buy":
        spent = cost + fee
        if not order.funds:
            released = (
                order.hold
                - spent
                - needed_hold(order, instrument, order.remaining - quantity, order.filled + quantity, rest)
            )
        if released < 0 or spent > order.hold:
            raise _contradiction(order, f"costs {spent} in trade {match.trade_id}, it holds {order.hold}")
    return Filled(
        order.account, order.order_id, order.instrument, match.trade_id, match.sequence, side, liquidity, price,
        quantity, cost, quantity * instrument.lot_value, fee, released, rest,
    )  # fmt: skip


def reduction(order: OpenOrder, instrument: Instrument, remaining: int, least: int = 0) -> HoldReduced:
    """The order has only ``remaining`` lots left, without a trade. Raises ``CorruptState`` if it had fewer.

    Here and below, ``least`` is what the order has to go on holding for its rival.
    """
    if order.quantity and not 0 <= remaining <= order.remaining:
        raise _contradiction(order, f"was reduced to {remaining} lots, it has {order.remaining} left")
    released = order.hold - max(least, needed_hold(order, instrument, remaining, order.filled, order.fee_rest))
    total = order.filled + remaining if order.quantity else 0
    return HoldReduced(order.account, order.order_id, order.instrument, remaining, released, order.side, total)


def amendment(order: OpenOrder, instrument: Instrument, change: Change, least: int = 0) -> Amended:
    """The book has done the oldest amend on its way. Raises ``CorruptState`` if that is not the one it names."""
    asked, later = _answered(order, change.request_id)
    left = asked.quantity - order.filled if asked.quantity else order.remaining
    if (change.old_quantity, change.new_quantity) != (order.remaining, left):
        done = f"from {change.old_quantity} to {change.new_quantity} lots"
        raise _contradiction(order, f"was amended {done}, not from {order.remaining} to {left}")
    after = msgspec.structs.replace(order, price=change.price, amends=later)
    released = order.hold - max(least, needed_hold(after, instrument, left, order.filled, order.fee_rest))
    return Amended(
        change.request_id, order.account, order.order_id, order.instrument, order.side, change.price,
        asked.quantity or order.quantity, left, asked.stop_price, released,
    )  # fmt: skip


def failed_amend(order: OpenOrder, instrument: Instrument, refused: AmendRefused, least: int = 0) -> AmendFailed:
    """The book has refused the oldest amend on its way. Raises ``CorruptState`` if that is not the one it names."""
    _, later = _answered(order, refused.request_id)
    after = msgspec.structs.replace(order, amends=later)
    released = order.hold - max(least, still_needed(after, instrument))
    return AmendFailed(
        refused.request_id, order.account, order.order_id, order.instrument, refused.reason, released, order.side
    )


def _answered(order: OpenOrder, request_id: str) -> tuple[AskedAmend, tuple[AskedAmend, ...]]:
    if not order.amends or order.amends[0].request_id != request_id:
        raise _contradiction(order, f"is not waiting for the answer to amend {request_id}")
    return order.amends[0], order.amends[1:]


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


def taken_from_hold(event: Filled | HoldReduced | Closed | Amended | AmendFailed) -> int:
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
        case Closed() | HoldReduced() | Amended() | AmendFailed():
            return _hold(event, -event.released)
        case AmendRequested():
            return _hold(event, event.hold)
        case HoldFunded():
            return _hold(event, event.amount)
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


def _hold(
    event: Accepted | HoldReduced | Closed | AmendRequested | Amended | AmendFailed | HoldFunded, amount: int
) -> list[Movement]:
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
