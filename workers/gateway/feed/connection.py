"""What a WebSocket client says, and what is done about it: one table of message types."""

from collections.abc import Awaitable, Callable
from typing import Any

from redis.exceptions import RedisError

from workers.gateway.access.auth import Caller, claim_of_message
from workers.gateway.access.open_sockets import NOT_ALLOWED
from workers.gateway.access.rates import Rate
from workers.gateway.context import Gateway
from workers.gateway.errors import ApiError, unauthorized, unavailable
from workers.gateway.feed import order_entry
from workers.gateway.feed.balances import standing
from workers.gateway.feed.messages import Message, error, frame
from workers.gateway.feed.order_entry import OrderEntry
from workers.gateway.feed.socket import FeedSocket
from workers.gateway.feed.subscriptions import (
    AUTHENTICATION_FAILED,
    BALANCE,
    INVALID,
    PRIVATE,
    SUBSCRIBE_FAILED,
    FeedError,
    Subscriptions,
    read_end,
    read_wishes,
    wants_all,
)
from workers.gateway.forms.json_input import decode_object, is_text
from workers.gateway.render import account_uuid, user_uuid

SUBSCRIBE_WAIT_S = 10.0
"""How long a subscription waits for a gateway that has just started: who connects again as soon as it listens, and is
refused then, mostly never asks again, and hears nothing for ever."""
_SIGNED = ("signature", "key", "passphrase")
"""Fields of which any says that the client wants to be known."""
MESSAGES_A_SECOND = 100
MESSAGES_BURST_S = 20
"""Subscriptions (each topic counts: a snapshot may go with it), their ends, and nonsense. Orders count elsewhere."""
TOO_MANY = "Too many messages"


class Connection:
    """One client's conversation."""

    def __init__(self, socket: FeedSocket, scope: Any, gateway: Gateway) -> None:
        self._socket = socket
        self._scope = scope
        self._gateway = gateway
        self._asked = Rate("Message", MESSAGES_A_SECOND, MESSAGES_BURST_S)
        self._subscriptions = Subscriptions()
        self._caller: Caller | None = None
        self._entry = OrderEntry(socket, gateway)
        self._cancels_on_disconnect = False
        self._actions: dict[str, Callable[[dict[str, object]], Awaitable[None]]] = {
            "subscribe": self._subscribe,
            "unsubscribe": self._unsubscribe,
            "authenticate": self._sign_in,
            **dict.fromkeys(order_entry.ACTIONS, self._enter),
            "cancel_on_disconnect": self._set_cancel_on_disconnect,
        }

    async def receive(self, text: str | bytes) -> None:
        """Do what one message asks; what cannot be done is answered with an error and changes nothing."""
        fields: dict[str, object] = {}
        try:
            fields = decode_object(text, "the message")
            kind = fields.get("type")
            action = self._actions.get(kind) if isinstance(kind, str) else None
            if action is None:
                raise FeedError(INVALID, f"type must be one of {', '.join(self._actions)}")
            await action(fields)
        except FeedError as failure:
            self._answer(error(failure.message, failure.reason), fields)
            self._count(1)
        except ApiError as failure:
            self._answer(error(_word(failure), str(failure)) | {"status": int(failure.status)}, fields)
            if fields.get("type") not in order_entry.ACTIONS:
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

    async def leave(self) -> None:
        """The client is gone. Comes back when what was promised for that is done."""
        self._gateway.hub.remove(self._socket, self._subscriptions)
        self._subscriptions = Subscriptions()
        if self._cancels_on_disconnect and self._caller is not None:
            await self._gateway.cancel_on_disconnect.keep(self._entry.session.name, self._caller.account)

    def _answer(self, message: Message, fields: dict[str, object]) -> None:
        """Send an answer, with the client's id if the message had one."""
        number = fields.get("id")
        if is_text(number) and len(number) <= order_entry.ID_CHARS_MAX:
            message = message | {"id": number}
        self._socket.send(frame(message))

    # --- listening ---

    async def _subscribe(self, fields: dict[str, object]) -> None:
        wishes = read_wishes(fields)
        if any(fields.get(name) is not None for name in _SIGNED) and not _is_nobody(fields):
            await self._authenticate(fields)
        for wish in wishes:
            if wish.channel in PRIVATE:
                self._require_view(wish.channel)
        replicas = self._gateway.replicas
        if not await replicas.wait_followed(SUBSCRIBE_WAIT_S):
            raise FeedError(SUBSCRIBE_FAILED, f"the feed is not available just now ({replicas.trouble})")
        markets = replicas.markets
        missing = {symbol: markets.refusal(symbol) for symbol in markets.broken}
        topics = self._subscriptions.plan(wishes, markets, self._accounts(), missing)
        if not self._count(1 + len(topics)):
            return
        self._subscriptions.add(topics)
        self._socket.send(frame(self._subscriptions.answer()))
        self._gateway.hub.add(self._socket, topics)
        if self._caller is not None and (ids := [one for channel, one in topics if channel == BALANCE]):
            for message in standing(replicas.ledger(self._caller.account), self._caller.account, ids):
                self._socket.send(frame(message))
        if wants_all(wishes):
            for sentence in missing.values():
                self._socket.send(frame(error(SUBSCRIBE_FAILED, sentence)))

    def _accounts(self) -> list[str]:
        """The ids of the client's accounts."""
        if self._caller is None:
            return []
        return [account_uuid(self._caller.account, currency) for currency in self._gateway.replicas.scales]

    async def _unsubscribe(self, fields: dict[str, object]) -> None:
        if not self._count(1):
            return
        self._gateway.hub.remove(self._socket, self._subscriptions.remove(read_end(fields)))
        self._socket.send(frame(self._subscriptions.answer()))

    def _require_view(self, channel: str) -> None:
        if self._caller is None:
            raise FeedError(
                AUTHENTICATION_FAILED,
                f"the {channel} channel needs timestamp, key, passphrase and signature, or a session of this host",
            )
        try:
            self._caller.require("view")
        except ApiError as failure:
            raise FeedError(AUTHENTICATION_FAILED, str(failure)) from None

    # --- who it is ---

    def know(self, caller: Caller) -> None:
        """The session of the handshake says who it is. One socket too many stays unknown, and is told so."""
        try:
            self._gateway.sockets.sign_in(self._socket, caller)
            self._caller = caller
        except ApiError as failure:
            self._socket.send(frame(error(AUTHENTICATION_FAILED, str(failure))))

    async def _sign_in(self, fields: dict[str, object]) -> None:
        caller = await self._authenticate(fields)
        user = user_uuid(caller.account)
        found = {"type": "authenticated", "user_id": user, "profile_id": user, "scopes": sorted(caller.scopes)}
        self._answer(found, fields)

    async def _authenticate(self, fields: dict[str, object]) -> Caller:
        try:
            caller = await self._gateway.gate.signer_of(claim_of_message(fields), self._scope)
            if self._socket.account not in (0, caller.account):
                raise FeedError(AUTHENTICATION_FAILED, "this connection belongs to another user; open a new one")
            self._gateway.sockets.sign_in(self._socket, caller)
        except ApiError as failure:
            raise FeedError(AUTHENTICATION_FAILED, str(failure)) from None
        self._caller = caller
        return caller

    def _trader(self) -> Caller:
        """Who trades. Raises ``FeedError`` or ``ApiError`` if nobody may: a key can be revoked meanwhile."""
        if self._caller is None:
            raise FeedError(
                AUTHENTICATION_FAILED,
                "sign in first: send type authenticate with timestamp, key, passphrase, signature",
            )
        if not self._gateway.gate.is_good(self._caller):
            raise unauthorized("this API key or session has ended: sign in with another one")
        self._caller.require("trade")
        return self._caller

    # --- trading ---

    async def _enter(self, fields: dict[str, object]) -> None:
        caller, kind = self._trader(), str(fields["type"])
        rates = self._gateway.rates
        (rates.cancels if kind in order_entry.CANCELS else rates.private).take(caller.account)
        self._gateway.sockets.note_use(self._socket)
        await self._entry.receive(kind, fields, caller.account)

    async def _set_cancel_on_disconnect(self, fields: dict[str, object]) -> None:
        caller, enabled = self._trader(), fields.get("enabled")
        if not isinstance(enabled, bool):
            raise FeedError(INVALID, "enabled must be true or false")
        promises, session = self._gateway.cancel_on_disconnect, self._entry.session.name
        try:
            if enabled:
                self._cancels_on_disconnect = True  # should the answer be lost, it may be in force
                await promises.enable(session, caller.account)
            else:
                await promises.disable(session)
                self._cancels_on_disconnect = False
        except (RedisError, OSError):
            raise unavailable("Redis is away: cancel_on_disconnect may be on or off; send it again") from None
        self._answer({"type": "cancel_on_disconnect", "enabled": enabled}, fields)


def _is_nobody(fields: dict[str, object]) -> bool:
    """Whether a client signs without having a key: coinbase-pro-node does, for channels that need none."""
    return fields.get("key") == "" and fields.get("passphrase") == ""


def _word(failure: ApiError) -> str:
    """The few words that clients compare."""
    if failure.status == 401:
        return AUTHENTICATION_FAILED
    return INVALID if failure.status == 400 else order_entry.REFUSED
