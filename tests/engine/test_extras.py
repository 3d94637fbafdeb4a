"""What the tables and flows do not show of stops, deadlines, lists and auctions: sizes, views, what stays behind."""

import time

import msgspec
import pytest

from shared.errors import CorruptState
from shared.messages import (
    Amend,
    AmendRefused,
    Cancel,
    Change,
    Conditions,
    Match,
    Place,
    PlaceList,
    Received,
    Side,
    Tick,
)
from tests.engine.harness import configured
from tests.engine.test_recorded_log import dump_of
from workers.engine.expiry import Deadlines


@pytest.fixture
def book(order_book):
    """An empty book that is online."""
    found = order_book()
    found.apply(configured())
    return found


def limit(order_id, side="buy", price=100, quantity=5, account=1, **fields):
    return Place(order_id, account, 1, side, "limit", price, quantity, **fields)


def stop(order_id, stop_price, direction="loss", **asked):
    conditions = Conditions(direction, stop_price, **asked)
    side: Side = "sell" if direction == "loss" else "buy"
    return Place(order_id, 1, 1, side, "market", quantity=1, conditions=conditions)


def test_dead_deadlines_do_not_pile_up():
    """Orders that leave before they expire are forgotten, however far away their instant is."""
    deadlines = Deadlines()
    for order_id in range(1, 10_001):
        deadlines.add(order_id, 10**18 + order_id)
        if order_id > 10:
            deadlines.drop(order_id)
    assert len(deadlines.heap) < 200
    assert deadlines.next() == 10**18 + 1
    assert deadlines.due(2 * 10**18) == list(range(1, 11))
    assert deadlines.next() == 0


def test_the_next_expiry_says_when_a_tick_is_due(book):
    """So that nobody has to send ticks while nothing expires."""
    assert book.next_expiry() == 0
    book.apply(limit(1, time_in_force="GTT", conditions=Conditions(expires=500)))
    book.apply(limit(2, time_in_force="GTT", conditions=Conditions(expires=300)))
    assert book.next_expiry() == 300
    book.apply(Cancel(2, 1, 2))
    assert book.next_expiry() == 500
    book.apply(Tick(500))
    assert book.next_expiry() == 0


def test_a_plain_book_looks_after_nothing_special(book):
    """With the last stop, list or deadline gone, commands are as cheap as before."""
    book.apply(stop(1, 90))
    book.apply(PlaceList(1, 1, "oto", [limit(2), limit(3, "sell", 110)]))
    book.apply(limit(4, time_in_force="GTT", conditions=Conditions(expires=50)))
    assert book.extras
    for order_id in (1, 2, 4):
        book.apply(Cancel(order_id, 1, 2))
    book.apply(Tick(60))
    assert not book.extras
    assert [book.stops.orders, book.lists.of_order, book.lists.pending, book.queue] == [{}, {}, {}, []]


def test_ten_thousand_stops_at_one_price_trigger_in_order_and_in_time(book):
    """One trade wakes them all, oldest first, in about linear time."""
    count = 10_000
    book.apply(limit(1, "buy", 100, 1, account=2))
    book.apply(limit(2, "buy", 99, count, account=2))
    for order_id in range(10, count + 10):
        book.apply(stop(order_id, 100))
    started = time.process_time()
    events = book.apply(limit(3, "sell", 100, 1, account=3))
    assert time.process_time() - started < 5
    received = [event.order_id for event in events if isinstance(event, Received)]
    assert received == [3, *range(10, count + 10)]
    assert not book.stops.orders


def test_a_known_order_in_a_list_means_that_the_sender_lost_count(book):
    """The book stops, unchanged, as it does for a single order."""
    book.apply(stop(1, 90))
    before = book.dump()
    for command in (stop(1, 80), PlaceList(1, 1, "oco", [limit(1), limit(2)]), PlaceList(1, 1, "oco", [])):
        with pytest.raises(CorruptState, match="placed"):
            book.apply(command)
    assert book.dump() == before


def test_an_amended_order_that_crosses_takes_with_its_own_fee_and_flag(book):
    """Its taker's rate and its self-trade prevention are those it was placed with; there is no second ``received``."""
    book.apply(limit(1, "sell", 105, account=1))
    book.apply(limit(2, "sell", 105, account=2))
    book.apply(limit(3, "buy", 100, account=1, stp="co", maker_fee=1, taker_fee=7))
    events = book.apply(Amend(3, 1, 2, price=105))
    assert [type(event).__name__ for event in events] == ["Change", "Done", "Match", "Done", "Done"]
    (match,) = [event for event in events if isinstance(event, Match)]
    assert (match.maker_order_id, match.taker_order_id, match.taker_fee) == (2, 3, 7)


def test_the_answer_to_an_amend_names_its_request(book):
    """Whoever asked can tell which answer is theirs."""
    book.apply(limit(1))
    assert book.apply(Amend(1, 1, 2, quantity=3, request_id="r"))[0].request_id == "r"
    refused = book.apply(Amend(9, 1, 2, quantity=3, request_id="s"))[0]
    assert isinstance(refused, AmendRefused)
    assert refused.request_id == "s"


def test_an_order_of_a_first_format_snapshot_can_be_amended(order_book):
    """What was filled of it is not known: what remains counts as its total."""
    book = order_book.load(dump_of("v1"))
    order = next(one for one in book.resting("buy") if one.remaining > 1)
    (change,) = book.apply(Amend(order.order_id, order.account, book.time, quantity=1))
    assert isinstance(change, Change)
    assert (change.new_quantity, book.find(order.order_id).remaining) == (1, 1)


def test_what_a_level_hides_is_no_part_of_its_views(book):
    """Levels show displayed quantity; a single order's view says both."""
    book.apply(limit(1, "sell", 100, 9, conditions=Conditions(display_quantity=2)))
    book.apply(limit(2, "sell", 100, 3))
    assert book.levels("sell") == [(100, 5, 2)]
    assert (book.find(1).remaining, book.find(1).hidden) == (2, 7)


def test_a_command_is_never_changed(book):
    """A trailing stop, a list's orders and an amended stop are copies: what was sent stays as it was."""
    commands = [
        Place(1, 1, 5, "sell", "market", quantity=1, conditions=Conditions("loss", trail=3)),
        stop(2, 90),
        PlaceList(1, 3, "oto", [limit(3), stop(4, 80)]),
        Amend(2, 1, 3, quantity=7, stop_price=85),
        limit(5, "sell", 100, 5, account=2),
    ]
    before = [msgspec.json.encode(command) for command in commands]
    for command in commands:
        book.apply(command)
    assert [msgspec.json.encode(command) for command in commands] == before


def test_a_loaded_book_still_looks_after_its_lists(order_book, book):
    """Two resting legs that cancel each other do so after a restart, with nothing else special on the book."""
    book.apply(PlaceList(1, 1, "oco", [limit(1, "sell", 110), limit(2, "sell", 120)]))
    loaded = order_book.load(book.dump())
    loaded.apply(Cancel(1, 1, 2))
    assert not loaded.ids_of(0, "")
