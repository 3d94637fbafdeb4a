"""The two cores of the order book: which one runs, that they are one book, what only the compiled one could do wrong.

All other tests of the book run on both, or on both beside each other (``Harness``).
"""

import gc
import random
import sys
import tracemalloc
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import Any

import msgspec
import pytest

import workers.engine.core
from shared.errors import CorruptState, InvalidSetting
from shared.messages import (
    Amend,
    BookEntry,
    Cancel,
    CancelAll,
    Conditions,
    Configure,
    Done,
    Match,
    Open,
    Place,
    Received,
    Side,
    encode,
)
from tests.engine.cores import COMPILED, NOT_BUILT, needs_compiled
from tests.engine.feature_flow import FeatureFlow
from tests.engine.flows import AnyFlow
from tests.engine.harness import configured
from tests.engine.test_recorded_log import dump_of
from workers.engine.book import OrderBook
from workers.engine.core import order_book as core_of

HUGE = 2**64
FOLDER = Path(workers.engine.core.__file__).parent / "compiled"


# --- which one runs ------------------------------------------------------------------------------


def test_python_can_always_be_asked_for():
    """The reference needs no compiler."""
    assert core_of("python") is OrderBook
    assert OrderBook().core == "python"


def test_what_was_built_can_be_used():
    """It is not skipped because a message has changed, which the compiled book knows by its fields (messages.pxi)."""
    is_built = any((FOLDER / f"book{suffix}").exists() for suffix in EXTENSION_SUFFIXES)
    assert is_built == (COMPILED is not None), NOT_BUILT


@needs_compiled
def test_the_compiled_one_runs_where_it_is_built():
    """Nobody has to ask for it."""
    assert core_of("auto") is core_of("compiled") is COMPILED
    assert COMPILED().core == "compiled"


def test_without_the_compiled_one_the_other_runs_unless_it_is_asked_for(monkeypatch):
    """An installation without a compiler works; who insists is told what to do."""
    monkeypatch.setitem(sys.modules, "workers.engine.compiled", None)
    assert core_of("auto") is OrderBook
    with pytest.raises(InvalidSetting, match=r'^MATCHBOX_CORE="compiled": .* is not built .* run "make build"'):
        core_of("compiled")


# --- one book ------------------------------------------------------------------------------------


@needs_compiled
def test_they_have_the_same_attributes():
    """Whatever the rules in Python find on their own book they find on the compiled one."""
    ours = COMPILED()
    for name, value in vars(OrderBook()).items():
        assert hasattr(ours, name), name
        if isinstance(value, int | None):
            assert getattr(ours, name) == value, name


@needs_compiled
@pytest.mark.parametrize("seed", [21, 22])
def test_they_can_be_exchanged_after_any_command(seed):
    """A book that changes its core all the time says what one says that never does."""
    dice, flow, steady, changing = random.Random(seed), FeatureFlow(seed), OrderBook(), OrderBook()
    for number in range(1_500):
        command = flow.next(sorted(steady.ids_of(0, ""))) if number else configured(time=1)
        if dice.random() < 0.1:
            changing = dice.choice([OrderBook, COMPILED]).load(changing.dump())
        assert changing.apply(command) == steady.apply(command)
    assert changing.dump() == steady.dump()


@needs_compiled
def test_events_are_encoded_alike():
    """The bytes of the log do not tell which core wrote it."""
    ours, theirs = COMPILED(), OrderBook()
    for command in AnyFlow(7, spread=20, accounts=5).commands(3_000):
        assert encode(BookEntry("s", 1, ours.apply(command))) == encode(BookEntry("s", 1, theirs.apply(command)))


@needs_compiled
@pytest.mark.parametrize("seed", range(12))
def test_they_look_ahead_alike(seed):
    """Fill-or-kill by quantity, by funds and by both, over icebergs, several levels and orders of its own."""
    dice, books = random.Random(seed), (COMPILED(), OrderBook())
    for book in books:
        book.apply(configured())
    for order_id in range(1, 500):
        side: Side = dice.choice(["buy", "sell"])
        away = dice.randint(1, 4) * (1 if side == "buy" else -1)
        order = Place(order_id, dice.randint(1, 8), 1, side, "limit", 100 + away, dice.randint(1, 40), 0, "FOK")
        order.stp = dice.choice(["dc", "co", "cn", "cb"])
        kind = dice.random()
        if kind < 0.5:
            order.price, order.time_in_force = 100 - away, "GTC"
            order.quantity, order.account = dice.randint(1, 20), dice.randint(1, 4)
            if kind < 0.15:
                order.conditions = Conditions(display_quantity=dice.randint(1, order.quantity))
        elif kind < 0.75:
            order.order_type, order.price = "market", dice.choice([0, order.price])
            order.funds = dice.choice([0, dice.randint(1, 4_000)])
            order.quantity = dice.choice([0, order.quantity]) if order.funds else order.quantity
        events = [book.apply(order) for book in books]
        assert events[0] == events[1]
    assert books[0].dump() == books[1].dump()


# --- numbers of more than 64 bits ------------------------------------------------------------------


def limit(order_id, side="buy", price=100, quantity=5, account=1, **fields):
    return Place(order_id, account, 1, side, "limit", price, quantity, **fields)


def market(order_id, side="buy", **fields):
    return Place(order_id, 9, 1, side, "market", **fields)


@pytest.fixture
def book(order_book):
    """A book that is online."""
    found = order_book()
    found.apply(configured())
    return found


@needs_compiled
@pytest.mark.parametrize(
    "command",
    [
        market(HUGE, quantity=3), market(5, quantity=HUGE), market(5, funds=HUGE), market(5, price=HUGE, quantity=3),
        market(5, funds=HUGE, quantity=HUGE), market(5, "sell", funds=HUGE), market(5, quantity=3, taker_fee=HUGE),
        limit(HUGE, price=101, quantity=3), limit(5, account=HUGE, price=101, quantity=3), limit(5, price=-HUGE),
        limit(5, quantity=HUGE, time_in_force="FOK", price=101), limit(5, quantity=-HUGE),
        limit(5, quantity=HUGE, time_in_force="IOC", price=101),
        limit(5, conditions=Conditions("loss", HUGE)), Cancel(HUGE, 1, 2), Cancel(1, HUGE, HUGE), CancelAll(HUGE, 1),
        Amend(1, 1, 1, price=HUGE, quantity=1, stop_price=1), Amend(1, 1, 1, quantity=-HUGE), Amend(HUGE, 1, 1),
        market(5, quantity=2**62), market(5, quantity=2**63 - 1), market(5, funds=2**63), Cancel(-HUGE, 1, 1),
    ],
    ids=repr,
)  # fmt: skip
def test_numbers_that_do_not_rest_may_have_any_size(command):
    """What is refused, trades or ends at once is never too large for the compiled book."""
    answers = []
    for made in (OrderBook, COMPILED):
        book = made()
        for first in (
            configured(),
            limit(1, "sell", 101, 3, 2),
            limit(2, "sell", 102, 3, 1),
            limit(3, "buy", 99, 3, 2),
        ):
            book.apply(first)
        answers.append((book.apply(command), book.dump()))
    assert answers[0] == answers[1]


@needs_compiled
@pytest.mark.parametrize(
    "fields",
    [
        {"order_id": HUGE}, {"order_id": -HUGE}, {"account": HUGE}, {"price": HUGE}, {"quantity": HUGE},
        {"quantity": 2**62}, {"price": 2**62}, {"maker_fee": HUGE}, {"taker_fee": 2**63},
        {"quantity": HUGE, "conditions": Conditions(display_quantity=2**63)},
    ],
    ids=repr,
)  # fmt: skip
def test_numbers_that_would_rest_are_refused_rather_than_cut(fields):
    """No ledger lets them through (``QUANTITY_MAX``, ``PRICE_MAX``), so that they come means that the log is wrong."""
    book = COMPILED()
    book.apply(configured())
    with pytest.raises(CorruptState, match="63 bits"):
        book.apply(limit(**{"order_id": 1} | fields))
    assert not book.orders


@needs_compiled
@pytest.mark.parametrize("place", [0, 1, 3, 4, 5, 6, 7, 10])
def test_numbers_of_a_snapshot_are_not_cut(place):
    """The same for each number of a row."""
    row = [1, 1, "buy", 100, 5, 10, 5, 20, "dc", False, 0]
    state = msgspec.json.decode(OrderBook().dump())
    assert COMPILED.load(msgspec.json.encode(state | {"bids": [row]})).levels("buy") == [(100, 5, 1)]
    row[place] = HUGE
    with pytest.raises(CorruptState, match="63 bits"):
        COMPILED.load(msgspec.json.encode(state | {"bids": [row]}))


@needs_compiled
@pytest.mark.parametrize("name", ["sequence", "trade_id", "last_price"])
def test_counters_of_a_snapshot_are_not_cut(name):
    """As above, for what a book counts."""
    state = OrderBook().dump()
    for value in (HUGE, 2**62, -(2**63)):
        with pytest.raises(CorruptState, match="63 bits"):
            COMPILED.load(msgspec.json.encode(msgspec.json.decode(state) | {name: value}))


def test_a_level_has_more_than_64_bits(book):
    """Its quantity is the sum of many of the largest orders, shown and hidden, and can be bought at once."""
    largest = 10**18
    for order_id in range(1, 41):
        shown = largest if order_id % 2 else largest // 10
        book.apply(limit(order_id, "sell", 10**15, largest, conditions=Conditions(display_quantity=shown)))
    assert book.levels("sell") == [(10**15, 22 * largest, 40)]
    assert book.asks.levels[10**15].hidden == 18 * largest
    events = book.apply(market(100, quantity=40 * largest + 1, time_in_force="FOK"))
    assert (events[-1].reason, events[-1].remaining) == ("canceled", 40 * largest + 1)
    events = book.apply(market(101, quantity=40 * largest, time_in_force="FOK"))
    assert events[-1].reason == "filled"
    assert sum(event.quantity for event in events if isinstance(event, Match)) == 40 * largest
    assert not book.orders


def test_a_recorded_event_that_is_too_large_is_refused_or_followed(order_book):
    """Whatever a log says, the book follows it or raises ``CorruptState``."""
    for event in (
        Received(HUGE, 1, 1, "buy", "limit"),
        Open(2, 1, 1, "buy", HUGE, 5),
        Open(2, 1, 1, "buy", 100, HUGE),
        Open(2, 1, HUGE, "buy", 100, 5),
        Open(2, 1, 1, "buy", 100, -1),
        Match(2, HUGE, HUGE, 1, 1, 1, "buy", 100, 5),
        Match(2, 1, 1, 7, 1, 1, "buy", 100, HUGE),
        Done(HUGE, 1, 1, "buy", "filled"),
    ):
        book = order_book()
        book.fold(Received(1, 1, 1, "buy", "limit", 100, 5))
        try:
            book.fold(event)
        except CorruptState:
            continue
        assert book.core == "python"


# --- what only C could do wrong ----------------------------------------------------------------------


def outcome(made, content):
    """What loading gives: a dump, or the kind of error."""
    try:
        return made.load(content).dump()
    except Exception as error:  # noqa: BLE001  whatever it is, both cores have to agree
        return type(error)


@needs_compiled
@pytest.mark.parametrize("version", ["v1", "v2"])
def test_a_damaged_snapshot_does_no_harm(version):
    """Bytes and numbers changed at random: the compiled book loads what the other does, or says that it is corrupt."""
    dice, sound = random.Random(3), dump_of(version)
    numbers = [b"0", b"-1", b"1", b"9223372036854775808", b"4611686018427387904", b"18446744073709551616", b"null"]
    seen = set()
    for _ in range(1_500):
        content = bytearray(sound)
        for _ in range(dice.choice([1, 1, 2, 5])):
            at = dice.randrange(len(content))
            if dice.random() < 0.4:
                content[at] = dice.randrange(256)
                continue
            while at < len(content) and content[at] not in b"[,:":
                at += 1
            end = at + 1
            while end < len(content) and content[end] not in b",]}":
                end += 1
            content[at + 1 : end] = dice.choice(numbers)
        ours, theirs = outcome(COMPILED, bytes(content)), outcome(OrderBook, bytes(content))
        assert ours in (theirs, CorruptState)
        seen.add(ours if isinstance(ours, type) else bytes)
    assert seen >= {bytes, CorruptState}


@needs_compiled
def test_orders_that_cannot_rest_are_refused():
    """The C structs never hold what the rules exclude: nothing left, a price of 0, one id twice."""
    state = msgspec.json.decode(OrderBook().dump())
    row = [1, 1, "buy", 100, 5]
    for rows in (
        [[1, 1, "buy", 100, 0]],
        [[1, 1, "buy", 0, 5]],
        [[1, 1, "buy", -5, 5]],
        [row, row],
        [[1, 1, "buy", 100, -5]],
    ):
        with pytest.raises(CorruptState, match="order 1 rests"):
            COMPILED.load(msgspec.json.encode(state | {"bids": rows}))


@needs_compiled
def test_views_do_not_point_to_what_has_left():
    """A level that is gone, an order that is gone, a book that is gone: an error or a copy, never old memory."""
    book = COMPILED()
    book.apply(configured())
    for order_id in range(1, 6):
        book.apply(limit(order_id, price=100))
    level, order, orders = book.bids.levels[100], book.find(1), book.resting("buy")
    assert next(orders).order_id == 1
    book.apply(Cancel(2, 1, 1))
    with pytest.raises(RuntimeError, match="has changed"):
        next(orders)
    assert (level.count(), level.front().order_id) == (4, 1)
    book.apply(CancelAll(0, 1))
    assert (order.order_id, order.remaining) == (1, 5)
    with pytest.raises(RuntimeError, match="nobody rests at 100"):
        level.front()
    with pytest.raises(CorruptState, match="order 1 does not rest"):
        book.remove(order)
    with pytest.raises(IndexError):
        book.bids.keys[-1]
    with pytest.raises(KeyError):
        book.bids.levels[100]
    levels = COMPILED.load(dump_of("v2")).bids.levels
    assert len(levels)


def answer(made, messages):
    """What a book does with commands or events, the last of which is odd: what it says, or the kind of error."""
    book: Any = made()
    said = []
    try:
        for message in messages:
            is_command = isinstance(message, Configure | Place | Cancel)
            said.append(repr(book.apply(message) if is_command else book.fold(message)))
    except (AttributeError, TypeError, CorruptState) as error:
        return type(error)
    return [*said, None if book.arriving else book.dump()]


@needs_compiled
@pytest.mark.parametrize("kind", [Place, Cancel, Received, Open, Match, Done])
def test_messages_that_lack_a_field_do_no_harm(kind):
    """Decoding sets every field; a message of which one was deleted is an error, not a crash."""
    for name in kind.__struct_fields__:
        before = [
            configured(),
            limit(1, "sell", 100, 5),
            limit(2, "sell", 100, 5),
            Received(5, 3, 2, "buy", "limit", 100, 9),
        ]
        messages = {
            Place: [*before[:3], limit(3, "buy", 100, 7)], Cancel: [*before[:3], Cancel(2, 1, 1)], Received: before,
            Open: [*before, Open(6, 3, 2, "buy", 90, 9)], Match: [*before, Match(6, 1, 1, 3, 1, 2, "sell", 100, 5)],
            Done: [*before, Done(6, 1, 1, "sell", "filled", 100)],
        }[kind]  # fmt: skip
        assert answer(COMPILED, messages) == answer(OrderBook, messages)
        delattr(messages[-1], name)
        assert answer(COMPILED, messages) in (answer(OrderBook, messages), AttributeError), name


@needs_compiled
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("side", "up"), ("price", 1.5), ("quantity", None), ("stp", "zz"), ("post_only", 1), ("maker_fee", None),
        ("time_in_force", "DAY"), ("account", True), ("client_id", None), ("order_id", "1"), ("order_type", "odd"),
    ],
)  # fmt: skip
def test_messages_of_odd_types_do_no_harm(name, value):
    """The types are checked where messages are decoded; the compiled book takes what the other does, or is corrupt."""
    for order in (limit(1), limit(3, "buy", 101)):
        setattr(order, name, value)
        messages = [configured(), limit(2, "sell", 101, account=2), order]
        assert answer(COMPILED, messages) in (answer(OrderBook, messages), CorruptState, TypeError)


def flow_of_lives(book, flow, commands):
    for _ in range(commands):
        book.apply(flow.next(sorted(book.ids_of(0, ""))))
    for entry in book.apply(CancelAll(0, flow.time)):
        assert isinstance(entry, Done) or entry.count


@needs_compiled
def test_nothing_is_left_when_all_orders_have_gone():
    """Pools take back every struct, and no Python object stays alive, however orders came, traded and left."""
    sizes = []
    gc.collect()
    tracemalloc.start()
    try:
        for round_ in range(6):
            book = COMPILED()
            book.apply(configured(time=1))
            flow = FeatureFlow(40)
            flow_of_lives(book, flow, 1_200)
            assert {used for used, _ in book.usage().values()} == {0}
            book = COMPILED.load(COMPILED.load(dump_of("v2")).dump())
            del book, flow
            gc.collect()
            if round_:
                sizes.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    assert max(sizes) - min(sizes) < 20_000, sizes


@needs_compiled
def test_room_is_used_again():
    """A book in which orders come and go for ever needs room for those that rest at a time, not for all that came."""
    book = COMPILED()
    book.apply(configured())
    for start in range(0, 200_000, 1_000):
        for order_id in range(start, start + 1_000):
            book.apply(limit(256 * order_id + 1, price=1 + order_id % 700))
        book.apply(CancelAll(0, 1))
    assert {name: used for name, (used, _) in book.usage().items()} == dict.fromkeys(book.usage(), 0)
    assert {name: room for name, (_, room) in book.usage().items()} == {
        "orders": 1_024, "levels": 1_024, "pages": 512, "accounts": 512,
    }  # fmt: skip


@needs_compiled
def test_the_index_finds_every_order_while_it_grows_and_shrinks():
    """Ids of several shards, dense and far apart, negative ones too, against a dict."""
    dice, book = random.Random(9), COMPILED()
    known: dict[int, int] = {}
    book.apply(configured())
    for number in range(30_000):
        if known and dice.random() < 0.45:
            order_id = dice.choice(list(known)) if number % 50 == 0 else next(iter(known))
            assert type(book.apply(Cancel(order_id, 1, 1))[0]) is Done
            del known[order_id]
        else:
            order_id = dice.choice([number, number << 8 | number % 3, dice.randrange(-(2**62) + 1, 2**62)])
            known[order_id] = dice.randint(1, 999)
            book.apply(
                limit(order_id, price=dice.randint(1, 3_000), quantity=known[order_id], account=dice.randint(1, 5_000))
            )
    assert len(book.orders) == len(known) > 1_000
    assert {order_id: book.find(order_id).remaining for order_id in known} == known
    assert all(book.find(order_id) is None for order_id in (-(2**63), 2**62, HUGE, "1", None))
