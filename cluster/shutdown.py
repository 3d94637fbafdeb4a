"""Stop a cluster in order, so that nothing that came in is left half-way.

Who brings in orders stops first, then who decides them, once they have read what was sent to them, then the pusher,
once PostgreSQL has it all, and the servers last. Every wait is bounded; a second signal cuts them all short.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable

from cluster.observer import Observer
from cluster.plan import SERVERS, stop_stages, symbol_of
from cluster.roster import Roster
from shared.settings import Settings

SERVER_STOP_S = 30.0
POLL_S = 0.05


class Shutdown:
    """Stops everything on a roster. ``is_hurried``: whether a second signal came."""

    def __init__(self, roster: Roster, observer: Observer, settings: Settings, is_hurried: Callable[[], bool]) -> None:
        self._roster = roster
        self._observer = observer
        self._drain_s = settings.drain_ms / 1000
        self._is_hurried = is_hurried

    async def stop_workers(self) -> None:
        """Drain and stop all workers."""
        fronts, machines, recorders = stop_stages(self._roster.runs)
        shards = [int(name.partition(":")[2]) for name in machines if not symbol_of(name)]
        symbols = [symbol_of(name) for name in machines if symbol_of(name)]
        await self._stop(fronts, self._drain_s)
        await self._wait_until(lambda: self._observer.streams_are_done(shards, symbols))
        await self._stop(machines, self._drain_s)
        if recorders:
            await self._wait_until(lambda: self._observer.logs_are_recorded(shards, symbols))
        await self._stop(recorders, self._drain_s)

    async def stop_servers(self) -> None:
        """Stop the embedded servers; nobody uses them any more."""
        await self._stop([name for name in SERVERS if name in self._roster.runs], SERVER_STOP_S)

    async def _wait_until(self, is_done: Callable[[], Awaitable[bool]]) -> None:
        end = time.monotonic() + self._drain_s
        while time.monotonic() < end and not self._is_hurried() and not await is_done():  # noqa: ASYNC110  # is in Redis
            await asyncio.sleep(POLL_S)

    async def _stop(self, names: Iterable[str], patience_s: float) -> None:
        waiting = {name for name in names if name in self._roster.runs}
        end = time.monotonic() + patience_s
        for name in waiting:
            self._roster.stop(name, end)
        while waiting & self._roster.runs.keys():
            now = time.monotonic()
            self._roster.reap(now, excused=True)
            is_server = bool(waiting & set(SERVERS))
            if now >= end or (self._is_hurried() and not is_server):
                for name in waiting & self._roster.runs.keys():
                    self._roster.kill(name, now)
            await asyncio.sleep(POLL_S)
