"""Every message that crosses a process boundary, each defined once.

Four families, one per direction:

- **requests**  gateway -> ledger, on ``{a:S}:in``
- **commands**  ledger -> book,    on ``{a:S}:to:SYMBOL``
- **book events**  by the book,    on ``{i:SYMBOL}:log``
- **ledger events**  by the ledger, on ``{a:S}:log``

On the wire each is one JSON object whose ``type`` names it, so ``redis-cli`` and any language can read
it. New fields get defaults (absent = default); a field never changes its type. Units: ``price`` in ticks,
``quantity`` in lots, ``funds``, ``cost``, ``fee``, ``hold`` and ``amount`` in the currency's smallest unit,
``time`` in nanoseconds since the epoch, fee rates in parts per million. 0 and "" mean "none".

JSON integers here reach 2**63: read them with a parser that keeps 64 bits.
"""

from typing import Literal

import msgspec

from shared.errors import RejectReason
from shared.instrument import Instrument

Side = Literal["buy", "sell"]
OrderType = Literal["limit", "market"]
TimeInForce = Literal["GTC", "IOC", "FOK", "GTT"]
SelfTradePrevention = Literal["dc", "co", "cn", "cb"]
Liquidity = Literal["M", "T"]
DoneReason = Literal["filled", "canceled", "rejected"]
StopDirection = Literal["", "loss", "entry"]
ListKind = Literal["oco", "oto", "otoco"]

FEE_ACCOUNT = 0
"""Each account shard keeps the fees it took on this account. Users' accounts start at 1."""


class Message(msgspec.Struct, tag_field="type", omit_defaults=True, gc=False):
    """Base of all messages: tagged by ``type``; defaults are left out on the wire."""


class Conditions(msgspec.Struct, omit_defaults=True, frozen=True, gc=False):
    """What only some orders ask for, apart from the order so that the others do not pay for it.

    **Stop**: ``stop`` says when it triggers, by the last trade: "loss" at or below ``stop_price``, "entry" at or above.
    So a sell with "loss" and a buy with "entry" is a stop, a sell with "entry" and a buy with "loss" a take-profit; the
    order's ``order_type`` says what it becomes. With ``trail`` (ticks) or ``trail_bps`` (basis points) the stop price
    follows the best trade since; such a stop is a market order, a sell with "loss" or a buy with "entry", and gives no
    ``stop_price``.

    ``expires``: with time in force GTT, the instant (ns) from which on the order is gone. ``display_quantity``: lots
    of a limit order that are shown at a time. ``min_quantity``: lots that must fill at once when it arrives.
    """

    stop: StopDirection = ""
    stop_price: int = 0
    trail: int = 0
    trail_bps: int = 0
    expires: int = 0
    display_quantity: int = 0
    min_quantity: int = 0


# --- requests: gateway -> ledger ---------------------------------------------------------------


class OrderRequest(Message, tag="order_request"):
    """Place an order. ``request_id`` makes a repeat harmless; ``client_id`` is the client's own id, if any.

    A second request of the account with the same ``client_id`` (or, without one, ``request_id``) is answered
    with the first order.
    """

    request_id: str
    account: int
    instrument: str
    side: Side
    order_type: OrderType
    price: int = 0
    quantity: int = 0
    funds: int = 0
    time_in_force: TimeInForce = "GTC"
    post_only: bool = False
    stp: SelfTradePrevention = "dc"
    client_id: str = ""
    conditions: Conditions | None = None


class OrderListRequest(Message, tag="order_list_request"):
    """Place several orders of the account as one: all are accepted, or none. See ``PlaceList`` for the kinds."""

    request_id: str
    account: int
    instrument: str
    kind: ListKind
    orders: list[OrderRequest]
    first_fill: bool = False


class AmendRequest(Message, tag="amend_request"):
    """Change an open order, named by ``order_id`` or else by ``client_id``. 0 leaves a value as it is.

    ``quantity`` is the new total, what was filled included. ``stop_price`` only for a stop that sleeps.
    """

    request_id: str
    account: int
    order_id: int = 0
    client_id: str = ""
    instrument: str = ""
    price: int = 0
    quantity: int = 0
    stop_price: int = 0


class CancelRequest(Message, tag="cancel_request"):
    """Cancel one open order of the account, by ``order_id`` or else by ``client_id``."""

    request_id: str
    account: int
    order_id: int = 0
    client_id: str = ""
    instrument: str = ""


class CancelAllRequest(Message, tag="cancel_all_request"):
    """Cancel all open orders of the account, or only those of one instrument and/or side.

    With account 0, all of everyone on the one ``instrument``, whichever shard is asked.
    """

    request_id: str
    account: int
    instrument: str = ""
    side: str = ""


class TransferRequest(Message, tag="transfer_request"):
    """Deposit (``amount`` > 0) or withdraw (< 0). A repeat of ``request_id`` moves nothing."""

    request_id: str
    account: int
    currency: str
    amount: int


class BlockRequest(Message, tag="block_request"):
    """The kill switch: no orders, amends and withdrawals of the account any more, and cancel what it has open.

    With account 0 of every account, once all shards were asked; ``blocked`` false takes it back. ``reason`` is for
    people, also for the owner of the account.
    """

    request_id: str
    account: int
    blocked: bool = True
    reason: str = ""


class InstrumentRequest(Message, tag="instrument_request"):
    """Add an instrument or change its rules or mode. Sent to every shard; shard 0 tells the book."""

    request_id: str
    instrument: Instrument


Request = (
    OrderRequest
    | OrderListRequest
    | AmendRequest
    | CancelRequest
    | CancelAllRequest
    | TransferRequest
    | BlockRequest
    | InstrumentRequest
)


# --- commands: ledger -> book ------------------------------------------------------------------


class Place(Message, tag="place"):
    """An accepted order for the book. For a market order ``price`` is the worst price allowed (0: any)."""

    order_id: int
    account: int
    time: int
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


class PlaceList(Message, tag="place_list"):
    """Several accepted orders of one account for the book, at once: all are taken up, or none.

    - ``oco``: two orders of one side. A fill or the trigger of one, or its end, cancels the other.
    - ``oto``: a parent and its child, which goes live when the parent is filled (``first_fill``: by its first fill) and
      is canceled when the parent ends otherwise.
    - ``otoco``: a parent and two children, which go live together as an ``oco``.
    """

    account: int
    time: int
    kind: ListKind
    orders: list[Place]
    first_fill: bool = False


class Amend(Message, tag="amend"):
    """Change an order that rests or sleeps. 0 leaves a value as it is.

    ``quantity`` is the new total, what was filled included. For a market order that sleeps ``price`` is its bound.
    """

    order_id: int
    account: int
    time: int
    price: int = 0
    quantity: int = 0
    stop_price: int = 0
    request_id: str = ""


class Cancel(Message, tag="cancel"):
    """Cancel one order. The ledger has checked whose it is."""

    order_id: int
    account: int
    time: int
    request_id: str = ""


class CancelAll(Message, tag="cancel_all"):
    """Cancel all orders of ``account`` (0: of everyone), or only those of one side."""

    account: int
    time: int
    side: str = ""
    request_id: str = ""


class Configure(Message, tag="configure"):
    """The instrument's rules and mode from here on."""

    instrument: Instrument
    time: int


class Tick(Message, tag="tick"):
    """Nothing but the time, so that orders expire while no other command comes."""

    time: int


Command = Place | PlaceList | Amend | Cancel | CancelAll | Configure | Tick


# --- book events -------------------------------------------------------------------------------
# Those with a ``sequence`` are the public ones: Coinbase Exchange's full channel, contiguous per instrument.


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


# --- ledger events -----------------------------------------------------------------------------


class Accepted(Message, tag="accepted"):
    """The order is accepted, ``hold`` is held (quote currency for a buy, base for a sell), the book gets it.

    ``rival`` is the order of its list that it and this one cancel: the two hold together what the dearer needs.
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
    """An open order has ``remaining`` lots left without a trade (or by an amend): ``released`` is available again."""

    account: int
    order_id: int
    instrument: str
    remaining: int
    released: int
    side: Side = "buy"


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
    blocked: bool = True
    reason: str = ""
    instruments: list[str] = []


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
    | Blocked
    | InstrumentSet
    | LastPrice
)


# --- log entries -------------------------------------------------------------------------------


class BookEntry(msgspec.Struct, omit_defaults=True, gc=False):
    """One entry of ``{i:SYMBOL}:log``: what one command did. ``source`` is its stream and id, with a space between."""

    source: str
    time: int
    events: list[BookEvent]


class LedgerEntry(msgspec.Struct, omit_defaults=True, gc=False):
    """One entry of ``{a:S}:log``: what one request, or one entry of a book's log, did."""

    source: str
    time: int
    events: list[LedgerEvent]


FIELD = b"d"
"""The one field of every stream entry: the JSON of a request, a command or a log entry."""

encode = msgspec.json.Encoder().encode
decode_request = msgspec.json.Decoder(Request).decode
decode_command = msgspec.json.Decoder(Command).decode
decode_book_entry = msgspec.json.Decoder(BookEntry).decode
decode_ledger_entry = msgspec.json.Decoder(LedgerEntry).decode
