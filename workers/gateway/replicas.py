"""The gateway's state: replicas of every ledger and book, folded from their logs, and who is told what they did.

Nothing here is truth. If a ledger's log has lost what its replica needs, or cannot be followed, nothing is answered
until all could be loaded anew from the newest snapshots; a book's costs its own market only (``book_logs.py``).
"""

import asyncio
import gc
import time
from typing import Any

from redis.exceptions import RedisError

from shared import keys, log
from shared.connections import is_other_type
from shared.errors import CorruptState
from shared.instrument import Instrument
from shared.messages import (
    Accepted,
    Amended,
    AmendFailed,
    Blocked,
    CancelAllRequested,
    CancelRequested,
    Closed,
    Duplicate,
    InstrumentSet,
    LedgerEntry,
    Rejected,
    Transferred,
    decode_ledger_entry,
)
from workers.follow import LogGap, Unfoldable, load_ledger, read_logs
from workers.gateway.book_logs import COUNT, BookLogs
from workers.gateway.errors import unavailable
from workers.gateway.feed.hub import Hub
from workers.gateway.history import History
from workers.gateway.inbox import Inbox
from workers.gateway.known_orders import KnownOrders
from workers.gateway.market import Market
from workers.gateway.markets import Markets
from workers.gateway.render import Texts
from workers.handler import UNFOLDABLE
from workers.ledger.ledger import Ledger

BLOCK_MS = 250
REDIS_AWAY = "Redis is away"
RETRY_S = 0.3
RETRY_MAX_S = 5.0
LEDGER_ADVICE = (
    'nothing is answered without it: "matchbox audit" says what is wrong; "matchbox stop", "matchbox recover" and '
    '"matchbox start" go on from PostgreSQL'
)
CATCH_UP_S = 2.0
POLL_S = 0.05

_ANSWERS = frozenset(
    {
        Accepted,
        Duplicate,
        Rejected,
        CancelRequested,
        CancelAllRequested,
        Transferred,
        Amended,
        AmendFailed,
        Blocked,
        InstrumentSet,
    }
)
"""Ledger events that answer a request. An amend's may also be the ``closed`` of its order."""


class Replicas:
    """Follows all logs. ``trouble`` says why it does not, just now; "" when it does."""

    def __init__(
        self,
        client: Any,
        history: History,
        shards: int,
        markets: Markets,
        inbox: Inbox,
        hub: Hub,
        core: str = "auto",
    ) -> None:
        self.ledgers: list[Ledger] = [Ledger(shard, shards) for shard in range(shards)]
        self.markets = markets
        self.orders = KnownOrders(self.ledgers, self.markets)
        self.trouble = "starting"
        self.is_stuck = False
        """Whether the trouble is a ledger's log, which does not become better by itself."""
        self.positions: dict[str, int] = {}
        self.lag = 0
        self.is_alone = True
        """Whether no other host runs gateways: none of theirs can have answered what is not known here yet."""
        self.loaded_at: dict[str, int] = {}
        """Where each ledger's log stood when it was loaded: orders done before are known to PostgreSQL only."""
        self._client = client
        self._history = history
        self.books = BookLogs(client, history, markets, hub, self.positions, core)
        self._shards = shards
        self._inbox = inbox
        self._hub = hub
        self._ledger_logs: dict[str, Ledger] = {}
        self._covered: set[str] = set()
        self._shrunk: list[LogGap] = []
        self._texts: dict[str, tuple[Instrument, Texts]] = {}
        self._waiting: list[tuple[str, int, asyncio.Future[None]]] = []
        self._log = log.get()

    # --- asking ---

    def require(self) -> None:
        """Raises ``ApiError`` 503 while the replicas are not followed."""
        if self.trouble:
            outlook = "somebody has to look after it" if self.is_stuck else "it goes on by itself, try again"
            raise unavailable(f"the exchange is not available just now ({self.trouble}); {outlook}")

    async def wait_followed(self, timeout_s: float) -> bool:
        """Whether the replicas are followed, be it only within ``timeout_s``; a market that was lost just now, too."""
        end = time.monotonic() + timeout_s
        while self.trouble or self.markets.is_loading:
            if time.monotonic() > end:
                break
            await asyncio.sleep(POLL_S)
        return not self.trouble

    def market(self, symbol: str) -> Market:
        """A market. Raises ``ApiError``: 404 if there is none, 503 while it, or nothing, is followed."""
        self.require()
        return self.markets.require(symbol)

    def ledger(self, account: int) -> Ledger:
        """The replica that has the account. Raises ``ApiError`` 503."""
        self.require()
        return self.ledgers[keys.shard_of(account, self._shards)]

    @property
    def instruments(self) -> dict[str, Instrument]:
        """The rules in force, as the first shard has them."""
        return self.ledgers[0].instruments

    @property
    def scales(self) -> dict[str, int]:
        """Decimals of each currency."""
        return self.ledgers[0].scales

    def texts(self, symbol: str) -> Texts:
        """How numbers of an instrument are written."""
        instrument = self.instruments[symbol]
        known = self._texts.get(symbol)
        if known is None or known[0] is not instrument:
            known = self._texts[symbol] = (instrument, Texts(instrument))
        return known[1]

    async def wait_covered(self, shard: int) -> bool:
        """Wait (not for long) until PostgreSQL has all that was done before this process started.

        False: it had all along, so what it does not have does not exist. Raises ``ApiError`` 503, also if it has not.
        """
        stream, end = keys.log(keys.shard_tag(shard)), time.monotonic() + CATCH_UP_S
        if stream in self._covered:
            return False
        while await self._history.length(keys.shard_tag(shard)) < self.loaded_at[stream]:
            if time.monotonic() > end:
                raise unavailable("PostgreSQL is too far behind to say whether there is such an order; try again")
            await asyncio.sleep(POLL_S)
        self._covered.add(stream)
        return True

    async def catch_up(self, shard: int) -> None:
        """Wait (not for long) until the replica of a shard has all that its log had when this was called.

        Raises ``ApiError`` 503.
        """
        stream = keys.log(keys.shard_tag(shard))
        try:
            end = await self._end(stream)
        except (RedisError, OSError):
            raise unavailable(f"{REDIS_AWAY}; it goes on by itself, try again") from None
        if self.positions.get(stream, 0) < end:
            reached: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append((stream, end, reached))
            await asyncio.wait((reached,), timeout=CATCH_UP_S)
            if not reached.done():  # older answers would be wrong ones
                reached.cancel()
                raise unavailable("this gateway does not know yet what others have answered; try again")

    async def measure(self) -> None:
        """Count what the logs have and the replicas have not yet: ``lag``; note a log that has less than was read.

        And who else is there.
        """
        positions = dict(self.positions)
        pipe = self._client.pipeline(transaction=False)
        for stream in positions:
            pipe.xrevrange(stream, count=1)
        pipe.hlen(keys.SUPERVISORS)
        *newest, hosts = await pipe.execute(raise_on_error=False)
        for at, answer in enumerate(newest):
            if is_other_type(answer):
                newest[at] = []  # no log any more
        if failed := [one for one in (*newest, hosts) if isinstance(one, RedisError)]:
            raise failed[0]
        self.is_alone = hosts <= 1
        ends = [int(found[0][0].partition(b"-")[0]) if found else 0 for found in newest]
        self.lag = 0
        for (stream, position), end in zip(positions.items(), ends, strict=True):
            self.lag += max(0, end - position)
            if end < position:
                self._shrunk.append(LogGap(stream, position, f"not there: the log ends at {end}"))

    async def _end(self, stream: str) -> int:
        """The number of a log's last entry."""
        newest = await self._client.xrevrange(stream, count=1)
        return int(newest[0][0].partition(b"-")[0]) if newest else 0

    def _wake(self) -> None:
        """Wake who waited for what has come."""
        waiting, self._waiting = self._waiting, []
        for stream, end, reached in waiting:
            if self.positions.get(stream, 0) < end and not reached.done():
                self._waiting.append((stream, end, reached))
            elif not reached.done():
                reached.set_result(None)

    # --- following ---

    async def follow_forever(self) -> None:
        """Load, then fold what comes; on trouble say so, and begin again where it stopped."""
        loaded, pause_s = False, RETRY_S
        while True:
            try:
                if loaded:
                    await self._check_logs()
                else:
                    await self._load()
                    loaded = True
                while True:
                    await self._read()
                    self.trouble, self.is_stuck, pause_s = "", False, RETRY_S
            except CorruptState as error:  # of a ledger: what a book's log has to say ends its own market only
                if str(error) not in self.trouble:
                    self._log.error("A ledger cannot be followed; loading all anew", error=str(error), exc_info=error)
                self._drop("loading anew" if loaded else f"{error}; {LEDGER_ADVICE}")
                self.is_stuck, loaded = not loaded, False
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, RETRY_MAX_S)
            except (RedisError, OSError) as error:
                if not self.trouble:
                    self._log.warning("Redis is away; trying again", error=str(error))
                self.trouble, self.is_stuck = REDIS_AWAY, False
                await asyncio.sleep(RETRY_S)

    async def _load(self) -> None:
        started = time.monotonic()
        self.positions.clear()
        self._covered.clear()
        for shard in range(self._shards):
            stream = keys.log(keys.shard_tag(shard))
            ledger, position = await load_ledger(self._client, shard, self._shards)
            self.ledgers[shard] = self._ledger_logs[stream] = ledger
            self.positions[stream] = self.loaded_at[stream] = position
        self.markets.instruments = self.instruments
        await self.books.load_new(self.instruments)
        await self.measure()
        gc.freeze()  # what was loaded stays: the collector need not walk through it again and again
        self._log.info("Replicas loaded", instruments=len(self.markets), seconds=round(time.monotonic() - started, 3))

    def _drop(self, why: str) -> None:
        """Forget everything; who followed a feed has to begin again."""
        self.trouble = why
        self.books.forget()
        self._hub.close_all("the feed begins anew; connect again")

    async def _check_logs(self) -> None:
        """After Redis was away: has it still got what was read? Raises ``LogGap``."""
        await self.measure()
        self._drop_shrunk()

    def _drop_shrunk(self) -> None:
        shrunk, self._shrunk = self._shrunk, []
        for gap in shrunk:
            if self.positions.get(gap.stream, -1) >= gap.position:  # else it was loaded anew meanwhile
                self._lose(gap)

    def _lose(self, gap: LogGap) -> None:
        """A log has lost what was to be read next. Raises ``gap`` if it is a ledger's."""
        if gap.stream not in self.books:
            raise gap
        self.books.drop(gap.stream, gap)

    async def _read(self) -> None:
        """A round: fold what came. Raises ``LogGap``, ``Unfoldable`` of a ledger's log, ``RedisError``."""
        self._drop_shrunk()
        try:
            found = await read_logs(self._client, self.positions, COUNT, BLOCK_MS)
        except LogGap as gap:
            self._lose(gap)
            return
        for stream, entries in found.items():
            if stream in self.books:
                self.books.follow(stream, entries)
            else:
                self._follow_all(stream, entries)
        if len(self.markets) + len(self.markets.broken) < len(self.instruments):
            await self.books.load_new(self.instruments)
        if self._waiting:
            self._wake()

    def _follow_all(self, stream: str, entries: list[tuple[int, bytes]]) -> None:
        """Fold entries of a ledger's log. Raises ``Unfoldable``: then its replica is of no use any more."""
        ledger, number = self._ledger_logs[stream], 0
        try:
            for at, payload in entries:
                number = at
                self._follow(ledger, decode_ledger_entry(payload))
        except UNFOLDABLE as error:
            raise Unfoldable(stream, number, error) from error
        self.positions[stream] = number

    def _follow(self, ledger: Ledger, entry: LedgerEntry) -> None:
        """Fold one entry of a ledger's log, event by event: a closing order is looked at before it goes."""
        ledger.time = entry.time
        for event in entry.events:
            kind = event.__class__
            order = ledger.order(event.order_id) if kind is Closed else None  # type: ignore[union-attr]  # for speed
            ledger.fold(event)
            if kind in _ANSWERS:
                self._inbox.answer(event)
            elif order is not None:
                self.orders.close(order, event, entry.time)  # type: ignore[arg-type]
                for amend in order.amends:
                    self._inbox.answer(event, amend.request_id)
        if self._hub.balances:
            self._hub.balances.tell(ledger, entry)
