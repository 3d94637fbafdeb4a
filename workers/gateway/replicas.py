"""The gateway's state: replicas of every ledger and book, folded from their logs, and who is told what they did.

Nothing here is truth. If a log has lost what a replica needs, everything is loaded anew from the newest snapshots.
"""

import asyncio
import contextlib
import gc
import time
from typing import Any

from redis.exceptions import RedisError

from shared import keys, log
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
    Match,
    Rejected,
    Transferred,
    decode_book_entry,
    decode_ledger_entry,
)
from workers.follow import LogGap, load_book, load_ledger, read_logs
from workers.gateway.errors import ApiError, product_not_found, unavailable
from workers.gateway.feed.hub import Hub
from workers.gateway.history import History
from workers.gateway.inbox import Inbox
from workers.gateway.known_orders import KnownOrders
from workers.gateway.market import Market, Trade, trade_of
from workers.gateway.render import Texts
from workers.ledger.ledger import Ledger

COUNT = 200
"""Entries of each log a round: little enough that requests never wait long for their turn."""
BLOCK_MS = 250
REDIS_AWAY = "Redis is away"
RETRY_S = 0.3
PAST_RETRY_S = 2.0
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
        markets: dict[str, Market],
        inbox: Inbox,
        hub: Hub,
        core: str = "auto",
    ) -> None:
        self.ledgers: list[Ledger] = [Ledger(shard, shards) for shard in range(shards)]
        self.markets = markets
        self.orders = KnownOrders(self.ledgers, self.markets)
        self.trouble = "starting"
        self.positions: dict[str, int] = {}
        self.lag = 0
        self.is_alone = True
        """Whether no other host runs gateways: none of theirs can have answered what is not known here yet."""
        self.loaded_at: dict[str, int] = {}
        """Where each ledger's log stood when it was loaded: orders done before are known to PostgreSQL only."""
        self._client = client
        self._history = history
        self._shards = shards
        self._inbox = inbox
        self._hub = hub
        self._core = core
        self._ledger_logs: dict[str, Ledger] = {}
        self._book_logs: dict[str, Market] = {}
        self._covered: set[str] = set()
        self._shrunk: LogGap | None = None
        self._incomplete = asyncio.Event()
        self._texts: dict[str, tuple[Instrument, Texts]] = {}
        self._waiting: list[tuple[str, int, asyncio.Future[None]]] = []
        self._log = log.get()

    # --- asking ---

    def require(self) -> None:
        """Raises ``ApiError`` 503 while the replicas are not followed."""
        if self.trouble:
            raise unavailable(
                f"the exchange is not available just now ({self.trouble}); it goes on by itself, try again"
            )

    async def wait_followed(self, timeout_s: float) -> bool:
        """Whether the replicas are followed, be it only within ``timeout_s``."""
        end = time.monotonic() + timeout_s
        while self.trouble:
            if time.monotonic() > end:
                return False
            await asyncio.sleep(POLL_S)
        return True

    def market(self, symbol: str) -> Market:
        """A market. Raises ``ApiError``: 404 if there is none, 503 while nothing is followed."""
        self.require()
        market = self.markets.get(symbol)
        if market is None:
            raise product_not_found()
        return market

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

        False: it had all along, so what it does not have does not exist. Raises ``ApiError`` 503.
        """
        stream, end = keys.log(keys.shard_tag(shard)), time.monotonic() + CATCH_UP_S
        if stream in self._covered:
            return False
        while await self._history.length(keys.shard_tag(shard)) < self.loaded_at[stream]:
            if time.monotonic() > end:
                return True
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
            reached.cancel()

    async def measure(self) -> None:
        """Count what the logs have and the replicas have not yet: ``lag``; note a log that has less than was read.

        And who else is there.
        """
        positions = dict(self.positions)
        pipe = self._client.pipeline(transaction=False)
        for stream in positions:
            pipe.xrevrange(stream, count=1)
        pipe.hlen(keys.SUPERVISORS)
        *newest, hosts = await pipe.execute()
        self.is_alone = hosts <= 1
        ends = [int(found[0][0].partition(b"-")[0]) if found else 0 for found in newest]
        self.lag = 0
        for (stream, position), end in zip(positions.items(), ends, strict=True):
            self.lag += max(0, end - position)
            if end < position:
                self._shrunk = LogGap(stream, position, f"not there: the log ends at {end}")

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
        loaded = False
        while True:
            try:
                if loaded:
                    await self._check_logs()
                else:
                    await self._load()
                    loaded = True
                while True:
                    await self._read()
                    self.trouble = ""
            except LogGap as gap:
                self._log.warning("A log has lost what this replica needs; loading anew", error=str(gap))
                self._drop("loading anew")
                loaded = False
                await asyncio.sleep(RETRY_S)
            except (RedisError, OSError) as error:
                if not self.trouble:
                    self._log.warning("Redis is away; trying again", error=str(error))
                self.trouble = REDIS_AWAY
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
        for instrument in list(self.instruments.values()):
            await self._add_market(instrument)
        await self.measure()
        gc.freeze()  # what was loaded stays: the collector need not walk through it again and again
        self._log.info("Replicas loaded", instruments=len(self.markets), seconds=round(time.monotonic() - started, 3))

    def _drop(self, why: str) -> None:
        """Forget everything; who followed a feed has to begin again."""
        self.trouble = why
        self.markets.clear()
        self._book_logs.clear()
        self._hub.close_all("the feed begins anew; connect again")

    async def _check_logs(self) -> None:
        """After Redis was away: has it still got what was read? Raises ``LogGap``."""
        await self.measure()
        self._raise_if_shrunk()

    def _raise_if_shrunk(self) -> None:
        if self._shrunk is not None:
            gap, self._shrunk = self._shrunk, None
            raise gap

    async def _add_market(self, instrument: Instrument) -> None:
        stream = keys.log(keys.instrument_tag(instrument.symbol))
        book, position = await load_book(self._client, instrument.symbol, self._core)
        market = Market(instrument, book, position)
        self.markets[instrument.symbol] = self._book_logs[stream] = market
        self.positions[stream] = position
        self._incomplete.set()

    async def _read(self) -> None:
        self._raise_if_shrunk()
        found = await read_logs(self._client, self.positions, COUNT, BLOCK_MS)
        for stream, entries in found.items():
            market = self._book_logs.get(stream)
            if market is None:
                ledger = self._ledger_logs[stream]
                for _, payload in entries:
                    self._follow(ledger, decode_ledger_entry(payload))
            else:
                for number, payload in entries:
                    self._hub.publish(market, number, decode_book_entry(payload))
            self.positions[stream] = entries[-1][0]
        if len(self.markets) < len(self.instruments):
            for instrument in [one for name, one in self.instruments.items() if name not in self.markets]:
                await self._add_market(instrument)
        if self._waiting:
            self._wake()

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

    # --- the past ---

    async def complete_forever(self) -> None:
        """Give every market its past, as soon as PostgreSQL can tell it; following the logs does not wait for that."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PAST_RETRY_S):
                    await self._incomplete.wait()
            self._incomplete.clear()
            for market in list(self.markets.values()):
                if not market.has_past:
                    with contextlib.suppress(ApiError, RedisError, LogGap):  # the next round tries again
                        await self._complete(market)

    async def _complete(self, market: Market) -> None:
        """PostgreSQL's past, and from the log what PostgreSQL has not yet."""
        position, past = await self._history.past(market.symbol, time.time_ns())
        stream = keys.log(keys.instrument_tag(market.symbol))
        missed: list[Trade] = []
        while position < market.position:
            entries = (await read_logs(self._client, {stream: position}, COUNT, 0)).get(stream)
            if not entries:
                return  # Redis has lost what was followed: whoever follows finds out, and loads anew
            for _, payload in entries:
                entry = decode_book_entry(payload)
                missed += [trade_of(event, entry.time) for event in entry.events if isinstance(event, Match)]
            position = entries[-1][0]
        market.set_past(past, missed)
