"""The book's edges: what the tables in tests/scenarios do not show."""

import msgspec
import pytest

from shared.errors import CorruptState, RejectReason
from shared.messages import (
    BookEntry,
    Cancel,
    CancelAll,
    CancelRefused,
    Done,
    Match,
    Open,
    Place,
    Received,
    decode_book_entry,
    encode,
)
from tests.engine.flows import AnyFlow
from tests.engine.harness import INSTRUMENT, configured


@pytest.fixture
def book(order_book):
    """An empty book that is online."""
    found = order_book()
    found.apply(configured())
    return found


def limit(order_id, side="buy", price=100, quantity=5, account=1, **fields):
    return Place(order_id, account, fields.pop("time", order_id), side, "limit", price, quantity, **fields)


def test_a_new_book_knows_nothing_and_refuses_orders(order_book):
    """Before its first ``Configure`` a book rejects orders, answers cancels, and has empty views."""
    book = order_book()
    assert book.apply(limit(1)) == [
        Done(1, 1, 1, "buy", "rejected", 100, 5, RejectReason.UNKNOWN_INSTRUMENT)
    ]  # fmt: skip
    assert type(book.apply(Cancel(1, 1, 2))[0]) is CancelRefused
    assert book.instrument is None
    assert (book.best("buy"), book.levels("sell"), list(book.resting("buy")), book.find(1)) == (0, [], [], None)
    assert (book.trade_id, book.last_price) == (0, 0)


def test_received_repeats_the_whole_order(book):
    """All that later readers need of an order is in its ``received``."""
    order = Place(
        7, 3, 9, "sell", "limit", 100, 5, 0, "IOC", False, "cb", maker_fee=10, taker_fee=20, client_id="mine"
    )  # fmt: skip
    received = book.apply(order)[0]
    for name in Place.__struct_fields__:
        if name != "time":
            assert getattr(received, name) == getattr(order, name), name


def test_fee_rates_of_both_sides_are_in_the_match(book):
    """The maker's rate is the one it was placed with, the taker's its own."""
    book.apply(limit(1, "sell", account=1, maker_fee=10, taker_fee=99))
    match = book.apply(limit(2, "buy", account=2, maker_fee=99, taker_fee=20))[1]
    assert match == Match(4, 1, 1, 2, 1, 2, "sell", 100, 5, 10, 20)


def test_views_show_the_best_first(book):
    """Levels, depth, best prices and priority order on both sides."""
    for order_id, (side, price) in enumerate([("buy", 99), ("buy", 98), ("sell", 101), ("sell", 103), ("buy", 99)], 1):
        book.apply(limit(order_id, side, price))
    assert book.levels("buy") == [(99, 10, 2), (98, 5, 1)]
    assert book.levels("sell", 1) == [(101, 5, 1)]
    assert (book.best("buy"), book.best("sell")) == (99, 101)
    assert [order.order_id for order in book.resting("buy")] == [1, 5, 2]
    assert book.find(4).price == 103


def test_time_never_goes_back(book):
    """Commands of several shards may come with older stamps; the book's time is the latest seen."""
    book.apply(limit(1, time=1_000))
    book.apply(limit(2, time=900))
    assert book.time == 1_000


def test_an_id_can_be_used_again_only_when_its_order_is_gone(book):
    """A second order with the id of a resting one means that the sender lost count: the book stops, unchanged."""
    book.apply(limit(1))
    before = book.dump()
    with pytest.raises(CorruptState, match="order 1 is placed again"):
        book.apply(limit(1, price=90))
    assert book.dump() == before
    book.apply(Cancel(1, 1, 2))
    assert type(book.apply(limit(1, price=90))[-1]) is Open


def test_a_rejected_order_leaves_no_trace_but_its_sequence(book):
    """Refusals take a sequence number and change nothing else."""
    book.apply(limit(1))
    before = msgspec.json.decode(book.dump())
    book.apply(limit(2, quantity=0, time=1))
    after = msgspec.json.decode(book.dump())
    assert after.pop("sequence") == before.pop("sequence") + 1
    assert after == before


def test_cancel_all_of_an_account_without_orders(book):
    """It is answered all the same."""
    book.apply(limit(1, account=1))
    (event,) = book.apply(CancelAll(account=2, time=1, request_id="r"))
    assert (event.count, event.request_id) == (0, "r")
    assert book.find(1)


@pytest.mark.parametrize("quantity", [10**18, 1])
def test_large_numbers_stay_exact(book, quantity):
    """Quantity, price and funds at their largest are still integers, not floats."""
    price = 10**15
    book.apply(limit(1, "sell", price, quantity, account=1))
    funds = price * INSTRUMENT.tick_value * quantity
    events = book.apply(Place(2, 2, 1, "buy", "market", funds=funds))
    assert [type(event) for event in events] == [Received, Match, Done, Done]
    assert events[1].quantity == quantity
    assert events[-1].reason == "filled"


def remembered(book):
    """For how many orders the level at 100 has room: also those that have left, in the book in Python."""
    return len(book.asks.levels[100].queue) if book.core == "python" else book.usage()["orders"][0]


def test_a_long_queue_eaten_from_the_front_keeps_no_dead(book):
    """Tombstones never outnumber the living by more than a constant, so 50,000 orders are eaten in linear time."""
    total = 50_000
    for order_id in range(1, total + 1):
        book.apply(limit(order_id, "sell", quantity=1))
    for order_id in range(total + 1, 2 * total - 50):
        book.apply(limit(order_id, "buy", quantity=1, account=2))
        assert remembered(book) <= 2 * len(book.orders) + 64
    assert book.levels("sell") == [(100, 51, 51)]


def test_cancels_in_a_long_queue_keep_order_and_room(book):
    """Every second order of a long queue is cancelled, from the back: the others keep their order."""
    for order_id in range(1, 10_001):
        book.apply(limit(order_id, "sell", quantity=2))
    for order_id in range(10_000, 0, -2):
        book.apply(Cancel(order_id, 1, 1))
    assert remembered(book) <= 2 * len(book.orders) + 64
    assert book.levels("sell") == [(100, 10_000, 5_000)]
    assert [order.order_id for order in book.resting("sell")] == list(range(1, 10_000, 2))
    events = book.apply(limit(20_000, "buy", quantity=6, account=2))
    assert [event.maker_order_id for event in events if isinstance(event, Match)] == [1, 3, 5]


def test_one_order_through_thousands_of_levels(book):
    """A sweep of the whole book says each trade once, best price first, and leaves nothing behind."""
    for order_id in range(1, 5_001):
        book.apply(limit(order_id, "sell", price=order_id, quantity=1))
    events = book.apply(Place(6_000, 2, 1, "buy", "market", quantity=5_001))
    assert [event.price for event in events if isinstance(event, Match)] == list(range(1, 5_001))
    assert (events[-1].reason, events[-1].remaining, events[-1].cause) == ("canceled", 1, RejectReason.NO_LIQUIDITY)
    for left in (book.orders, book.accounts, book.asks.keys, book.asks.levels):
        assert not left


# --- dump, load, fold ----------------------------------------------------------------------------


def busy_book(order_book, seed=5):
    """A book with a few hundred orders and tombstones, and the entries that made it."""
    book, entries = order_book(), []
    for command in AnyFlow(seed, spread=40, accounts=9, crossing=0.1, restless=False).commands(3_000):
        entries.append(BookEntry("s 1-0", 0, book.apply(command)))
        entries[-1].time = book.time
    return book, entries


def test_the_same_state_gives_the_same_bytes(order_book):
    """However it was reached: applied, folded, or loaded."""
    book, entries = busy_book(order_book)
    follower = order_book()
    for entry in entries:
        follower.fold_entry(decode_book_entry(encode(entry)))
    assert sum(book.levels(side)[0][2] for side in ("buy", "sell")) > 1
    assert book.dump() == follower.dump() == order_book.load(book.dump()).dump()


def test_a_loaded_book_decides_as_the_one_that_was_dumped(order_book):
    """Nothing that decides is missing from a dump: cancel order, priority, last price, counters."""
    book, _ = busy_book(order_book)
    loaded = order_book.load(book.dump())
    commands = AnyFlow(6, spread=40, accounts=9).commands(2_000)
    for command in commands:
        if isinstance(command, Place):
            command.order_id += 1_000_000
        assert book.apply(command) == loaded.apply(command)
    assert book.apply(CancelAll(0, 1)) == loaded.apply(CancelAll(0, 1))


def test_a_dump_says_its_format(order_book, book):
    """A book does not guess at the bytes of another format, or at garbage."""
    content = msgspec.json.decode(book.dump())
    assert content["format"] == 2
    with pytest.raises(CorruptState, match="format 99"):
        order_book.load(msgspec.json.encode(content | {"format": 99}))
    for garbage in (b"", b"{}", b"null", book.dump()[:-5], b'{"format":1}'):
        with pytest.raises(CorruptState, match="unreadable"):
            order_book.load(garbage)


def test_a_hole_in_the_log_is_noticed(order_book):
    """Folding refuses an event that does not follow: a gap, a repeat, a fill or an open of an unknown order."""
    book, _ = busy_book(order_book)
    follower = order_book.load(book.dump())
    with pytest.raises(CorruptState, match="hole"):
        follower.fold(Received(book.sequence, 1, 1, "buy", "limit"))
    with pytest.raises(CorruptState, match="hole"):
        follower.fold(Received(book.sequence + 2, 1, 1, "buy", "limit"))
    with pytest.raises(CorruptState, match="does not rest"):
        follower.fold(Match(book.sequence + 1, 1, 10**9, 2, 1, 1, "buy", 1, 1))
    follower = order_book.load(book.dump())
    with pytest.raises(CorruptState, match="not received"):
        follower.fold(Open(book.sequence + 1, 10**9, 1, "buy", 1, 1))
