"""Several orders that are placed as one, as a request for the ledger. Pure. Each refusal says which order it means."""

from collections.abc import Callable, Mapping
from typing import get_args

import msgspec

from shared.instrument import Instrument, price_text
from shared.messages import ListKind, OrderListRequest, OrderRequest
from workers.gateway.errors import ApiError, bad_request
from workers.gateway.forms.conditions_form import check_expiry
from workers.gateway.forms.json_input import choice_field, refuse_unknown
from workers.gateway.forms.order_bodies import OrderListBody
from workers.gateway.forms.order_form import read_order

_KINDS = get_args(ListKind)
_TRIGGERS = ("full_fill", "first_fill")
SIZES = {"oco": 2, "oto": 2, "otoco": 3}
RIVALS: dict[str, slice] = {"oco": slice(0, 2), "oto": slice(0, 0), "otoco": slice(1, 3)}
"""Which orders of a list cancel each other."""


def read_order_list(
    fields: dict[str, object],
    instruments: Mapping[str, Instrument],
    new_id: Callable[[], str],
    account: int,
    now_ns: int,
) -> OrderListRequest:
    """The list in a decoded body; its request id is that of its first order. Raises ``ApiError`` 400."""
    known = OrderListBody.__struct_fields__
    refuse_unknown(fields, known, "an order list", ", ".join(known))
    kind = choice_field(fields, "type", _KINDS)
    first_fill = choice_field(fields, "trigger", _TRIGGERS, "full_fill") == "first_fill"
    if kind == "oco" and fields.get("trigger") is not None:
        raise bad_request("trigger does not go with type oco, whose orders are both live at once: leave it out")
    orders = [_order(at, one, instruments, new_id(), account, now_ns) for at, one in enumerate(_parts(fields, kind), 1)]
    symbol = orders[0].instrument
    for at, order in enumerate(orders, 1):
        if order.instrument != symbol:
            raise bad_request(f"{_which(at)}product_id {order.instrument} differs from the first order's, {symbol}")
    _check_client_ids(orders)
    if orders[RIVALS[kind]]:
        _check_rivals(orders[RIVALS[kind]], RIVALS[kind].start + 1, instruments[symbol])
    return OrderListRequest(
        orders[0].request_id, account, symbol, kind, orders, first_fill  # type: ignore[arg-type]  # one of the literals
    )  # fmt: skip


def _which(at: int) -> str:
    return f"order {at} of the list: "


def _parts(fields: dict[str, object], kind: str) -> list[dict[str, object]]:
    parts = fields.get("orders")
    if not isinstance(parts, list):
        raise bad_request("orders must be an array of orders")
    if len(parts) != SIZES[kind]:
        raise bad_request(f"orders has {len(parts)} of them: a list of type {kind} has {SIZES[kind]}")
    for at, one in enumerate(parts, 1):
        if not isinstance(one, dict):
            raise bad_request(f"{_which(at)}it must be a JSON object with the fields of an order")
    return parts


def _order(
    at: int,
    fields: dict[str, object],
    instruments: Mapping[str, Instrument],
    request_id: str,
    account: int,
    now_ns: int,
) -> OrderRequest:
    try:
        return read_order(fields, instruments, request_id, account, now_ns)
    except ApiError as error:
        raise ApiError(error.status, f"{_which(at)}{error}") from None


def _check_client_ids(orders: list[OrderRequest]) -> None:
    first: dict[str, int] = {}
    for at, order in enumerate(orders, 1):
        if order.client_id and first.setdefault(order.client_id, at) != at:
            raise bad_request(
                f'{_which(at)}client_oid "{order.client_id[:40]}" is that of order {first[order.client_id]}, too: '
                "give each its own"
            )


# --- two that cancel each other ----------------------------------------------------------------------


class Place(msgspec.Struct, frozen=True):
    """Where the ``at``-th order waits: on which side of the market, and at which price (ticks; 0: it trails)."""

    at: int
    above: bool
    price: int
    name: str


def place_of(order: OrderRequest, at: int) -> Place:
    """A limit or take-profit waits where the price would be better for it, a stop where it would be worse."""
    conditions = order.conditions
    if conditions is None or not conditions.stop:
        return Place(at, order.side == "sell", order.price, "price")
    return Place(at, conditions.stop == "entry", conditions.stop_price, "stop_price")


def _check_rivals(rivals: list[OrderRequest], first: int, instrument: Instrument) -> None:
    """Two orders of which one cancels the other: one side, one above and one below the market, both able to wait."""
    if rivals[0].side != rivals[1].side:
        raise bad_request(
            f"{_which(first + 1)}side {rivals[1].side} differs from order {first}'s, {rivals[0].side}: "
            "two orders that cancel each other are on the same side"
        )
    for at, order in enumerate(rivals, first):
        _check_waits(order, at)
    upper, lower = _straddling(rivals, first)
    if upper.price and lower.price and upper.price <= lower.price:
        raise bad_request(
            f"{_which(upper.at)}{upper.name} {price_text(instrument, upper.price)} must be above order {lower.at}'s "
            f"{lower.name}, {price_text(instrument, lower.price)}"
        )


def _check_waits(order: OrderRequest, at: int) -> None:
    """One that ends as it arrives would take the other with it at once, and leave its owner without both."""
    if order.conditions is not None and order.conditions.stop:
        return
    if order.order_type == "market":
        raise bad_request(
            f"{_which(at)}type market never waits, so it cannot be canceled by another: send type limit, or a stop"
        )
    if order.time_in_force in ("IOC", "FOK"):
        raise bad_request(
            f"{_which(at)}time_in_force {order.time_in_force} never waits, so it cannot be canceled by another: "
            "send GTC or GTT, or a stop"
        )
    if order.conditions is not None and order.conditions.min_quantity:
        raise bad_request(
            f"{_which(at)}min_size has to fill as the order arrives, so it cannot be canceled by another: "
            "leave it out, or send a stop"
        )


def _straddling(rivals: list[OrderRequest], first: int) -> tuple[Place, Place]:
    """The one that waits above the market, and the one below."""
    one, other = (place_of(order, at) for at, order in enumerate(rivals, first))
    if one.above == other.above:
        raise bad_request(
            f"orders {first} and {first + 1} of the list both wait {'above' if one.above else 'below'} the market, so "
            "they do not straddle it: send a limit or take-profit, and a stop"
        )
    return (one, other) if one.above else (other, one)


def check_market(request: OrderListRequest, instrument: Instrument, last_price: int) -> None:
    """The two orders of an oco, which are live at once, lie around the last trade (ticks; 0: none yet).

    Raises ``ApiError`` 400.
    """
    if request.kind != "oco" or not last_price:
        return
    upper, lower = _straddling(request.orders, 1)
    last = price_text(instrument, last_price)
    if 0 < upper.price <= last_price:
        shown = price_text(instrument, upper.price)
        raise bad_request(
            f"{_which(upper.at)}{upper.name} {shown} must be above the last trade, {last}: it would not wait"
        )
    if lower.price >= last_price:
        shown = price_text(instrument, lower.price)
        raise bad_request(
            f"{_which(lower.at)}{lower.name} {shown} must be below the last trade, {last}: it would not wait"
        )


def check_expiries(request: OrderListRequest, now_ns: int) -> None:
    """No order of the list has ended already. Raises ``ApiError`` 400."""
    for at, order in enumerate(request.orders, 1):
        try:
            check_expiry(order, now_ns)
        except ApiError as error:
            raise ApiError(error.status, f"{_which(at)}{error}") from None
