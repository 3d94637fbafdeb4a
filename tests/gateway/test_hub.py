"""What subscribers hear, from a real book that is given everything it knows."""

import pytest

from shared.messages import Received
from tests.gateway.ear import Ear, Levels, Orders
from tests.gateway.venue import SYMBOL
from tests.gateway.venue import AnyVenue as Venue

SEEDS = range(25)


@pytest.mark.parametrize("seed", SEEDS)
def test_level2_is_the_book_after_every_entry(seed):
    """A snapshot in mid-flow and the updates that follow give the book's levels, entry by entry, without a gap."""
    venue, mirror = Venue(seed), Levels()
    list(venue.run(80))
    ear = venue.listen("level2")
    for _ in venue.run():
        while ear.heard:
            mirror.take(ear.heard.pop(0))
        if mirror.sides:
            assert mirror.sides == venue.levels()


@pytest.mark.parametrize("seed", SEEDS)
def test_level2_batch_is_the_book_after_every_batch(seed):
    """Whoever takes updates in batches, and whenever it came, has the book's levels after each batch."""
    venue, ears = Venue(seed), []
    for number, _ in enumerate(venue.run()):
        if number % 50 == 7:
            ears.append((venue.listen("level2_batch"), Levels()))
        if number % 20 == 0:
            venue.hub.tell_level2_batches()
            for ear, mirror in ears:
                while ear.heard:
                    mirror.take(ear.heard.pop(0))
                assert mirror.sides == venue.levels()


@pytest.mark.parametrize("seed", SEEDS)
def test_full_rebuilds_the_book_order_by_order(seed):
    """From level 3 and ``full`` a client rebuilds every queue; the sequence has no gap and the first trades first."""
    venue = Venue(seed)
    list(venue.run(80))
    ear, client = venue.listen("full"), Orders(venue.rows())
    for _ in venue.run():
        while ear.heard:
            client.take(ear.heard.pop(0))
        assert client.sides == venue.queues()
    assert client.sequence == venue.book.sequence


@pytest.mark.parametrize("channels", [("user",), ("user", "full"), ("matches", "user"), ("full", "user", "matches")])
@pytest.mark.parametrize("seed", range(5))
def test_a_user_hears_each_of_its_events_once_and_who_it_was(seed, channels):
    """However a connection subscribes, its own events come once, with its user id; a match has exactly one fee rate."""
    venue = Venue(seed)
    ear = venue.listen(*channels, account=2)
    list(venue.run())
    heard = ear.of("received", "open", "match", "change", "done")
    assert len({message["sequence"] for message in heard}) == len(heard)
    own = [message for message in heard if "user_id" in message]
    expected = [
        event.sequence
        for entry in venue.entries
        for event in entry.events
        if 2 in (getattr(event, "account", 0), getattr(event, "maker_account", 0), getattr(event, "taker_account", 0))
        and hasattr(event, "sequence")
    ]
    assert [message["sequence"] for message in own] == expected
    for message in own:
        if message["type"] == "match":
            assert ("maker_fee_rate" in message) != ("taker_fee_rate" in message)
    if "full" in channels:
        assert [message["sequence"] for message in heard] == list(range(1, venue.book.sequence + 1))
    elif channels == ("user",):
        assert heard == own


def test_received_comes_before_the_first_match_of_an_order():
    """Bots learn an order's id from ``received``; no match of it comes earlier."""
    venue = Venue(3, count=400)
    ear = venue.listen("user", account=1)
    list(venue.run())
    known = set()
    for message in ear.heard:
        if message["type"] == "received":
            known.add(message["order_id"])
        elif message["type"] == "match":
            role = "maker" if "maker_fee_rate" in message else "taker"
            assert message[f"{role}_order_id"] in known


def test_a_users_received_has_its_client_id_and_the_public_one_has_not():
    """A client id is nobody else's business, and no public message names an account."""
    venue = Venue(1)
    own, public = venue.listen("user", account=1), venue.listen("full")
    list(venue.run())
    given = [e for entry in venue.entries for e in entry.events if isinstance(e, Received) and e.account == 1]
    assert [m.get("client_oid", "") for m in own.of("received")] == [event.client_id for event in given]
    assert any(event.client_id for event in given)
    secret = ("client_oid", "user_id", "profile_id", "account", "maker_fee_rate", "taker_fee_rate")
    assert not any(name in message for message in public.heard for name in secret)


def test_a_public_message_is_encoded_once_for_everybody():
    """A thousand subscribers share the very same bytes."""
    venue = Venue(2)
    ears = [venue.listen("full") for _ in range(3)]
    list(venue.run(20))
    first = ears[0].frames
    assert first
    assert all(a is b for ear in ears[1:] for a, b in zip(first, ear.frames, strict=True))


def test_matches_begin_with_the_last_match():
    """Whoever subscribes to matches is told the last one first; then come the new ones, in order of trade ids."""
    venue = Venue(4)
    list(venue.run(150))
    ear = venue.listen("matches")
    list(venue.run())
    assert ear.heard[0]["type"] == "last_match"
    numbers = [message["trade_id"] for message in ear.heard]
    assert numbers == list(range(numbers[0], venue.book.trade_id + 1))
    assert len(numbers) > 1


def test_the_ticker_tells_the_last_trade_and_the_best_prices():
    """One ticker for each entry with a trade, of its last trade; ``side`` is the taker's."""
    venue = Venue(5)
    ear, batch = venue.listen("ticker"), venue.listen("ticker_batch")
    for entry in venue.run():
        told, ear.heard = ear.heard, []
        matches = [event for event in entry.events if hasattr(event, "trade_id")]
        assert len(told) == bool(matches)
        if matches:
            texts, last = venue.market.texts, matches[-1]
            assert (told[0]["trade_id"], told[0]["price"]) == (last.trade_id, texts.price(last.price))
            assert told[0]["side"] == ("sell" if last.side == "buy" else "buy")
            assert told[0]["best_bid"] == texts.price(venue.book.best("buy"))
            assert told[0]["best_ask"] == texts.price(venue.book.best("sell"))
    assert batch.heard == []
    venue.hub.tell_ticker_batches()
    venue.hub.tell_ticker_batches()
    assert [message["trade_id"] for message in batch.heard] == [venue.book.trade_id]


def test_heartbeats_tell_where_the_feed_stands():
    """A heartbeat has the last sequence and trade id."""
    venue = Venue(6)
    ear = venue.listen("heartbeat")
    list(venue.run())
    venue.hub.tell_heartbeats()
    assert (ear.heard[-1]["sequence"], ear.heard[-1]["last_trade_id"]) == (venue.book.sequence, venue.book.trade_id)


def test_status_tells_a_change_of_mode():
    """Whoever listens to status hears of a halt when the book does."""
    venue = Venue(1)
    ear = Ear()
    venue.hub.add(ear, [("status", "")])
    list(venue.run())
    modes = [entry.events[0].instrument.mode for entry in venue.entries if hasattr(entry.events[0], "instrument")]
    assert [message["products"][0]["trading_disabled"] for message in ear.heard[1:]] == [m == "halted" for m in modes]


def test_whoever_unsubscribes_hears_nothing_more():
    """After leaving one channel the others go on; after leaving all, nothing is kept of the listener."""
    venue = Venue(7)
    ear = venue.listen("full", "level2")
    list(venue.run(30))
    venue.hub.remove(ear, [("full", SYMBOL)])
    ear.heard.clear()
    list(venue.run(30))
    assert {message["type"] for message in ear.heard} == {"l2update"}
    venue.hub.remove(ear, [("level2", SYMBOL)])
    assert venue.hub.is_idle


def test_when_the_feed_begins_anew_everybody_is_sent_away():
    """After a lost log nobody is left believing in a book that goes on: all are closed, to connect again."""
    venue = Venue(8)
    ears = [venue.listen("full", "level2"), venue.listen("heartbeat")]
    venue.hub.close_all("anew")
    assert [ear.closed for ear in ears] == [1012, 1012]
