"""Whether a server answers: said once per change, with a pause before the next try that grows to 2 s."""

import asyncio
import contextlib
from typing import Any

from shared.errors import first_line

FIRST_PAUSE_S = 0.05
LONGEST_PAUSE_S = 2.0


class Link:
    """The way to Redis or PostgreSQL as one lane sees it. ``error`` is empty while it is fine."""

    def __init__(self, name: str, log: Any) -> None:
        self.error = ""
        self._name = name
        self._log = log
        self._pause_s = FIRST_PAUSE_S

    def down(self, error: Exception) -> float:
        """It failed: say so if it was fine until now. Answers how long to wait, in seconds."""
        first = first_line(error)
        if not self.error:
            self._log.warning("a server is away; trying until it is back", server=self._name, error=first)
        self.error = f"{self._name}: {first}"
        pause_s = self._pause_s
        self._pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
        return pause_s

    def up(self) -> None:
        """It answered: say so if it was away."""
        if self.error:
            self._log.info("the server is back", server=self._name)
        self.error = ""
        self._pause_s = FIRST_PAUSE_S


async def pause(stopping: asyncio.Event, seconds: float) -> None:
    """Wait so long, or until told to stop."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await stopping.wait()
