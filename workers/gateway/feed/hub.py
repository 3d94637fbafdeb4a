"""Brings what the books do to who subscribed. Each public message is encoded once, whoever and however many listen.

A connection gets each event at most once, in its most telling form: its own over ``full`` over ``matches``.
Everything here runs between two turns of the loop, so a subscriber's snapshot and its updates fit without a gap.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping

from shared.instants import iso
from shared.messages import BookEntry, BookEvent, Configured, Match
from workers.gateway.feed import book_events, messages
from workers.gateway.feed.balances import BalanceListeners
from workers.gateway.feed.messages import Message, frame
from workers.gateway.feed.socket import GOING_AWAY, FeedSocket
from workers.gateway.feed.subscriptions import BALANCE, Topic
from workers.gateway.market import Level, Market
from workers.gateway.markets import Markets
from workers.gateway.products import currency_answers

HEARTBEAT_S = 1.0
LEVEL2_BATCH_S = 0.05
TICKER_BATCH_S = 5.0
STATUS_S = 5.0
_LEVEL_CHANNELS = ("level2", "level2_batch")


class Listeners:
    """Who listens to one product, and what is to be told in batches."""

    def __init__(self) -> None:
        self.by_channel: dict[str, dict[FeedSocket, None]] = {}
        self.touched: dict[Level, None] = {}
        self.ticker_due = False

    def of(self, channel: str) -> Mapping[FeedSocket, None]:
        """Who listens to a channel, in the order in which they came."""
        return self.by_channel.get(channel, {})


class Hub:
    """All subscriptions of this process."""

    def __init__(self, markets: Markets) -> None:
        self._markets = markets
        self._products: dict[str, Listeners] = {}
        self.balances = BalanceListeners()

    # --- who listens ---

    def add(self, listener: FeedSocket, topics: list[Topic]) -> None:
        """Let a connection listen, and tell it where things stand."""
        for channel, product in topics:
            if channel == BALANCE:
                self.balances.add(listener, product)
                continue
            listeners = self._products.setdefault(product, Listeners())
            if channel == "level2_batch":
                self._flush_level2(product, listeners)  # so that the snapshot is not followed by what it has
            listeners.by_channel.setdefault(channel, {})[listener] = None
            for message in self._opening(channel, product):
                listener.send(frame(message))

    def remove(self, listener: FeedSocket, topics: Iterable[Topic]) -> None:
        """Let a connection listen no more."""
        for channel, product in topics:
            if channel == BALANCE:
                self.balances.remove(listener, product)
                continue
            listeners = self._products[product]
            del listeners.by_channel[channel][listener]
            if not listeners.by_channel[channel]:
                del listeners.by_channel[channel]
            if not listeners.by_channel:
                del self._products[product]

    @property
    def is_idle(self) -> bool:
        """Whether nobody listens."""
        return not self._products and not self.balances

    def close_all(self, reason: str) -> None:
        """End every conversation: what was told no longer leads on to what will be."""
        for product in self._products:
            self.close_product(product, reason)
        for listener in self.balances:
            listener.close(GOING_AWAY, reason)

    def close_product(self, product: str, reason: str) -> None:
        """End the conversations that are about a product (among others). What waits to be told of it is not told."""
        listeners = self._products.get(product)
        if listeners is not None:
            listeners.touched.clear()
            listeners.ticker_due = False
            for channel in listeners.by_channel.values():
                for listener in channel:
                    listener.close(GOING_AWAY, reason)

    def _opening(self, channel: str, product: str) -> list[Message]:
        """What a new subscriber is told first."""
        if channel == "status":
            return [self._status()]
        market = self._markets[product]
        if channel in _LEVEL_CHANNELS:
            return [messages.snapshot(market)]
        if channel == "matches":
            found = messages.last_match(market)
            return [found] if found else []
        if channel in ("ticker", "ticker_batch") and market.trades:
            return [messages.ticker(market, market.trades[-1])]
        return []

    # --- what the books do ---

    def publish(self, market: Market, number: int, entry: BookEntry) -> None:
        """Fold one entry of a book's log and tell its listeners.

        What an entry raises that cannot be followed leaves the market half changed, and told: drop it, and close them.
        """
        listeners = self._products.get(market.symbol)
        if listeners is None:
            market.follow(number, entry)
        else:
            touched = self._tell_events(market, listeners, number, entry)
            if touched:
                self._tell_levels(market, listeners, touched)
            if any(event.__class__ is Match for event in entry.events):
                self._tell_ticker(market, listeners)
        if any(event.__class__ is Configured for event in entry.events):
            self.tell_status()

    def _tell_events(self, market: Market, listeners: Listeners, number: int, entry: BookEntry) -> list[Level]:
        """Fold the entry; tell each event while the book is as the event finds it. Answers the levels it changes."""
        audience = Audience(listeners)
        levels_told = not listeners.by_channel.keys().isdisjoint(_LEVEL_CHANNELS)
        touched: dict[Level, int] = {}
        stamp = iso(entry.time)
        for event in market.steps(number, entry):
            if levels_told:
                market.touch(event, touched)
            audience.tell(event, market, stamp)
        return [level for level, before in touched.items() if market.level(*level) != before]

    def _tell_levels(self, market: Market, listeners: Listeners, touched: list[Level]) -> None:
        if listeners.of("level2"):
            _send(listeners.of("level2"), messages.l2update(market, touched))
        if listeners.of("level2_batch"):
            listeners.touched.update(dict.fromkeys(touched))

    def _tell_ticker(self, market: Market, listeners: Listeners) -> None:
        listeners.ticker_due = True
        if listeners.of("ticker"):
            _send(listeners.of("ticker"), messages.ticker(market, market.trades[-1]))

    # --- what is told from time to time ---

    async def tell_forever(self) -> None:
        """Heartbeats, batches and status, each at its own pace."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(_every(HEARTBEAT_S, self.tell_heartbeats))
            tasks.create_task(_every(LEVEL2_BATCH_S, self.tell_level2_batches))
            tasks.create_task(_every(TICKER_BATCH_S, self.tell_ticker_batches))
            tasks.create_task(_every(STATUS_S, self.tell_status))

    def tell_heartbeats(self) -> None:
        """Tell every product's heartbeat."""
        stamp = iso(time.time_ns())
        for product, listeners in list(self._products.items()):
            market = self._markets.get(product)
            if market is not None and listeners.of("heartbeat"):
                _send(listeners.of("heartbeat"), messages.heartbeat(market, stamp))

    def tell_level2_batches(self) -> None:
        """Tell what the price levels have become since the last time."""
        for product, listeners in list(self._products.items()):
            self._flush_level2(product, listeners)

    def _flush_level2(self, product: str, listeners: Listeners) -> None:
        market = self._markets.get(product)
        if market is not None and listeners.touched:
            touched = list(listeners.touched)
            listeners.touched.clear()
            _send(listeners.of("level2_batch"), messages.l2update(market, touched))

    def tell_ticker_batches(self) -> None:
        """Tell the tickers that have changed since the last time."""
        for product, listeners in list(self._products.items()):
            market = self._markets.get(product)
            if market is not None and listeners.ticker_due and market.trades:
                listeners.ticker_due = False
                _send(listeners.of("ticker_batch"), messages.ticker(market, market.trades[-1]))

    def tell_status(self) -> None:
        """Tell all products and currencies."""
        listeners = self._products.get("")
        if listeners is not None:
            _send(listeners.of("status"), self._status())

    def _status(self) -> Message:
        instruments = self._markets.listed()
        scales = {one.base: one.base_scale for one in instruments} | {one.quote: one.quote_scale for one in instruments}
        return {"type": "status", "products": self._markets.products(), "currencies": currency_answers(scales)}


async def _every(pause_s: float, act: Callable[[], None]) -> None:
    while True:
        await asyncio.sleep(pause_s)
        act()


def _send(listeners: Iterable[FeedSocket], message: Message) -> None:
    """Encode once, and only if anybody listens."""
    data = b""
    for listener in listeners:
        data = data or frame(message)
        listener.send(data)


class Audience:
    """Who hears the events of a product."""

    def __init__(self, listeners: Listeners) -> None:
        full = listeners.of("full")
        self._full = list(full)
        self._traders = [*full, *(one for one in listeners.of("matches") if one not in full)]
        self._owners: dict[int, list[FeedSocket]] = {}
        for listener in listeners.of("user"):
            self._owners.setdefault(listener.account, []).append(listener)

    def tell(self, event: BookEvent, market: Market, stamp: str) -> None:
        """Tell an event that is not folded yet: the users whom it concerns, then everybody else."""
        others, owners = self._traders if event.__class__ is Match else self._full, self._owners
        accounts = [one for one in book_events.accounts_of(event) if one in owners] if owners else ()
        if not others and not accounts:
            return
        message = book_events.public(event, market.book, market.texts, stamp)
        if message is None:
            self._tell_owner_only(event, market, stamp)
        elif not accounts:
            _send(others, message)
        else:
            told: set[FeedSocket] = set()
            for account in accounts:
                own = book_events.private(event, message, account, market.book, market.texts)
                _send(owners[account], own)
                told.update(owners[account])
            _send([one for one in others if one not in told], message)

    def _tell_owner_only(self, event: BookEvent, market: Market, stamp: str) -> None:
        for account in book_events.accounts_of(event):
            for message in book_events.private_only(event, market.texts, stamp):
                _send(self._owners.get(account, ()), message)
