"""The rows the logs become: one struct per kind of row, its fields named as the columns of ``shared.schema``.

Everything here travels to PostgreSQL as JSON (see ``statements``): integers keep their 64 bits.
"""

import msgspec

from shared.instrument import Instrument


class PositionRow(msgspec.Struct, gc=False):
    """How far PostgreSQL is in a log, and from where this batch brought it there."""

    tag: str
    length: int
    chain: str
    chain_before: str
    from_length: int
    from_chain: str


class PositionStart(msgspec.Struct, gc=False):
    """The position before the first entry of a log."""

    tag: str
    length: int = 0
    chain: str = ""
    chain_before: str = ""


class InstrumentRow(msgspec.Struct, gc=False):
    """Rules of an instrument."""

    symbol: str
    definition: Instrument


class SequenceRow(msgspec.Struct, gc=False):
    """The last public sequence of an instrument's book."""

    symbol: str
    sequence: int


class OrderRow(msgspec.Struct, gc=False):
    """An order as the ledger knows it."""

    order_id: int
    account: int
    instrument: str
    side: str
    order_type: str
    price: int
    quantity: int
    funds: int
    specified_funds: int
    time_in_force: str
    post_only: bool
    stp: str
    client_id: str
    request_id: str
    maker_fee: int
    taker_fee: int
    hold: int
    remaining: int
    created_at: int
    filled: int = 0
    executed_value: int = 0
    fees: int = 0
    fee_rest: int = 0
    settled: bool = False
    done_reason: str = ""
    cause: str = ""
    done_at: int = 0

    def leave(self, remaining: int) -> None:
        """Say what remains."""
        self.remaining = remaining


class OrderChange(msgspec.Struct, gc=False):
    """What a batch does to an order of an earlier one: amounts are added, ``None`` leaves a column as it is.

    ``remaining_set`` comes first, then ``remaining`` (<= 0) is added to it.
    """

    order_id: int
    hold: int = 0
    remaining_set: int | None = None
    remaining: int = 0
    filled: int = 0
    executed_value: int = 0
    fees: int = 0
    fee_rest: int | None = None
    settled: bool = False
    done_reason: str = ""
    cause: str = ""
    done_at: int = 0

    def leave(self, remaining: int) -> None:
        """Say what remains; the trades so far are in that."""
        self.remaining_set, self.remaining = remaining, 0


class FillRow(msgspec.Struct, gc=False):
    """One side of a trade."""

    instrument: str
    trade_id: int
    order_id: int
    account: int
    side: str
    liquidity: str
    price: int
    quantity: int
    cost: int
    fee: int
    time: int


class BalanceChange(msgspec.Struct, gc=False):
    """What a batch adds to a balance."""

    account: int
    shard: int
    currency: str
    available: int
    held: int


class MovementRow(msgspec.Struct, gc=False):
    """A line of an account's statement."""

    account: int
    shard: int
    position: int
    currency: str
    amount: int
    kind: str
    reference: str
    time: int


class RestingRow(msgspec.Struct, gc=False):
    """An order on a book."""

    order_id: int
    instrument: str
    account: int
    side: str
    price: int
    remaining: int
    priority: int


class RestingChange(msgspec.Struct, gc=False):
    """By how much an order that rested before this batch has changed (< 0), if it still rests."""

    order_id: int
    remaining: int


class Gone(msgspec.Struct, gc=False):
    """An order that left the book."""

    order_id: int


class TradeRow(msgspec.Struct, gc=False):
    """A public trade."""

    instrument: str
    trade_id: int
    sequence: int
    price: int
    quantity: int
    side: str
    maker_order_id: int
    taker_order_id: int
    time: int
