"""The gateway's application: its parts put together, its routes, and every error as ``{"message": ...}``."""

import asyncio
from http import HTTPStatus
from itertools import count
from os import getpid
from socket import gethostname
from typing import Any

import msgspec
import redis.asyncio
from litestar import Litestar, Request, Response, Router, WebSocket, get, websocket
from litestar.di import Provide
from litestar.exceptions import HTTPException, ValidationException
from sqlalchemy.ext.asyncio import AsyncEngine

from shared import log
from shared.settings import Settings
from workers.gateway import figures
from workers.gateway.access.attempts import Attempts
from workers.gateway.access.gate import Gate
from workers.gateway.access.keyring import KeyRing
from workers.gateway.access.open_sockets import OpenSockets
from workers.gateway.access.passwords import Passwords
from workers.gateway.access.people import People
from workers.gateway.access.rates import Rates
from workers.gateway.access.sessions import Sessions
from workers.gateway.access.watch import Watch
from workers.gateway.backpressure import Backpressure
from workers.gateway.context import BODY_MAX, Gateway
from workers.gateway.control import Control
from workers.gateway.description import openapi
from workers.gateway.errors import ApiError
from workers.gateway.feed.cancel_on_disconnect import CancelOnDisconnect
from workers.gateway.feed.connection import Connection
from workers.gateway.feed.hub import Hub
from workers.gateway.feed.socket import FeedSocket, transport_of
from workers.gateway.history import History
from workers.gateway.inbox import Inbox
from workers.gateway.markets import Markets
from workers.gateway.orders import Desk
from workers.gateway.replicas import Replicas
from workers.gateway.rest import accounts, admin, funding, keys, orders, public, service, users

_JSON = "application/json"
TURN = 16
"""Messages of one socket that are heard at a stretch, which takes a millisecond or two."""
_WORDS = {
    HTTPStatus.NOT_FOUND: "NotFound",
    HTTPStatus.METHOD_NOT_ALLOWED: "NotFound",
}


def create_gateway(
    number: int, settings: Settings, client: redis.asyncio.Redis, engine: AsyncEngine, server_key: str
) -> Gateway:
    """The parts of gateway ``number``; nothing runs yet."""
    markets = Markets()
    history = History(engine)
    backpressure = Backpressure(client, settings)
    inbox = Inbox(client, number, settings.request_timeout_ms / 1000, backpressure)
    hub = Hub(markets)
    replicas = Replicas(client, history, settings.shards, markets, inbox, hub, settings.core)
    desk = Desk(inbox, replicas, history, settings.shards, settings.gateways)
    keyring, sessions, rates, sockets = (
        KeyRing(history, server_key),
        Sessions(client, settings),
        Rates(settings),
        OpenSockets(settings),
    )
    gate = Gate(settings, keyring, sessions, rates)
    watch = Watch(client, keyring, sessions, gate, sockets)
    people = People(client, history, keyring, watch, Attempts(client), Passwords(settings), server_key)
    control = Control(client, inbox, replicas, settings.shards)
    worker = (f"gateway:{number}", gethostname(), getpid())
    promises = CancelOnDisconnect(client, inbox, replicas, settings.shards, *worker)
    return Gateway(
        number, settings, backpressure, inbox, hub, history, replicas, desk, gate, rates, sessions, sockets, watch,
        people, control, promises,
    )  # fmt: skip


@websocket(["/", "/ws"])
async def feed(socket: WebSocket[Any, Any, Any], gateway: Gateway) -> None:
    """The feed: hear the client out until it leaves. A page of ours needs no key: its session says who it is."""
    scope, address = socket.scope, gateway.gate.neighbourhood_of(socket.scope)
    try:
        gateway.gate.count(scope)
        gateway.sockets.check(address)
    except ApiError as error:
        await _turn_away(socket, error)
        return
    visitor = await gateway.gate.visitor_of(scope)
    await socket.accept()
    figures.SOCKETS.inc()
    sender = FeedSocket(transport_of(scope))
    gateway.sockets.enter(sender, address)
    connection = Connection(sender, scope, gateway)
    try:
        if visitor is not None:
            connection.know(visitor)
        for heard in count(1):
            message = await socket.receive()
            if message["type"] == "websocket.disconnect":
                break
            if not sender.is_closed:  # else it may read what it was told last, and is not heard any more
                await connection.receive(message.get("text") or message.get("bytes") or "")  # type: ignore[arg-type]
            if heard % TURN == 0:  # a queue full of messages does not suspend: let others have their turn
                await asyncio.sleep(0)
    finally:
        gateway.sockets.leave(sender)
        figures.SOCKETS.dec()
        await connection.leave()


async def _turn_away(socket: WebSocket[Any, Any, Any], error: ApiError) -> None:
    """Answer the handshake like a request; to close the socket would read as 403."""
    headers = [(b"content-type", _JSON.encode())]
    if error.retry_after_s:
        headers.append((b"retry-after", b"%d" % error.retry_after_s))
    body = msgspec.json.encode({"message": str(error)})
    send: Any = socket.send
    await send({"type": "websocket.http.response.start", "status": error.status, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": body})


_SIGNED_ROUTES = (*orders.ROUTES, *accounts.ROUTES, *funding.ROUTES, *users.ROUTES, *keys.ROUTES, *admin.ROUTES)
"""Who asks here is counted once they are known."""
_PUBLIC_ROUTES = (*public.ROUTES, *service.ROUTES)
_ROUTES = (*_PUBLIC_ROUTES, *_SIGNED_ROUTES)


@get("/openapi.json", include_in_schema=False)
async def description() -> Response[bytes]:
    """The OpenAPI document."""
    return Response(openapi(_ROUTES), media_type=_JSON)


def create_app(gateway: Gateway) -> Litestar:
    """The ASGI application."""

    async def count(request: Request[Any, Any, Any]) -> None:
        gateway.gate.count(request.scope)

    open_to_all = Router("/", route_handlers=[*_PUBLIC_ROUTES, description], before_request=count)
    return Litestar(
        [open_to_all, *_SIGNED_ROUTES, feed],
        dependencies={"gateway": Provide(lambda: gateway, sync_to_thread=False, use_cache=True)},
        exception_handlers={ApiError: _api_error, HTTPException: _http_error, Exception: _unexpected},
        request_max_body_size=BODY_MAX,
        openapi_config=None,
        logging_config=None,
    )


def _answer(status: int, message: str, headers: dict[str, str] | None = None) -> Response[dict[str, str]]:
    return Response({"message": message}, status_code=status, media_type=_JSON, headers=headers)


def _api_error(_: Request[Any, Any, Any], error: ApiError) -> Response[dict[str, str]]:
    headers = {"Retry-After": str(error.retry_after_s)} if error.retry_after_s else None
    return _answer(error.status, str(error), headers)


def _http_error(request: Request[Any, Any, Any], error: HTTPException) -> Response[dict[str, str]]:
    """The framework's own errors, in our words. 405 becomes 404: ccxt would try a 405 again."""
    if isinstance(error, ValidationException):
        return _answer(HTTPStatus.BAD_REQUEST, _what_is_invalid(error))
    if error.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return _unexpected(request, error)
    status = HTTPStatus(error.status_code)
    message = _WORDS.get(status, error.detail)
    return _answer(HTTPStatus.NOT_FOUND if status == HTTPStatus.METHOD_NOT_ALLOWED else status, message)


def _what_is_invalid(error: ValidationException) -> str:
    """Which parameter, and what is wrong with it."""
    found = error.extra if isinstance(error.extra, list) else []
    parts = [f"{one.get('key', 'request')}: {one.get('message', 'invalid')}" for one in found if isinstance(one, dict)]
    return "; ".join(parts) or error.detail


def _unexpected(request: Request[Any, Any, Any], error: Exception) -> Response[dict[str, str]]:
    """A fault of ours: the client learns nothing, the log everything."""
    log.get().error("A request failed", method=request.method, path=request.url.path, exc_info=error)
    return _answer(HTTPStatus.INTERNAL_SERVER_ERROR, "Internal server error")
