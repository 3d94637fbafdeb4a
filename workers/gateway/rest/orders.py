"""Orders: place, amend, look up, list, cancel. An order's way begins here: who asks, and what; ``Desk`` does it."""

from typing import Annotated, Any
from urllib.parse import unquote_to_bytes

import msgspec
from litestar import Request, Response, delete, get, patch, post
from litestar.params import Parameter
from sqlalchemy import ColumnElement

from shared.schema import orders as orders_table
from workers.gateway.context import Gateway
from workers.gateway.errors import bad_request
from workers.gateway.forms.json_input import decode_object
from workers.gateway.forms.times import end_ns, time_ns
from workers.gateway.known_orders import KnownOrder
from workers.gateway.order_answer import OrderAnswer, OrderListAnswer
from workers.gateway.paging import Page
from workers.gateway.rest.query import (
    After,
    Before,
    End,
    Limit,
    ProductFilter,
    Start,
    known_product,
    page_of,
    product_of,
    refuse_misread,
    side_of,
)

_STATUSES = {
    "open": frozenset({"open", "unknown"}),
    "pending": frozenset({"pending", "unknown"}),
    "active": frozenset({"active", "unknown"}),
    "received": frozenset({"pending", "unknown"}),
    "done": frozenset({"done"}),
    "settled": frozenset({"done"}),
    "all": frozenset({"open", "pending", "active", "done", "unknown"}),
}
"""What is asked for, and what is answered: an order that may be it must not be missing."""
_TAGS = ["orders"]
_SIGNED: list[dict[str, list[str]]] = [{"key": []}]
AnyRequest = Request[Any, Any, Any]
OrderId = Annotated[str, Parameter(description="id of the order, or client: and its client_oid")]


@post("/orders", status_code=200, tags=_TAGS, security=_SIGNED)
async def create(request: AnyRequest, gateway: Gateway) -> OrderAnswer:
    """Place an order. A second order with the same client_oid is not placed: the first one is answered again.

    The answer says that the order is accepted and its funds are held. What its book decides when it comes there (a
    post_only order would take, a FOK order finds too little) shows a moment later: it is done, with a reject_reason.
    """
    caller, body = await gateway.authenticate_body(request, "trade")
    return await gateway.desk.place(caller.account, decode_object(body))


@post("/order-lists", status_code=200, tags=_TAGS, security=_SIGNED)
async def create_list(request: AnyRequest, gateway: Gateway) -> OrderListAnswer:
    """Place two or three orders together, all or none (an extension): oco, oto or otoco.

    A second list with the same client_oids is not placed: the first one is answered again. Canceling an order of a list
    cancels those that depend on it; an order that was canceled so has reject_reason linked_order.
    """
    caller, body = await gateway.authenticate_body(request, "trade")
    return await gateway.desk.place_list(caller.account, decode_object(body))


@patch("/orders/{order_id:path}", status_code=200, tags=_TAGS, security=_SIGNED)
async def amend(
    request: AnyRequest,
    gateway: Gateway,
    order_id: OrderId,  # noqa: ARG001
) -> OrderAnswer:
    """Change an order's price, size or stop_price (an extension), and answer it as it stands after that.

    size is the new total, what is filled already included. If the amend fails the order stays as it was.
    """
    caller, body = await gateway.authenticate_body(request, "trade")
    return await gateway.desk.amend(caller.account, _reference(request), decode_object(body))


@get("/orders/{order_id:path}", tags=_TAGS, security=_SIGNED)
async def show(
    request: AnyRequest,
    gateway: Gateway,
    order_id: OrderId,  # noqa: ARG001
) -> OrderAnswer:
    """One order: directly after it was placed, and for ever."""
    caller = await gateway.authenticate(request, "view")
    return gateway.desk.answer(await gateway.desk.find(caller.account, _reference(request)))


@get("/orders", tags=_TAGS, security=_SIGNED)
async def list_orders(
    request: AnyRequest,
    gateway: Gateway,
    status: Annotated[
        list[str] | None,
        Parameter(description="open, pending, active, done, all; may be repeated; open ones if absent"),
    ] = None,
    product_id: ProductFilter = None,
    start_date: Start = None,
    end_date: End = None,
    limit: Limit = 100,
    before: Before = None,
    after: After = None,
) -> Response[list[OrderAnswer]]:
    """The caller's orders, newest first."""
    caller = await gateway.authenticate(request, "view")
    await gateway.desk.catch_up(caller.account)
    statuses = _statuses(status)
    page = page_of(limit, before, after)
    symbol = known_product(product_id, gateway.replicas.instruments)
    since, until = time_ns(start_date, "start_date"), end_ns(end_date, "end_date")

    def wanted(known: KnownOrder) -> bool:
        return (
            gateway.replicas.orders.status(known) in statuses
            and symbol in ("", known.order.instrument)
            and (since is None or known.order.time >= since)
            and (until is None or known.order.time <= until)
        )

    found = gateway.replicas.orders.select(caller.account, page, wanted)
    if "done" in statuses:
        conditions: list[ColumnElement[bool]] = [orders_table.c.settled.is_(True)]
        if symbol:
            conditions.append(orders_table.c.instrument == symbol)
        if since is not None:
            conditions.append(orders_table.c.created_at >= since)
        if until is not None:
            conditions.append(orders_table.c.created_at <= until)
        found = _merge(found, await gateway.history.orders(caller.account, page, *conditions), page)
    cut = page.cut(found, lambda known: known.order.order_id)
    return Response([gateway.desk.answer(known) for known in cut.items], headers=cut.headers())


def _statuses(words: list[str] | None) -> frozenset[str]:
    named = [word for part in words or ("open", "pending", "active") for word in part.split(",")]
    for word in named:
        if word not in _STATUSES:
            raise bad_request(f'status "{word[:40]}" is not one of {", ".join(_STATUSES)}')
    return frozenset().union(*(_STATUSES[word] for word in named))


def _merge(recent: list[KnownOrder], older: list[KnownOrder], page: Page) -> list[KnownOrder]:
    """Orders of memory and PostgreSQL, each once (memory knows more), in the page's direction."""
    found = {known.order.order_id: known for known in (*older, *recent)}
    numbers = sorted(found, reverse=not page.ascending)
    return [found[number] for number in numbers[: page.limit + 1]]


@delete("/orders/{order_id:path}", status_code=200, media_type="application/json", tags=_TAGS, security=_SIGNED)
async def cancel(
    request: AnyRequest,
    gateway: Gateway,
    order_id: OrderId,  # noqa: ARG001
    product_id: ProductFilter = None,
) -> Response[str]:
    """Cancel an order. When this answers its id, what it held is available again."""
    caller, body = await gateway.authenticate_body(request, "trade")
    symbol = product_of(body, product_id)
    encoded: Any = msgspec.json.encode(await gateway.desk.cancel(caller.account, _reference(request), symbol))
    return Response(encoded, media_type="application/json")  # Litestar would send a bare str as it is


@delete("/orders", status_code=200, tags=_TAGS, security=_SIGNED)
async def cancel_all(
    request: AnyRequest,
    gateway: Gateway,
    product_id: ProductFilter = None,
    side: Annotated[str | None, Parameter(description="only those of this side: buy or sell (an extension)")] = None,
) -> list[str]:
    """Cancel all open orders, or those of one product and/or side; answers the ids of those that were canceled."""
    caller, body = await gateway.authenticate_body(request, "trade")
    refuse_misread(request.query_params, body)
    symbol = product_of(body, product_id)
    return await gateway.desk.cancel_all(caller.account, symbol, side_of(body, side))


def _reference(request: Request[Any, Any, Any]) -> str:
    """What stands after /orders/ in the path, decoded once: a client_oid may contain any character."""
    raw = request.scope["raw_path"].partition(b"/orders/")[2].removesuffix(b"/")
    try:
        return unquote_to_bytes(raw).decode()
    except UnicodeDecodeError:
        raise bad_request("Invalid order id") from None


ROUTES = [create, create_list, amend, show, list_orders, cancel, cancel_all]
