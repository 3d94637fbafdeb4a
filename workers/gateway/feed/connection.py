"""What a WebSocket client says, and what is done about it: one table of message types."""

import time
from collections.abc import Awaitable, Callable

from workers.gateway.auth import WEBSOCKET_PATH, Caller, claim_of_message, verify
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
from workers.gateway.json_input import decode_object
from workers.gateway.keyring import KeyRing
from workers.gateway.replicas import Replicas

_SIGNED = ("signature", "key", "passphrase")
"""Fields of which any says that the client wants to be known."""


class Connection:
    """One client's conversation."""

    def __init__(self, socket: FeedSocket, hub: Hub, replicas: Replicas, keyring: KeyRing) -> None:
        self._socket = socket
        self._hub = hub
        self._replicas = replicas
        self._keyring = keyring
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
            self._socket.send(frame(error(failure.message, failure.reason)))
        except ApiError as failure:
            self._socket.send(frame(error(INVALID, str(failure))))

    def leave(self) -> None:
        """The client is gone."""
        self._hub.remove(self._socket, self._subscriptions)
        self._subscriptions = Subscriptions()

    async def _subscribe(self, fields: dict[str, object]) -> None:
        wishes = read_wishes(fields)
        if any(fields.get(name) is not None for name in _SIGNED):
            caller = await self._authenticate(fields)
            if self._socket.account not in (0, caller.account):
                raise FeedError(AUTHENTICATION_FAILED, "this connection belongs to another user; open a new one")
            self._socket.account = caller.account
        if not self._socket.account and any(wish.channel == "user" for wish in wishes):
            reason = "the user channel needs timestamp, key, passphrase and signature"
            raise FeedError(AUTHENTICATION_FAILED, reason)
        if self._replicas.trouble:
            raise FeedError(SUBSCRIBE_FAILED, f"the feed is not available just now ({self._replicas.trouble})")
        topics = self._subscriptions.plan(wishes, self._replicas.markets)
        self._subscriptions.add(topics)
        self._socket.send(frame(self._subscriptions.answer()))
        self._hub.add(self._socket, topics)

    async def _unsubscribe(self, fields: dict[str, object]) -> None:
        self._hub.remove(self._socket, self._subscriptions.remove(read_end(fields)))
        self._socket.send(frame(self._subscriptions.answer()))

    async def _authenticate(self, fields: dict[str, object]) -> Caller:
        try:
            claim = claim_of_message(fields)
            credential = await self._keyring.find(claim.key)
            caller = verify(claim, credential, b"GET", WEBSOCKET_PATH, b"", time.time())
            caller.require("view")
        except ApiError as failure:
            raise FeedError(AUTHENTICATION_FAILED, str(failure)) from None
        return caller
