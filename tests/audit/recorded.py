"""A cluster in memory: the real handlers of ledger and book, streams as lists. Its logs are good, until a test says."""

import random
from collections.abc import Callable
from copy import copy, deepcopy
from functools import cache
from typing import Any, Self

from shared import keys
from shared.chain import advance
from shared.instrument import make_instrument
from shared.messages import (
    CancelAllRequest,
    CancelRequest,
    InstrumentRequest,
    OrderRequest,
    TimeInForce,
    TransferRequest,
    encode,
)
from shared.settings import Settings
from workers.audit.history import History, LogView
from workers.audit.invariants import Findings
from workers.audit.settlement_checks import SettlementChecks
from workers.engine.book import OrderBook
from workers.engine.process import EngineHandler
from workers.handler import Batch
from workers.ledger.ledger import Ledger
from workers.ledger.process import LedgerHandler
from workers.store import Standing

SYMBOLS = ("BTC-USD", "ETH-USD")


class Tag:
    """What Redis has of one machine."""

    def __init__(self, handler: Any) -> None:
        self.handler = handler
        self.log: list[bytes] = []
        self.standing = Standing(0, 0, "", {}, {})

    def step(self, streams: dict[str, list[bytes]], rng: random.Random) -> None:
        """Read some of one source, handle it, commit."""
        source = rng.choice(self.handler.sources())
        at = int(self.standing.positions.get(source, "0-0").partition("-")[0])
        some = streams.get(source, [])[at : at + rng.randint(1, 20)]
        if not some:
            return
        batch = Batch()
        entries = [[b"%d-0" % number, [b"d", payload]] for number, payload in enumerate(some, start=at + 1)]
        self.handler.handle(source, entries, batch)
        self.standing.positions[source] = f"{at + len(some)}-0"
        self._commit(batch, streams)

    def tick(self, streams: dict[str, list[bytes]]) -> None:
        """Some time has passed."""
        batch = Batch()
        self.handler.tick(batch)
        self._commit(batch, streams)

    def _commit(self, batch: Batch, streams: dict[str, list[bytes]]) -> None:
        for stream, payloads in batch.sends.items():
            streams.setdefault(stream, []).extend(payloads)
            self.standing.lengths[stream] = len(streams[stream])
        self.log += batch.log
        streams[keys.log(self.handler.tag)] = self.log

    def copy(self) -> "Tag":
        """The same, to be spoilt."""
        tag = copy(self)
        tag.log, tag.standing = list(self.log), deepcopy(self.standing)
        return tag

    def restate(self) -> None:
        """Length and chain as the log has them now."""
        self.standing.length = len(self.log)
        self.standing.chain = advance("", self.log)


class Recorded:
    """Logs of ``count`` random requests by some accounts, on ``shards`` shards, up to some point in time."""

    def __init__(self, seed: int = 1, count: int = 600, shards: int = 1, *, finish: bool = True) -> None:
        self.shards = shards
        self._rng = random.Random(seed)
        self._clock = 1_000_000
        settings = Settings(shards=shards)
        self.ledgers = {
            shard: Tag(LedgerHandler(settings, shard, clock=self._now)) for shard in range(shards)
        }  # fmt: skip
        self.books = {symbol: Tag(EngineHandler(settings, symbol)) for symbol in SYMBOLS}
        self._streams: dict[str, list[bytes]] = {}
        self._prepare()
        machines = [*self.ledgers.values(), *self.books.values()]
        for number in range(count):
            self._request(number)
            self._rng.choice(machines).step(self._streams, self._rng)
        while finish and any(self._is_behind(machine) for machine in machines):
            for machine in machines:
                machine.step(self._streams, self._rng)
        for machine in machines:
            machine.restate()

    @classmethod
    def fresh(cls, seed: int = 1, count: int = 600, shards: int = 1, *, finish: bool = True) -> Self:
        """A recording that is made once, and is the test's own to spoil."""
        recorded = copy(_made(cls, seed, count, shards, finish))  # type: ignore[arg-type]  # a class is hashable
        recorded.ledgers = {shard: tag.copy() for shard, tag in recorded.ledgers.items()}
        recorded.books = {symbol: tag.copy() for symbol, tag in recorded.books.items()}
        return recorded  # type: ignore[return-value]  # it is one of cls

    def _is_behind(self, machine: Tag) -> bool:
        positions = machine.standing.positions
        return any(
            int(positions.get(source, "0-0").partition("-")[0]) < len(self._streams.get(source, []))
            for source in machine.handler.sources()
        )

    def _now(self) -> int:
        self._clock += self._rng.randint(0, 1000)
        return self._clock

    def _send(self, shard: int, request: Any) -> None:
        self._streams.setdefault(keys.inbox(shard), []).append(encode(request))

    def _prepare(self) -> None:
        for symbol, maker, taker in zip(SYMBOLS, (1000, 0), (2500, 700), strict=True):
            rules = make_instrument(symbol, "0.01", "0.001", maker_fee=maker, taker_fee=taker)
            for shard in range(self.shards):
                self._send(shard, InstrumentRequest(f"add-{symbol}-{shard}", rules))
        for account in range(1, 6):
            for currency in ("USD", "BTC", "ETH"):
                transfer = TransferRequest(f"in-{currency}", account, currency, 10**17)
                self._send(account % self.shards, transfer)
        for _ in range(50):
            for machine in (*self.ledgers.values(), *self.books.values()):
                machine.step(self._streams, self._rng)

    def _request(self, number: int) -> None:
        rng = self._rng
        account = rng.randint(1, 5)
        name, symbol = f"r{number}", rng.choice(SYMBOLS)
        request: Any
        match rng.randint(0, 19):
            case 0:
                request = CancelAllRequest(name, account, symbol if rng.random() < 0.5 else "")
            case 1 | 2 | 3:
                request = CancelRequest(name, account, client_id=f"c{rng.randint(0, number)}")
            case 4:
                request = TransferRequest(name, account, "USD", rng.choice((-1000, 5000)))
            case 5:
                funds = rng.choice((0, 10**12))
                request = OrderRequest(
                    name, account, symbol, rng.choice(("buy", "sell")), "market", 0, 0 if funds else 700, funds,
                    stp=rng.choice(("dc", "co", "cn", "cb")),
                )  # fmt: skip
            case _:
                time_in_force: TimeInForce = rng.choice(("GTC", "GTC", "GTC", "IOC", "FOK"))
                request = OrderRequest(
                    name, account, symbol, rng.choice(("buy", "sell")), "limit",
                    10_000 + rng.randint(-8, 8), rng.randint(1, 2000), 0, time_in_force,
                    time_in_force == "GTC" and rng.random() < 0.1, rng.choice(("dc", "co", "cn", "cb")),
                    f"c{number}" if rng.random() < 0.8 else "",
                )  # fmt: skip
        self._send(account % self.shards, request)

    def requests(self) -> dict[int, list[bytes]]:
        """What was asked of each shard."""
        return {shard: self._streams[keys.inbox(shard)] for shard in self.ledgers}

    # --- auditing --------------------------------------------------------------------------------

    def audit(self, prepare: Callable[[History], None] = lambda _history: None) -> Findings:
        """Check everything, as ``matchbox audit`` does over Redis."""
        findings = Findings()
        history = History(findings, SettlementChecks(findings))
        for shard, tag in self.ledgers.items():
            history.add_ledger(shard, self.view(tag, findings))
        for symbol, tag in self.books.items():
            history.add_book(symbol, self.view(tag, findings))
        prepare(history)
        for _ in history.follow():
            pass
        history.end()
        return findings

    def view(self, tag: Tag, findings: Findings, start: int = 0, chain: str = "") -> LogView:
        """A log behind entry ``start``."""
        entries = [(b"%d-0" % number, payload) for number, payload in enumerate(tag.log, start=1)]
        return LogView(tag.handler.tag, tag.standing, entries[start:], findings, start, chain)

    def book_at(self, symbol: str, number: int) -> OrderBook:
        """The book after an entry of its log."""
        handler = EngineHandler(Settings(shards=self.shards), symbol)
        for payload in self.books[symbol].log[:number]:
            handler.fold(payload)
        return handler.book

    def ledger_at(self, shard: int, number: int) -> Ledger:
        """The ledger after an entry of its log."""
        handler = LedgerHandler(Settings(shards=self.shards), shard)
        for payload in self.ledgers[shard].log[:number]:
            handler.fold(payload)
        return handler.ledger


@cache
def _made(kind: type[Recorded], seed: int, count: int, shards: int, finish: bool) -> Recorded:
    return kind(seed, count, shards, finish=finish)
