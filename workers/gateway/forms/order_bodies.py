"""What clients send about orders, for the API's description: every field with its meaning, unit and an example."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from shared.messages import ListKind, OrderType, SelfTradePrevention, Side

CLIENT_ID_CHARS_MAX = 128
Decimal = Annotated[str, Meta(extra_json_schema={"format": "decimal"})]
"""A decimal number: best as a string, but a JSON number will do."""


def _said(description: str, *examples: object) -> Meta:
    return Meta(description=description, examples=list(examples) or None)


class OrderBody(msgspec.Struct):
    """An order. Amounts are decimal strings; JSON numbers are read as the decimals they are written as."""

    product_id: Annotated[str, _said("what to trade", "BTC-USD")]
    side: Side
    type: Annotated[OrderType, _said("of a stop: what it becomes when it triggers", "limit")] = "limit"
    price: Annotated[
        Decimal | None,
        _said("limit orders: the worst price, in the quote currency, a multiple of quote_increment", "100.25"),
    ] = None
    size: Annotated[
        Decimal | None,
        _said("quantity in the base currency, a multiple of base_increment; an iceberg's is all of it", "0.5"),
    ] = None
    funds: Annotated[
        Decimal | None,
        _said("market orders, in place of size: what to spend or to get, in the quote currency", "250.00"),
    ] = None
    time_in_force: Annotated[
        str,
        _said(
            "GTC until canceled; GTT until cancel_after; IOC what fills at once; FOK all at once or nothing. "
            "GTX and PO mean GTC with post_only, GTD means GTT",
            "GTC",
        ),
    ] = "GTC"
    timeInForce: Annotated[str, _said("another spelling of time_in_force")] = "GTC"  # noqa: N815
    cancel_after: Annotated[
        str | None,
        _said(
            "with time_in_force GTT, and required by it: min, hour, day from now, or an RFC 3339 instant; "
            "the answer's expire_time says when",
            "hour",
            "2030-01-31T12:00:00Z",
        ),
    ] = None
    post_only: Annotated[
        bool, _said("limit orders: if any part would take, the order is done with reject_reason post_only")
    ] = False
    stop: Annotated[
        Literal["loss", "entry"] | None,
        _said(
            "the order sleeps until the last trade is at or below stop_price (loss), or at or above it (entry). "
            "If only stop_price is given: loss for a sell, entry for a buy, which is a stop; "
            "the other way round it is a take-profit. One whose condition holds already by the last trade is refused",
            "loss",
        ),
    ] = None
    stop_price: Annotated[Decimal | None, _said("where a stop triggers, a multiple of quote_increment", "95.00")] = None
    trail_price: Annotated[
        Decimal | None,
        _said("trailing stop, type market: this far behind the best trade since, in the quote currency", "2.50"),
    ] = None
    trail_bps: Annotated[
        Annotated[int, Meta(ge=1, le=10_000)] | None,
        _said("the same as a share of that trade, in basis points, rounded up to a whole tick", 150),
    ] = None
    display_size: Annotated[
        Decimal | None, _said("iceberg: how much of size is shown at a time, at least a 1000th of it", "0.1")
    ] = None
    min_size: Annotated[
        Decimal | None, _said("how much has to fill at once when the order arrives, else none of it is done", "0.2")
    ] = None
    stp: Annotated[
        SelfTradePrevention,
        _said(
            "when the order meets one of yours: dc takes the smaller off both, co cancels the resting one, "
            "cn the new one, cb both"
        ),
    ] = "dc"
    client_oid: Annotated[
        Annotated[str, Meta(max_length=CLIENT_ID_CHARS_MAX)] | None,
        _said("an id of your own: whatever is sent with it again, it places one order", "a-1"),
    ] = None
    profile_id: Annotated[Any, _said("ignored")] = None


class AmendBody(msgspec.Struct):
    """What to change of an open order, or of a stop that sleeps; what is left out stays as it is.

    Less size at the same price keeps the order's place in the queue; anything else sends it to the back, and it trades
    if it crosses.
    """

    price: Annotated[Decimal | None, _said("the new price of a limit order", "100.50")] = None
    size: Annotated[
        Decimal | None,
        _said("the new size, what is filled already included; exactly what is filled ends the order", "0.3"),
    ] = None
    stop_price: Annotated[Decimal | None, _said("where a sleeping stop triggers from now on", "96.00")] = None
    product_id: Annotated[str | None, _said("must be the order's, if given", "BTC-USD")] = None


class OrderListBody(msgspec.Struct):
    """Two or three orders of one product that are placed together, all or none.

    - oco: two orders on the same side, one above and one below the last trade: a limit or take-profit, and a stop. A
      fill, the trigger or the end of one cancels the other. They hold together what the dearer needs.
    - oto: the second goes live when the first is filled, and is canceled if that ends otherwise.
    - otoco: the second and third go live, as an oco, when the first is filled.
    """

    type: ListKind
    orders: Annotated[list[OrderBody], Meta(description="oco and oto: two, otoco: three", min_length=2, max_length=3)]
    trigger: Annotated[
        str,
        _said("oto and otoco: full_fill, or first_fill: whether the first order's first fill is enough", "full_fill"),
    ] = "full_fill"


_BUY: dict[str, object] = {"product_id": "BTC-USD", "side": "buy"}
_SELL: dict[str, object] = {"product_id": "BTC-USD", "side": "sell"}
_PROFIT = _SELL | {"price": "1000110.00", "size": "0.001"}
_LOSS = _SELL | {"type": "market", "stop_price": "0.90", "size": "0.001"}
_ORDERS: dict[str, dict[str, object]] = {
    "limit": _BUY | {"price": "1.25", "size": "0.5", "client_oid": "my-1"},
    "post only": _BUY | {"price": "1.25", "size": "0.5", "post_only": True},
    "immediate or cancel": _BUY | {"price": "1.25", "size": "0.5", "time_in_force": "IOC"},
    "market, by funds": _BUY | {"type": "market", "funds": "2.50"},
    "until a time": _BUY | {"price": "1.25", "size": "0.5", "time_in_force": "GTT", "cancel_after": "hour"},
    "stop": _SELL | {"type": "market", "size": "0.001", "stop_price": "0.90"},
    "stop-limit": _SELL | {"price": "0.80", "size": "0.001", "stop": "loss", "stop_price": "0.90"},
    "take-profit": _SELL | {"type": "market", "size": "0.001", "stop": "entry", "stop_price": "1000110.00"},
    "trailing stop": _SELL | {"type": "market", "size": "0.001", "trail_bps": 150},
    "iceberg": _BUY | {"price": "1.25", "size": "0.5", "display_size": "0.1"},
    "at least so much at once": _BUY | {"price": "1.25", "size": "0.5", "min_size": "0.2", "time_in_force": "IOC"},
}
_LISTS: dict[str, dict[str, object]] = {
    "one cancels the other": {"type": "oco", "orders": [_PROFIT, _LOSS]},
    "one triggers the other": {
        "type": "oto",
        "orders": [_BUY | {"price": "1.25", "size": "0.001"}, _PROFIT],
        "trigger": "first_fill",
    },
    "bracket": {"type": "otoco", "orders": [_BUY | {"price": "1.25", "size": "0.001"}, _PROFIT, _LOSS]},
}
EXAMPLES: dict[type, dict[str, dict[str, object]]] = {
    OrderBody: _ORDERS,
    AmendBody: {"price and size": {"price": "1.20", "size": "0.4"}},
    OrderListBody: _LISTS,
}
"""Requests for the API's description, each of which can be sent as it is (the amend to the limit order above)."""
