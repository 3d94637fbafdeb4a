"""The watch over good logs, however they are cut and wherever it begins: it finds nothing wrong."""

import random
from collections.abc import Callable
from copy import copy
from functools import cache
from typing import Any

import pytest
from msgspec.structs import replace

from shared.errors import InvalidInput
from shared.messages import Open, decode_book_entry, encode
from tests.auditor.live import Follower, Live, LiveFeatures, LiveRecorded, Moment
from workers.audit.invariants import Invariant
from workers.auditor import journal
from workers.auditor.places import entry_of, tag_of
from workers.auditor.snapshots import make
from workers.auditor.watch import Finding
from workers.store import Snapshot

KINDS: dict[str, type[Live]] = {"plain": LiveRecorded, "features": LiveFeatures}


@cache
def made(kind: str, seed: int, shards: int) -> Live:
    return KINDS[kind](seed, 400, shards)


def told(follower: Follower) -> list[str]:
    return [str(one.violation) for one in follower.watch.take()]


@pytest.mark.parametrize("shards", [1, 2])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(6))
def test_good_logs_are_good_at_every_cut(kind, seed, shards):
    """Followed live from the first entry: at each instant all invariants hold, and the owners' states are the log's."""
    live = made(kind, seed, shards)
    follower = Follower(live)
    for number, moment in enumerate((*live.past.moments, follower.final())):
        follower.follow(moment, save=number % 3 == 0)
        follower.watch.end()
        assert told(follower) == []
    assert follower.watch.compared > 20


@pytest.mark.parametrize("shards", [1, 2])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(12))
def test_it_may_begin_behind_any_snapshots(kind, seed, shards):
    """Each log begins behind a snapshot of its own time, as after a restart or a trim: there is no false alarm."""
    live, dice = made(kind, seed % 6, shards), random.Random(seed)
    moments = [one for one in live.past.moments if all(at.length for at in one.standings.values())]
    first = dice.randrange(len(moments) - 6)
    starts: dict[str, Moment] = {tag: moments[first + dice.randint(0, 5)] for tag in moments[0].standings}
    follower = Follower(live, starts, "python" if seed % 2 else "auto")
    for number, moment in enumerate((*moments[first + 5 :], follower.final())):
        follower.follow(moment, save=number % 3 == 0)
        follower.watch.end()
        assert told(follower) == []
    assert follower.watch.compared > 0


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(6))
def test_it_may_go_on_from_its_replicas_at_any_cut(kind, seed):
    """As after a halt: what is on its way then is not taken for lost, nor for wrong."""
    live = made(kind, seed, 2)
    follower = Follower(live)
    for number, moment in enumerate((*live.past.moments, follower.final())):
        follower.follow(moment, save=number % 3 == 0)
        follower.watch.end()
        assert told(follower) == []
        if number % 2:
            follower.go_on()


def halves(live: Live) -> tuple[Moment, Moment]:
    """An instant in the middle, and the end."""
    moments = live.past.moments
    return moments[len(moments) // 2], Follower(live).final()


def spoilt(kind: str, seed: int, tag: str, number: int, change: Callable[[Any], Any]) -> tuple[Live, Moment, Moment]:
    """A recording in which entry ``number`` of a log is another one, with a chain that fits."""
    live = copy(made(kind, seed, 1))
    live.ledgers = {shard: one.copy() for shard, one in live.ledgers.items()}
    live.books = {symbol: one.copy() for symbol, one in live.books.items()}
    one = next(found for found in (*live.ledgers.values(), *live.books.values()) if found.handler.tag == tag)
    middle, end = halves(live)
    one.log[number - 1] = change(one.log[number - 1])
    one.restate()
    end = replace(end, standings=end.standings | {tag: replace(end.standings[tag], chain=one.standing.chain)})
    return live, middle, end


def a_lot_more(payload: bytes) -> bytes:
    return payload.replace(b'"remaining":', b'"remaining":1', 1)


def of_another_order(payload: bytes) -> bytes:
    entry = decode_book_entry(payload)
    entry.events = [replace(one, order_id=1 << 40) if isinstance(one, Open) else one for one in entry.events]
    return encode(entry)


def first_open(live: Live, tag: str, after: int) -> int:
    log = live.books[tag[3:-1]].log
    return next(at for at, payload in enumerate(log, 1) if at > after and b'"type":"open"' in payload)


def test_a_wrong_event_is_found_as_the_books_whose_it_is():
    """At its very entry; and once it is known, what follows behind it is checked as before."""
    tag = "{i:BTC-USD}"
    live = made("plain", 1, 1)
    middle, _ = halves(live)
    number = first_open(live, tag, middle.standings[tag].length)
    live, middle, end = spoilt("plain", 1, tag, number, a_lot_more)
    follower = Follower(live)
    follower.follow(middle)
    follower.watch.end()
    assert told(follower) == []
    follower.follow(end)
    first = follower.watch.take()[0]
    assert (first.tag, first.position, first.violation.invariant) == (tag, number, Invariant.QUANTITY)


def test_an_owner_in_another_state_than_its_log_is_found():
    """By the digest, and by the snapshot: each names the machine and the entry behind which it was told."""
    live = made("features", 2, 2)
    middle, end = halves(live)
    for tag, at in middle.standings.items():
        follower = Follower(live)
        wrong = replace(at, digest=(at.length, "0123456789abcdef"))
        follower.follow(replace(middle, standings=middle.standings | {tag: wrong}))
        assert [(one.tag, one.position) for one in follower.watch.take()] == [(tag, at.length)]
        follower = Follower(live)
        follower.follow(replace(middle, states=middle.states | {tag: end.states[tag]}), save=True)
        found = follower.watch.take()
        assert {(one.tag, one.position, one.violation.invariant) for one in found} == {
            (tag, at.length, Invariant.SNAPSHOTS)
        }
        assert [one.tag for one in follower.watch.differing] == [tag]


def test_an_entry_that_does_not_follow_on_the_state_is_said_once():
    """The replica goes no further; the checks of the others do."""
    tag = "{i:BTC-USD}"
    middle, _ = halves(made("plain", 1, 1))
    number = first_open(made("plain", 1, 1), tag, middle.standings[tag].length)
    live, middle, end = spoilt("plain", 1, tag, number, of_another_order)
    follower = Follower(live)
    follower.follow(middle)
    follower.follow(end)
    found = [one.violation for one in follower.watch.take() if one.violation.invariant is Invariant.ENTRIES]
    assert [one.where for one in found] == [f"BTC-USD entry {number}"]
    assert follower.watch.machines[tag].is_broken
    assert follower.watch.machines["{i:ETH-USD}"].view.number == end.standings["{i:ETH-USD}"].length


def test_a_book_that_is_left_out_raises_no_alarm():
    """Nothing that the ledgers settle of it is compared; all the rest is."""
    live = made("features", 3, 2)
    follower = Follower(live, left_out="BTC-USD")
    for moment in (*live.past.moments, follower.final()):
        follower.follow(moment)
        follower.watch.end()
        assert told(follower) == []


def test_a_damaged_snapshot_is_told_where_the_replica_stands():
    """So that the auditor can write the right one in its place."""
    live = made("plain", 4, 1)
    middle, _ = halves(live)
    follower = Follower(live)
    seen = []
    follower.watch.on_unreadable = lambda one: seen.append((one.view.tag, make(one).snapshot))
    positions = {tag: [at.length] for tag, at in middle.standings.items()}
    follower.follow(middle, positions=positions)
    assert {tag for tag, _ in seen} == set(middle.standings)
    for tag, snapshot in seen:
        assert snapshot.state == middle.states[tag]
        assert snapshot.chain == middle.standings[tag].chain
        assert snapshot.is_valid()


def test_a_journal_shows_a_finding_again_from_its_file_alone(tmp_path):
    """From a snapshot before, the entries since, and what the owner told; a good one shows nothing."""
    tag = "{i:BTC-USD}"
    middle, _ = halves(made("plain", 1, 1))
    number = first_open(made("plain", 1, 1), tag, middle.standings[tag].length)
    live, middle, end = spoilt("plain", 1, tag, number, a_lot_more)
    follower = Follower(live)
    follower.follow(middle)
    follower.follow(end)
    finding = follower.watch.take()[0]
    path = journal.write(tmp_path / "halts", journal_of(live, middle, end, finding))
    assert path.name == f"BTC-USD-{number}.journal"
    assert path.stat().st_mode & 0o077 == 0
    found = journal.find_again(journal.read(path), "python")
    assert journal.is_the_same(finding, found)
    good = made("plain", 1, 1)
    assert journal.find_again(journal_of(good, middle, Follower(good).final(), finding), "auto") == []


def journal_of(live: Live, start: Moment, end: Moment, finding: Finding) -> journal.Journal:
    """All machines from one moment to another."""
    recordings = []
    for one in (*live.ledgers.values(), *live.books.values()):
        tag = one.handler.tag
        at = start.standings[tag]
        state = start.states[tag]
        entries = [(b"%d-0" % number, payload) for number, payload in enumerate(one.log, 1) if number > at.length]
        begin = Snapshot(at.length, at.chain, "", state)
        recordings.append(journal.Recording(tag=tag, standing=end.standings[tag], start=begin, entries=entries))
    return journal.Journal(time=1, shards=live.shards, finding=finding, recordings=recordings)


@pytest.mark.parametrize("content", [b"", b"no journal", b"\x28\xb5\x2f\xfd\x00"])
def test_another_file_is_no_journal(tmp_path, content):
    """It says which file, and that it is none."""
    path = tmp_path / "x.journal"
    path.write_bytes(content)
    with pytest.raises(InvalidInput, match=r"x\.journal: is no journal of the auditor"):
        journal.read(path)


PLACES = {
    "BTC-USD entry 7": "{i:BTC-USD}",
    "BTC-USDC entry 7": "{i:BTC-USDC}",
    "BTC-USD, ledger 1": "{i:BTC-USD}",
    "BTC-USD": "{i:BTC-USD}",
    "{i:BTC-USD}:log": "{i:BTC-USD}",
    "{i:BTC-USDC}:snapshot entry 9": "{i:BTC-USDC}",
    "{a:1}:to:BTC-USD": "{i:BTC-USD}",
    "{a:1}:to:BTC-USDC": "{i:BTC-USDC}",
    "ledger 1 entry 7": "{a:1}",
    "ledger 10 entry 7": "{a:10}",
    "{a:1}:log": "{a:1}",
    "{a:10}:meta entry 3": "{a:10}",
    "USD": "{a:0}",
}


@pytest.mark.parametrize("where", PLACES)
def test_each_place_belongs_to_a_machine(where):
    """A violation halts whom its place names; between book and ledger the book, of money alone everything."""
    assert tag_of(where, ["BTC-USD", "BTC-USDC"], 11) == PLACES[where]
    assert entry_of(where) == (int(where.rpartition(" ")[2]) if " entry " in where else 0)
