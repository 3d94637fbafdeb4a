"""Drives the engine's book, the naive book and a follower side by side, and checks all that must hold."""

from collections import defaultdict

from shared.instrument import Instrument, make_instrument
from shared.messages import (
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
        self.dones: list[Done] = []


class Harness:
    """``do`` gives a command to all, and checks everything after it."""

    def __init__(self):
        self.book = OrderBook()
        self.oracle = NaiveBook()
        self.follower = OrderBook()
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
        assert events == self.oracle.apply(command)
        self.follow(events)
        if isinstance(command, Place):
            self.lives[command.order_id] = Life(command)
        for event in events:
            self.note(event)
        self.check_places(command, events)
        if deep:
            self.check_books()
        return events

    def follow(self, events):
        """The follower gets what the log says, as bytes."""
        entry = encode(BookEntry("{a:0}:to:BTC-USD 1-0", self.book.time, events))
        self.follower.fold_entry(decode_book_entry(entry))

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
            case Open():
                self.lives[event.order_id].open += 1
            case Done():
                life = self.lives[event.order_id]
                life.dones.append(event)
                quantity = life.place.quantity
                assert not quantity or life.filled + life.decremented + event.remaining == quantity

    def check_places(self, command, events):
        """Exactly one ``done`` for who does not rest, none for who does; fills + remaining = quantity."""
        touched = {event.order_id for event in events if isinstance(event, Received | Open | Change | Done)}
        touched |= {event.maker_order_id for event in events if isinstance(event, Match)}
        for order_id in touched:
            life, order = self.lives[order_id], self.book.find(order_id)
            assert len(life.dones) == (order is None)
            assert life.open <= 1
            if order is not None:
                assert life.open == 1
                assert life.filled + life.decremented + order.remaining == life.place.quantity
        if isinstance(command, Place):
            assert isinstance(events[-1], Open | Done), "the taker's end comes last"
            assert events[-1].order_id == command.order_id

    def check_books(self):
        """The book equals the oracle's, is not crossed, and the follower has the same state."""
        book, oracle = self.book, self.oracle
        for side in ("buy", "sell"):
            assert book.levels(side) == oracle.levels(side)
            resting = [(one.order_id, one.account, one.price, one.remaining) for one in book.resting(side)]
            assert resting == [
                (one.order_id, one.account, one.price, one.remaining) for one in oracle.in_priority(side)
            ]
            assert book.best(side) == (resting[0][2] if resting else 0)
        assert not book.best("buy") or not book.best("sell") or book.best("buy") < book.best("sell"), "crossed"
        assert (book.sequence, book.trade_id, book.last_price) == (oracle.sequence, oracle.trade_id, oracle.last_price)
        assert book.time == oracle.time
        state = book.dump()
        assert self.follower.dump() == state
        assert OrderBook.load(state).dump() == state

    def restart(self):
        """Go on with a book loaded from the dump, and with the follower's."""
        self.follower, self.book = OrderBook.load(self.book.dump()), OrderBook.load(self.follower.dump())


def configured(**changes) -> Configure:
    """A ``Configure`` of the tests' instrument."""
    mode = changes.pop("mode", "online")
    return Configure(
        make_instrument("BTC-USD", "0.01", "0.1", base_scale=1, quote_scale=3, maker_fee=10, mode=mode),
        changes.pop("time", 1),
    )
