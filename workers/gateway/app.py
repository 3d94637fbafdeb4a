"""The gateway's application: its parts put together, its routes, and every error as ``{"message": ...}``."""

import asyncio
from http import HTTPStatus
from typing import Any

import redis.asyncio
from litestar import Litestar, Request, Response, WebSocket, get, websocket
from litestar.di import Provide
from litestar.exceptions import HTTPException, ValidationException
from sqlalchemy.ext.asyncio import AsyncEngine

from shared import log
from shared.settings import Settings
from workers.gateway import figures
from workers.gateway.context import BODY_MAX, Gateway
from workers.gateway.description import openapi
from workers.gateway.errors import ApiError
from workers.gateway.feed.connection import Connection
from workers.gateway.feed.hub import Hub
from workers.gateway.feed.socket import FeedSocket, transport_of
from workers.gateway.history import History
from workers.gateway.inbox import Inbox
from workers.gateway.keyring import KeyRing
from workers.gateway.market import Market
from workers.gateway.orders import Desk
from workers.gateway.replicas import Replicas
from workers.gateway.rest import accounts, orders, public, service

_JSON = "application/json"
_WORDS = {
    HTTPStatus.NOT_FOUND: "NotFound",
    HTTPStatus.METHOD_NOT_ALLOWED: "NotFound",
}


def create_gateway(
    number: int, settings: Settings, client: redis.asyncio.Redis, engine: AsyncEngine, server_key: str
) -> Gateway:
    """The parts of gateway ``number``; nothing runs yet."""
    markets: dict[str, Market] = {}
    history = History(engine)
    inbox = Inbox(client, number, settings.request_timeout_ms / 1000)
    hub = Hub(markets)
    replicas = Replicas(client, history, settings.shards, markets, inbox, hub)
    desk = Desk(inbox, replicas, history, settings.shards, settings.gateways)
    return Gateway(number, settings, inbox, hub, history, KeyRing(history, server_key), replicas, desk)


@websocket(["/", "/ws"])
async def feed(socket: WebSocket[Any, Any, Any], gateway: Gateway) -> None:
    """The feed: hear the client out until it leaves."""
    await socket.accept()
    figures.SOCKETS.inc()
    sender = FeedSocket(transport_of(socket.scope))
    connection = Connection(sender, gateway.hub, gateway.replicas, gateway.keyring)
    try:
        while (message := await socket.receive())["type"] != "websocket.disconnect":
            await connection.receive(message.get("text") or message.get("bytes") or "")  # type: ignore[arg-type]
            await asyncio.sleep(0)  # a queue full of messages does not suspend: let others have their turn
    finally:
        connection.leave()
        figures.SOCKETS.dec()


_ROUTES = (*public.ROUTES, *orders.ROUTES, *accounts.ROUTES, *service.ROUTES)


@get("/openapi.json", include_in_schema=False)
async def description() -> Response[bytes]:
    """The OpenAPI document."""
    return Response(openapi(_ROUTES), media_type=_JSON)


def create_app(gateway: Gateway) -> Litestar:
    """The ASGI application."""
    return Litestar(
        [*_ROUTES, feed, description],
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
