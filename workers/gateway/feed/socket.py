"""The sending side of a WebSocket: finished frames straight into its transport, within a bound.

uvicorn's ASGI way would encode each message anew for each socket and wait for each. Frames of a server are not masked
and we negotiate no compression, so one encoded frame serves everybody; the transport's own buffer is the queue.
"""

import asyncio
import struct
from typing import Any, cast

from workers.gateway import figures
from workers.gateway.feed.messages import error, frame

BUFFER_MAX = 4 * 1024 * 1024
"""Bytes a client may leave unread. A snapshot of 50,000 levels fits; uvloop keeps frames without copying them."""
GRACE_S = 2.0
"""How long a closed socket may take to read what it was sent."""
GOING_AWAY = 1012
TOO_SLOW = 1008
_CLOSE_FRAME = 0x88
TRANSPORT = "matchbox.transport"
"""Where ``FeedProtocol`` leaves a socket's transport in its scope."""


def transport_of(scope: Any) -> asyncio.Transport:
    """The transport of a WebSocket that ``FeedProtocol`` serves."""
    return cast("asyncio.Transport", scope["extensions"][TRANSPORT])


class FeedSocket:
    """One client of the feed. ``account`` 0: it has not said who it is."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self.account = 0
        self._transport = transport
        self._closed = False

    @property
    def is_closed(self) -> bool:
        """Whether it was closed by us."""
        return self._closed

    def send(self, data: bytes) -> None:
        """Send a frame. Who does not read is told so and cut off, rather than kept in memory."""
        if self._closed or self._transport.is_closing():
            return
        self._transport.write(data)
        if self._transport.get_write_buffer_size() > BUFFER_MAX:
            reason = f"more than {BUFFER_MAX} bytes were left unread; connect again"
            self._transport.write(frame(error("Too slow", reason)))
            self.close(TOO_SLOW, "too slow")
            figures.CUT_OFF.inc()

    def close(self, code: int, reason: str) -> None:
        """Send a close frame; who does not answer it in time is cut off."""
        if self._closed or self._transport.is_closing():
            return
        self._closed = True
        body = struct.pack("!H", code) + reason.encode()
        self._transport.write(struct.pack("!BB", _CLOSE_FRAME, len(body)) + body)
        asyncio.get_running_loop().call_later(GRACE_S, self._transport.abort)
