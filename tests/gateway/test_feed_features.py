"""What subscribers hear of stops, icebergs, amends, lists, auctions and expiry, from a real book."""

from decimal import Decimal
from itertools import pairwise

import pytest

from shared.messages import (
    Activate,
    Amend,
    AmendRefused,
    Cancel,
    CancelAll,
    Conditions,
    Done,
    ListPlaced,
    Place,
    PlaceList,
    Received,
    Tick,
)
from shared.order_id import to_uuid
from tests.engine.harness import configured
from tests.gateway.ear import Ear, Levels, Orders
from tests.gateway.venue import SYMBOL, FeatureVenue, Venue
from workers.gateway.render import user_uuid

SEEDS = range(12)
ENTRIES = 500
HEAD = {"type", "product_id", "sequence", "time", "order_id", "side"}
PUBLIC = {
    "received": HEAD | {"order_type", "price", "size", "funds"},
    "activate": HEAD | {"timestamp", "stop_type", "stop_price", "size", "funds", "private"},
    "open": HEAD | {"price", "remaining_size"},
    "match": HEAD - {"order_id"} | {"trade_id", "maker_order_id", "taker_order_id", "size", "price", "auction"},
    "change": HEAD
    | {"reason", "price", "old_price", "new_price", "old_size", "new_size", "old_funds", "new_funds"}
    | {"old_stop_price", "new_stop_price"},
    "done": HEAD | {"reason", "price", "remaining_size", "reject_reason"},
}


def place(number, side="buy", price=100, quantity=10, **more):
    """A limit order of account ``number`` // 10, unless told otherwise."""
    asked = {name: more.pop(name) for name in Conditions.__struct_fields__ if name in more}
    conditions = Conditions(**asked) if asked else None
    defaults = {"account": number // 10, "time": 1, "order_type": "limit", "client_id": f"c{number}"}
    return Place(order_id=number, side=side, price=price, quantity=quantity, conditions=conditions, **defaults | more)


@pytest.fixture
def venue():
    found = Venue()
    found.do(configured(time=1))
    return found


# --- whole flows -----------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", SEEDS)
def test_full_and_level2_are_the_book_after_every_entry(seed):
    """Refreshes, amends, auctions, expiry, lists: whoever follows the page's rules has the book, order by order."""
    venue = FeatureVenue(seed)
    list(venue.run(100))
    full, client = venue.listen("full"), Orders(venue.rows())
    level2, levels = venue.listen("level2"), Levels()
    batch, batched = venue.listen("level2_batch"), Levels()
    for number, _ in enumerate(venue.run(ENTRIES)):
        for ear, mirror in ((full, client), (level2, levels)):
            while ear.heard:
                mirror.take(ear.heard.pop(0))
        assert client.sides == venue.queues()
        assert levels.sides == venue.levels()
        if number % 20 == 0:
            venue.hub.tell_level2_batches()
            while batch.heard:
                batched.take(batch.heard.pop(0))
            assert batched.sides == venue.levels()
    assert client.sequence == venue.book.sequence


@pytest.mark.parametrize("seed", SEEDS)
def test_nobody_learns_what_icebergs_hide_or_whose_an_order_is(seed):
    """Public messages have the fields of the page and no others, and no size is more than what was shown before."""
    venue = FeatureVenue(100 + seed)
    full, client = venue.listen("full"), Orders({"sequence": 0, "bids": [], "asks": []})
    client.sequence = venue.book.sequence
    displays = {}
    for entry in venue.run(ENTRIES):
        for event in entry.events:
            for order in event.orders if isinstance(event, ListPlaced) else [event]:
                conditions = getattr(order, "conditions", None)
                if conditions and conditions.display_quantity:
                    displays[to_uuid(order.order_id)] = Decimal(venue.market.texts.size(conditions.display_quantity))
        while full.heard:
            message = full.heard.pop(0)
            assert message.keys() <= PUBLIC[message["type"]], message
            number = message.get("order_id")
            if number in displays:
                sizes = [Decimal(value) for name, value in message.items() if name.endswith("size")]
                assert all(0 <= size <= displays[number] for size in sizes), message
            if number in client.places:
                shown = next(size for one, size in client._queue(number) if one == number)
                told = message.get("remaining_size" if message["type"] == "done" else "old_size", shown)
                assert Decimal(told) == shown, (message, shown)
            client.take(message)
    assert displays


def test_the_public_feed_is_the_same_whatever_an_iceberg_hides():
    """Two books that differ only in what an iceberg hides give the very same bytes, to its end."""
    frames = []
    for hidden in (50, 90):
        venue = Venue()
        venue.do(configured(time=1))
        ears = [venue.listen(channel) for channel in ("full", "level2", "matches", "ticker")]
        venue.do(
            place(10, quantity=10 + hidden, display_quantity=10),
            place(20, "sell", quantity=14, price=90),
            Amend(10, 1, 5, 0, 14 + hidden, 0, "a"),
            place(21, "sell", quantity=3),
            Amend(10, 1, 6, 101, 0, 0, "b"),
            place(11, "sell", quantity=2, stp="cn"),
            Cancel(10, 1, 7),
            place(30, quantity=10 + hidden, display_quantity=10, stop="entry", stop_price=500),
            Amend(30, 3, 8, 0, 20 + hidden, 0, "c"),
            Cancel(30, 3, 9),
        )
        frames.append([ear.frames for ear in ears])
    assert frames[0] == frames[1]
    assert all(frames[0])


def test_a_change_of_what_hides_changes_nothing_that_is_seen(venue):
    """The sequence goes on, with the sizes as they were; the levels say nothing. Its owner hears all."""
    venue.do(place(10, quantity=20, display_quantity=10))
    full, level2, batch = venue.listen("full"), venue.listen("level2"), venue.listen("level2_batch")
    own = venue.listen("user", account=1)
    level2.heard.clear()
    batch.heard.clear()
    venue.do(Amend(10, 1, 2, 0, 15, 0, "a"), place(11, "sell", quantity=2), Amend(10, 1, 3, 0, 6, 0, "b"))
    venue.hub.tell_level2_batches()
    changes = [message for message in full.heard if message["type"] == "change"]
    assert [message["sequence"] for message in full.heard] == [3, 4, 5, 6, 7]
    assert [(one["old_size"], one["new_size"]) for one in changes] == [("1.0", "1.0"), ("1.0", "1.0"), ("1.0", "0.6")]
    sizes = [(one["old_size"], one["new_size"]) for one in own.heard if one["type"] == "change"]
    assert sizes == [("2.0", "1.5"), ("1.5", "1.3"), ("1.3", "0.6")]
    for ear in (level2, batch):
        assert [message["changes"] for message in ear.heard] == [[["buy", "1.00", "0.6"]]]


@pytest.mark.parametrize("seed", range(6))
def test_a_user_hears_all_of_its_own_and_its_whole_sizes(seed):
    """Every own event once and in order, with the fields of the public message; sizes are the book's own."""
    venue = FeatureVenue(200 + seed)
    own, both = venue.listen("user", account=2), venue.listen("full", "user", account=2)
    full = venue.listen("full")
    entries = list(venue.run(ENTRIES))
    size = venue.market.texts.size
    told = {message["sequence"]: message for message in own.heard if "sequence" in message}
    public = {message["sequence"]: message for message in full.heard}
    expected = [
        event
        for entry in entries
        for event in entry.events
        if hasattr(event, "sequence")
        and 2 in (getattr(event, "account", 0), getattr(event, "maker_account", 0), getattr(event, "taker_account", 0))
    ]
    assert list(told) == [event.sequence for event in expected]
    for event in expected:
        message = told[event.sequence]
        assert message["user_id"] == message["profile_id"] == user_uuid(2)
        assert message.keys() >= public[event.sequence].keys()
        if isinstance(event, Done):
            assert message["remaining_size"] == size(event.remaining)
        if isinstance(event, Received | Activate):
            assert message["client_oid"] == f"client-{event.order_id}"
            assert message.get("size", "") == (size(event.quantity) if event.quantity else "")
        if message["type"] == "match":
            assert ("maker_fee_rate" in message) != ("taker_fee_rate" in message)
    heard = [message for message in both.heard if "sequence" in message]
    assert [message["sequence"] for message in heard] == [message["sequence"] for message in full.heard]
    assert all(message == told.get(message["sequence"], public[message["sequence"]]) for message in heard)
    client = Orders({"sequence": 1, "bids": [], "asks": []})
    client.sequence = entries[0].events[0].sequence - 1 if hasattr(entries[0].events[0], "sequence") else 0
    for message in heard:
        client.take(message)
    assert client.sides == venue.queues(), "own messages among the public ones rebuild the book, too"


@pytest.mark.parametrize("seed", range(6))
def test_every_order_of_a_user_is_told_through_all_its_states(seed):
    """pending, activate, received, open, change, match, done come in an order that makes sense, and end with done."""
    venue = FeatureVenue(300 + seed)
    own = venue.listen("user", account=1)
    entries = list(venue.run(ENTRIES))
    lives: dict[str, list[str]] = {}
    for message in own.heard:
        names = ["maker_order_id", "taker_order_id"] if message["type"] == "match" else ["order_id"]
        for name in names if message["type"] != "amend_refused" else []:
            if name == "order_id" or f"{name.split('_')[0]}_user_id" in message:
                lives.setdefault(message[name], []).append(message["type"])
    following = {
        "": {"pending", "activate", "received", "done"},
        "pending": {"activate", "received", "done"},
        "activate": {"received", "change", "done"},
        "done": set(),
    }
    for life in lives.values():
        for before, after in pairwise(["", *life]):
            allowed = following.get(before, {"open", "match", "change", "done"})
            assert after in allowed | ({"received"} if "activate" in life and before == "change" else set()), life
        assert life.count("received") <= 1
    refused = [event for entry in entries for event in entry.events if isinstance(event, AmendRefused)]
    assert len(own.of("amend_refused")) == len([event for event in refused if event.account == 1])
    open_ones = {to_uuid(number) for number in venue.book.ids_of(1, "")}
    assert {number for number, life in lives.items() if "done" not in life} == open_ones


# --- one by one ------------------------------------------------------------------------------------


def test_a_stop_is_told_when_it_is_taken_up_and_when_it_triggers(venue):
    """Activate has Coinbase's fields and a sequence; received comes in its own time, by somebody else's trade."""
    full, own = venue.listen("full"), venue.listen("user", account=1)
    venue.do(place(10, "sell", 90, 5, stop="loss", stop_price=95, time=1_700_000_000_123_456_789))
    told = full.heard[-1]
    assert told == {
        "type": "activate",
        "product_id": SYMBOL,
        "sequence": 1,
        "time": "2023-11-14T22:13:20.123456Z",
        "timestamp": "1700000000.123456",
        "order_id": to_uuid(10),
        "stop_type": "loss",
        "side": "sell",
        "stop_price": "0.95",
        "size": "0.5",
        "private": False,
    }
    more = {"private": True, "order_type": "limit", "price": "0.90", "client_oid": "c10"}
    assert own.heard[-1] == told | more | {"user_id": user_uuid(1), "profile_id": user_uuid(1)}
    venue.do(place(20, "buy", 94, 1), place(30, "sell", 94, 1))
    assert [message["type"] for message in own.heard] == ["activate", "received", "open"]
    assert own.of("received")[0].items() >= {"price": "0.90", "size": "0.5"}.items()


def test_an_amended_stop_tells_its_old_and_new_stop_price(venue):
    """Everybody hears of the stop price that moved, its owner of the limit, too; a market stop's bound is nobody's."""
    full, own = venue.listen("full"), venue.listen("user", account=1)
    venue.do(place(10, "sell", 90, 5, stop="loss", stop_price=95), Amend(10, 1, 2, 91, 7, 96, "a"))
    stops = {"old_stop_price": "0.95", "new_stop_price": "0.96", "old_size": "0.5", "new_size": "0.7"}
    told = full.of("change")[0]
    assert told.items() >= {"reason": "modify_order", **stops}.items()
    assert not {"price", "old_price", "new_price"} & told.keys()
    assert own.of("change")[0].items() >= {"old_price": "0.90", "new_price": "0.91", **stops}.items()
    bounded = place(11, "sell", 80, 5, stop="loss", stop_price=95, order_type="market")
    venue.do(bounded, Amend(11, 1, 3, 70, 0, 94, "b"))
    for ear in (full, own):
        assert ear.of("change")[1].items() >= {"old_stop_price": "0.95", "new_stop_price": "0.94"}.items()
        assert not {"price", "old_price", "new_price"} & ear.of("change")[1].keys()


def test_a_trailing_stop_tells_where_it_stands_and_its_owner_by_what(venue):
    """The distance is the owner's business; before the first trade it stands nowhere."""
    full, own = venue.listen("full"), venue.listen("user", account=1)
    trailing = place(10, "sell", 0, 5, stop="loss", trail=3, order_type="market")
    venue.do(trailing, place(20, "buy", 100, 1), place(30, "sell", 100, 1))
    venue.do(place(11, "sell", 0, 5, stop="loss", trail_bps=150, order_type="market"))
    first, second = full.of("activate")
    assert ("stop_price" in first, second["stop_price"]) == (False, "0.98")
    assert [message.get("trail_price") for message in own.of("activate")] == ["0.03", None]
    assert [message.get("trail_bps") for message in own.of("activate")] == [None, 150]
    assert "trail_price" not in first


def test_an_iceberg_shows_a_part_and_its_owner_hears_of_the_rest(venue):
    """It opens again at each refresh, with the shown size; its owner is told what is hidden, and all that is left."""
    full, own = venue.listen("full"), venue.listen("user", account=1)
    venue.do(place(10, quantity=25, display_quantity=10), place(20, "sell", quantity=12), Cancel(10, 1, 3))
    assert [message["remaining_size"] for message in full.of("open")] == ["1.0", "1.0"]
    assert full.of("received")[0]["size"] == "1.0"
    assert [message["remaining_size"] for message in full.of("done")] == ["0.0", "0.8"]
    assert own.of("received")[0].items() >= {"size": "2.5", "display_size": "1.0"}.items()
    assert [message.get("hidden_size") for message in own.of("open")] == ["1.5", "0.5"]
    assert own.of("done")[0]["remaining_size"] == "1.3"


def test_an_amend_tells_both_prices_and_sizes_and_opens_again_if_it_moves(venue):
    """In place: a change alone. Elsewhere: change, what it met, and a second open. Refused: only the owner hears."""
    full, own = venue.listen("full"), venue.listen("user", account=1)
    venue.do(place(10), place(20, "sell", 105, 4), Amend(10, 1, 2, 0, 6, 0, "less"), Amend(10, 1, 3, 106, 9, 0, "move"))
    less, move = full.of("change")
    assert less.items() >= {"price": "1.00", "old_price": "1.00", "new_price": "1.00"}.items()
    assert less.items() >= {"reason": "modify_order", "old_size": "1.0", "new_size": "0.6"}.items()
    assert move.items() >= {"old_price": "1.00", "new_price": "1.06", "old_size": "0.6", "new_size": "0.9"}.items()
    assert [message["type"] for message in full.heard[-4:]] == ["change", "match", "done", "open"]
    assert full.heard[-1].items() >= {"price": "1.06", "remaining_size": "0.5"}.items()
    before = len(full.heard)
    venue.do(Amend(10, 1, 4, 0, 3, 0, "too little"))
    assert len(full.heard) == before
    told = own.heard[-1]
    assert told.items() >= {"type": "amend_refused", "order_id": to_uuid(10), "reason": "quantity_too_small"}.items()
    assert (told["user_id"], "sequence" in told) == (user_uuid(1), False)


def test_children_of_a_list_are_pending_until_their_parent_is_filled(venue):
    """Pending comes with the list, then activate or received; the linked order's end says linked_order."""
    full, own, other = venue.listen("full"), venue.listen("user", account=1), venue.listen("user", account=2)
    children = [place(11, "sell", 120, 10), place(12, "sell", 80, 10, stop="loss", stop_price=90)]
    venue.do(PlaceList(1, 1, "otoco", [place(10), *children]))
    assert [message["type"] for message in own.heard] == ["pending", "pending", "received", "open"]
    profit, loss = own.of("pending")
    assert profit.items() >= {"order_id": to_uuid(11), "parent_order_id": to_uuid(10), "list_type": "otoco"}.items()
    assert profit.items() >= {"side": "sell", "price": "1.20", "size": "1.0", "client_oid": "c11"}.items()
    assert loss.items() >= {"stop_type": "loss", "stop_price": "0.90", "price": "0.80"}.items()
    assert not full.of("pending")
    venue.do(place(20, "sell", 100, 10), place(21, "buy", 120, 10))
    assert [message["type"] for message in own.heard[4:]] == [
        "match", "done", "received", "open", "activate", "match", "done", "done",
    ]  # fmt: skip
    filled, canceled = own.heard[-2:]
    assert (filled["order_id"], filled["reason"]) == (to_uuid(11), "filled")
    assert canceled.items() >= {"order_id": to_uuid(12), "reason": "canceled", "reject_reason": "linked_order"}.items()
    assert not other.of("pending")


def test_expiry_and_mass_cancel_are_told(venue):
    """An expired order is done by a tick with its cause; a mass-cancel tells every order's end, sleeping ones too."""
    own = venue.listen("user", account=1)
    venue.do(place(10, time_in_force="GTT", expires=50), Tick(60))
    assert own.heard[-1].items() >= {"type": "done", "reason": "canceled", "reject_reason": "expired"}.items()
    venue.do(place(11), place(12, "sell", 90, 5, stop="loss", stop_price=95), CancelAll(1, 70, "", "all"))
    assert [message["order_id"] for message in own.of("done")[1:]] == [to_uuid(11), to_uuid(12)]
    assert all("reject_reason" not in message for message in own.of("done")[1:])


def test_an_auctions_trades_are_told_as_such(venue):
    """auction: true, the seller as the maker; both pay their maker's rate; matches and ticker follow."""
    buyer, seller = venue.listen("user", account=1), venue.listen("user", account=2)
    matches, ticker, full = venue.listen("matches"), venue.listen("ticker"), venue.listen("full")
    venue.do(configured(mode="auction", time=2), place(10, price=110, maker_fee=10, taker_fee=20))
    venue.do(place(20, "sell", 90, 6, maker_fee=11, taker_fee=21), place(21, "sell", 100, 3, maker_fee=12))
    assert not matches.heard
    venue.do(configured(time=3))
    assert [message["type"] for message in full.heard[-4:]] == ["match", "done", "match", "done"]
    assert [message["size"] for message in matches.of("match")] == ["0.6", "0.3"]
    for message in matches.of("match"):
        assert (message["side"], message["auction"], message["taker_order_id"]) == ("sell", True, to_uuid(10))
    assert {message["taker_fee_rate"] for message in buyer.of("match")} == {"0.000010"}
    assert [message["maker_fee_rate"] for message in seller.of("match")] == ["0.000011", "0.000012"]
    (told,) = ticker.of("ticker")
    assert told["trade_id"] == matches.heard[-1]["trade_id"]
    assert (told["best_bid"], told["best_bid_size"], told["best_ask"]) == ("1.10", "0.1", "0.00")


def test_status_tells_every_mode_when_it_changes():
    """Each mode has its flag, and whoever listens to status hears of it with the entry that brought it."""
    venue, ear = Venue(), Ear()
    venue.hub.add(ear, [("status", "")])
    flags = {
        "online": set(),
        "post-only": {"post_only"},
        "limit-only": {"limit_only"},
        "cancel-only": {"cancel_only"},
        "auction": {"auction_mode"},
        "halted": {"trading_disabled"},
        "delisted": {"trading_disabled"},
    }
    names = ("post_only", "limit_only", "cancel_only", "auction_mode", "trading_disabled")
    for mode, expected in flags.items():
        venue.do(configured(mode=mode, time=1))
        (product,) = ear.heard[-1]["products"]
        assert {name for name in names if product[name]} == expected, mode
    assert len(ear.heard) == 1 + len(flags)
