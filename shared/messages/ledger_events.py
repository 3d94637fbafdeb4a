"""Ledger events: what the ledger decided and settled, on ``{a:S}:log``."""

import msgspec

from shared.errors import RejectReason
from shared.instrument import Instrument
from shared.messages.terms import (
    Conditions,
    DoneReason,
    Liquidity,
    Message,
    OrderType,
    SelfTradePrevention,
    Side,
    TimeInForce,
)


class Accepted(Message, tag="accepted"):
    """The order is accepted, ``hold`` is held (quote currency for a buy, base for a sell), the book gets it.

    ``rival`` is the order of its list that it and this one cancel: the two hold together what the dearer needs.
    ``due`` is what it will hold, besides, out of what the fills of ``parent`` bring: it goes live behind the last.
    """

    request_id: str
    account: int
    order_id: int
    instrument: str
    side: Side
    order_type: OrderType
    hold: int
    price: int = 0
    quantity: int = 0
    funds: int = 0
    time_in_force: TimeInForce = "GTC"
    post_only: bool = False
    stp: SelfTradePrevention = "dc"
    maker_fee: int = 0
    taker_fee: int = 0
    client_id: str = ""
    specified_funds: int = 0
    conditions: Conditions | None = None
    rival: int = 0
    parent: int = 0
    due: int = 0


class Duplicate(Message, tag="duplicate"):
    """The request repeats an earlier one: ``order_id`` is the first answer (0 for a transfer)."""

    request_id: str
    account: int
    order_id: int = 0


class Rejected(Message, tag="rejected"):
    """The request is refused and changed nothing. ``message`` is for people."""

    request_id: str
    account: int
    reason: RejectReason
    message: str = ""
    client_id: str = ""


class CancelRequested(Message, tag="cancel_requested"):
    """A cancel is on its way to the book. The order's ``closed`` (or ``cancel_refused``) follows."""

    request_id: str
    account: int
    order_id: int
    instrument: str


class CancelAllRequested(Message, tag="cancel_all_requested"):
    """A mass-cancel is on its way to the books of ``instruments``; ``order_ids`` were open when it was asked."""

    request_id: str
    account: int
    instruments: list[str]
    order_ids: list[int]


class Transferred(Message, tag="transferred"):
    """Money came from (``amount`` > 0) or went to (< 0) outside the exchange."""

    request_id: str
    account: int
    currency: str
    amount: int


class Filled(Message, tag="filled"):
    """One side of a trade is settled for an account of this shard.

    A buy pays ``cost + fee`` out of its hold, gets ``base_amount`` of the base currency, and ``released`` of the
    hold (price improvement) becomes available. A sell pays ``base_amount`` out of its hold and gets ``cost - fee``.
    ``fee_rest`` is what rounding up has charged ahead, in millionths of the smallest unit (see settlement).
    """

    account: int
    order_id: int
    instrument: str
    trade_id: int
    sequence: int
    side: Side
    liquidity: Liquidity
    price: int
    quantity: int
    cost: int
    base_amount: int
    fee: int = 0
    released: int = 0
    fee_rest: int = 0


class HoldReduced(Message, tag="hold_reduced"):
    """Self-trade prevention left an open order with ``remaining`` lots: ``released`` is available again.

    ``quantity`` is its total now, what was filled included (0: not told, as in logs of the first versions).
    """

    account: int
    order_id: int
    instrument: str
    remaining: int
    released: int
    side: Side = "buy"
    quantity: int = 0


class Closed(Message, tag="closed"):
    """The order is done and what was left of its hold is available again."""

    account: int
    order_id: int
    instrument: str
    reason: DoneReason
    released: int = 0
    remaining: int = 0
    cause: RejectReason | None = None
    side: Side = "buy"


class HoldMoved(Message, tag="hold_moved"):
    """``amount`` of the hold that two rivals share is ``order_id``'s from here on, and not ``from_order_id``'s.

    No balance changes: both are of one account and hold the same currency.
    """

    account: int
    instrument: str
    from_order_id: int
    order_id: int
    amount: int


class HoldFunded(Message, tag="hold_funded"):
    """``amount`` of what a fill of its parent has just brought is held for an order that waits behind it."""

    account: int
    instrument: str
    order_id: int
    amount: int
    side: Side = "buy"


class AmendRequested(Message, tag="amend_requested"):
    """An amend is on its way to the book; ``hold`` more is held until its ``amended`` or ``amend_failed`` comes.

    If the order ends instead, its ``closed`` is the answer, and an ``amend_failed`` behind it says so again, except
    where the amend itself has ended it. ``price``, ``quantity`` and ``stop_price`` are what the book is asked for: 0
    leaves a value, and the price of a market stop is its bound.
    """

    request_id: str
    account: int
    order_id: int
    instrument: str
    side: Side
    hold: int = 0
    price: int = 0
    quantity: int = 0
    stop_price: int = 0


class Amended(Message, tag="amended"):
    """The book has amended the order: ``quantity`` is its total now, ``remaining`` what is left of it.

    ``price`` is what it is now (of a market stop its bound); ``stop_price`` 0 is left as it was. ``released`` is
    available again.
    """

    request_id: str
    account: int
    order_id: int
    instrument: str
    side: Side
    price: int
    quantity: int
    remaining: int
    stop_price: int = 0
    released: int = 0


class AmendFailed(Message, tag="amend_failed"):
    """The book has not amended the order, which may be closed already. ``released`` is available again."""

    request_id: str
    account: int
    order_id: int
    instrument: str
    reason: RejectReason
    released: int = 0
    side: Side = "buy"


class Blocked(Message, tag="blocked"):
    """The account (0: every account of the shard) trades no more, or (``blocked`` false) again.

    Its mass-cancels are on their way to the books of ``instruments``.
    """

    request_id: str
    account: int
    instruments: list[str]
    blocked: bool = True
    reason: str = ""


class InstrumentSet(Message, tag="instrument_set"):
    """The shard follows these rules from here on."""

    request_id: str
    instrument: Instrument


class LastPrice(Message, tag="last_price"):
    """The last trade of an instrument, where no account of this shard took part in it (else ``filled`` says it).

    Market orders are bounded by the last price, so what the shard knows of it has to be in its log.
    """

    instrument: str
    price: int


LedgerEvent = (
    Accepted
    | Duplicate
    | Rejected
    | CancelRequested
    | CancelAllRequested
    | Transferred
    | Filled
    | HoldReduced
    | Closed
    | AmendRequested
    | Amended
    | AmendFailed
    | HoldMoved
    | HoldFunded
    | Blocked
    | InstrumentSet
    | LastPrice
)


class LedgerEntry(msgspec.Struct, omit_defaults=True, gc=False):
    """One entry of ``{a:S}:log``: what one request, or one entry of a book's log, did."""

    source: str
    time: int
    events: list[LedgerEvent]
