"""Books that clients keep from the feed, while orders pour in: cbpro's from ``full``, ccxt.pro's from ``level2``."""

import asyncio
import os
import time
from collections import defaultdict
from decimal import Decimal

import cbpro
import pytest

from tests.clients.exchanges import pro_ccxt_of
from tests.clients.traffic import PRODUCT, Traffic

pytestmark = pytest.mark.slow

LONG = os.environ.get("MATCHBOX_LOAD_SECONDS")
SECONDS = float(LONG or 8)
RATE = 550
RATE_WANTED = 500
"""Orders a second. What a test among others gets of a busy machine is not held against it; a long run is."""
BEHIND_MAX = 1000
"""Orders that cbpro's book may be behind. It shares this process and its one Python lock with the traffic and with
ccxt, and who leaves more than 4 MiB unread is cut off, as any slow reader."""
REST_S = 30.0
SYMBOL = "ETH/USD"
SIDES = ("bids", "asks")


class Book(cbpro.OrderBook):  # type: ignore[misc]  # it has no types
    """cbpro's book, which counts its gaps and keeps what ends it: else it goes on, or its thread dies unheard."""

    def __init__(self, cluster):
        super().__init__(product_id=PRODUCT)
        self.url = cluster.url.replace("http", "ws")
        self._client = cbpro.PublicClient(api_url=cluster.url)
        self.gaps = []
        self.failure = None
        self.count = 0
        self.taken_up = 0

    def on_sequence_gap(self, gap_start, gap_end):
        self.gaps.append((gap_start, gap_end))
        super().on_sequence_gap(gap_start, gap_end)

    def on_message(self, message):
        try:
            super().on_message(message)
        except BaseException as failure:
            self.failure = failure
            raise
        self.count += 1
        self.taken_up += message["type"] in ("received", "activate")

    def end(self):
        """Its own ``close`` waits for one more message, which a still market does not send."""
        self.stop = True
        self.ws.shutdown()
        self.close()

    def queues(self):
        """Orders by side and price, in their order in time."""
        return queues(self.get_current_book())


def queues(book):
    found = defaultdict(list)
    for side in ("bids", "asks"):
        for price, size, order_id in book[side]:
            found[side, Decimal(price)].append((order_id, Decimal(size)))
    return dict(found)


def levels(book, side):
    """Price levels of a book of single orders, best first."""
    sums = {price: sum(size for _, size in orders) for (of, price), orders in queues(book).items() if of == side}
    return [[float(price), float(sums[price])] for price in sorted(sums, reverse=side == "bids")]


class Watcher:
    """ccxt.pro's book, kept up from ``level2`` in its own time."""

    def __init__(self, cluster):
        self.exchange = pro_ccxt_of(cluster, cluster.user())

    async def __aenter__(self):
        self._watching = asyncio.create_task(self._watch())
        return self

    async def __aexit__(self, *_):
        self._watching.cancel()
        await asyncio.gather(self._watching, return_exceptions=True)
        await self.exchange.close()

    async def _watch(self):
        while True:
            await self.exchange.watch_order_book(SYMBOL)

    def levels(self, side):
        return [row[:2] for row in self.exchange.orderbooks[SYMBOL][side]]


async def assert_all_books_are_one(cluster, book, watcher):
    """That of cbpro from full, of ccxt.pro from level2, of REST at each level, as soon as all is told."""
    end = time.monotonic() + REST_S
    while True:
        truth = cluster.http.get(f"/products/{PRODUCT}/book?level=3").json()
        wanted = [levels(truth, side) for side in SIDES]
        if (book._sequence == truth["sequence"] and [watcher.levels(side) for side in SIDES] == wanted) or (
            time.monotonic() > end
        ):
            break
        await asyncio.sleep(0.05)
    assert book._sequence == truth["sequence"]
    assert book.queues() == queues(truth)
    assert [watcher.levels(side) for side in SIDES] == wanted
    fetched = await watcher.exchange.fetch_order_book(SYMBOL)
    assert [[row[:2] for row in fetched[side]] for side in SIDES] == wanted
    best = await watcher.exchange.fetch_order_book(SYMBOL, None, {"level": 1})
    assert [[row[:2] for row in best[side]] for side in SIDES] == [rows[:1] for rows in wanted]
    return wanted


async def wait_taken_up(traffic):
    """Until the book has all that was accepted: then it stands still."""
    end = time.monotonic() + REST_S
    while not traffic.is_taken_up():
        assert time.monotonic() < end
        await asyncio.sleep(0.05)


def test_books_of_cbpro_and_ccxt_through_a_storm(cluster):
    """At 500 orders/s: no gap, each match is with the first of cbpro's queue, and at rest all books are one.

    ``MATCHBOX_LOAD_SECONDS=60`` makes it last.
    """
    book, traffic = Book(cluster), Traffic(cluster)

    async def storm():
        async with Watcher(cluster) as watcher:
            started = time.monotonic()
            await traffic.run(RATE, SECONDS, lambda: traffic.taken_up - book.taken_up < BEHIND_MAX)
            seconds = time.monotonic() - started
            await wait_taken_up(traffic)
            bids, asks = await assert_all_books_are_one(cluster, book, watcher)
            assert len(bids) > 10
            assert len(asks) > 10
            traffic.stop()
            assert await assert_all_books_are_one(cluster, book, watcher) == [[], []]
        return seconds

    book.start()
    try:
        seconds = asyncio.run(storm())
    finally:
        book.end()
    assert book.failure is None
    assert not book.gaps
    overtaken = sum(count for words, count in traffic.answers.items() if "is on the wrong side" in words)
    assert traffic.answers["order_result"] + overtaken == traffic.placed, traffic.answers
    assert overtaken < traffic.placed / 50  # stops that the last trade has reached before they come
    rate = traffic.placed / seconds
    print(f"{rate:.0f} orders/s for {seconds:.0f} s; {book.count} messages; {dict(traffic.answers)}")
    if LONG:
        assert rate >= RATE_WANTED
