"""uvicorn's WebSocket, with bounds that it lacks: what one client sends, or does not read, is not the others' loss."""

from typing import Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import CloseCode, Frame
from websockets.http11 import Request

from workers.gateway.access.rates import Rate
from workers.gateway.errors import ApiError
from workers.gateway.feed.socket import GRACE_S, TRANSPORT

SLICE_BYTES = 8 * 1024
"""Looked at in one go. A read may bring 30 times as much, and if all of that is tiny frames, half a second of work."""
FRAMES_A_SECOND = 5_000
"""Pings, pongs and pieces of messages of one client, 10 us each. Messages are counted elsewhere. So many because there
are clients that ping with each message they hear, such as cbpro, and in a storm those are thousands."""
FRAMES_BURST_S = 1
PIECES_MAX = 1000
"""Frames of one message. Empty ones would never make it too long."""

_JSON = [(b"content-type", b"application/json")]
_NOT_FOUND = b'{"message":"NotFound: the feed is at / and at /ws"}'


class FeedProtocol(WebSocketsSansIOProtocol):
    """One connection; the application may write frames to its transport."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._unread = b""
        self._frames_seen = Rate("Frame", FRAMES_A_SECOND, FRAMES_BURST_S)

    def data_received(self, data: bytes) -> None:
        """Look at what came, up to the next message; at the rest when the application has asked for more."""
        self._unread += data
        self._go_on()
        if not self.handshake_initiated:
            self._refuse_handshake()

    async def receive(self) -> Any:
        """The application asks for the next message."""
        message = await super().receive()
        self._go_on()
        return message

    async def send(self, message: Any) -> None:
        """The application speaks. To close what it has not accepted would read as 403, which some clients try again."""
        if message["type"] == "websocket.close" and not self.handshake_complete:
            await self.send({"type": "websocket.http.response.start", "status": 404, "headers": _JSON})
            message = {"type": "websocket.http.response.body", "body": _NOT_FOUND}
        await super().send(message)
        if message["type"] == "websocket.http.response.body":
            self.handshake_complete = True  # it is over, though uvicorn thinks not, and complains

    def _go_on(self) -> None:
        while self._unread and not self.read_paused and not self.transport.is_closing():
            part, self._unread = self._unread[:SLICE_BYTES], self._unread[SLICE_BYTES:]
            super().data_received(part)

    def _refuse_handshake(self) -> None:
        """A request that is none to the library, as with endless headers: uvicorn would not even hang up."""
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.transport.close()

    def handle_connect(self, event: Request) -> None:
        """Add the transport to the scope before the application sees it: its task has not run yet."""
        super().handle_connect(event)
        scope = getattr(self, "scope", None)  # there is none if the handshake was refused
        if scope is not None:
            scope["extensions"][TRANSPORT] = self.transport

    # --- frames that are no messages ---

    def handle_ping(self) -> None:
        """Answer it, unless there are too many."""
        if self._may_go_on():
            super().handle_ping()

    def handle_pong(self, event: Frame) -> None:
        """The client is there."""
        if self._may_go_on():
            super().handle_pong(event)

    def handle_cont(self, event: Frame) -> None:
        """One more piece of a message."""
        if self._may_go_on():
            super().handle_cont(event)

    def _may_go_on(self) -> bool:
        """Whether the client may; if it may not, it is told so, and closed."""
        if self.close_sent or self.transport.is_closing():
            return False
        try:
            self._frames_seen.take("")
        except ApiError as failure:
            self._fail(CloseCode.POLICY_VIOLATION, str(failure))
        if len(self.frames) > PIECES_MAX:
            self._fail(CloseCode.MESSAGE_TOO_BIG, f"a message has more than {PIECES_MAX} frames")
        return not self.close_sent

    # --- the end ---

    def _fail(self, code: CloseCode, reason: str) -> None:
        self.conn.fail(code, reason)
        self.handle_parser_exception()

    def handle_parser_exception(self) -> None:
        """What came is no WebSocket. Who does not read why is not waited for."""
        super().handle_parser_exception()
        self.loop.call_later(GRACE_S, self.transport.abort)

    def keepalive_timeout(self) -> None:
        """Who does not answer a ping is not waited for: unsent frames would keep a dead connection open for minutes."""
        super().keepalive_timeout()
        self.loop.call_later(GRACE_S, self.transport.abort)
