"""Commands: ledger -> book, on ``{a:S}:to:SYMBOL``."""

from shared.instrument import Instrument
from shared.messages.terms import Conditions, ListKind, Message, OrderType, SelfTradePrevention, Side, TimeInForce


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
