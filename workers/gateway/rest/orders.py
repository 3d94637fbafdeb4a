"""Orders: place, look up, list, cancel. An order's way begins here: who asks, decimals to integers, the rules."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated, Any
from urllib.parse import unquote_to_bytes

import msgspec
from litestar import Request, Response, delete, get, post
from litestar.params import Parameter
from sqlalchemy import ColumnElement

from shared.errors import InvalidInput
from shared.messages import Accepted, CancelAllRequest, CancelAllRequested, CancelRequest, Duplicate
from shared.order_id import from_uuid, to_uuid
from shared.schema import orders as orders_table
from workers.gateway.auth import Caller
from workers.gateway.context import Gateway
from workers.gateway.errors import bad_request, order_already_done, order_not_found
from workers.gateway.json_input import decode_object
from workers.gateway.order_form import client_id, read_order
from workers.gateway.orders import KnownOrder, shard_of_order
from workers.gateway.paging import Page
from workers.gateway.rest.answers import OrderAnswer, order_answer
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
)
from workers.gateway.times import end_ns, time_ns

CANCEL_WAIT_S = 1.0
"""How long a cancel waits for its order to be done, so that balances are right when it answers."""
_CLIENT = "client:"
_STATUSES = {
    "open": frozenset({"open"}),
    "pending": frozenset({"pending"}),
    "active": frozenset({"active"}),
    "received": frozenset({"pending"}),
    "done": frozenset({"done"}),
    "settled": frozenset({"done"}),
    "all": frozenset({"open", "pending", "active", "done"}),
}
_TAGS = ["orders"]
_SIGNED: list[dict[str, list[str]]] = [{"key": []}]


@post("/orders", status_code=200, tags=_TAGS, security=_SIGNED)
async def create(request: Request[Any, Any, Any], gateway: Gateway) -> OrderAnswer:
    """Place an order. A second order with the same client_oid is not placed: the first one is answered again."""
    caller, body = await gateway.authenticate_body(request, "trade")
    gateway.replicas.require()
    number = gateway.inbox.request_id()
    event = await gateway.ask(read_order(decode_object(body), gateway.replicas.instruments, number, caller.account))
    assert isinstance(event, (Accepted, Duplicate)), event
    known = gateway.replicas.orders.find(caller.account, event.order_id)
    if known is None:  # the repeat of an order that was done long ago
        known = await _find_by_id(gateway, caller.account, event.order_id)
    return _answer(gateway, known)


@get("/orders/{order_id:path}", tags=_TAGS, security=_SIGNED)
async def show(
    request: Request[Any, Any, Any],
    gateway: Gateway,
    order_id: Annotated[str, Parameter(description="id of the order, or client: and its client_oid")],  # noqa: ARG001
) -> OrderAnswer:
    """One order: directly after it was placed, and for ever."""
    caller = await gateway.authenticate(request, "view")
    return _answer(gateway, await _find(gateway, caller, _reference(request)))


@get("/orders", tags=_TAGS, security=_SIGNED)
async def list_orders(
    request: Request[Any, Any, Any],
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
    gateway.replicas.require()
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
    return Response([_answer(gateway, known) for known in cut.items], headers=cut.headers())


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
    request: Request[Any, Any, Any],
    gateway: Gateway,
    order_id: Annotated[str, Parameter(description="id of the order, or client: and its client_oid")],  # noqa: ARG001
    product_id: ProductFilter = None,
) -> Response[str]:
    """Cancel an order. When this answers its id, what it held is available again."""
    caller, body = await gateway.authenticate_body(request, "trade")
    symbol = product_of(body, product_id)
    known = await _find(gateway, caller, _reference(request))
    order = known.order
    if symbol not in ("", order.instrument):
        raise order_not_found()
    if known.is_done:
        raise order_already_done()
    wanted = CancelRequest(gateway.inbox.request_id(), caller.account, order.order_id)
    await gateway.ask(wanted)
    if await gateway.replicas.orders.wait_done(order.order_id, CANCEL_WAIT_S) == "filled":
        raise order_already_done()
    encoded: Any = msgspec.json.encode(to_uuid(order.order_id))  # Litestar would send a bare str as it is
    return Response(encoded, media_type="application/json")


@delete("/orders", status_code=200, tags=_TAGS, security=_SIGNED)
async def cancel_all(request: Request[Any, Any, Any], gateway: Gateway, product_id: ProductFilter = None) -> list[str]:
    """Cancel all open orders, or those of one product; answers the ids of those that were canceled."""
    caller, body = await gateway.authenticate_body(request, "trade")
    symbol = product_of(body, product_id)
    gateway.replicas.require()
    wanted = CancelAllRequest(gateway.inbox.request_id(), caller.account, symbol)
    asked = await gateway.ask(wanted)
    assert isinstance(asked, CancelAllRequested), asked
    waits = (gateway.replicas.orders.wait_done(number, CANCEL_WAIT_S) for number in asked.order_ids)
    reasons = await asyncio.gather(*waits)
    return [to_uuid(number) for number, why in zip(asked.order_ids, reasons, strict=True) if why != "filled"]


# --- finding ---------------------------------------------------------------------------------------


def _reference(request: Request[Any, Any, Any]) -> str:
    """What stands after /orders/ in the path, decoded once: a client_oid may contain any character."""
    raw = request.scope["raw_path"].partition(b"/orders/")[2].removesuffix(b"/")
    try:
        return unquote_to_bytes(raw).decode()
    except UnicodeDecodeError:
        raise bad_request("Invalid order id") from None


async def _find(gateway: Gateway, caller: Caller, reference: str) -> KnownOrder:
    """The caller's order with this id, or with this client_oid after "client:". Raises ``ApiError`` 404."""
    gateway.replicas.require()
    if reference.startswith(_CLIENT):
        return await _find_by_client_id(gateway, caller.account, client_id(reference.removeprefix(_CLIENT)))
    try:
        return await _find_by_id(gateway, caller.account, from_uuid(reference))
    except InvalidInput as error:
        raise bad_request(str(error)) from None


async def _find_by_id(gateway: Gateway, account: int, number: int) -> KnownOrder:
    """From memory, after catching up with another gateway that may have answered it already; else from PostgreSQL."""
    orders = gateway.replicas.orders
    if shard_of_order(number) != gateway.shard(account):
        raise order_not_found()
    known = orders.find(account, number)
    if known is None and orders.is_beyond(number):
        await gateway.replicas.catch_up(gateway.shard(account))
        known = orders.find(account, number)
        if known is None and orders.is_beyond(number):
            raise order_not_found()
    return known or await _from_history(gateway, account, lambda: gateway.history.order(account, number))


async def _find_by_client_id(gateway: Gateway, account: int, own: str) -> KnownOrder:
    orders = gateway.replicas.orders
    known = orders.find_by_client_id(account, own)
    if known is None and gateway.settings.gateways > 1:
        await gateway.replicas.catch_up(gateway.shard(account))
        known = orders.find_by_client_id(account, own)
    return known or await _from_history(gateway, account, lambda: gateway.history.order_by_client_id(account, own))


async def _from_history(gateway: Gateway, account: int, look: Callable[[], Awaitable[KnownOrder | None]]) -> KnownOrder:
    """An order that memory does not have. Raises ``ApiError`` 404."""
    known = await look()
    if known is None and await gateway.replicas.wait_covered(gateway.shard(account)):
        known = await look()
    if known is None:
        raise order_not_found()
    return known


def _answer(gateway: Gateway, known: KnownOrder) -> OrderAnswer:
    return order_answer(known, gateway.replicas.orders.status(known), gateway.replicas.texts(known.order.instrument))


ROUTES = [create, show, list_orders, cancel, cancel_all]
