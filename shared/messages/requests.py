"""Requests: gateway -> ledger, on ``{a:S}:in``."""

from shared.instrument import Instrument
from shared.messages.terms import Conditions, ListKind, Message, OrderType, SelfTradePrevention, Side, TimeInForce


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
    """Deposit (``amount`` > 0) or withdraw (< 0). A repeat of ``request_id`` moves nothing.

    ``most``: a deposit that would bring the balance, holds included, above it is refused; 0: no such limit.
    """

    request_id: str
    account: int
    currency: str
    amount: int
    most: int = 0


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
