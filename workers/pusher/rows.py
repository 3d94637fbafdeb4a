"""The rows the logs become: one struct per kind of row, its fields named as the columns of ``shared.schema``.

Everything here travels to PostgreSQL as JSON (see ``statements``): integers keep their 64 bits.
"""

import msgspec

from shared.instrument import Instrument
from shared.messages import Conditions


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


class Positions(dict[str, PositionStart]):
    """What PostgreSQL has of each log, by tag; of one that is not there, nothing."""

    def __missing__(self, tag: str) -> PositionStart:
        return PositionStart(tag)


class InstrumentRow(msgspec.Struct, gc=False):
    """Rules of an instrument."""

    symbol: str
    definition: Instrument


class BookRow(msgspec.Struct, gc=False):
    """How far an instrument's book has come: its last public sequence (0: none in this batch), its last time."""

    symbol: str
    sequence: int = 0
    time: int = 0


class OrderRow(msgspec.Struct, gc=False, omit_defaults=True):
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
    conditions: Conditions | None = None
    rival: int = 0
    parent: int = 0
    due: int = 0

    def leave(self, remaining: int) -> None:
        """Say what remains."""
        self.remaining = remaining


class OrderChange(msgspec.Struct, gc=False, omit_defaults=True):
    """What a batch does to an order of an earlier one: amounts are added, ``None`` leaves a column as it is.

    ``remaining_set`` comes first, then ``remaining`` (<= 0) is added to it.
    """

    order_id: int
    hold: int = 0
    quantity: int | None = None
    remaining_set: int | None = None
    remaining: int = 0
    filled: int = 0
    executed_value: int = 0
    fees: int = 0
    fee_rest: int | None = None
    due: int = 0
    settled: bool = False
    done_reason: str = ""
    cause: str = ""
    done_at: int = 0

    def leave(self, remaining: int) -> None:
        """Say what remains; the trades so far are in that."""
        self.remaining_set, self.remaining = remaining, 0


class OrderAmend(msgspec.Struct, gc=False):
    """The terms, but for its size, of an amended order of an earlier batch. ``stop_price`` 0 is left as it is."""

    order_id: int
    price: int
    stop_price: int


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


class RestingRow(msgspec.Struct, gc=False, omit_defaults=True):
    """An order that rests on a book."""

    order_id: int
    instrument: str
    account: int
    side: str
    price: int
    remaining: int
    priority: int
    hidden: int = 0

    def leave(self, quantity: int, hidden: int) -> None:
        """Say what is left, without a trade."""
        self.remaining, self.hidden = quantity - hidden, hidden


class RestingChange(msgspec.Struct, gc=False, omit_defaults=True):
    """What a batch does to an order that rested before it, if it still does; ``None`` leaves a column as it is.

    ``remaining_set`` comes first, then ``remaining`` (<= 0) is added to it.
    """

    order_id: int
    remaining: int = 0
    remaining_set: int | None = None
    hidden: int | None = None

    def leave(self, quantity: int, hidden: int) -> None:
        """Say what is left, without a trade; the trades so far are in that."""
        self.remaining_set, self.remaining, self.hidden = quantity - hidden, 0, hidden


class WaitingRow(msgspec.Struct, gc=False):
    """An order that a book has without its resting: a stop that sleeps, or one that waits in its list."""

    order_id: int
    instrument: str
    account: int
    side: str
    status: str
    price: int
    quantity: int
    stop_price: int
    priority: int


class WaitingChange(msgspec.Struct, gc=False):
    """What a stop that slept before this batch was amended to, if it still sleeps."""

    order_id: int
    price: int
    quantity: int
    stop_price: int


class ListRow(msgspec.Struct, gc=False):
    """An order of a list, at its ``position`` in it."""

    order_id: int
    instrument: str
    list_id: int
    kind: str
    position: int
    first_fill: bool
    shrunk: bool = False


class Gone(msgspec.Struct, gc=False):
    """An order that is not where a row of an earlier batch may say."""

    order_id: int


class Shrunk(msgspec.Struct, gc=False):
    """An order that self-trade prevention took something of; perhaps it is one of a list of an earlier batch."""

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
