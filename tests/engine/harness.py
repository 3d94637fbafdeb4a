"""Drives the engine's book, the naive book and a follower side by side, and checks all that must hold.

Where the compiled core is built, a compiled book and its follower run beside them and have to do exactly the same.
"""

from collections import defaultdict
from typing import Any

from shared.instrument import Instrument, make_instrument
from shared.messages import (
    Activate,
    BookEntry,
    Change,
    Command,
    Configure,
    Done,
    Match,
    Open,
    Place,
    Received,
    decode_book_entry,
    decode_command,
    encode,
)
from tests.engine.cores import COMPILED
from tests.oracle.naive_book import NaiveBook
from workers.engine.book import OrderBook

INSTRUMENT: Instrument = make_instrument("BTC-USD", "0.01", "0.1", base_scale=1, quote_scale=3, maker_fee=10)


class Life:
    """What became of one order."""

    def __init__(self, place: Place):
        self.place = place
        self.filled = 0
        self.decremented = 0
        self.open = 0
        self.amended = False
        self.dones: list[Done] = []


class Harness:
    """``do`` gives a command to all, and checks everything after it."""

    def __init__(self):
        self.book = OrderBook()
        self.oracle = NaiveBook()
        self.follower = OrderBook()
        self.twin: Any = COMPILED() if COMPILED else None
        self.twin_follower: Any = COMPILED() if COMPILED else None
        self.lives: dict[int, Life] = {}
        self.sequence = 0
        self.trade_id = 0
        self.seen: dict[type, int] = defaultdict(int)

    def do(self, command: Command, deep: bool = True) -> list:
        """Apply everywhere; ``deep`` compares whole books too, which costs time in large ones."""
        given = encode(command)
        events = self.book.apply(decode_command(given))
        assert encode(command) == given, "the command was changed"
        assert events, "every command has at least one event"
        expected = self.oracle.apply(command)
        assert events == expected, "\n".join(["", "OURS", *map(repr, events), "ORACLE", *map(repr, expected)])
        if self.twin is not None:
            same = self.twin.apply(decode_command(given))
            assert same == events, "\n".join(["", "COMPILED", *map(repr, same), "PYTHON", *map(repr, events)])
        self.follow(events)
        for place in [command] if isinstance(command, Place) else getattr(command, "orders", []):
            self.lives[place.order_id] = Life(place)
        for event in events:
            self.note(event)
        self.check_places(command, events)
        if deep:
            self.check_books()
        return events

    def follow(self, events):
        """The followers get what the log says, as bytes."""
        entry = encode(BookEntry("{a:0}:to:BTC-USD 1-0", self.book.time, events))
        self.follower.fold_entry(decode_book_entry(entry))
        if self.twin_follower is not None:
            self.twin_follower.fold_entry(decode_book_entry(entry))

    def note(self, event):
        """Keep count of sequences, trades and quantities."""
        self.seen[type(event)] += 1
        if hasattr(event, "sequence"):
            self.sequence += 1
            assert event.sequence == self.sequence
        match event:
            case Match():
                self.trade_id += 1
                assert event.trade_id == self.trade_id
                assert event.quantity > 0
                assert event.maker_account != event.taker_account, "an account traded with itself"
                for order_id in (event.maker_order_id, event.taker_order_id):
                    self.lives[order_id].filled += event.quantity
            case Change():
                self.lives[event.order_id].decremented += event.old_quantity - event.new_quantity
                self.lives[event.order_id].amended |= event.reason == "amend"
            case Open():
                self.lives[event.order_id].open += 1
            case Done():
                life = self.lives[event.order_id]
                life.dones.append(event)
                quantity = life.place.quantity
                assert not quantity or life.filled + life.decremented + event.remaining == quantity

    def check_places(self, command, events):
        """Exactly one ``done`` for who does not rest, none for who does; fills + remaining = quantity."""
        touched = {event.order_id for event in events if isinstance(event, Activate | Received | Open | Change | Done)}
        touched |= {event.maker_order_id for event in events if isinstance(event, Match)}
        for order_id in touched:
            life, order = self.lives[order_id], self.book.find(order_id)
            waits = self.book.is_waiting(order_id)
            assert len(life.dones) == (order is None and not waits)
            assert life.open <= 1 or life.place.conditions or life.amended
            if order is not None:
                assert life.open >= 1
                assert not waits
                assert life.filled + life.decremented + order.left() == life.place.quantity
                assert order.left() == order.quantity - life.filled
        if isinstance(command, Place):
            assert command.order_id in touched

    def check_books(self):
        """The book equals the oracle's, is not crossed, and the follower has the same state."""
        book, oracle = self.book, self.oracle
        for side in ("buy", "sell"):
            assert book.levels(side) == oracle.levels(side)
            resting = [(one.order_id, one.account, one.price, one.remaining, one.hidden) for one in book.resting(side)]
            assert resting == [
                (one.order_id, one.account, one.price, one.remaining, one.hidden) for one in oracle.in_priority(side)
            ]
            assert book.best(side) == (resting[0][2] if resting else 0)
        assert [(one.order.order_id, one.stop_price) for one in book.sleeping()] == [
            (one.place.order_id, one.stands_at()) for one in oracle.sleeping
        ]
        assert [one.order_id for one in book.pending()] == [one.order_id for one in oracle.pending]
        shown = book.indication()
        expected = oracle.auction_price()
        assert (shown and (shown.price, shown.volume, shown.imbalance)) == expected
        collects = book.instrument is not None and book.instrument.mode == "auction"
        crossed = 0 < book.best("sell") <= book.best("buy")
        assert collects or not crossed
        open_ones = {order_id for order_id, life in self.lives.items() if not life.dones}
        assert open_ones == set(book.ids_of(0, "")), "an order is lost, or done and still here"
        assert (book.sequence, book.trade_id, book.last_price) == (oracle.sequence, oracle.trade_id, oracle.last_price)
        assert book.time == oracle.time
        state = book.dump()
        assert self.follower.dump() == state
        assert OrderBook.load(state).dump() == state
        if COMPILED is not None:
            assert self.twin.dump() == state
            assert self.twin_follower.dump() == state
            assert COMPILED.load(state).dump() == state
            self.check_twin()

    def check_twin(self):
        """The views of the compiled book say what those of the other say."""
        for side in ("buy", "sell"):
            assert self.twin.levels(side) == self.book.levels(side)
            assert self.twin.best(side) == self.book.best(side)
        assert self.twin.indication() == self.book.indication()
        assert sorted(self.twin.ids_of(1, "buy")) == sorted(self.book.ids_of(1, "buy"))
        assert self.twin.usage()["orders"][0] == len(self.book.orders) == len(self.twin.orders)
        assert self.twin.usage()["accounts"][0] == len(self.book.accounts)
        assert self.twin.usage()["levels"][0] == len(self.book.bids.keys) + len(self.book.asks.keys)

    def restart(self):
        """Go on with books loaded from dumps, each from another's."""
        state, followed = self.book.dump(), self.follower.dump()
        self.follower, self.book = OrderBook.load(state), OrderBook.load(followed)
        if COMPILED is not None:
            self.book = OrderBook.load(self.twin.dump())
            self.twin, self.twin_follower = COMPILED.load(followed), COMPILED.load(state)


def configured(**changes) -> Configure:
    """A ``Configure`` of the tests' instrument."""
    time = changes.pop("time", 1)
    return Configure(
        make_instrument("BTC-USD", "0.01", "0.1", base_scale=1, quote_scale=3, maker_fee=10, **changes), time
    )
