"""Book events: what a book did, on ``{i:SYMBOL}:log``.

Those with a ``sequence`` are the public ones, Coinbase Exchange's full channel: contiguous per instrument.
"""

from typing import Literal

import msgspec

from shared.errors import RejectReason
from shared.instrument import Instrument
from shared.messages.commands import Place
from shared.messages.terms import (
    Conditions,
    DoneReason,
    ListKind,
    Message,
    OrderType,
    SelfTradePrevention,
    Side,
    TimeInForce,
)


class Received(Message, tag="received"):
    """The book has taken the order up; what it does follows in the same entry."""

    sequence: int
    order_id: int
    account: int
    side: Side
    order_type: OrderType
    price: int = 0
    quantity: int = 0
    funds: int = 0
    time_in_force: TimeInForce = "GTC"
    post_only: bool = False
    stp: SelfTradePrevention = "dc"
    maker_fee: int = 0
    taker_fee: int = 0
    client_id: str = ""
    conditions: Conditions | None = None


class Activate(Message, tag="activate"):
    """The book has taken a stop up, which sleeps off the book. ``received`` follows when it triggers.

    ``stop_price`` is where it stands now (a trailing one's is derived; 0: nobody has traded yet).
    """

    sequence: int
    order_id: int
    account: int
    side: Side
    order_type: OrderType
    price: int = 0
    quantity: int = 0
    funds: int = 0
    time_in_force: TimeInForce = "GTC"
    post_only: bool = False
    stp: SelfTradePrevention = "dc"
    maker_fee: int = 0
    taker_fee: int = 0
    client_id: str = ""
    conditions: Conditions | None = None
    stop_price: int = 0


class Open(Message, tag="open"):
    """The order rests with ``remaining`` lots at the back of its price level.

    A second ``open`` of an order is the next part of an iceberg, the part before it being used up, or its new place
    after an amend. Of an iceberg, ``remaining`` is what it shows and ``hidden`` (not public) the rest.
    """

    sequence: int
    order_id: int
    account: int
    side: Side
    price: int
    remaining: int
    hidden: int = 0


class Match(Message, tag="match"):
    """A trade at the maker's price. ``side`` is the maker's.

    In an ``auction`` both orders rested and the price is the auction's; the seller counts as the maker, and
    ``taker_fee`` is the buyer's maker rate, since nobody takes.
    """

    sequence: int
    trade_id: int
    maker_order_id: int
    taker_order_id: int
    maker_account: int
    taker_account: int
    side: Side
    price: int
    quantity: int
    maker_fee: int = 0
    taker_fee: int = 0
    auction: bool = False


class Change(Message, tag="change"):
    """A resting or arriving order got smaller (self-trade prevention) or was amended.

    ``old_quantity`` and ``new_quantity`` are what remains open before and after. For an arriving market
    order by funds ``old_funds`` and ``new_funds`` say it, and its quantities stay as they are.

    By an amend, ``old_price`` and ``price`` are those before and after (equal: the price stays). If the price differs
    or the quantity grew, the order is off the book by this event, and what follows in the entry (``match``, ``open``,
    ``done``) says what becomes of it; else it keeps its place. Of an iceberg, ``hidden`` (not public) is what it does
    not show afterwards, where it keeps its place. Of a sleeping stop, ``stop_price`` is where it stands afterwards.
    """

    sequence: int
    order_id: int
    account: int
    side: Side
    price: int
    old_quantity: int
    new_quantity: int
    reason: Literal["stp", "amend"] = "stp"
    old_price: int = 0
    old_funds: int = 0
    new_funds: int = 0
    hidden: int = 0
    stop_price: int = 0
    request_id: str = ""


class Done(Message, tag="done"):
    """The one terminal event of an order. ``cause`` says why, where it was not filled or canceled by its owner.

    ``remaining`` counts what an iceberg hid, too.
    """

    sequence: int
    order_id: int
    account: int
    side: Side
    reason: DoneReason
    price: int = 0
    remaining: int = 0
    cause: RejectReason | None = None


class CancelRefused(Message, tag="cancel_refused"):
    """The order was not on the book (any more) when the cancel came."""

    order_id: int
    account: int
    request_id: str = ""


class AmendRefused(Message, tag="amend_refused"):
    """The order stays as it was."""

    order_id: int
    account: int
    reason: RejectReason
    request_id: str = ""


class ListPlaced(Message, tag="list_placed"):
    """The book has taken up the orders of a list; those that are live follow in the same entry, the others wait."""

    account: int
    kind: ListKind
    orders: list[Place]
    first_fill: bool = False


class Ticked(Message, tag="ticked"):
    """The time has come to the book; what it made expire came before, in the same entry."""

    time: int


class AllCanceled(Message, tag="all_canceled"):
    """Closes a mass-cancel: ``count`` orders were canceled before this event, in the same entry."""

    account: int
    count: int
    request_id: str = ""


class Configured(Message, tag="configured"):
    """The rules and mode that the book follows from here on."""

    instrument: Instrument


BookEvent = (
    Received
    | Activate
    | Open
    | Match
    | Change
    | Done
    | CancelRefused
    | AmendRefused
    | ListPlaced
    | AllCanceled
    | Configured
    | Ticked
)


class BookEntry(msgspec.Struct, omit_defaults=True, gc=False):
    """One entry of ``{i:SYMBOL}:log``: what one command did. ``source`` is its stream and id, with a space between."""

    source: str
    time: int
    events: list[BookEvent]
