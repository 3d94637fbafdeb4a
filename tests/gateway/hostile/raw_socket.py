"""A WebSocket client that sends whatever bytes it is told to, and hears what comes back frame by frame."""

import socket
import struct
from collections.abc import Iterator

from benchmarks.gateway.frames import Frames
from tests.harness import Cluster

HELLO = (
    b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
CONT, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
FIN = 0x80
"""The last, or only, frame of a message."""


def frame(first: int, data: bytes = b"", *, masked: bool = True, length: int = -1) -> bytes:
    """A frame whose first byte is ``first``; it may lie about its length. Its mask is zero, which changes no byte.

    No library is of use here: each refuses to make what a client must not send.
    """
    size = len(data) if length < 0 else length
    bit = 0x80 * masked
    if size < 126:
        head = struct.pack("!BB", first, bit | size)
    elif size < 1 << 16:
        head = struct.pack("!BBH", first, bit | 126, size)
    else:
        head = struct.pack("!BBQ", first, bit | 127, size)
    return head + bytes(4 * masked) + data


def answer_to(cluster: Cluster, hello: bytes) -> bytes:
    """All that is said to a handshake, until the other side hangs up. Raises ``TimeoutError`` if it does not."""
    with socket.create_connection((cluster.settings.host, cluster.settings.port), timeout=15) as raw:
        raw.sendall(hello)
        answer = b""
        while data := raw.recv(4096):
            answer += data
        return answer


class RawSocket:
    """Shakes hands, and no more."""

    def __init__(self, cluster: Cluster, receive_bytes: int = 0) -> None:
        self.raw = socket.socket()
        if receive_bytes:  # before it connects: so the kernel keeps little for whoever does not read
            self.raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        self.raw.settimeout(15)
        self.raw.connect((cluster.settings.host, cluster.settings.port))
        self.raw.sendall(HELLO)
        answer = b""
        while not answer.endswith(b"\r\n\r\n"):
            answer += self.raw.recv(1)
        assert answer.startswith(b"HTTP/1.1 101"), answer
        self._incoming = self._receive()

    def __enter__(self) -> "RawSocket":
        return self

    def __exit__(self, *_: object) -> None:
        self.raw.close()

    def send(self, *parts: bytes) -> None:
        """Send bytes; the other side may have hung up already."""
        for part in parts:
            try:
                self.raw.sendall(part)
            except (BrokenPipeError, ConnectionResetError):
                return

    def _receive(self) -> Iterator[tuple[int, bytes]]:
        frames = Frames()
        while True:
            try:
                data = self.raw.recv(1 << 16)
            except ConnectionResetError:
                return
            if not data:
                return
            yield from frames.feed(data)

    def frames(self) -> Iterator[tuple[int, bytes]]:
        """(First byte, payload) of each frame, until the other side hangs up. Raises ``TimeoutError``."""
        return self._incoming

    def message(self) -> bytes:
        """The next message that is no control frame; b"" if the other side hangs up."""
        return next((data for first, data in self._incoming if first < FIN | CLOSE), b"")

    def close_code(self) -> int:
        """Why it was closed; 0 if it hung up without a word."""
        return next((int.from_bytes(data[:2]) for first, data in self._incoming if first == FIN | CLOSE), 0)
