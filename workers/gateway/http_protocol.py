"""uvicorn's HTTP, with an end to what a request may be before we know what it wants: bytes of its head, and time.

uvicorn itself keeps any header, however long, and waits for a request for ever once its first byte is there.
"""

import time
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

import msgspec
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_BYTES_MAX = 64 * 1024
"""Of request line and headers together; what comes in one read is looked at in any case."""
ARRIVAL_S = 30.0
"""How long a request may take to arrive, its body included; also the first one of a connection."""


class BoundedHttp(HttpToolsProtocol):
    """One connection. ``arriving_since``: when the request began that is not all there yet, 0 if none is."""

    arriving_since = 0.0
    _head_bytes = 0
    _in_head = False

    def connection_made(self, transport: Any) -> None:
        """A client is there, and should ask for something."""
        self.arriving_since = time.monotonic()
        super().connection_made(transport)

    def on_message_begin(self) -> None:
        """A request begins."""
        self.arriving_since = time.monotonic()
        self._in_head, self._head_bytes = True, 0
        super().on_message_begin()

    def data_received(self, data: bytes) -> None:
        """Go on with the request, unless its head has become too long."""
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_BYTES_MAX:
                self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "the request's headers are too long")
                return
        super().data_received(data)

    def on_headers_complete(self) -> None:
        """The head is there."""
        self._in_head = False
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """All of it is there."""
        self.arriving_since = 0.0
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """What the parser gives up on; uvicorn would say so in plain text, and clients read JSON."""
        self._refuse(HTTPStatus.BAD_REQUEST, msg)

    def _refuse(self, status: HTTPStatus, message: str) -> None:
        body = msgspec.json.encode({"message": message})
        head = f"HTTP/1.1 {status.value} {status.phrase}\r\ncontent-type: application/json\r\nconnection: close\r\n"
        self.transport.write(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
        self.transport.close()


def close_late(connections: Iterable[Any], now: float) -> None:
    """Hang up on those whose request does not arrive."""
    for one in list(connections):
        if isinstance(one, BoundedHttp) and one.arriving_since and now - one.arriving_since > ARRIVAL_S:
            one.transport.abort()
