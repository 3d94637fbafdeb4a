"""The runtime and its commit script, against a real Valkey: exactly once, whoever dies."""

import hashlib
import threading
import time

import msgspec
import pytest
import structlog

import workers.runtime
from shared import keys
from shared.beat import decode_beat
from shared.chain import advance
from shared.connections import connect
from shared.errors import CorruptState
from shared.settings import Settings
from workers.handler import BrokenSource
from workers.runtime import Runtime
from workers.store import Commit, RedisStore, Snapshot, read_snapshots, read_standing

TAG = keys.shard_tag(0)
SOURCE = "{a:0}:in"
OUTBOX = keys.outbox(0, "BTC-USD")
BOOK_LOG = keys.log(keys.instrument_tag("BTC-USD"))


class Adder:
    """A tiny state machine: adds the numbers it reads, logs each sum, and passes even numbers on."""

    tag = TAG

    def __init__(self):
        self.total = 0

    def sources(self):
        return [SOURCE]

    def readers(self, stream):
        return [TAG] if stream == SOURCE else ["reader"]

    def handle(self, source, entries, batch):
        for _, (_, payload) in entries:
            self.total += int(payload)
            batch.log.append(b"%d" % self.total)
            if int(payload) % 2 == 0:
                batch.send(OUTBOX, payload)

    def set_aside(self, _broken):
        return False

    def trouble(self):
        return ""

    def tick(self, batch):
        pass

    def fold(self, payload):
        self.total = int(payload)

    def dump(self):
        return b"%d" % self.total

    def load(self, state):
        self.total = int(state)

    def reset(self):
        self.total = 0

    def digest(self):
        return f"sum {self.total}"

    def sequence(self):
        return self.total


def make_store(url, **options):
    return RedisStore(
        url,
        TAG,
        options.get("lease_ms", 60_000),
        stopping=options.get("stopping", lambda: False),
        warn=lambda *_, **__: None,
    )


def run_until(url, adder, done, **changes):
    """Run the runtime over ``adder`` until ``done()``; at most 10 s."""
    end = time.monotonic() + 10
    stopping = lambda: done() or time.monotonic() > end  # noqa: E731
    settings = Settings(redis_url=url, lease_ms=1000).with_changes(**changes)
    store = RedisStore(url, TAG, settings.lease_ms, stopping=stopping, warn=structlog.get_logger().warning)
    Runtime("adder", adder, store, settings, stopping).run()
    store.close()
    assert done(), "the runtime did not get there in 10 s"


def commit_of(before, after, log, sends=None):
    return Commit(before, before, chain_at(before), chain_at(after), {SOURCE: f"{after}-0"}, log, sends or {})


def chain_at(count):
    return advance("", [b"entry"] * count)


def do_commit(store, commit):
    store.send_commit(commit)
    return store.receive_commit()


@pytest.fixture
def client(redis_url):
    with connect(redis_url) as client:
        yield client


@pytest.fixture
def store(redis_url):
    store = make_store(redis_url)
    assert store.acquire() == 0
    yield store
    store.close()


def test_a_commit_writes_everything_at_once(store, client):
    """Log, outbox, positions, version, length and chain move together, with gapless ids."""
    assert do_commit(store, commit_of(0, 1, [b"entry"], {OUTBOX: (0, [b"a", b"b"])})) == "OK"
    assert client.xrange(keys.log(TAG)) == [(b"1-0", {b"d": b"entry"})]
    assert [one for one, _ in client.xrange(OUTBOX)] == [b"1-0", b"2-0"]
    standing = store.standing()
    assert (standing.version, standing.length, standing.chain) == (1, 1, chain_at(1))
    assert standing.positions == {SOURCE: "1-0"}
    assert standing.lengths == {OUTBOX: 2}


def test_an_owner_tells_a_digest_of_its_state_with_the_length_it_is_of(redis_url, client):
    """Each time the log passes a multiple of digest_every, and with the very commit, so no state is told late."""
    seen = set()
    for number in range(1, 11):
        client.xadd(SOURCE, {"d": number})

    def done():
        seen.add(read_standing(client.hgetall(keys.meta(TAG))).digest)
        return client.xlen(keys.log(TAG)) == 10

    run_until(redis_url, Adder(), done, batch=1, digest_every=4)
    sums = {number: f"sum {number * (number + 1) // 2}" for number in (4, 8)}
    assert (8, sums[8]) in seen
    assert seen <= {(0, ""), *sums.items()}


def test_a_repeated_commit_is_done_once(store, client):
    """A lost reply: the very same commit again answers DUP and writes nothing."""
    commit = commit_of(0, 1, [b"entry"])
    assert [do_commit(store, commit), do_commit(store, commit)] == ["OK", "DUP"]
    assert client.xlen(keys.log(TAG)) == 1


def test_another_commit_of_the_same_version_is_not_taken_for_a_repeat(store, client):
    """The version alone does not make a DUP: the length and the chain must be those of this commit."""
    assert do_commit(store, commit_of(0, 1, [b"entry"])) == "OK"
    other = Commit(0, 0, "", advance("", [b"other"]), {SOURCE: "9-0"}, [b"other"], {})
    assert do_commit(store, other) == "GAP"
    assert client.xlen(keys.log(TAG)) == 1


@pytest.mark.parametrize(
    "commit",
    [
        Commit(1, 1, chain_at(1), chain_at(2), {}, [b"entry"], {}),
        Commit(0, 1, "", chain_at(1), {}, [b"entry"], {}),
        Commit(0, 0, chain_at(3), chain_at(4), {}, [b"entry"], {}),
        Commit(0, 0, "", chain_at(1), {}, [b"entry"], {OUTBOX: (5, [b"a"])}),
    ],
    ids=["version", "length", "chain", "outbox"],
)
def test_a_commit_from_another_state_is_refused_whole(store, client, commit):
    """Version, length, chain or outbox that are not the stored ones: GAP, and nothing is written."""
    assert do_commit(store, commit) == "GAP"
    assert client.exists(keys.log(TAG), OUTBOX) == 0
    assert store.standing().version == 0


def test_a_replaced_owner_is_fenced(redis_url, client):
    """A zombie whose lease ended and was taken cannot write, not even its next version."""
    zombie, heir = make_store(redis_url), make_store(redis_url)
    assert zombie.acquire() == 0
    assert heir.acquire() > 0
    (seconds, micros) = client.time()
    client.hset(keys.meta(TAG), "lease", seconds * 1000 + micros // 1000 + 300)  # the zombie does not renew it
    wait_until(lambda: heir.acquire() == 0)
    assert heir.epoch > zombie.epoch
    assert do_commit(zombie, commit_of(0, 1, [b"entry"])) == "FENCED"
    assert do_commit(heir, commit_of(0, 1, [b"entry"])) == "OK"
    assert client.xlen(keys.log(TAG)) == 1
    for one in (zombie, heir):
        one.close()


def test_an_owner_that_starts_over_fences_its_own_past(store):
    """A commit still on its way from before a hiccup must not land in the new ownership."""
    token, epoch = store.owner, store.epoch
    assert store.acquire() == 0
    assert store.epoch > epoch
    store.owner, store.epoch, fresh = token, epoch, (store.owner, store.epoch)
    assert do_commit(store, commit_of(0, 1, [b"entry"])) == "FENCED"
    store.owner, store.epoch = fresh
    assert do_commit(store, commit_of(0, 1, [b"entry"])) == "OK"


def test_large_numbers_stay_whole(store, client):
    """Lengths beyond Lua's short formats keep all their digits (1e+15 would be the naive text)."""
    client.hset(keys.meta(TAG), mapping={"length": 10**15, "version": 10**15, "chain": chain_at(1)})
    commit = Commit(10**15, 10**15, chain_at(1), chain_at(2), {}, [b"entry"], {})
    assert do_commit(store, commit) == "OK"
    assert client.xrange(keys.log(TAG))[0][0] == b"1000000000000001-0"
    assert store.standing().length == 10**15 + 1


def test_the_loop_reads_handles_and_commits(redis_url, client):
    """What goes into the source comes out of the log and the outbox, once, in order."""
    for number in (1, 2, 3, 4):
        client.xadd(SOURCE, {"d": number})
    adder = Adder()
    run_until(redis_url, adder, lambda: client.xlen(keys.log(TAG)) == 4)
    assert [fields[b"d"] for _, fields in client.xrange(keys.log(TAG))] == [b"1", b"3", b"6", b"10"]
    assert [fields[b"d"] for _, fields in client.xrange(OUTBOX)] == [b"2", b"4"]


class Clock(Adder):
    """Sends the hour when it ticks, without a log entry and without having read anything; so often, then no more."""

    def __init__(self, ticks):
        super().__init__()
        self.left = ticks

    def tick(self, batch):
        if self.left:
            self.left -= 1
            batch.send(OUTBOX, b"%d o'clock" % self.left)


def test_a_tick_is_committed_where_nothing_is_read(redis_url, client):
    """What a machine does because time passes reaches its outbox in quiet times too, each once, also after work."""
    clock = Clock(2)
    run_until(redis_url, clock, lambda: client.xlen(OUTBOX) == 2)
    client.xadd(SOURCE, {"d": b"4"})
    again = Clock(1)
    run_until(redis_url, again, lambda: client.xlen(OUTBOX) == 4)
    sent = [fields[b"d"] for _, fields in client.xrange(OUTBOX)]
    assert sent[:2] == [b"1 o'clock", b"0 o'clock"]
    assert sorted(sent[2:]) == [b"0 o'clock", b"4"]


@pytest.mark.parametrize("snapshot_every", [1, 3, 1000])
def test_recovery_goes_on_where_the_log_ends(redis_url, client, snapshot_every):
    """A second process folds snapshot and log, and neither skips nor repeats an entry."""
    for number in range(10):
        client.xadd(SOURCE, {"d": number})
    run_until(redis_url, Adder(), lambda: client.xlen(keys.log(TAG)) == 10, batch=4, snapshot_every=snapshot_every)
    for number in range(10, 20):
        client.xadd(SOURCE, {"d": number})
    heir = Adder()
    run_until(redis_url, heir, lambda: client.xlen(keys.log(TAG)) == 20, batch=4, snapshot_every=snapshot_every)
    assert heir.total == sum(range(20))
    assert client.xrevrange(keys.log(TAG), count=1)[0][1] == {b"d": b"%d" % sum(range(20))}


def test_two_owners_at_once_write_each_entry_once(redis_url, client):
    """Two processes want the same tag; leases run out under them (SIGSTOP, clock); no entry is lost or doubled."""
    adders = [Adder(), Adder()]
    count = 300

    def all_done():
        return client.xlen(keys.log(TAG)) >= count

    threads = [
        threading.Thread(target=run_until, args=(redis_url, one, all_done), kwargs={"batch": 5}) for one in adders
    ]
    for thread in threads:
        thread.start()
    for number in range(count):
        client.xadd(SOURCE, {"d": number})
        if number % 50 == 25:  # the lease is taken away from whoever holds it
            client.hset(keys.meta(TAG), mapping={"owner": "", "lease": "0"})
            client.publish(f"{keys.lease(TAG)}.live", "released")
    for thread in threads:
        thread.join(15)
    sums = [int(fields[b"d"]) for _, fields in client.xrange(keys.log(TAG))]
    assert sums == [number * (number + 1) // 2 for number in range(count)]


def test_a_hole_in_the_log_stops_recovery(redis_url, client):
    """A missing entry is never skipped: the error names the log and the next step."""
    for number in range(5):
        client.xadd(SOURCE, {"d": number})
    run_until(redis_url, Adder(), lambda: client.xlen(keys.log(TAG)) == 5)
    client.delete(keys.snapshot(TAG))
    client.xdel(keys.log(TAG), "3-0")
    with pytest.raises(CorruptState, match=r"\{a:0\}:log: entries are missing after 0.*matchbox audit"):
        run_until(redis_url, Adder(), lambda: False)


def test_a_changed_entry_stops_recovery(redis_url, client):
    """The chain catches an entry that is not what was committed."""
    for number in range(3):
        client.xadd(SOURCE, {"d": number})
    run_until(redis_url, Adder(), lambda: client.xlen(keys.log(TAG)) == 3)
    client.delete(keys.snapshot(TAG), keys.log(TAG))
    for number in range(3):
        client.xadd(keys.log(TAG), {"d": number * 7}, id=f"{number + 1}-0")
    with pytest.raises(CorruptState, match="chain"):
        run_until(redis_url, Adder(), lambda: False)


def test_a_damaged_snapshot_is_passed_over(redis_url, client):
    """Recovery takes the newest snapshot whose sha256 is right, here the second newest."""
    for number in range(6):
        client.xadd(SOURCE, {"d": number})
    run_until(redis_url, Adder(), lambda: client.xlen(keys.log(TAG)) == 6, batch=2, snapshot_every=2)
    name = keys.snapshot(TAG)
    newest = max(client.hkeys(name), key=int)
    assert len(client.hkeys(name)) == 2
    client.hset(name, newest, client.hget(name, newest).replace(b"15", b"99"))
    heir = Adder()
    client.xadd(SOURCE, {"d": 100})
    run_until(redis_url, heir, lambda: client.xlen(keys.log(TAG)) == 7)
    assert heir.total == 115


def test_a_log_is_not_trimmed_behind_snapshots_that_cannot_be_read(redis_url, client, monkeypatch):
    """Whatever spoils each snapshot as soon as it is written, the log that leads to the state is kept."""
    monkeypatch.setattr(workers.runtime, "TRIM_S", 0)
    client.config_set("stream-node-max-entries", 1)  # else less than a node is never trimmed
    client.hset(keys.consumers(keys.log(TAG)), "reader", "1000-0")
    for number in range(60):
        client.xadd(SOURCE, {"d": number})

    def spoil():
        for position, stored in client.hgetall(keys.snapshot(TAG)).items():
            client.hset(keys.snapshot(TAG), position, stored[:-1] + b"x")
        return client.hget(keys.meta(TAG), "length") == b"60"

    run_until(redis_url, Adder(), spoil, batch=1, snapshot_every=5, log_keep=0)
    spoil()
    assert client.xrange(keys.log(TAG), count=1)[0][0] == b"1-0"
    heir = Adder()
    client.xadd(SOURCE, {"d": 1000})
    run_until(redis_url, heir, lambda: client.xlen(keys.log(TAG)) == 61)
    assert heir.total == sum(range(60)) + 1000


def test_a_snapshot_that_got_damaged_is_written_again(redis_url, client, monkeypatch):
    """At once and not when the next is due; and the sound one before it is kept meanwhile."""
    monkeypatch.setattr(workers.runtime, "TRIM_S", 0)
    for number in range(12):
        client.xadd(SOURCE, {"d": number})
    seen: list[int] = []

    def spoil_once():
        stored = {int(position): value for position, value in client.hgetall(keys.snapshot(TAG)).items()}
        if not seen and len(stored) == 2:
            seen.extend(sorted(stored))
            client.hset(keys.snapshot(TAG), str(max(stored)), stored[max(stored)][:-1] + b"x")
        return len(seen) == 2 and client.xlen(keys.log(TAG)) == 12 and len(read_snapshots(_stored(client))) == 2

    run_until(redis_url, Adder(), spoil_once, batch=4, snapshot_every=4)
    assert len(read_snapshots(_stored(client))) == 2


def _stored(client):
    return client.hgetall(keys.snapshot(TAG))


def test_a_newer_snapshot_by_the_auditor_spares_the_owner_its_own(redis_url, client):
    """The owner writes none while there is one that is not older than its own would have to be."""
    for number in range(20):
        client.xadd(SOURCE, {"d": number})
    written: set[int] = set()

    def write():
        length = int(client.hget(keys.meta(TAG), "length") or 0)
        written.update(map(int, _stored(client)))
        at = length - length % 4  # where the auditor would be
        if at and at < 20 and at not in written:
            state = b"%d" % sum(range(at))
            made = Snapshot(at, advance("", [b"%d" % sum(range(n + 1)) for n in range(at)]), "", state)
            made.sha256 = hashlib.sha256(state).hexdigest()
            client.hset(keys.snapshot(TAG), str(at), msgspec.msgpack.encode(made))
        return length == 20

    run_until(redis_url, Adder(), write, batch=1, snapshot_every=7)
    assert written <= {4, 8, 12, 16, 20}  # the last one is that of the leave


def test_trimming_waits_for_every_reader(redis_url, client):
    """Nothing is dropped before the reader reported; then only what it, and two snapshots, no longer need."""
    store = make_store(redis_url)
    for number in range(1, 501):
        client.xadd("log", {"d": number}, id=f"{number}-0")
    store.trim("log", ["reader"], 400)
    assert client.xlen("log") == 500
    client.hset(keys.consumers("log"), "reader", "300-0")
    store.trim("log", ["reader"], 400)
    first = int(client.xrange("log", count=1)[0][0].partition(b"-")[0])
    assert 100 < first <= 300
    store.close()


def test_trimming_keeps_up_with_any_writer(redis_url, client):
    """All that may go does, be it more than Redis drops of its own accord in one call."""
    store = make_store(redis_url)
    for first in range(1, 50_001, 5_000):
        pipe = client.pipeline(transaction=False)
        for number in range(first, first + 5_000):
            pipe.xadd("log", {"d": number}, id=f"{number}-0")
        pipe.execute()
    client.hset(keys.consumers("log"), "reader", "50000-0")
    store.trim("log", ["reader"], 49_000)
    assert 1_000 < client.xlen("log") < 1_200
    store.close()


def test_the_script_survives_a_flushed_cache(store, client):
    """A restarted Redis has forgotten the script: the commit loads it again."""
    client.script_flush()
    assert do_commit(store, commit_of(0, 1, [b"entry"])) == "OK"


def test_a_full_redis_refuses_before_it_writes(redis_server, redis_url, client):
    """Out of memory: nothing is written, the commit waits, and goes through when there is room."""
    store = make_store(redis_url)
    store.acquire()
    client.config_set("maxmemory", "1mb")
    threading.Timer(0.7, client.config_set, ("maxmemory", "0")).start()
    try:
        assert do_commit(store, commit_of(0, 1, [b"entry"])) == "OK"
    finally:
        client.config_set("maxmemory", "0")
    assert client.xlen(keys.log(TAG)) == 1
    store.close()


def test_who_waits_for_a_lease_sleeps(redis_url, store):
    """A standby asks about twice a second: waiting must cost neither a core nor Redis."""
    standby = make_store(redis_url)
    end, asked = time.monotonic() + 1.2, 0
    while time.monotonic() < end:
        standby.wait_for_release(standby.acquire())
        asked += 1
    assert asked <= 4
    standby.close()


def test_who_waits_for_a_lease_is_woken_by_its_release(redis_url, store):
    """The release is heard, so a standby takes over at once and not at its next look."""
    other, slept_s = make_store(redis_url), []
    owner, standby = store, other
    for _ in range(3):
        wait_ms = standby.acquire()
        releasing = threading.Timer(0.1, owner.release)
        releasing.start()
        started = time.monotonic()
        standby.wait_for_release(wait_ms)
        slept_s.append(time.monotonic() - started)
        releasing.join()
        assert standby.acquire() == 0
        owner, standby = standby, owner
    assert min(slept_s) < 0.4
    other.close()


def test_an_idle_owner_notices_that_redis_lost_its_tail(redis_url, client):
    """Redis comes back without an acknowledged commit: the owner stops, says what is gone, and nobody begins anew."""
    adder, failed = Adder(), []

    def run():
        try:
            run_until(redis_url, adder, lambda: False)
        except CorruptState as error:
            failed.append(str(error))

    runner = threading.Thread(target=run)
    runner.start()
    client.xadd(SOURCE, {"d": 3})
    wait_until(lambda: client.xlen(keys.log(TAG)) == 1)
    before = client.hgetall(keys.meta(TAG))
    client.xadd(SOURCE, {"d": 5})
    wait_until(lambda: client.xlen(keys.log(TAG)) == 2)
    lost = client.pipeline()
    lost.hset(keys.meta(TAG), mapping=before)
    lost.delete(keys.log(TAG))
    lost.xadd(keys.log(TAG), {"d": 3}, id="1-0")
    lost.execute()
    runner.join()
    told = (
        f'{keys.log(TAG)}: Redis had acknowledged 2 entries and has 1 now; stop the cluster and run "matchbox recover"'
    )
    assert failed == [told]
    assert client.xlen(keys.log(TAG)) == 1
    with pytest.raises(CorruptState, match="recover"):
        run_until(redis_url, Adder(), lambda: False)


def test_a_snapshot_is_kept_only_by_the_owner_that_stands_there(redis_url, store, client):
    """A former owner, or one whose state Redis has lost, leaves no snapshot: the log may grow past it, otherwise."""
    assert do_commit(store, commit_of(0, 1, [b"entry"])) == "OK"
    assert not store.save_snapshot(2, 2, chain_at(2), b"of a commit that is lost")
    assert store.save_snapshot(1, 1, chain_at(1), b"state")
    client.hset(keys.meta(TAG), "owner", "heir")
    assert not store.save_snapshot(1, 1, chain_at(1), b"of a former owner")
    assert [one.state for one in store.snapshots()] == [b"state"]


def test_bytes_that_are_no_snapshot_are_passed_over(redis_url, client):
    """What cannot be read at all is like a snapshot with the wrong sha256: the log is folded instead."""
    for number in range(4):
        client.xadd(SOURCE, {"d": number})
    run_until(redis_url, Adder(), lambda: client.xlen(keys.log(TAG)) == 4)
    client.hset(keys.snapshot(TAG), "4", b"\xc1 nonsense")
    heir = Adder()
    client.xadd(SOURCE, {"d": 10})
    run_until(redis_url, heir, lambda: client.xlen(keys.log(TAG)) == 5)
    assert heir.total == 16


def test_a_hole_in_a_source_stops_its_reader(redis_url, client):
    """An entry that another machine has written and Redis has no more is never skipped."""
    source = keys.log(keys.instrument_tag("BTC-USD"))
    for number in (1, 2, 4):
        client.xadd(source, {"d": number}, id=f"{number}-0")
    adder = Adder()
    adder.sources = lambda: [source]  # type: ignore[method-assign]
    with pytest.raises(CorruptState, match=r"\{i:BTC-USD\}:log: entries are missing after 0 \(the next are 1-0 to 4-0"):
        run_until(redis_url, adder, lambda: False)
    assert client.xlen(keys.log(TAG)) == 0


def test_what_a_former_owner_finds_wrong_is_its_own_past(redis_url, client):
    """Stopped past its lease, it wakes up to entries that make no sense to its old state: it recovers, and goes on."""

    class Zombie(Adder):
        is_stale = True

        def handle(self, source, entries, batch):
            if self.is_stale:
                self.is_stale = False
                client.hset(keys.meta(TAG), mapping={"owner": "heir", "lease": "0"})
                raise BrokenSource(source, "an order that nobody told me of")
            super().handle(source, entries, batch)

        def set_aside(self, broken):
            raise AssertionError("nothing is broken")

    client.xadd(SOURCE, {"d": 3})
    run_until(redis_url, Zombie(), lambda: client.xlen(keys.log(TAG)) == 1)


def test_what_an_owner_finds_wrong_stops_it(redis_url, client):
    """The present owner is right: what contradicts its state is corrupt, and nothing goes on."""

    class Owner(Adder):
        def handle(self, source, entries, batch):
            raise CorruptState("an order that nobody told me of")

    client.xadd(SOURCE, {"d": 3})
    with pytest.raises(CorruptState, match="nobody told me"):
        run_until(redis_url, Owner(), lambda: False)


class Careful(Adder):
    """Reads a second source, of numbers; does without it if it has anything else."""

    def __init__(self):
        super().__init__()
        self.broken = {}

    def sources(self):
        return [one for one in (SOURCE, BOOK_LOG) if one not in self.broken]

    def handle(self, source, entries, batch):
        for entry in entries:
            if not entry[1][1].isdigit():
                raise BrokenSource(source, f"{source}: {entry[1][1].decode()} is no number")
            super().handle(source, [entry], batch)

    def set_aside(self, broken):
        self.broken[broken.source] = str(broken)
        return True

    def trouble(self):
        return "; ".join(self.broken.values())


@pytest.mark.parametrize(("number", "payload", "why"), [(3, "x", "x is no number"), (4, "1", "entries are missing")])
def test_a_broken_source_is_set_aside_and_the_others_go_on(redis_url, client, number, payload, why):
    """Nothing of the batch that met it takes effect but what came from others, once; the beat says what is missing."""
    for at in (1, 2):
        client.xadd(BOOK_LOG, {"d": at}, id=f"{at}-0")
    adder = Careful()
    run_until(redis_url, adder, lambda: client.xlen(keys.log(TAG)) == 2)
    client.xadd(SOURCE, {"d": 10})
    client.xadd(BOOK_LOG, {"d": payload}, id=f"{number}-0")
    run_until(redis_url, adder, lambda: bool(adder.broken) and client.xlen(keys.log(TAG)) == 3)
    client.xadd(SOURCE, {"d": 20})
    run_until(redis_url, adder, lambda: client.xlen(keys.log(TAG)) == 4)
    assert [fields[b"d"] for _, fields in client.xrange(keys.log(TAG))] == [b"1", b"3", b"13", b"33"]
    assert read_standing(client.hgetall(keys.meta(TAG))).positions[BOOK_LOG] == "2-0"
    assert why in adder.trouble()
    beat = decode_beat(client.get(keys.beat("adder")))
    assert beat is not None
    assert why in beat.error


def test_a_source_of_another_type_is_set_aside_and_the_others_go_on(redis_url, client):
    """Redis refuses a whole read for one key that holds something else; that is no outage, and no reason to wait."""
    client.xadd(BOOK_LOG, {"d": "1"}, id="1-0")
    adder = Careful()
    run_until(redis_url, adder, lambda: client.xlen(keys.log(TAG)) == 1)
    client.delete(BOOK_LOG)
    client.set(BOOK_LOG, "hello")
    run_until(redis_url, adder, lambda: bool(adder.broken))
    client.xadd(SOURCE, {"d": 10})
    run_until(redis_url, adder, lambda: client.xlen(keys.log(TAG)) == 2)
    assert adder.trouble().startswith(f"{BOOK_LOG}: its key holds a string: somebody else wrote there")
    beat = decode_beat(client.get(keys.beat("adder")))
    assert beat is not None
    assert beat.error == adder.trouble()


def test_an_own_log_of_another_type_stops_its_owner(redis_url, client):
    """It says what it found, and does not wait for a Redis that is there."""
    client.xadd(SOURCE, {"d": "1"})
    run_until(redis_url, Adder(), lambda: client.xlen(keys.log(TAG)) == 1)
    client.delete(keys.log(TAG), keys.snapshot(TAG))
    client.set(keys.log(TAG), "hello")
    with pytest.raises(CorruptState, match=r"not what its owner left there \(WRONGTYPE"):
        run_until(redis_url, Adder(), lambda: False)


@pytest.mark.parametrize("stream", [keys.log(TAG), OUTBOX])
def test_a_foreign_entry_in_a_stream_stops_its_owner(store, client, stream):
    """Somebody wrote where only the owner may: trying again is of no use, so it says so and stops."""
    client.xadd(stream, {"d": "foreign"}, id="7-0")
    with pytest.raises(CorruptState, match="not what its owner left there"):
        do_commit(store, commit_of(0, 1, [b"entry"], {OUTBOX: (0, [b"a"])}))


def test_a_long_recovery_keeps_its_lease(redis_url, client):
    """A state that takes longer to load than a lease lasts: no rival gets in, or both would begin again for ever."""
    store = make_store(redis_url)
    store.acquire()
    do_commit(store, commit_of(0, 1, [b"entry"]))
    store.save_snapshot(1, 1, chain_at(1), b"7" * 10_000_000)
    store.release()
    rival, waits = make_store(redis_url), []

    class Slow(Adder):
        def load(self, state):
            time.sleep(0.8)
            waits.append(rival.acquire())

    run_until(redis_url, Slow(), lambda: bool(waits), lease_ms=500)
    assert waits[0] > 0
    for one in (store, rival):
        one.close()


def test_a_snapshot_does_not_lengthen_the_lease(redis_url, client):
    """An owner that dies after a snapshot is waited for no longer than any other: its lease is an ordinary one."""
    for number in range(4):
        client.xadd(SOURCE, {"d": str(number)})
    snapshots = lambda: client.hlen(keys.snapshot(TAG))  # noqa: E731
    leases = []

    class Dying(Adder):
        def sources(self):  # asked for right after a snapshot
            if snapshots() > 1:
                (seconds, micros), until = client.time(), int(client.hget(keys.meta(TAG), "lease"))
                leases.append(until - seconds * 1000 - micros // 1000)
            return [SOURCE]

        def dump(self):
            return b"0" * 20_000_000 + b"%d" % self.total

    run_until(redis_url, Dying(), lambda: bool(leases), lease_ms=8000, snapshot_every=1, batch=1)
    assert 0 < leases[0] <= 8000


def wait_until(condition):
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end, "not within 10 s"
        time.sleep(0.02)
