"""Keeps a bounded number of requests under way, and measures what becomes of each.

One loop, one connection: fill the window, then read the ledger's log and the book's. A request leaves the window when
the ledger has refused it, or the book has said what it did about it (of an amend, the ledger says that); so when the
loop ends, the exchange is done with all of them. What was on its way when a connection broke is sent again: its ids
make that harmless (an amend asks for a total, so it may be done twice).
"""

import contextlib
import time
from array import array
from collections.abc import Iterator
from typing import Any

import msgspec
from redis.exceptions import RedisError

from shared import keys
from shared.connections import BLOCK_MS
from shared.errors import RejectReason, Unavailable
from shared.instrument import Instrument
from shared.messages import (
    FIELD,
    Accepted,
    Amended,
    AmendFailed,
    AmendRequest,
    AmendRequested,
    BookEntry,
    CancelRefused,
    CancelRequested,
    Change,
    Closed,
    Done,
    Duplicate,
    LedgerEvent,
    Match,
    Received,
    Rejected,
    decode_book_entry,
    decode_ledger_entry,
    encode,
)
from shared.pressure import Pressure, decode_pressure
from workers.ledger.settlement import movements
from workers.replay.amends import AmendsUnderWay
from workers.replay.flow import AnyRequest
from workers.replay.venue import SHARD

WINDOW = 512
"""Requests under way at most: as many as a ledger reads at once. More only makes the queue longer."""
SEND_MIN = WINDOW // 4
READ_COUNT = 1000
STALL_S = 30.0
"""A cluster that does nothing for so long has stopped: longer than any worker's restart and recovery."""
PAUSE_S = 0.2
LOOK_S = 1.0
"""How often it looks whether the exchange takes orders, as the gateways do."""


class ReplayReport(msgspec.Struct, kw_only=True):
    """What a replay did.

    ``steps``: of the recording; ``orders``, ``cancels``, ``amends``: requests. ``quantity``: lots traded. ``too_late``:
    cancels and amends of orders that were filled before, or by more than an amend left them. ``refused``, ``skipped``:
    how often, by why. Latencies in microseconds, from sending a request to reading its outcome.
    """

    file: str
    instrument: str
    steps: int = 0
    orders: int = 0
    cancels: int = 0
    amends: int = 0
    trades: int = 0
    quantity: int = 0
    too_late: int = 0
    refused: dict[str, int] = {}
    skipped: dict[str, int] = {}
    seconds: float = 0.0
    requests_per_s: int = 0
    latency_p50_us: int = 0
    latency_p99_us: int = 0
    latency_max_us: int = 0


class Traffic:
    """The requests of one replay that are under way, on one instrument."""

    def __init__(self, client: Any, instrument: Instrument, accounts: set[int], report: ReplayReport) -> None:
        self.free: dict[tuple[int, str], int] = {}
        """(account, currency) -> what is free to use, by the ledger's log since this object was made."""
        self._client = client
        self._accounts = accounts
        self._report = report
        self._inbox = keys.inbox(SHARD)
        self._ledger_log = keys.log(keys.shard_tag(SHARD)).encode()
        self._book_log = keys.log(keys.instrument_tag(instrument.symbol)).encode()
        self._positions = {log: self._end(log) for log in (self._ledger_log, self._book_log)}
        self._asked: dict[str, int] = {}
        """Request id -> when it was sent: the ledger has not answered."""
        self._awaited: dict[int, int] = {}
        """Order id (of a cancel: minus the order id) -> when it was sent: the book has not answered."""
        self._early: set[int] = set()
        """What the book has answered before the ledger's answer was read."""
        self._amends = AmendsUnderWay()
        self._held: AnyRequest | None = None
        """The next request, whose order has too many amends under way."""
        self._latencies = array("Q")
        self._pressure = Pressure()
        self._look_at = 0.0

    def _end(self, log: bytes) -> bytes:
        newest = self._client.xrevrange(log, count=1)
        return newest[0][0] if newest else b"0-0"

    def run(self, requests: Iterator[AnyRequest], rate: int | None) -> None:
        """Send all, at most ``rate`` a second, and wait for their outcomes. Raises ``Unavailable`` on a stall."""
        started = last_news = time.monotonic()
        sent, more = 0, True
        while more or self._open():
            room = WINDOW - self._open()
            wait_ms = BLOCK_MS
            if rate and more:
                due = int((time.monotonic() - started) * rate) + 1 - sent
                room, wait_ms = min(room, due), max(1, min(BLOCK_MS, 1000 // rate))
            elif room < SEND_MIN:
                room = 0
            if room > 0 and more and self._is_let_in():
                batch, more = self._next(requests, room)
                sent += len(batch)
                self._send(batch)
            if self._read(wait_ms):
                last_news = time.monotonic()
            elif time.monotonic() - last_news > STALL_S:
                raise self._stalled(sent)
        self._summarise(sent, time.monotonic() - started)

    def _open(self) -> int:
        return len(self._asked) + len(self._awaited) + len(self._amends)

    def wait_let_in(self) -> None:
        """Return when the stores have room for more. Raises ``Unavailable`` if they get none."""
        end, self._look_at = time.monotonic() + STALL_S, 0.0
        while not self._is_let_in():
            if time.monotonic() > end:
                raise self._stalled(0)
            time.sleep(PAUSE_S)

    def _is_let_in(self) -> bool:
        """Whether the stores have room for more: a replay would fill them as any other client."""
        if time.monotonic() >= self._look_at:
            self._look_at = time.monotonic() + LOOK_S
            with contextlib.suppress(RedisError):  # who sends and reads notices
                self._pressure = decode_pressure(self._client.get(keys.PRESSURE))
        return self._pressure.level == "open"

    def _stalled(self, sent: int) -> Unavailable:
        why = f"takes no orders ({self._pressure.says})" if self._pressure.says else "has not answered"
        return Unavailable(
            f"the cluster {why} for {STALL_S:g} s, {self._open()} of {sent} requests are open; "
            '"matchbox status" shows who is missing, and what is full'
        )

    def _next(self, requests: Iterator[AnyRequest], room: int) -> tuple[list[AnyRequest], bool]:
        """At most ``room`` requests that may be sent now, and whether there are more."""
        batch: list[AnyRequest] = []
        while len(batch) < room:
            request, self._held = self._held or next(requests, None), None
            if request is None:
                return batch, False
            if isinstance(request, AmendRequest):
                if not self._amends.has_room(request):
                    self._held = request
                    break
                self._amends.add(request)
            batch.append(request)
        return batch, True

    def _send(self, batch: list[AnyRequest]) -> None:
        end = time.monotonic() + STALL_S
        now = time.monotonic_ns()
        for request in batch:
            self._asked[request.request_id] = now
        while batch:
            pipe = self._client.pipeline(transaction=False)
            for request in batch:
                pipe.execute_command("XADD", self._inbox, "*", FIELD, encode(request))
            try:
                pipe.execute()
                return
            except RedisError:
                if time.monotonic() > end:
                    raise
                time.sleep(PAUSE_S)

    def _read(self, wait_ms: int) -> bool:
        """Take up what the logs have new; False if they have nothing."""
        names, positions = self._positions.keys(), self._positions.values()
        try:
            answer = self._client.execute_command(
                b"XREAD", "COUNT", READ_COUNT, "BLOCK", wait_ms, "STREAMS", *names, *positions
            )
        except RedisError:
            time.sleep(PAUSE_S)
            return False
        now = time.monotonic_ns()
        news = dict(answer.items() if isinstance(answer, dict) else answer or ())
        for log, entries in news.items():
            self._positions[log] = entries[-1][0]
        for _, fields in news.get(self._ledger_log, ()):
            for event in decode_ledger_entry(fields[1]).events:
                self._decided(event)
        for _, fields in news.get(self._book_log, ()):
            self._happened(decode_book_entry(fields[1]), now)
        return bool(news)

    def _decided(self, event: LedgerEvent) -> None:
        """Take up what the ledger says, if it concerns this replay."""
        if getattr(event, "account", None) not in self._accounts:
            return
        for moved in movements(event):
            if moved.account in self._accounts:  # a fee goes to somebody else
                key = moved.account, moved.currency
                self.free[key] = self.free.get(key, 0) + moved.available
        if isinstance(event, Accepted | AmendRequested | CancelRequested | Rejected | Duplicate):
            self._answered(event)
        elif isinstance(event, Amended | AmendFailed):
            sent = self._amends.answer(event.order_id, event.request_id)
            if sent is not None:
                self._report.too_late += isinstance(event, AmendFailed)
                self._latencies.append(time.monotonic_ns() - sent)
        elif isinstance(event, Closed):
            closed = self._amends.close(event.order_id)
            self._report.too_late += len(closed)
            self._latencies.extend(time.monotonic_ns() - sent for sent in closed)

    def _answered(self, event: Accepted | AmendRequested | CancelRequested | Rejected | Duplicate) -> None:
        sent = self._asked.pop(event.request_id, None)
        if sent is None:
            return  # answered before, or a transfer
        if isinstance(event, AmendRequested):
            self._amends.pass_on(event, sent)
            return
        self._amends.refuse(event.request_id)
        if isinstance(event, Rejected) and event.reason is RejectReason.ORDER_DONE:
            self._report.too_late += 1
        elif isinstance(event, Rejected):
            refused = self._report.refused
            refused[event.reason] = refused.get(event.reason, 0) + 1
        elif isinstance(event, Accepted):
            self._await(event.order_id, sent)
        elif isinstance(event, CancelRequested):
            self._await(-event.order_id, sent)

    def _await(self, key: int, sent: int) -> None:
        if key in self._early:
            self._early.remove(key)
            self._latencies.append(time.monotonic_ns() - sent)
        else:
            self._awaited[key] = sent

    def _happened(self, entry: BookEntry, now: int) -> None:
        first = entry.events[0]
        if not isinstance(first, Received | Done | Change | CancelRefused) or first.account not in self._accounts:
            return
        for event in entry.events:
            if isinstance(event, Match):
                self._report.trades += 1
                self._report.quantity += event.quantity
        if isinstance(first, Change):
            return  # an amend, of which the ledger tells
        is_cancel = isinstance(first, CancelRefused) or (isinstance(first, Done) and first.reason == "canceled")
        key = -first.order_id if is_cancel else first.order_id
        sent = self._awaited.pop(key, None)
        if sent is None:
            self._early.add(key)
        else:
            self._latencies.append(now - sent)
        self._report.too_late += isinstance(first, CancelRefused)

    def _summarise(self, sent: int, seconds: float) -> None:
        report, ordered = self._report, sorted(self._latencies)
        report.seconds = round(seconds, 3)
        report.requests_per_s = round(sent / seconds)
        if ordered:
            report.latency_p50_us = ordered[len(ordered) // 2] // 1000
            report.latency_p99_us = ordered[len(ordered) * 99 // 100] // 1000
            report.latency_max_us = ordered[-1] // 1000
