"""What a client says about one order, as a request for the ledger, checked against the instrument's rules. Pure.

A field that is not understood is refused, not ignored: a stop that is taken for a plain limit order costs money.
"""

from collections.abc import Callable, Mapping
from typing import get_args

from shared.instrument import Instrument, money_units, price_ticks, quantity_lots
from shared.messages import AmendRequest, OrderRequest, OrderType, SelfTradePrevention, Side, TimeInForce
from workers.gateway.errors import bad_request, product_not_found
from workers.gateway.forms.conditions_form import read_conditions, stop_price
from workers.gateway.forms.json_input import (
    amount_field,
    choice_field,
    flag_field,
    is_given,
    refuse_unknown,
    text_field,
)
from workers.gateway.forms.order_bodies import CLIENT_ID_CHARS_MAX, AmendBody, OrderBody

_SIDES = get_args(Side)
_TYPES = get_args(OrderType)
_STP = get_args(SelfTradePrevention)
_TIMES = get_args(TimeInForce)
_TIME_ALIASES = {"PO": "GTC", "GTX": "GTC", "GTD": "GTT"}
"""Other words for a time in force; PO and GTX also mean post_only."""
_KNOWN = frozenset(OrderBody.__struct_fields__)
_NAMES = ", ".join(sorted(_KNOWN))
_AMENDED = ("price", "size", "stop_price")


def read_order(
    fields: dict[str, object], instruments: Mapping[str, Instrument], request_id: str, account: int, now_ns: int
) -> OrderRequest:
    """The order in a decoded body. Raises ``ApiError`` 400 that names the field, its value and what is allowed."""
    refuse_unknown(fields, _KNOWN, "an order", _NAMES)
    instrument = instruments.get(_required(fields, "product_id"))
    if instrument is None:
        raise product_not_found(400)
    side = choice_field(fields, "side", _SIDES)
    order_type = choice_field(fields, "type", _TYPES, "limit")
    time_in_force, post_only = _time_in_force(fields)
    if order_type == "limit":
        price, quantity, funds = _limit(fields, instrument)
    else:
        price, quantity, funds = _market(fields, instrument, post_only)
    stp = choice_field(fields, "stp", _STP, "dc")
    own = client_id(text_field(fields, "client_oid"))
    order = OrderRequest(
        request_id, account, instrument.symbol, side, order_type, price, quantity, funds,  # type: ignore[arg-type]
        time_in_force, post_only, stp, own,  # type: ignore[arg-type]  # choice_field answers members of the literals
    )  # fmt: skip
    order.conditions = read_conditions(fields, instrument, order, now_ns)
    return order


def read_amend(
    fields: dict[str, object], instrument: Instrument, request_id: str, account: int, order_id: int
) -> AmendRequest:
    """What to change of an order of ``instrument``. Raises ``ApiError`` 400."""
    refuse_unknown(fields, AmendBody.__struct_fields__, "an amend", ", ".join(AmendBody.__struct_fields__))
    named = text_field(fields, "product_id").replace("/", "-")
    if named not in ("", instrument.symbol):
        raise bad_request(f'product_id "{named[:40]}" is not the order\'s, which is {instrument.symbol}')
    if not any(is_given(fields, name) for name in _AMENDED):
        raise bad_request(f"an amend needs something to change: send {', '.join(_AMENDED[:-1])} or {_AMENDED[-1]}")
    price = amount_field(fields, "price", lambda text: price_ticks(instrument, text))
    quantity = amount_field(fields, "size", lambda text: quantity_lots(instrument, text))
    return AmendRequest(
        request_id, account, order_id, "", instrument.symbol, price, quantity, stop_price(fields, instrument)
    )


def client_id(text: str) -> str:
    """A client order id, or "". Raises ``ApiError`` 400."""
    if len(text) > CLIENT_ID_CHARS_MAX:
        raise bad_request(f"client_oid has {len(text)} characters; at most {CLIENT_ID_CHARS_MAX} are allowed")
    if "\x00" in text:
        raise bad_request("client_oid must not contain the character U+0000")
    return text


def _limit(fields: dict[str, object], instrument: Instrument) -> tuple[int, int, int]:
    """Price in ticks and quantity in lots of a limit order."""
    _forbid(fields, "funds", "a limit order has a price and a size")
    price = _needed(fields, "price", lambda text: price_ticks(instrument, text))
    return price, _needed(fields, "size", lambda text: quantity_lots(instrument, text)), 0


def _needed(fields: dict[str, object], name: str, units: Callable[[str], int]) -> int:
    found = amount_field(fields, name, units)
    if not found:
        raise bad_request(f'{name} is missing: send a decimal number, as in "100.25"')
    return found


def _market(fields: dict[str, object], instrument: Instrument, post_only: bool) -> tuple[int, int, int]:
    """Quantity in lots, or funds in smallest units, of a market order."""
    _forbid(fields, "price", "a market order has a size or funds")
    if post_only:
        raise bad_request("post_only does not go with a market order, which always takes: leave it out")
    if is_given(fields, "size") == is_given(fields, "funds"):
        raise bad_request("a market order needs size or funds, and not both")
    size = amount_field(fields, "size", lambda text: quantity_lots(instrument, text))
    return 0, size, amount_field(fields, "funds", lambda text: money_units(text, instrument.quote_scale, "funds"))


def _time_in_force(fields: dict[str, object]) -> tuple[str, bool]:
    """Time in force and post_only, which some clients say with one word."""
    name = "time_in_force" if fields.get("time_in_force") is not None else "timeInForce"
    word = choice_field(fields, name, (*_TIMES, *_TIME_ALIASES), "GTC")
    post_only = flag_field(fields, "post_only") or word in ("PO", "GTX")
    if post_only and word in ("IOC", "FOK"):
        raise bad_request(f"post_only true does not go with {name} {word}, which only takes: leave one of them out")
    return _TIME_ALIASES.get(word, word), post_only


def _required(fields: dict[str, object], name: str) -> str:
    text = text_field(fields, name)
    if not text:
        raise bad_request(f"{name} is missing")
    return text


def _forbid(fields: dict[str, object], name: str, why: str) -> None:
    if fields.get(name) is not None:
        raise bad_request(f"{name} does not belong here: {why}")
