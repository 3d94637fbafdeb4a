"""Passwords in the gateway: never more than a few hashes at once, and never on the event loop.

One hash takes 64 MiB and all cores for a moment. Whoever asks for many must not starve those who trade.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from shared.passwords import Hasher
from shared.settings import Settings
from workers.gateway.errors import unavailable

AT_ONCE = 2
WAITING_MAX = 20
"""Hashes asked for and not done. Beyond it, somebody has to come again."""


class Passwords:
    """Hashes and verifies, ``AT_ONCE`` at a time."""

    def __init__(self, settings: Settings) -> None:
        self._hasher = Hasher(settings)
        self._threads = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="password")
        self._waiting = 0

    async def hash(self, password: str) -> str:
        """What is stored of a password. Raises ``ApiError`` 503 if too many wait."""
        return await self._run(self._hasher.hash, password)

    async def matches(self, stored: str, password: str) -> bool:
        """Whether this is the password; takes as long for nobody's ("") as for somebody's. Raises ``ApiError`` 503."""
        return await self._run(self._hasher.matches, stored, password)

    def close(self) -> None:
        """Begin no more: the process ends, and would wait for them."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def is_outdated(self, stored: str) -> bool:
        """Whether it should be hashed anew."""
        return self._hasher.is_outdated(stored)

    async def _run[**P, T](self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        if self._waiting >= WAITING_MAX:
            raise unavailable("too many log in just now; try again")
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, partial(work, *args, **kwargs))
        finally:
            self._waiting -= 1
