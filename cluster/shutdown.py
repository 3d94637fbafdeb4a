"""Stop a cluster in order, so that nothing that came in is left half-way.

Who brings in orders stops first, then who decides them, once they have read what was sent to them until then, then the
pusher, once PostgreSQL has it, and the servers last. What other hosts bring in meanwhile holds nothing up: they go on
with it. Every wait is bounded, and what one was in vain for no other waits for; a second signal cuts them all short.
"""

import asyncio
import time
from collections.abc import Callable, Iterable

from cluster.observer import Observer, Place, read_by, recorded
from cluster.plan import SERVERS, stop_stages, symbol_of
from cluster.roster import Roster
from shared import keys
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
        self._given_up: set[str] = set()
        """Tags whose streams somebody cannot read any further."""

    async def stop_workers(self) -> None:
        """Drain and stop all workers."""
        fronts, machines, recorders = stop_stages(self._roster.runs)
        shards = [int(name.partition(":")[2]) for name in machines if not symbol_of(name)]
        symbols = [symbol_of(name) for name in machines if symbol_of(name)]
        ledgers = [(shard, keys.shard_tag(shard)) for shard in shards]
        books = [(symbol, keys.instrument_tag(symbol)) for symbol in symbols]
        await self._stop(fronts, self._drain_s)
        for places in (
            {read_by(ledger, keys.inbox(shard)): ledger for shard, ledger in ledgers},
            {read_by(book, keys.outbox(shard, symbol)): book for shard, _ in ledgers for symbol, book in books},
            {read_by(ledger, keys.log(book)): book for _, ledger in ledgers for _, book in books},
        ):
            await self._wait_until_read(places)
        await self._stop(machines, self._drain_s)
        if recorders:
            await self._wait_until_read({recorded(tag): tag for _, tag in (*ledgers, *books)})
        await self._stop(recorders, self._drain_s)

    async def stop_servers(self) -> None:
        """Stop the embedded servers; nobody uses them any more."""
        await self._stop([name for name in SERVERS if name in self._roster.runs], SERVER_STOP_S)

    async def _wait_until_read(self, places: dict[Place, str]) -> None:
        """Wait until what is there now has been read. ``places``: each with the tag it concerns."""
        awaited = [place for place, tag in places.items() if tag not in self._given_up]
        ends, end = await self._observer.ends(one.stream for one in awaited), time.monotonic() + self._drain_s
        while unread := await self._observer.unread(awaited, ends):
            if time.monotonic() > end or self._is_hurried():
                self._given_up |= {places[one] for one in unread}
                return
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
