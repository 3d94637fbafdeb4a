"""The body of ``POST /orders`` as an ``OrderRequest``, checked against the instrument's rules. Pure.

A field that is not understood is refused, not ignored: a stop that is taken for a plain limit order costs money.
"""

from collections.abc import Callable, Mapping
from typing import Annotated, get_args

import msgspec
from msgspec import Meta

from shared.errors import InvalidInput
from shared.instrument import Instrument, money_units, price_ticks, quantity_lots
from shared.messages import OrderRequest, OrderType, SelfTradePrevention, Side, TimeInForce
from workers.gateway.errors import bad_request, product_not_found
from workers.gateway.json_input import choice_field, decimal_field, flag_field, text_field

CLIENT_ID_CHARS_MAX = 128
_SIDES = get_args(Side)
_TYPES = get_args(OrderType)
_STP = get_args(SelfTradePrevention)
_TIMES = get_args(TimeInForce)
_TIME_ALIASES = {"PO": "GTC", "GTX": "GTC", "GTD": "GTT"}
"""Other words for a time in force; PO and GTX also mean post_only."""
_LATER = {
    "stop": "stop orders",
    "stop_price": "stop orders",
    "stop_limit_price": "stop orders",
    "cancel_after": "orders that expire",
}
"""Fields of the dialect that this version does not support."""


class OrderBody(msgspec.Struct):
    """The body of ``POST /orders``, for the API's description. Amounts may also be JSON numbers."""

    product_id: str
    side: Side
    type: OrderType = "limit"
    price: Annotated[str | None, Meta(description="limit orders: the price")] = None
    size: Annotated[str | None, Meta(description="quantity, in the base currency")] = None
    funds: Annotated[str | None, Meta(description="market orders, in place of size: what to spend or to get")] = None
    time_in_force: Annotated[str, Meta(description="GTC, IOC, FOK; PO and GTX mean GTC with post_only")] = "GTC"
    timeInForce: Annotated[str, Meta(description="another spelling of time_in_force")] = "GTC"  # noqa: N815
    post_only: bool = False
    stp: Annotated[SelfTradePrevention, Meta(description="self-trade prevention")] = "dc"
    client_oid: Annotated[str, Meta(max_length=CLIENT_ID_CHARS_MAX)] | None = None
    profile_id: Annotated[str | None, Meta(description="ignored")] = None


_KNOWN = frozenset(OrderBody.__struct_fields__)


def read_order(
    fields: dict[str, object], instruments: Mapping[str, Instrument], request_id: str, account: int
) -> OrderRequest:
    """The order in a decoded body. Raises ``ApiError`` 400 that names the field, its value and what is allowed."""
    _refuse_unknown(fields)
    instrument = instruments.get(_required(fields, "product_id"))
    if instrument is None:
        raise product_not_found(400)
    side = choice_field(fields, "side", _SIDES)
    order_type = choice_field(fields, "type", _TYPES, "limit")
    time_in_force, post_only = _time_in_force(fields)
    if post_only and time_in_force in ("IOC", "FOK"):
        raise bad_request(f"post_only does not go with time_in_force {time_in_force}")
    if order_type == "limit":
        price, quantity, funds = _limit(fields, instrument)
    else:
        price, quantity, funds = _market(fields, instrument, post_only)
    stp = choice_field(fields, "stp", _STP, "dc")
    own = client_id(text_field(fields, "client_oid"))
    return OrderRequest(
        request_id, account, instrument.symbol, side, order_type, price, quantity, funds,  # type: ignore[arg-type]
        time_in_force, post_only, stp, own,  # type: ignore[arg-type]  # choice_field answers members of the literals
    )  # fmt: skip


def _limit(fields: dict[str, object], instrument: Instrument) -> tuple[int, int, int]:
    """Price in ticks and quantity in lots of a limit order."""
    _forbid(fields, "funds", "a limit order has a price and a size")
    price = _amount(fields, "price", lambda text: price_ticks(instrument, text))
    return price, _amount(fields, "size", lambda text: quantity_lots(instrument, text)), 0


def _market(fields: dict[str, object], instrument: Instrument, post_only: bool) -> tuple[int, int, int]:
    """Quantity in lots, or funds in smallest units, of a market order."""
    _forbid(fields, "price", "a market order has a size or funds")
    if post_only:
        raise bad_request("post_only does not go with a market order, which always takes")
    if bool(decimal_field(fields, "size")) == bool(decimal_field(fields, "funds")):
        raise bad_request("a market order needs size or funds, and not both")
    if decimal_field(fields, "size"):
        return 0, _amount(fields, "size", lambda text: quantity_lots(instrument, text)), 0
    return 0, 0, _amount(fields, "funds", lambda text: money_units(text, instrument.quote_scale, "funds"))


def client_id(text: str) -> str:
    """A client order id, or "". Raises ``ApiError`` 400."""
    if len(text) > CLIENT_ID_CHARS_MAX:
        raise bad_request(f"client_oid has {len(text)} characters; at most {CLIENT_ID_CHARS_MAX} are allowed")
    if "\x00" in text:
        raise bad_request("client_oid must not contain the character U+0000")
    return text


def _refuse_unknown(fields: dict[str, object]) -> None:
    for name, value in fields.items():
        if name in _KNOWN or value is None:
            continue
        if name in _LATER:
            raise bad_request(f"{name}: {_LATER[name]} are not supported by this version")
        raise bad_request(f'unknown field "{name[:40]}"; an order has {", ".join(sorted(_KNOWN))}')


def _time_in_force(fields: dict[str, object]) -> tuple[str, bool]:
    """Time in force and post_only, which some clients say with one word."""
    name = "time_in_force" if fields.get("time_in_force") is not None else "timeInForce"
    word = choice_field(fields, name, (*_TIMES, *_TIME_ALIASES), "GTC")
    post_only = flag_field(fields, "post_only") or word in ("PO", "GTX")
    time_in_force = _TIME_ALIASES.get(word, word)
    if time_in_force == "GTT":
        raise bad_request(f"{name} {word}: orders that expire are not supported by this version; use GTC, IOC or FOK")
    return time_in_force, post_only


def _required(fields: dict[str, object], name: str) -> str:
    text = text_field(fields, name)
    if not text:
        raise bad_request(f"{name} is missing")
    return text


def _forbid(fields: dict[str, object], name: str, why: str) -> None:
    if fields.get(name) is not None:
        raise bad_request(f"{name} does not belong here: {why}")


def _amount(fields: dict[str, object], name: str, units: Callable[[str], int]) -> int:
    text = decimal_field(fields, name)
    if not text:
        raise bad_request(f'{name} is missing: send a decimal number, as in "100.25"')
    try:
        return units(text)
    except InvalidInput as error:
        raise bad_request(str(error)) from None
