"""A seeded market for tests: a real ledger and real books, whose logs are written as the runtime writes them."""

import hashlib
import random
from collections import Counter

import msgspec

from shared import keys
from shared.chain import advance
from shared.connections import connect
from shared.instrument import make_instrument
from shared.messages import (
    BookEntry,
    CancelAllRequest,
    CancelRequest,
    Configure,
    InstrumentRequest,
    LedgerEntry,
    OrderRequest,
    SelfTradePrevention,
    Side,
    TimeInForce,
    TransferRequest,
    encode,
)
from workers.engine.book import OrderBook
from workers.ledger.ledger import Ledger
from workers.store import Snapshot

SYMBOLS = ("BTC-USD", "ETH-USD")
ACCOUNTS = 6
SIDES: tuple[Side, ...] = ("buy", "sell")
PREVENTIONS: tuple[SelfTradePrevention, ...] = ("dc", "co", "cn", "cb")
TERMS: tuple[TimeInForce, ...] = ("GTC", "GTC", "GTC", "GTC", "IOC", "FOK")


class Logged:
    """Machines whose logs are in Redis up to what ``write`` has put there. A subclass runs them."""

    ledgers: list[Ledger]
    books: dict[str, OrderBook]

    def __init__(self, url):
        self.client = connect(url)
        self.pending = []  # (tag, payload)
        self.lengths, self.chains = {}, {}
        self.last = {}  # tag -> payload

    def log(self, tag, payload):
        """Remember an entry for ``write``."""
        self.pending.append((tag, payload))

    def write(self):
        """Put the pending entries onto the logs, each log in one transaction. Answers how many there were."""
        by_tag: dict[str, list[bytes]] = {}
        for tag, payload in self.pending:
            by_tag.setdefault(tag, []).append(payload)
        for tag, payloads in by_tag.items():
            pipe = self.client.pipeline(transaction=True)
            for payload in payloads:
                self.lengths[tag] = self.lengths.get(tag, 0) + 1
                pipe.xadd(keys.log(tag), {"d": payload}, id=f"{self.lengths[tag]}-0")
            self.last[tag] = payloads[-1]
            self.chains[tag] = advance(self.chains.get(tag, ""), payloads)
            pipe.hset(keys.meta(tag), mapping={"length": self.lengths[tag], "chain": self.chains[tag]})
            pipe.execute()
        count = len(self.pending)
        self.pending.clear()
        return count

    def snapshots(self):
        """The state of each machine, by tag."""
        found = {keys.shard_tag(ledger.shard): ledger.dump() for ledger in self.ledgers}
        return found | {keys.instrument_tag(symbol): book.dump() for symbol, book in self.books.items()}

    def save_snapshots(self):
        """Keep a snapshot of each machine; everything must be written."""
        assert not self.pending
        for tag, state in self.snapshots().items():
            one = Snapshot(self.lengths[tag], self.chains[tag], hashlib.sha256(state).hexdigest(), state)
            self.client.hset(keys.snapshot(tag), str(one.position), msgspec.msgpack.encode(one))

    def bad_snapshots(self, tag):
        """Fields of a snapshot hash that nobody may use: a damaged one, and one that is ahead of the log."""
        state, length = self.snapshots()[tag], self.lengths[tag]
        digest = hashlib.sha256(state).hexdigest()
        damaged = Snapshot(length, self.chains[tag], digest, state[:-1])
        ahead = Snapshot(length + 1, "", digest, state)
        return {str(one.position): msgspec.msgpack.encode(one) for one in (damaged, ahead)}


class Market(Logged):
    """Trades at random; ``write`` puts what it did since the last time onto the logs."""

    def __init__(self, url, seed=0, shards=1, symbols=SYMBOLS):
        super().__init__(url)
        self.random = random.Random(seed)
        self.shards = shards
        self.ledgers = [Ledger(shard, shards) for shard in range(shards)]
        self.books = {symbol: OrderBook() for symbol in symbols}
        self.now = 1_700_000_000_000_000_000
        self.requests = 0
        self.done = Counter[str]()  # entries of the books
        self.accounts = list(range(1, ACCOUNTS + 1))
        for symbol in symbols:
            self.configure(symbol)
        for account in self.accounts:
            for currency in sorted({part for symbol in symbols for part in symbol.split("-")}):
                self.request(TransferRequest(self.request_id(), account, currency, 10**17))

    def configure(self, symbol, **rules):
        """Add an instrument, or change its rules."""
        instrument = make_instrument(symbol, "0.01", "0.0001", maker_fee=1000, taker_fee=2500, **rules)
        self.books.setdefault(symbol, OrderBook())
        self.client.hset(keys.INSTRUMENTS, symbol, encode(instrument))
        for shard in range(self.shards):
            self.request(InstrumentRequest(self.request_id(), instrument), shard)

    def request_id(self):
        """The next id."""
        self.requests += 1
        return f"r{self.requests}"

    def request(self, request, shard=None):
        """Let the ledger decide, the book do and the ledgers settle. Answers the ledger's event."""
        self.now += 1_000
        if shard is None:
            shard = keys.shard_of(request.account, self.shards)
        ledger = self.ledgers[shard]
        events, commands = ledger.apply(request, self.now)
        self.log(
            keys.shard_tag(shard), encode(LedgerEntry(f"{keys.inbox(shard)} {self.requests}-0", ledger.time, events))
        )
        for symbol, command in commands:
            book = self.books[symbol]
            entry = BookEntry(f"{keys.outbox(shard, symbol)} {self.requests}-0", command.time, book.apply(command))
            self.log(keys.instrument_tag(symbol), encode(entry))
            self.done[symbol] += 1
            if isinstance(command, Configure):
                continue
            log = keys.log(keys.instrument_tag(symbol))
            for other in self.ledgers:
                if settled := other.settle(symbol, entry, self.now):
                    answer = LedgerEntry(f"{log} {self.done[symbol]}-0", other.time, settled)
                    self.log(keys.shard_tag(other.shard), encode(answer))
        return events[0]

    def trade(self, count):
        """Make ``count`` random requests."""
        for _ in range(count):
            self.request(self.random_request())

    def random_request(self):
        """An order most of the time, else a cancel or a transfer."""
        dice, account = self.random.random(), self.random.choice(self.accounts)
        symbol = self.random.choice(list(self.books))
        orders = self.ledgers[account % self.shards].open_orders(account)
        if dice < 0.15 and orders:
            return CancelRequest(self.request_id(), account, self.random.choice(orders).order_id)
        if dice < 0.17:
            return CancelAllRequest(self.request_id(), account, symbol)
        if dice < 0.2:
            return TransferRequest(self.request_id(), account, symbol[:3], self.random.choice((-1, 1)) * 10**12)
        return self.random_order(account, symbol)

    def random_order(self, account, symbol):
        """A limit or market order around a price of 100."""
        choice, dice = self.random.choice, self.random.random()
        order = OrderRequest(self.request_id(), account, symbol, choice(SIDES), "limit", stp=choice(PREVENTIONS))
        order.client_id = f"client {self.requests}" if self.random.random() < 0.5 else ""
        if dice < 0.2:
            order.order_type = "market"
        if dice < 0.1 and order.side == "buy":
            order.funds = self.random.randint(1, 1000) * 10**10
            return order
        order.quantity = self.random.randint(1, 50) * 1000
        if order.order_type == "limit":
            order.price = 10_000 + self.random.randint(-40, 40)
            order.time_in_force = choice(TERMS)
        return order
