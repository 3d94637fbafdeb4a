"""WebSocket frames of a client that costs next to nothing: the load shares the machine with what it measures.

Prepared frames go out as they are (their mask is zero, which changes no byte), and of incoming ones only the bounds are
looked for. Everybody else should use a library.
"""

import asyncio
from collections.abc import Iterator
from typing import cast

OPEN_S = 10
_HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
_TEXT, _PING, _PONG = 0x81, 0x89, 0x8A
_MASKED = 0x80
_NO_MASK = bytes(4)
_SHORT_MAX = 125
_LENGTH_16, _LENGTH_64 = 126, 127


def framed(message: bytes, opcode: int = _TEXT) -> bytes:
    """A message as a client's frame."""
    size = len(message)
    if size <= _SHORT_MAX:
        return bytes((opcode, _MASKED | size)) + _NO_MASK + message
    return bytes((opcode, _MASKED | _LENGTH_16)) + size.to_bytes(2) + _NO_MASK + message


class Frames:
    """Cuts a server's bytes into messages."""

    def __init__(self) -> None:
        self._left = b""

    def feed(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """(First byte of the frame, its payload) of each frame that is complete by now."""
        data = self._left + data
        at, size = 0, len(data)
        while size - at >= 2:
            start, length = at + 2, data[at + 1]
            if length == _LENGTH_16:
                start, length = at + 4, int.from_bytes(data[at + 2 : at + 4])
            elif length == _LENGTH_64:
                start, length = at + 10, int.from_bytes(data[at + 2 : at + 10])
            if size < start + length or size < start:
                break
            yield data[at], data[start : start + length]
            at = start + length
        self._left = data[at:]


class Socket(asyncio.Protocol):
    """One connection; what comes in goes to ``on_message``, pings are answered here."""

    def __init__(self) -> None:
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.transport: asyncio.Transport
        self._frames = Frames()
        self._head = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Shake hands."""
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is none of its subclasses
        self.transport.write(_HANDSHAKE)

    def data_received(self, data: bytes) -> None:
        """The answer to the handshake first, then frames."""
        if not self.opened.done():
            self._head += data
            head, end, data = self._head.partition(b"\r\n\r\n")
            if not end:
                return
            if not head.startswith(b"HTTP/1.1 101"):
                self.opened.set_exception(SystemExit(f"the gateway took no WebSocket: {head.decode()}"))
                return
            self.opened.set_result(None)
        for opcode, message in self._frames.feed(data):
            if opcode == _PING:
                self.transport.write(framed(message, _PONG))
            elif opcode == _TEXT:
                self.on_message(message)

    def on_message(self, message: bytes) -> None:
        """One text message."""


async def open_socket[S: Socket](port: int, socket: S) -> S:
    """Connect it to the gateway."""
    async with asyncio.timeout(OPEN_S):
        await asyncio.get_running_loop().create_connection(lambda: socket, "127.0.0.1", port)
        await socket.opened
    return socket
