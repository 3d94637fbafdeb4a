"""What a WebSocket client says, and what is done about it: one table of message types."""

from collections.abc import Awaitable, Callable
from typing import Any

from workers.gateway.auth import Caller, claim_of_message
from workers.gateway.errors import ApiError
from workers.gateway.feed.hub import Hub
from workers.gateway.feed.messages import error, frame
from workers.gateway.feed.socket import FeedSocket
from workers.gateway.feed.subscriptions import (
    AUTHENTICATION_FAILED,
    INVALID,
    SUBSCRIBE_FAILED,
    FeedError,
    Subscriptions,
    read_end,
    read_wishes,
)
from workers.gateway.gate import Gate
from workers.gateway.json_input import decode_object
from workers.gateway.open_sockets import NOT_ALLOWED, OpenSockets
from workers.gateway.rates import Rate
from workers.gateway.replicas import Replicas

_SIGNED = ("signature", "key", "passphrase")
"""Fields of which any says that the client wants to be known."""
MESSAGES_A_SECOND = 100
MESSAGES_BURST_S = 20
"""Subscriptions (each topic counts: a snapshot may go with it), their ends, and whatever was refused."""
TOO_MANY = "Too many messages"


class Connection:
    """One client's conversation."""

    def __init__(
        self, socket: FeedSocket, scope: Any, hub: Hub, replicas: Replicas, gate: Gate, sockets: OpenSockets
    ) -> None:
        self._socket = socket
        self._scope = scope
        self._hub = hub
        self._replicas = replicas
        self._gate = gate
        self._sockets = sockets
        self._asked = Rate("Message", MESSAGES_A_SECOND, MESSAGES_BURST_S)
        self._subscriptions = Subscriptions()
        self._actions: dict[object, Callable[[dict[str, object]], Awaitable[None]]] = {
            "subscribe": self._subscribe,
            "unsubscribe": self._unsubscribe,
        }

    async def receive(self, text: str | bytes) -> None:
        """Do what one message asks; what cannot be done is answered with an error and changes nothing."""
        try:
            fields = decode_object(text, "the message")
            kind = fields.get("type")
            action = self._actions.get(kind) if isinstance(kind, str) else None
            if action is None:
                raise FeedError(INVALID, f"type must be one of {', '.join(map(str, self._actions))}")
            await action(fields)
        except FeedError as failure:
            self._refuse(failure.message, failure.reason)
        except ApiError as failure:
            self._refuse(INVALID, str(failure))

    def _refuse(self, message: str, reason: str) -> None:
        self._socket.send(frame(error(message, reason)))
        self._count(1)

    def _count(self, topics: int) -> bool:
        """Whether the client may go on: one that floods us, be it with nonsense, is told so and closed."""
        try:
            self._asked.take("", topics)
        except ApiError as failure:
            self._socket.send(frame(error(TOO_MANY, str(failure))))
            self._socket.close(NOT_ALLOWED, "too many messages")
            return False
        return True

    def know(self, caller: Caller) -> None:
        """The client's session says who it is. Too many sockets of one user leave the rest unknown, and told so."""
        try:
            self._sockets.sign_in(self._socket, caller)
        except ApiError as failure:
            self._socket.send(frame(error(AUTHENTICATION_FAILED, str(failure))))

    def leave(self) -> None:
        """The client is gone."""
        self._hub.remove(self._socket, self._subscriptions)
        self._subscriptions = Subscriptions()

    async def _subscribe(self, fields: dict[str, object]) -> None:
        wishes = read_wishes(fields)
        if any(fields.get(name) is not None for name in _SIGNED):
            await self._sign_in(fields)
        if not self._socket.account and any(wish.channel == "user" for wish in wishes):
            reason = "the user channel needs timestamp, key, passphrase and signature, or a session of this host"
            raise FeedError(AUTHENTICATION_FAILED, reason)
        if self._replicas.trouble:
            raise FeedError(SUBSCRIBE_FAILED, f"the feed is not available just now ({self._replicas.trouble})")
        topics = self._subscriptions.plan(wishes, self._replicas.markets)
        if not self._count(1 + len(topics)):
            return
        self._subscriptions.add(topics)
        self._socket.send(frame(self._subscriptions.answer()))
        self._hub.add(self._socket, topics)

    async def _unsubscribe(self, fields: dict[str, object]) -> None:
        if not self._count(1):
            return
        self._hub.remove(self._socket, self._subscriptions.remove(read_end(fields)))
        self._socket.send(frame(self._subscriptions.answer()))

    async def _sign_in(self, fields: dict[str, object]) -> None:
        try:
            caller = await self._gate.signer_of(claim_of_message(fields), self._scope)
            caller.require("view")
            if self._socket.account not in (0, caller.account):
                raise FeedError(AUTHENTICATION_FAILED, "this connection belongs to another user; open a new one")
            self._sockets.sign_in(self._socket, caller)
        except ApiError as failure:
            raise FeedError(AUTHENTICATION_FAILED, str(failure)) from None
