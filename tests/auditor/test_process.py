"""The auditor over a Valkey in which a recorded cluster grows: what it halts, what it leaves alone, what it writes."""

import contextlib
import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from shared import keys
from shared.connections import connect
from shared.errors import CorruptState
from shared.messages import FIELD, decode_request
from shared.settings import Settings
from tests.auditor.live import Follower, Live, Moment
from tests.auditor.test_watch import a_lot_more, first_open, halves, made, of_another_order, spoilt
from workers.audit.redis_logs import RedisLogs, Trimmed
from workers.auditor import journal, process
from workers.auditor.process import Auditor
from workers.auditor.snapshots import Made, save
from workers.store import RedisStore, Snapshot, read_snapshots

WAIT_S = 10.0
SYMBOLS = ("BTC-USD", "ETH-USD")


class Ground:
    """A recorded cluster in a Redis, up to some moment."""

    def __init__(self, url: str, client: Any, live: Live, folder: str) -> None:
        self.client = client
        self.live = live
        self.settings = Settings(redis_url=url, data=folder, lease_ms=1000, shards=live.shards, digest_every=50)
        self.tags = {one.handler.tag: one for one in (*live.ledgers.values(), *live.books.values())}
        self.lengths = dict.fromkeys(self.tags, 0)
        client.set(keys.SHARDS, live.shards)
        for symbol, book in live.books.items():
            rules = replace(book.handler.book.instrument, mode="online")
            client.hset(keys.INSTRUMENTS, symbol, msgspec.json.encode(rules))

    def grow(self, moment: Moment) -> None:
        """Everything is written up to there, as by commits."""
        pipe = self.client.pipeline(transaction=True)
        for tag, at in moment.standings.items():
            for number in range(self.lengths[tag] + 1, at.length + 1):
                pipe.xadd(keys.log(tag), {FIELD: self.tags[tag].log[number - 1]}, id=f"{number}-0")
            self.lengths[tag] = at.length
            fields = {"version": 1, "length": at.length, "chain": at.chain, "digest": f"{at.digest[0]} {at.digest[1]}"}
            fields |= {f"at:{source}": position for source, position in at.positions.items()}
            fields |= {f"len:{outbox}": length for outbox, length in at.lengths.items()}
            pipe.hset(keys.meta(tag), mapping=fields)
        pipe.execute()

    def save(self, tag: str, moment: Moment, state: bytes | None = None) -> int:
        """An owner writes a snapshot; answers its position."""
        at = moment.standings[tag]
        found = Snapshot(at.length, at.chain, "", moment.states[tag])
        found.sha256 = hashlib.sha256(found.state).hexdigest()
        packed = msgspec.msgpack.encode(found)
        self.client.hset(keys.snapshot(tag), str(at.length), packed if state is None else state)
        return at.length

    def trim(self, tag: str, keep_from: int) -> None:
        """The log loses its beginning."""
        self.client.xtrim(keys.log(tag), minid=f"{keep_from}-0", approximate=False)

    @contextlib.contextmanager
    def audited(self) -> Iterator[Auditor]:
        """While an auditor runs."""
        stop: list[int] = []
        store = RedisStore(
            self.settings.redis_url, keys.AUDITOR, 1000, stopping=lambda: bool(stop), warn=lambda *_, **__: None
        )
        with connect(self.settings.redis_url) as client:
            auditor = Auditor(self.settings, client, store, lambda: bool(stop))
            thread = threading.Thread(target=auditor.run)
            thread.start()
            try:
                yield auditor
            finally:
                stop.append(1)
                thread.join(WAIT_S)
                store.close()
                assert not thread.is_alive()

    def wait(self, is_there: Callable[[], Any]) -> Any:
        """Wait until it answers something."""
        end = time.monotonic() + WAIT_S
        while not (found := is_there()):
            assert time.monotonic() < end, "it did not come to that"
            time.sleep(0.02)
        return found

    def wait_followed(self) -> None:
        """Wait until everything is checked."""
        self.wait(
            lambda: {tag.decode(): int(at) for tag, at in self.client.hgetall(keys.AUDITED).items()} == self.lengths
        )

    def modes(self) -> dict[str, str]:
        """Each instrument's, as supervisors know it."""
        return {
            name.decode(): json.loads(text).get("mode", "online")
            for name, text in self.client.hgetall(keys.INSTRUMENTS).items()
        }

    def record(self, tag: str) -> Any:
        """What was found of a machine."""
        return json.loads(self.wait(lambda: self.client.hget(keys.FINDINGS, tag)))


@pytest.fixture
def client(redis_url: str) -> Iterator[Any]:
    with connect(redis_url) as client:
        yield client


@pytest.fixture
def ground(redis_url: str, client: Any, tmp_path: Any, monkeypatch: Any) -> Callable[[Live], Ground]:
    monkeypatch.setattr(process, "BEAT_S", 0.05)
    monkeypatch.setattr(process, "POLL_S", 0.02)
    return lambda live: Ground(redis_url, client, live, str(tmp_path))


def spoilt_ledger(kind: str, seed: int) -> tuple[Live, Moment, Moment]:
    """In the second half, somebody gets more money than was deposited for him."""
    middle, _ = halves(made(kind, seed, 1))
    log = made(kind, seed, 1).ledgers[0].log
    first = middle.standings["{a:0}"].length
    number = next(at for at, payload in enumerate(log, 1) if at > first and b'"released":' in payload)
    return spoilt(kind, seed, "{a:0}", number, lambda payload: payload.replace(b'"released":', b'"released":9', 1))


def test_a_ledger_that_goes_wrong_halts_all_that_its_money_buys(ground):
    """By requests to each ledger, as the operator's halt; what the others do is not held against them."""
    live, middle, end = spoilt_ledger("plain", 1)
    on = ground(live)
    on.grow(middle)
    with on.audited():
        on.wait_followed()
        assert on.modes() == dict.fromkeys(SYMBOLS, "online")
        on.grow(end)
        found = on.record("{a:0}")
        on.wait(lambda: on.modes() == dict.fromkeys(SYMBOLS, "halted"))
    requests = [decode_request(fields[FIELD]) for _, fields in on.client.xrange(keys.inbox(0))]
    assert {(one.instrument.symbol, one.instrument.mode) for one in requests} == {(one, "halted") for one in SYMBOLS}
    again = journal.find_again(journal.read(Path(found["journal"])), "auto")
    assert any(one.tag == "{a:0}" for one in again)


def test_what_no_journal_shows_again_halts_nothing(ground, monkeypatch):
    """An auditor that is wrong about its own memory says so, and goes on."""
    middle, _ = halves(made("plain", 1, 1))
    number = first_open(made("plain", 1, 1), "{i:BTC-USD}", middle.standings["{i:BTC-USD}"].length)
    live, middle, end = spoilt("plain", 1, "{i:BTC-USD}", number, a_lot_more)
    monkeypatch.setattr(journal, "find_again", lambda *_: [])
    on = ground(live)
    on.grow(middle)
    with on.audited():
        on.grow(end)
        on.wait_followed()
        says = b"shown again by no journal: BTC-USD entry"
        on.wait(lambda: says in (on.client.get(keys.beat("auditor")) or b""))
    assert on.modes() == dict.fromkeys(SYMBOLS, "online")
    assert on.client.hgetall(keys.FINDINGS) == {}


def test_what_was_found_is_not_found_again_after_a_resume(ground):
    """Neither by the same auditor nor by the next one, which begins before it."""
    middle, _ = halves(made("plain", 1, 1))
    number = first_open(made("plain", 1, 1), "{i:BTC-USD}", middle.standings["{i:BTC-USD}"].length)
    live, middle, end = spoilt("plain", 1, "{i:BTC-USD}", number, a_lot_more)
    on = ground(live)
    on.grow(middle)
    with on.audited():
        on.grow(end)
        assert on.record("{i:BTC-USD}")["position"] == number
        on.wait(lambda: on.modes() == {"BTC-USD": "halted", "ETH-USD": "online"})
        on.wait_followed()
    on.client.hset(keys.INSTRUMENTS, "BTC-USD", on.client.hget(keys.INSTRUMENTS, "ETH-USD").replace(b"ETH", b"BTC"))
    on.client.delete(keys.AUDITED)
    with on.audited():
        on.wait_followed()
        time.sleep(0.3)
    assert on.modes() == dict.fromkeys(SYMBOLS, "online")


def test_a_book_that_cannot_be_followed_is_taken_up_again_behind_its_next_snapshot(ground):
    """An entry that does not follow on the state before: the others are checked meanwhile, without a false alarm."""
    tag = "{i:BTC-USD}"
    middle, _ = halves(made("plain", 1, 1))
    number = first_open(made("plain", 1, 1), tag, middle.standings[tag].length)
    live, middle, end = spoilt("plain", 1, tag, number, of_another_order)
    on = ground(live)
    on.grow(middle)
    with on.audited():
        on.wait_followed()
        on.grow(end)
        assert on.record(tag)["position"] == number
        on.wait(lambda: on.modes() == {"BTC-USD": "halted", "ETH-USD": "online"})
        on.wait(lambda: int(on.client.hget(keys.AUDITED, "{a:0}")) == on.lengths["{a:0}"])
        assert int(on.client.hget(keys.AUDITED, tag)) < on.lengths[tag]
        on.save(tag, end)
        on.wait_followed()
    assert on.client.hkeys(keys.FINDINGS) == [tag.encode()]


def test_a_log_that_begins_late_is_followed_from_its_snapshot(ground):
    """As after a trim, and after "matchbox recover", which goes on with a log of which nothing else is left."""
    live = made("features", 3, 2)
    middle, end = halves(live)
    on = ground(live)
    on.grow(middle)
    for tag in on.tags:
        on.save(tag, middle)
        on.trim(tag, on.lengths[tag] + 1)
    with on.audited():
        on.grow(end)
        on.wait_followed()
    assert on.client.hgetall(keys.FINDINGS) == {}


def test_an_entry_that_no_owner_wrote_is_told_until_it_is_gone(ground):
    """It halts nothing: its owner stops before it by itself."""
    live = made("plain", 2, 1)
    middle, _ = halves(live)
    on, log = ground(live), keys.log("{i:BTC-USD}")
    on.grow(middle)
    with on.audited():
        on.wait_followed()
        length = on.lengths["{i:BTC-USD}"]
        on.client.xadd(log, {FIELD: b"{}"}, id=f"{length + 1}-0")
        says = f"{log} has an entry {length + 1}-0, its owner has written {length}: somebody else wrote there".encode()
        on.wait(lambda: says in (on.client.get(keys.beat("auditor")) or b""))
        assert b"matchbox recover" in on.client.get(keys.beat("auditor")), "what to do about it"
        on.client.delete(log)
        on.client.xgroup_create(log, "none", id="0-0", mkstream=True)
        on.wait(lambda: says not in (on.client.get(keys.beat("auditor")) or b""))
    assert on.modes() == dict.fromkeys(SYMBOLS, "online")


def test_a_log_of_which_the_beginning_is_lost_is_said_and_not_followed(ground, monkeypatch):
    """No snapshot leads to its first entry: it says so in its beat, and begins as soon as there is one."""
    live = made("plain", 2, 1)
    middle, end = halves(live)
    on = ground(live)
    on.grow(middle)
    on.trim("{i:BTC-USD}", 5)
    monkeypatch.setattr(process, "PAUSE_S", 0.1)
    with on.audited():
        on.wait(lambda: b"no snapshot leads there" in (on.client.get(keys.beat("auditor")) or b""))
        on.save("{i:BTC-USD}", middle)
        on.grow(end)
        on.wait_followed()
    assert on.client.hgetall(keys.FINDINGS) == {}


def test_a_damaged_snapshot_is_replaced_by_the_right_one(ground):
    """Byte for byte what the owner had meant to write."""
    live = made("plain", 4, 1)
    middle, end = halves(live)
    on = ground(live)
    on.grow(middle)
    with on.audited():
        on.wait_followed()
        on.grow(end)
        for tag in on.tags:
            on.save(tag, end, b"damaged")
        for tag in on.tags:
            on.wait(lambda tag=tag: read_snapshots(on.client.hgetall(keys.snapshot(tag))))
    for tag in on.tags:
        (found,) = read_snapshots(on.client.hgetall(keys.snapshot(tag)))
        at = end.standings[tag]
        assert (found.position, found.chain, found.state) == (at.length, at.chain, end.states[tag])


def test_an_owner_in_another_state_than_its_log_has_to_recover_from_it(ground):
    """Its next commit is fenced off, and a snapshot of its state does not stay: the log's takes its place."""
    live = made("plain", 4, 1)
    middle, end = halves(live)
    tag, at = "{i:BTC-USD}", middle.standings["{i:BTC-USD}"]
    on = ground(live)
    on.client.hset(keys.meta(tag), mapping={"epoch": 7, "owner": "somebody"})
    with on.audited():
        on.wait(lambda: on.client.exists(keys.AUDITED))
        on.save(tag, replace(middle, states=middle.states | {tag: end.states[tag]}))
        on.grow(middle)
        assert on.record(tag)["position"] == at.length
        on.wait(lambda: on.client.hmget(keys.meta(tag), "epoch", "owner") == [b"8", b""])
    (found,) = read_snapshots(on.client.hgetall(keys.snapshot(tag)))
    assert (found.chain, found.state) == (at.chain, middle.states[tag])
    assert on.modes() == {"BTC-USD": "halted", "ETH-USD": "online"}


def test_a_big_state_is_saved_before_its_owner_has_to(ground, monkeypatch):
    """Only once its owner has told a digest of the same state; two are kept."""
    monkeypatch.setattr(process, "BIG_STATE", 1)
    live = made("plain", 5, 1)
    moments = live.past.moments
    on = ground(live)
    on.settings = on.settings.with_changes(snapshot_every=40)
    on.grow(moments[len(moments) // 3])
    with on.audited():
        on.wait_followed()
        for moment in (*moments[len(moments) // 3 + 1 :], Follower(live).final()):
            on.grow(moment)
            if moment is moments[len(moments) // 3 + 1]:
                for tag in on.tags:
                    on.save(tag, moment)
            on.wait_followed()
        time.sleep(0.3)
    for tag, one in on.tags.items():
        found = read_snapshots(on.client.hgetall(keys.snapshot(tag)))
        assert len(found) == 2
        for snapshot in found:
            handler = type(one.handler)(on.settings, 0 if tag == "{a:0}" else tag[3:-1])
            for payload in one.log[: snapshot.position]:
                handler.fold(payload)
            assert handler.dump() == snapshot.state


def test_who_is_overtaken_by_an_owner_does_not_speak_of_a_loss(client):
    """The log was trimmed behind snapshots later than where one stood: that is for another try, and no damage."""
    client.set(keys.SHARDS, 1)
    client.xadd(keys.log("{a:0}"), {"d": b"entry"}, id="4-0")
    logs = RedisLogs(client, Settings())
    with pytest.raises(CorruptState, match="no snapshot leads there"):
        logs.usable("{a:0}", 2)
    assert save(client, Made("{a:0}", b"entry", Snapshot(4, "", hashlib.sha256(b"state").hexdigest(), b"state")))
    with pytest.raises(Trimmed, match="was trimmed while the audit read it"):
        logs.usable("{a:0}", 2)
    assert [one.position for one in logs.usable("{a:0}", 4)] == [4]


def test_a_snapshot_is_let_in_only_behind_the_entry_it_was_made_of(client):
    """A log that was put back and went on differently does not get the state of the other one."""
    client.xadd(keys.log("{a:0}"), {"d": b"another"}, id="7-0")
    snapshot = Snapshot(7, "", "", b"state")
    assert not save(client, Made("{a:0}", b"mine", snapshot))
    assert not save(client, Made("{a:0}", b"mine", replace(snapshot, position=8)))
    assert client.hgetall(keys.snapshot("{a:0}")) == {}
    for position in (3, 5, 7):
        client.hset(keys.snapshot("{a:0}"), str(position), b"x")
    assert save(client, Made("{a:0}", b"another", snapshot))
    assert sorted(client.hkeys(keys.snapshot("{a:0}"))) == [b"5", b"7"]
