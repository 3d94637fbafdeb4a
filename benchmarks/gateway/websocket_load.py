"""Sockets that enter orders, some of each under way at once."""

import asyncio
import random
import time
from collections.abc import Sequence

from benchmarks.gateway.frames import Socket, framed, open_socket
from benchmarks.gateway.orders import order_message, sign_in
from shared.credentials import ApiKey

SOCKETS = 4
UNDER_WAY = 32
"""Orders of a socket that wait for their answers: an answer lets the next one go."""
TIMEOUT_S = 60
_ACCEPTED = b'"order_result"'
_SIGNED_IN = b'"authenticated"'


class EntrySocket(Socket):
    """Signs in, then sends prepared orders; ``done`` when all are answered."""

    def __init__(self, key: ApiKey, seed: int, count: int) -> None:
        super().__init__()
        chance = random.Random(seed)
        self._loop = asyncio.get_running_loop()
        self.done: asyncio.Future[None] = self._loop.create_future()
        self.signed_in: asyncio.Future[None] = self._loop.create_future()
        self.times: list[float] = []
        self._key = key
        self._orders = [framed(order_message(chance, number)) for number in range(count)]
        self._sent: list[float] = []
        self._is_paced = False

    def sign_in(self) -> None:
        """Say whose orders they are."""
        self.transport.write(framed(sign_in(self._key)))

    def start(self, pause_s: float) -> None:
        """Send the first ones, and with a pause (s) between them all the others, answered or not."""
        self._is_paced = pause_s > 0
        for _ in range(min(UNDER_WAY, len(self._orders)) if not self._is_paced else 1):
            self._send()
        if self._is_paced and len(self._sent) < len(self._orders):
            self._loop.call_later(pause_s, self.start, pause_s)

    def _send(self) -> None:
        number = len(self._sent)
        self._sent.append(time.perf_counter())
        self.transport.write(self._orders[number])

    def on_message(self, message: bytes) -> None:
        """An answer carries the request's id as the last field."""
        if _ACCEPTED in message:
            number = int(message[message.rindex(b'"id":"') + 6 : -2])
            self.times.append(time.perf_counter() - self._sent[number])
            if len(self._sent) < len(self._orders) and not self._is_paced:
                self._send()
            elif len(self.times) == len(self._orders):
                self.done.set_result(None)
        elif _SIGNED_IN in message:
            self.signed_in.set_result(None)
        elif not self.done.done():
            self.done.set_exception(SystemExit(f"an order was refused: {message.decode()}"))


async def websocket_load(
    port: int, keys: Sequence[ApiKey], count: int, seed: int, pace: int = 0
) -> tuple[float, list[float]]:
    """Seconds of all, and of each of, ``count`` orders, ``pace`` a second (0: as they can).

    Raises ``SystemExit`` if one is refused.
    """
    each = count // SOCKETS
    sockets = [
        await open_socket(port, EntrySocket(keys[number % len(keys)], seed * SOCKETS + number, each))
        for number in range(SOCKETS)
    ]
    async with asyncio.timeout(TIMEOUT_S):
        for socket in sockets:
            socket.sign_in()
            await socket.signed_in
        started = time.perf_counter()
        for socket in sockets:
            socket.start(SOCKETS / pace if pace else 0)
        await asyncio.gather(*(socket.done for socket in sockets))
    took = time.perf_counter() - started
    for socket in sockets:
        socket.transport.close()
    return took, [one for socket in sockets for one in socket.times]
