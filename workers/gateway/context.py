"""What every route needs: the parts of one gateway process, and who asks."""

from http import HTTPStatus
from typing import Any

import msgspec
from litestar import Request

from shared import keys
from shared.credentials import Scope
from shared.settings import Settings
from workers.gateway.access.auth import Caller
from workers.gateway.access.gate import Gate
from workers.gateway.access.open_sockets import OpenSockets
from workers.gateway.access.people import People
from workers.gateway.access.rates import Rates
from workers.gateway.access.sessions import Sessions
from workers.gateway.access.watch import Watch
from workers.gateway.backpressure import Backpressure
from workers.gateway.control import Control
from workers.gateway.errors import ApiError, bad_request
from workers.gateway.feed.cancel_on_disconnect import CancelOnDisconnect
from workers.gateway.feed.hub import Hub
from workers.gateway.history import History
from workers.gateway.inbox import Inbox
from workers.gateway.orders import Desk
from workers.gateway.replicas import Replicas

BODY_MAX = 64 * 1024


class Gateway(msgspec.Struct, frozen=True):
    """One gateway process."""

    number: int
    settings: Settings
    backpressure: Backpressure
    inbox: Inbox
    hub: Hub
    history: History
    replicas: Replicas
    desk: Desk
    gate: Gate
    rates: Rates
    sessions: Sessions
    sockets: OpenSockets
    watch: Watch
    people: People
    control: Control
    cancel_on_disconnect: CancelOnDisconnect

    def shard(self, account: int) -> int:
        """The shard that keeps an account."""
        return keys.shard_of(account, self.settings.shards)

    async def authenticate(self, request: Request[Any, Any, Any], scope: Scope) -> Caller:
        """Who asks. Raises ``ApiError``: 401 if nobody known, or who may not do this; 429 if they ask too often."""
        caller, _ = await self.authenticate_body(request, scope)
        return caller

    async def authenticate_body(self, request: Request[Any, Any, Any], scope: Scope) -> tuple[Caller, bytes]:
        """The same, with the request's body, which is signed too: even a GET or DELETE may have one."""
        body = await read_body(request)
        caller = await self.gate.caller_of(request.scope, target_of(request), body)
        caller.require(scope)
        return caller, body


async def read_body(request: Request[Any, Any, Any]) -> bytes:
    """The whole body. Raises ``ApiError`` 413. The framework's own way costs as much as verifying the signature."""
    parts: list[bytes] = []
    size, more = 0, True
    while more:
        message: Any = await request.receive()
        if message["type"] == "http.disconnect":
            raise bad_request("the request ended before its body did")
        parts.append(message["body"])
        size += len(parts[-1])
        if size > BODY_MAX:
            raise ApiError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the request body is larger than {BODY_MAX} bytes")
        more = message["more_body"]
    return parts[0] if len(parts) == 1 else b"".join(parts)


def target_of(request: Request[Any, Any, Any]) -> bytes:
    """The request's path and query, byte for byte as the client sent them."""
    path, query = request.scope["raw_path"], request.scope["query_string"]
    return path + b"?" + query if query else path
