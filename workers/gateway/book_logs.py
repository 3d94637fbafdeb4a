"""The logs of all books, each followed for itself: one that cannot be followed costs its own market, and no other.

Such a market is gone in the same turn, and with it who listened. It is loaded anew from the newest snapshot, at once,
then again and again with a pause that grows: so it comes back by itself once a snapshot lies behind what was wrong.
"""

import asyncio
import contextlib
import time
from collections.abc import Collection
from typing import Any

from redis.exceptions import RedisError

from shared import keys, log
from shared.errors import CorruptState
from shared.messages import Match, decode_book_entry
from workers.follow import LogGap, Unfoldable, load_book, read_logs
from workers.gateway.errors import ApiError
from workers.gateway.feed.hub import Hub
from workers.gateway.history import History
from workers.gateway.market import Market, Trade, trade_of
from workers.gateway.markets import Broken, Markets
from workers.handler import UNFOLDABLE

COUNT = 200
"""Entries of each log a round: little enough that requests never wait long for their turn."""
PAST_RETRY_S = 2.0
PAUSE_S = 0.25
PAUSE_MAX_S = 8.0
LOOK_S = 0.25
CALM_S = 30.0
"""A market that breaks again sooner than this after it was loaded is not loaded at once once more."""


class BookLogs:
    """Loads, follows and drops ``markets``. ``positions`` is whoever's who reads the logs: those of books are kept."""

    def __init__(
        self, client: Any, history: History, markets: Markets, hub: Hub, positions: dict[str, int], core: str
    ) -> None:
        self._client = client
        self._history = history
        self._markets = markets
        self._hub = hub
        self._positions = positions
        self._core = core
        self._symbols: dict[str, str] = {}  # of the logs that are followed
        self._loaded: dict[str, tuple[float, int]] = {}
        """When each was loaded (``time.monotonic``), and by which try since it broke."""
        self._broke, self._incomplete = asyncio.Event(), asyncio.Event()
        self._log = log.get()

    def __contains__(self, stream: str) -> bool:
        return stream in self._symbols

    # --- following ---

    async def load_new(self, symbols: Collection[str]) -> None:
        """Load the markets that are not there yet. Raises ``redis.exceptions.RedisError``, but for no market's log."""
        known = self._markets.keys() | self._markets.broken.keys()
        for symbol in [one for one in symbols if one not in known]:
            await self._load(symbol, 0)

    def follow(self, stream: str, entries: list[tuple[int, bytes]]) -> None:
        """Fold entries of a followed log, and tell of them. All of them, or the market is gone."""
        market, number = self._markets[self._symbols[stream]], 0
        try:
            for number, payload in entries:
                self._hub.publish(market, number, decode_book_entry(payload))
        except UNFOLDABLE as error:
            self.drop(stream, Unfoldable(stream, number, error))
        else:
            self._positions[stream] = number

    def drop(self, stream: str, error: CorruptState) -> None:
        """A log cannot be followed: forget the market, send its listeners away, and have it loaded anew."""
        symbol = self._symbols.pop(stream)
        del self._markets[symbol], self._positions[stream]
        loaded_at, tries = self._loaded[symbol]
        self._break(symbol, error, tries if time.monotonic() - loaded_at < CALM_S else 0)
        self._hub.close_product(symbol, f"{symbol}: the feed begins anew; connect again")

    def forget(self) -> None:
        """Drop all: they will be loaded anew together."""
        self._symbols.clear()
        self._markets.clear()
        self._markets.broken.clear()

    def _break(self, symbol: str, error: CorruptState, tries: int) -> None:
        """Say that a market is not followed, and when it will be tried again."""
        reason, known = str(error), self._markets.broken.get(symbol)
        pause_s = min(PAUSE_MAX_S, PAUSE_S * 2 ** min(tries, 10)) if tries else 0.0
        self._markets.broken[symbol] = Broken(reason, tries, time.monotonic() + pause_s)
        self._broke.set()
        if known is None or known.reason != reason:
            self._log.error(
                "A book cannot be followed; loading it anew", instrument=symbol, error=reason, exc_info=error
            )

    # --- loading ---

    async def retry_forever(self) -> None:
        """Load again what is broken, each when its pause is over. Nobody who follows the other logs waits for it."""
        while True:
            now = time.monotonic()
            for symbol in [name for name, one in self._markets.broken.items() if one.again_at <= now]:
                with contextlib.suppress(RedisError, OSError):  # who follows the logs says so
                    await self._retry(symbol)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S):
                    await self._broke.wait()
            self._broke.clear()

    async def _retry(self, symbol: str) -> None:
        broken = self._markets.broken.get(symbol)
        if broken is not None:
            await self._load(symbol, broken.tries + 1, broken)

    async def _load(self, symbol: str, tries: int, broken: Broken | None = None) -> None:
        """Load a market, ``broken`` until then. If it cannot be, say so; then it was tried once at least."""
        tag = keys.instrument_tag(symbol)
        stream = keys.log(tag)
        try:
            length = int(await self._client.hget(keys.meta(tag), "length") or 0)
            book, position = await load_book(self._client, symbol, self._core)
            if position < length:
                raise LogGap(stream, position, f"not there: the log has had {length:,}")
        except CorruptState as error:
            if self._markets.broken.get(symbol) is broken:
                self._break(symbol, error, max(1, tries))
            return
        if self._markets.broken.get(symbol) is not broken:
            return  # meanwhile all was dropped
        self._markets[symbol] = Market(self._markets.instruments[symbol], book, position)
        self._symbols[stream], self._positions[stream] = symbol, position
        self._loaded[symbol] = time.monotonic(), tries
        self._incomplete.set()
        if self._markets.broken.pop(symbol, None):
            self._log.info("Following the book again", instrument=symbol, position=position)

    # --- the past ---

    async def complete_forever(self) -> None:
        """Give every market its past, as soon as PostgreSQL can tell it; following the logs does not wait for that."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PAST_RETRY_S):
                    await self._incomplete.wait()
            self._incomplete.clear()
            for market in list(self._markets.values()):
                if not market.has_past:
                    with contextlib.suppress(ApiError, RedisError, CorruptState):  # the next round tries again
                        await self._complete(market)

    async def _complete(self, market: Market) -> None:
        """PostgreSQL's past, and from the log what PostgreSQL has not yet. Raises ``CorruptState``."""
        position, past = await self._history.past(market.symbol, time.time_ns())
        stream = keys.log(keys.instrument_tag(market.symbol))
        missed: list[Trade] = []
        while position < market.position:
            entries = (await read_logs(self._client, {stream: position}, COUNT, 0)).get(stream)
            if not entries:
                return  # Redis has lost what was followed: whoever follows finds out, and loads anew
            for number, payload in entries:
                try:
                    entry = decode_book_entry(payload)
                except UNFOLDABLE as error:
                    raise Unfoldable(stream, number, error) from error
                missed += [trade_of(event, entry.time) for event in entry.events if isinstance(event, Match)]
            position = entries[-1][0]
        market.set_past(past, missed)
