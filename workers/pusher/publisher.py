"""The fast and the balance lane: what happens now, for live subscribers.

Replicas of the books and ledgers are folded from the logs, from their ends on: the past is not told again. What
changed is published conflated: one message an instrument and round, one a balance and round. Pub/sub promises nothing,
so nothing here is remembered or repeated; who needs every event reads the logs. What nobody listens to is not made: it
would cost more than all the rest. Who subscribes before acting hears of the act, since listeners are counted after the
logs are read.
"""

import asyncio
from typing import Any

import msgspec
from redis.exceptions import RedisError

from shared import keys, log
from shared.connections import is_other_type
from shared.errors import CorruptState
from shared.messages import FIELD
from shared.order_id import shard_of_order
from shared.settings import Settings
from workers.follow import LogGap, load_book, load_ledger, read_logs
from workers.handler import UNFOLDABLE
from workers.ledger.orders import OpenOrder
from workers.pusher.link import Link, pause
from workers.pusher.replicas import BookReplica, LedgerReplica, Where
from workers.pusher.updates import OrderUpdate

BLOCK_MS = 250
DRAIN_S = 2.0
FIND_S = 1.0
"""How often to look for instruments that are not followed yet."""
_CHUNK = 50
"""Entries folded before the other lanes get their turn."""

Entries = list[tuple[int, bytes]]

_encode = msgspec.json.Encoder().encode


class Publisher:
    """Follows all logs of a cluster and publishes what changes."""

    def __init__(self, client: Any, settings: Settings) -> None:
        self._client = client
        self._settings = settings
        self._log = log.get()
        self._redis = Link("Redis", self._log)
        self._books: dict[str, BookReplica] = {}  # log -> replica
        self._ledgers: dict[str, LedgerReplica] = {}
        self._positions: dict[str, int] = {}
        self._last: dict[str, bytes] = {}  # log -> the entry at its position, if it was read
        self._find_at = 0.0
        self._broken: dict[str, str] = {}  # log -> why it is not followed
        self._seen: set[str] = set()  # logs that were followed before: a replica loaded again has missed something

    @property
    def error(self) -> str:
        """What keeps it from publishing; empty if nothing does."""
        return "; ".join(filter(None, (self._redis.error, *self._broken.values())))

    # --- lanes -----------------------------------------------------------------------------------

    async def run(self, stopping: asyncio.Event) -> None:
        """The fast lane, until told to stop; then what is left, balances too."""
        self._forget()
        clock = asyncio.get_running_loop().time
        while not stopping.is_set():
            await pause(stopping, await self.step(BLOCK_MS))
        end = clock() + DRAIN_S
        while clock() < end and not await self.step(0):
            pass
        await self.step_balances()

    async def run_balances(self, stopping: asyncio.Event) -> None:
        """The balance lane, until told to stop."""
        while not stopping.is_set():
            await self.step_balances()
            await pause(stopping, max(1, self._settings.balance_delay_ms) / 1000)

    async def step(self, block_ms: int) -> float:
        """One round of the fast lane. Answers how long to pause, in seconds: 0 if there is more to do."""
        try:
            is_full = await self._round(block_ms)
        except RedisError as error:
            self._forget()
            return self._redis.down(error)
        self._redis.up()
        return 0 if is_full else max(1, self._settings.fast_delay_ms) / 1000

    async def step_balances(self) -> None:
        """One round of the balance lane: publish the balances that changed, as they are now."""
        left, channel = self._settings.balance_batch, self._settings.balance_update_channel
        if not any(replica.changed for replica in self._ledgers.values()):
            return
        try:
            if not await self._heard([channel]):
                for replica in self._ledgers.values():
                    replica.changed.clear()
                return
            pipe = self._client.pipeline(transaction=False)
            for replica in self._ledgers.values():
                for update in replica.take_balances(left - len(pipe)):
                    pipe.publish(channel, _encode(update))
            await pipe.execute()
        except RedisError as error:
            self._redis.down(error)
            for replica in self._ledgers.values():
                replica.mark_all()

    # --- following -------------------------------------------------------------------------------

    async def _round(self, block_ms: int) -> bool:
        """Read, fold and publish. Answers whether there is more to read already."""
        await self._find()
        count = max(1, self._settings.fast_batch // max(1, len(self._positions)))
        try:
            found = await read_logs(self._client, self._positions, count, block_ms)
        except LogGap as gap:
            self._drop(gap.stream, gap)
            return False
        if not found:
            return False
        channels = [self._settings.order_update_channel, *(keys.live(one.symbol) for one in self._books.values())]
        heard = await self._heard(channels)
        orders: list[OrderUpdate] | None = [] if channels[0] in heard else None
        for stream in sorted(found, key=lambda one: one in self._books):  # ledgers first: books speak of their orders
            await self._fold(stream, found[stream], orders)
        await self._publish([self._books[one] for one in found if one in self._books], orders or [], heard)
        return any(len(entries) == count for entries in found.values())

    async def _heard(self, channels: list[str]) -> set[str]:
        """Those of the channels that anybody listens to; all, if anybody listens to patterns of names."""
        if await self._client.pubsub_numpat():
            return set(channels)
        counts = await self._client.pubsub_numsub(*channels)
        return {name.decode() for name, count in counts if count}

    async def _fold(self, stream: str, entries: Entries, orders: list[OrderUpdate] | None) -> None:
        """Follow the entries, and add what is to tell of orders to ``orders`` (None: nothing is)."""
        ledger, book = self._ledgers.get(stream), self._books.get(stream)
        try:
            for count, (_, payload) in enumerate(entries):
                if ledger is not None:
                    told = ledger.fold(payload, self._where if orders is not None else None)
                elif book is not None:
                    placed = book.fold(payload)
                    told = [] if orders is None else self._placed(book, placed)
                if orders is not None:
                    orders += told
                if count % _CHUNK == 0:
                    await asyncio.sleep(0)
        except UNFOLDABLE as error:
            self._drop(stream, error)
        else:
            self._positions[stream], self._last[stream] = entries[-1]

    def _where(self, order: OpenOrder) -> Where:
        """Where an order is; its book may be a round behind its ledger."""
        book = self._books.get(keys.log(keys.instrument_tag(order.instrument)))
        return (book.where(order.order_id) if book is not None else None) or ("open", 0)

    def _placed(self, book: BookReplica, placed: list[int]) -> list[OrderUpdate]:
        """What is to tell of orders that the book has, if it still does."""
        told = []
        for order_id in placed:
            ledger = self._ledgers.get(keys.log(keys.shard_tag(shard_of_order(order_id))))
            where = book.where(order_id)
            if ledger is not None and where is not None and (update := ledger.placed(order_id, *where)):
                told.append(update)
        return told

    async def _publish(self, books: list[BookReplica], orders: list[OrderUpdate], heard: set[str]) -> None:
        pipe = self._client.pipeline(transaction=False)
        for order in orders:
            pipe.publish(self._settings.order_update_channel, _encode(order))
        for book in books:
            channel = keys.live(book.symbol)
            if channel not in heard:
                book.trades.clear()
            elif update := book.take_update():
                pipe.publish(channel, _encode(update))
            if price := book.take_price():
                pipe.set(keys.price(book.symbol), price)
        if len(pipe):
            await pipe.execute()

    # --- what is followed ------------------------------------------------------------------------

    async def _find(self) -> None:
        """Now and then: see whether the logs are still those that are followed, and follow those that are not yet."""
        now = asyncio.get_running_loop().time()
        if now < self._find_at:
            return
        self._find_at = now + FIND_S
        await self._check()
        for shard in range(self._settings.shards):
            await self._follow_ledger(shard)
        for symbol in sorted(name.decode() for name in await self._client.hkeys(keys.INSTRUMENTS)):
            await self._follow_book(symbol)

    async def _check(self) -> None:
        """Drop the replicas of logs that have lost what was read of them: XREAD would wait for their old length."""
        streams = [(stream, position) for stream, position in self._positions.items() if position]
        pipe = self._client.pipeline(transaction=False)
        for stream, position in streams:
            pipe.xrange(stream, f"{position}-0", count=1)
        for (stream, position), found in zip(streams, await pipe.execute(raise_on_error=False), strict=True):
            if isinstance(found, RedisError) and not is_other_type(found):
                raise found
            if not found or isinstance(found, RedisError):
                self._drop(stream, LogGap(stream, position - 1, "not there: the log is shorter"))
                continue
            key, fields = found[0]  # a later entry: this one was trimmed
            if key == b"%d-0" % position and self._last.get(stream, fields[FIELD]) != fields[FIELD]:
                self._drop(stream, CorruptState(f"{stream}: entry {position}-0 is not the one that was read"))

    async def _follow_ledger(self, shard: int) -> None:
        stream = keys.log(keys.shard_tag(shard))
        if stream in self._positions:
            return
        try:
            ledger, position = await load_ledger(self._client, shard, self._settings.shards)
        except CorruptState as error:
            self._tell_broken(stream, error)
            return
        replica = self._ledgers[stream] = LedgerReplica(ledger)
        if stream in self._seen:
            replica.mark_all()
        self._follows(stream, position)

    async def _follow_book(self, symbol: str) -> None:
        stream = keys.log(keys.instrument_tag(symbol))
        if stream in self._positions:
            return
        try:
            book, position = await load_book(self._client, symbol, self._settings.core)
        except CorruptState as error:
            self._tell_broken(stream, error)
            return
        replica = self._books[stream] = BookReplica(symbol, book)
        self._follows(stream, position)
        await self._publish([replica], [], await self._heard([keys.live(symbol)]))

    def _follows(self, stream: str, position: int) -> None:
        self._positions[stream] = position
        self._seen.add(stream)
        if self._broken.pop(stream, None):
            self._log.info("following the log again", log=stream)

    def _tell_broken(self, stream: str, error: Exception) -> None:
        if self._broken.get(stream) != str(error):
            self._log.warning("cannot follow a log live; trying again", log=stream, error=str(error))
        self._broken[stream] = str(error)

    def _drop(self, stream: str, error: Exception) -> None:
        """A replica is of no use any more: load it anew at the next look."""
        self._log.warning("a live replica lost its log; loading it anew", log=stream, error=str(error))
        for known in (self._positions, self._last, self._books, self._ledgers):
            known.pop(stream, None)
        self._find_at = 0.0

    def _forget(self) -> None:
        """Drop all replicas: Redis was away, and may have lost the end of a log."""
        self._positions.clear()
        self._last.clear()
        self._books.clear()
        self._ledgers.clear()
        self._find_at = 0.0
