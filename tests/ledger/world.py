"""Real ledgers and real books with nothing but lists between them, and a check of everything that must hold."""

from collections import Counter, defaultdict, deque
from typing import Any

from shared.instrument import Instrument, make_instrument
from shared.keys import shard_of
from shared.messages import (
    Accepted,
    AmendRequested,
    BookEntry,
    Closed,
    Filled,
    InstrumentRequest,
    LedgerEntry,
    LedgerEvent,
    Transferred,
    TransferRequest,
    decode_book_entry,
    decode_command,
    decode_ledger_entry,
    decode_request,
    encode,
)
from tests.ledger.naive import NaiveLedger
from workers.engine.book import OrderBook
from workers.ledger.ledger import Ledger, Limits
from workers.ledger.orders import PAST_MAX


def coarse(symbol: str, lot: str = "1", **rules: Any) -> Instrument:
    """An instrument in whole units, so that every fee is rounded."""
    return make_instrument(symbol, "1", lot, base_scale=0, quote_scale=0, **rules)


class World:
    """Account shards and books. Nothing moves by itself: commands and book entries wait until they are asked for."""

    def __init__(self, *instruments: Instrument, shards: int = 1, limits: Limits | None = None, past: int = PAST_MAX):
        self.shards = shards
        self.limits = limits or Limits()
        self.ledgers = [Ledger(shard, shards, self.limits) for shard in range(shards)]
        self.replicas = [Ledger(shard, shards, self.limits) for shard in range(shards)]
        self.naive = [NaiveLedger(past) for _ in range(shards)]
        self.logs: list[list[bytes]] = [[] for _ in range(shards)]
        self.books: dict[str, OrderBook] = {}
        self.commands: dict[str, deque[bytes]] = {}
        self.book_logs: dict[str, list[bytes]] = {}
        self.positions = [Counter[str]() for _ in range(shards)]
        self.now = 0
        for instrument in instruments:
            self.set_instrument(instrument)
        self.work_all()

    def set_instrument(self, instrument: Instrument) -> Any:
        self.books.setdefault(instrument.symbol, OrderBook())
        self.commands.setdefault(instrument.symbol, deque())
        self.book_logs.setdefault(instrument.symbol, [])
        events = [self.request(InstrumentRequest("set", instrument), shard) for shard in range(self.shards)]
        assert all(event == events[0] for event in events)
        return events[0]

    def deposit(self, account: int, **amounts: int) -> None:
        for currency, amount in amounts.items():
            event = self.request(TransferRequest(f"deposit {self.now}", account, currency, amount))
            assert isinstance(event, Transferred), event

    def request(self, request: Any, shard: int | None = None) -> Any:
        """Send a request through the wire format; answers the ledger's event."""
        [event] = self.requested(request, shard)
        return event

    def requested(self, request: Any, shard: int | None = None) -> list[Any]:
        """The same for a request that may be answered by several events: a list."""
        if shard is None:
            shard = shard_of(request.account, self.shards)
        self.now += 1
        events, commands = self.ledgers[shard].apply(decode_request(encode(request)), self.now)
        self._log(shard, f"{{a:{shard}}}:in {self.now}-0", events)
        for symbol, command in commands:
            self.commands[symbol].append(encode(command))
        for event in events:
            if isinstance(event, Accepted):
                self.naive[shard].accept(event)
            if isinstance(event, AmendRequested):
                self.naive[shard].amend(event)
            if isinstance(event, Transferred):
                self.naive[shard].transfers.append((event.account, event.currency, event.amount))
                self.naive[shard].past.append((event.account, "transfer", event.request_id))
        return events

    def tick(self, shard: int, later: int) -> None:
        """Some time passes, and the shard looks whose end that is."""
        self.now += later
        for symbol, command in self.ledgers[shard].due(self.now):
            self.commands[symbol].append(encode(command))

    def work(self, symbol: str) -> None:
        """The book handles its next command."""
        if self.commands[symbol]:
            command = decode_command(self.commands[symbol].popleft())
            events = self.books[symbol].apply(command)
            source = f"{{a:0}}:to:{symbol} {len(self.book_logs[symbol]) + 1}-0"
            self.book_logs[symbol].append(encode(BookEntry(source, command.time, events)))

    def settle(self, shard: int, symbol: str) -> list[LedgerEvent]:
        """The shard reads the next entry of the book's log."""
        position = self.positions[shard][symbol]
        if position == len(self.book_logs[symbol]):
            return []
        self.now += 1
        entry = decode_book_entry(self.book_logs[symbol][position])
        events = self.ledgers[shard].settle(symbol, entry, self.now)
        self.positions[shard][symbol] = position + 1
        self.naive[shard].follow(self.ledgers[shard].instruments[symbol], entry.events)
        if events:
            self._log(shard, f"{{i:{symbol}}}:log {position + 1}-0", events)
        return events

    def work_all(self) -> None:
        for symbol, commands in self.commands.items():
            while commands:
                self.work(symbol)

    def drain(self) -> list[Any]:
        """Everything that waits is handled; answers what was settled."""
        self.work_all()
        settled: list[Any] = []
        for shard in range(self.shards):
            for symbol, log in self.book_logs.items():
                while self.positions[shard][symbol] < len(log):
                    settled += self.settle(shard, symbol)
        return settled

    def reload(self, shard: int) -> None:
        """The shard dies and comes back from a snapshot."""
        self.ledgers[shard] = Ledger.load(self.ledgers[shard].dump(), self.limits)

    def _log(self, shard: int, source: str, events: list[LedgerEvent]) -> None:
        payload = encode(LedgerEntry(source, self.ledgers[shard].time, events))
        self.logs[shard].append(payload)
        self.replicas[shard].fold_entry(decode_ledger_entry(payload))

    # --- what must hold ---

    def check(self) -> None:
        """At any moment, however far the settling has come."""
        for shard, ledger in enumerate(self.ledgers):
            state = ledger.dump()
            assert state == self.replicas[shard].dump(), "folding the log gives another state"
            assert state == Ledger.load(state).dump(), "a snapshot gives another state"
            self._check_balances(shard)
            self._check_index(ledger)

    def _check_balances(self, shard: int) -> None:
        ledger = self.ledgers[shard]
        found = {
            (account, currency): (available, held) for account, currency, available, held in ledger.accounts.rows()
        }
        expected = self.naive[shard].expected(ledger.instruments)
        for key in found.keys() | expected.keys():
            have = found.get(key, (0, 0))
            assert have == expected.get(key, (0, 0)), f"{key}: {have} instead of {expected.get(key)}"
            assert min(have) >= 0, f"{key}: {have}"

    def _check_index(self, ledger: Ledger) -> None:
        holds: dict[tuple[int, str], int] = defaultdict(int)
        for order in ledger.orders:
            base, quote = order.instrument.split("-")
            holds[order.account, quote if order.side == "buy" else base] += order.hold
            assert ledger.order(order.order_id) is order
            assert order in ledger.open_orders(order.account)
            if order.client_id:
                assert ledger.by_client_id(order.account, order.client_id) == order.order_id
        for account, currency, _, held in ledger.accounts.rows():
            assert held == holds[account, currency], "what is held is not what the open orders hold"

    def check_settled(self) -> None:
        """Once everything is drained."""
        money: Counter[str] = Counter()
        for ledger in self.ledgers:
            for _, currency, available, held in ledger.accounts.rows():
                money[currency] += available + held
            for currency, supply in ledger.supply.items():
                money[currency] -= supply
        assert not any(money.values()), f"money appeared or vanished: {money}"
        resting = {
            (order.order_id, order.account, order.price, order.left())
            for book in self.books.values()
            for side in ("buy", "sell")
            for order in book.resting(side)
        }
        for book in self.books.values():
            for order in (*(one.order for one in book.sleeping()), *book.pending()):
                resting.add((order.order_id, order.account, order.price, order.quantity))
        is_open = {(o.order_id, o.account, o.price, o.remaining) for ledger in self.ledgers for o in ledger.orders}
        assert is_open == resting, "ledger and books disagree on what is open"
        self._check_totals()
        self._check_logs()

    def _check_totals(self) -> None:
        """What a client sees as an order's size, and an amend is about: as its book has it, less what STP took."""
        totals = {
            order.order_id: order.quantity
            for book in self.books.values()
            for side in ("buy", "sell")
            for order in book.resting(side)
        }
        for ledger in self.ledgers:
            for order in ledger.orders:
                if order.quantity:
                    total = totals.get(order.order_id, order.quantity)
                    assert order.quantity == order.filled + order.remaining == total, order

    def _check_logs(self) -> None:
        sides: dict[tuple[str, int], list[Filled]] = defaultdict(list)
        closed: Counter[int] = Counter()
        for log in self.logs:
            for payload in log:
                for event in decode_ledger_entry(payload).events:
                    if isinstance(event, Filled):
                        sides[event.instrument, event.trade_id].append(event)
                    elif isinstance(event, Closed):
                        closed[event.order_id] += 1
        for trade, fills in sides.items():
            assert sorted(fill.side for fill in fills) == ["buy", "sell"], f"{trade}: {fills}"
            assert sorted(fill.liquidity for fill in fills) in (["M", "T"], ["M", "M"])
            assert len({(fill.price, fill.quantity, fill.cost, fill.base_amount) for fill in fills}) == 1
        assert set(closed.values()) <= {1}, "an order was closed twice"
