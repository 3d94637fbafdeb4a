"""The Redis in memory against a real one: the same store, the same commits, right and wrong, the same outcome."""

import random
import time
from collections import Counter
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest

import workers.store
from shared import keys
from shared.beat import beat_of
from shared.chain import advance
from shared.connections import connect
from shared.errors import CorruptState
from tests.simulation.client import MemoryClient, Sent
from tests.simulation.memory import MemoryRedis, raw
from workers.store import Commit, RedisStore, Standing

TAG = keys.shard_tag(0)
SOURCES = (keys.inbox(0), "{i:BTC-USD}:log")
OUTBOXES = (keys.outbox(0, "BTC-USD"), keys.outbox(0, "ETH-USD"))
STREAMS = (keys.log(TAG), *OUTBOXES)
FAR = 10**14
"""An epoch beyond the clock, so that the next one does not depend on it."""


class Quiet:
    """A caller to whom nothing happens."""

    def __init__(self, redis: MemoryRedis) -> None:
        self.redis = redis

    def wait(self, ms: float, news: Callable[[], bool] | None = None) -> None:
        pass

    def may_yield(self, act: Callable[[], Any]) -> None:
        pass

    def mishap(self) -> str:
        return ""

    def is_slow(self, sent: Sent) -> bool:
        return False

    def abandon(self, sent: Sent) -> None:
        pass

    def committed(self, *, by_owner: bool, answer: Any) -> None:
        pass

    def note(self, what: str) -> None:
        pass


class Pair:
    """Two rivals on a real Redis, and the same two on one in memory. What is asked of both has to be answered alike."""

    def __init__(self, url: str) -> None:
        self.real = connect(url)
        self.memory = MemoryRedis(lambda: int(time.time() * 1000))
        self.token = ""
        self.answers: Counter[str] = Counter()
        tokens = SimpleNamespace(token_hex=lambda _size: self.token)
        self._patch = mock.patch.object(workers.store, "secrets", tokens)
        self._patch.start()
        self.stores = [(self._on(connect(url)), self._on(MemoryClient(Quiet(self.memory)))) for _ in range(2)]
        self.hset({"epoch": FAR})

    def _on(self, client: Any) -> RedisStore:
        with mock.patch.object(workers.store, "connect", return_value=client):
            return RedisStore("", TAG, 60_000, stopping=lambda: False, warn=lambda *_, **__: None)

    def close(self) -> None:
        self._patch.stop()
        for real, _ in self.stores:
            real.close()
        self.real.close()

    def hset(self, fields: dict[str, Any]) -> None:
        self.real.hset(keys.meta(TAG), mapping=fields)
        self.memory.hset(keys.meta(TAG), {raw(name): raw(value) for name, value in fields.items()})

    def add(self, stream: str, identifier: str, payload: bytes) -> None:
        """Somebody writes to a stream."""
        self.real.xadd(stream, {"d": payload}, id=identifier)
        self.memory.xadd(stream, raw(identifier), payload)

    def ask(self, who: int, what: Callable[[RedisStore], Any]) -> Any:
        """Ask both stores of a rival; answers what both said."""
        real, memory = (_outcome(what, store) for store in self.stores[who])
        assert memory == real
        self.answers[str(real)] += 1
        return real

    def compare(self) -> None:
        """All that is stored is the same; the lease by the clock, to 2 s."""
        real, memory = self.real.hgetall(keys.meta(TAG)), dict(self.memory.hash_of(keys.meta(TAG)))
        assert abs(int(real.pop(b"lease", b"0")) - int(memory.pop(b"lease", b"0"))) < 2000
        assert memory == real
        for stream in STREAMS:
            entries = [(identifier, fields[b"d"]) for identifier, fields in self.real.xrange(stream)]
            assert [(one[0], one[1][1]) for one in self.memory.stream(stream).entries] == entries
        assert self.memory.hash_of(keys.snapshot(TAG)) == self.real.hgetall(keys.snapshot(TAG))
        for source in SOURCES:
            assert self.memory.hash_of(keys.consumers(source)) == self.real.hgetall(keys.consumers(source))


def _outcome(what: Callable[[RedisStore], Any], store: RedisStore) -> Any:
    try:
        return what(store)
    except CorruptState as error:
        return str(error).partition("(")[0]


def _do(commit: Commit) -> Callable[[RedisStore], str]:
    def send(store: RedisStore) -> str:
        store.send_commit(commit)
        return store.receive_commit()

    return send


def _commit(dice: random.Random, at: Standing) -> Commit:
    """A commit from this standing, wrong in one respect once in three times."""
    log = [b"entry %d" % dice.randint(0, 99) for _ in range(dice.choice((0, 1, 1, 3)))]
    sends = {
        box: (at.lengths.get(box, 0), [b"a", b"b"][: dice.randint(1, 2)]) for box in OUTBOXES if dice.random() < 0.4
    }
    positions = {source: f"{dice.randint(1, 99)}-0" for source in SOURCES if dice.random() < 0.6}
    commit = Commit(at.version, at.length, at.chain, advance(at.chain, log), positions, log, sends)
    commit.digest = "abcd" if commit.version % 3 == 0 else ""
    if dice.random() < 0.33:
        match dice.randint(0, 4):
            case 0:
                commit.version += dice.choice((-1, 1))
            case 1:
                commit.length += dice.choice((-1, 1))
            case 2:
                commit.chain_before = advance("", [b"other"])
            case 3:
                commit.chain_after = advance("", [b"other"])
            case _:
                commit.sends = {OUTBOXES[0]: (at.lengths.get(OUTBOXES[0], 0) + 1, [b"a"])}
    return commit


def _step(pair: Pair, dice: random.Random, number: int, sent: list[Commit]) -> None:
    who = dice.randint(0, 1)
    at = pair.ask(who, lambda store: store.standing())
    match dice.randint(0, 19):
        case 0 | 1:
            pair.token = f"token {number}"
            if dice.random() < 0.3:
                pair.hset({"lease": 0})
            pair.ask(who, lambda store: store.acquire() > 0)
        case 2:
            pair.ask(who, lambda store: store.renew(at.version))
            pair.ask(who, lambda store: store.renew(at.version + 1))
        case 3:
            pair.ask(who, lambda store: store.release())
        case 4:
            state = b"state %d" % number
            pair.ask(who, lambda store: store.save_snapshot(at.version, at.length, at.chain, state))
            pair.ask(who, lambda store: store.save_snapshot(at.version + 1, at.length + 1, at.chain, state))
            pair.ask(who, lambda store: (store.snapshots(), store.snapshot_positions()))
        case 5:
            pair.ask(who, lambda store: [*store.history(max(0, at.length - 5), at.length)])
        case 6:
            source = dice.choice(SOURCES)
            top = pair.memory.stream(source).top[0]
            pair.add(source, f"{top + 1}-0", b"%d" % number)
            pair.ask(who, lambda store: store.send_read(dict.fromkeys(SOURCES, f"{top}-0"), 1))
            pair.ask(who, lambda store: store.backlog({source: "0-0"}))
            pair.ask(who, lambda store: store.beat("ledger", beat_of("running"), {source: f"{number}-0"}, TAG))
        case 7 if sent:
            pair.ask(who, _do(dice.choice(sent[-3:])))
        case 8 if number > 500:
            stream = dice.choice(STREAMS)  # a stranger, towards the end: nobody gets past it
            pair.add(stream, f"{pair.memory.stream(stream).top[0] + 1}-0", b"foreign")
        case 9:
            pair.ask(who, lambda store: store.is_owner())
        case _:
            sent.append(_commit(dice, at))
            for _ in range(dice.choice((1, 1, 1, 2))):  # the second time, its own lost reply
                pair.ask(who, _do(sent[-1]))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_memory_and_valkey_agree(redis_url, seed):
    """Two rivals commit, repeat, overtake, snapshot and release: every answer and every key is the same."""
    pair, dice = Pair(redis_url), random.Random(seed)
    sent: list[Commit] = []
    try:
        for number in range(600):
            _step(pair, dice, number, sent)
            if number % 10 == 0:
                pair.compare()
        pair.compare()
        assert len(pair.memory.stream(keys.log(TAG)).tape) > 50
        assert {"OK", "DUP", "GAP", "FENCED"} <= pair.answers.keys()
        assert any("not what its owner left there" in answer for answer in pair.answers)
    finally:
        pair.close()


@pytest.mark.slow
def test_both_read_the_same(redis_url):
    """What a machine reads of its sources has one shape, and no more than was asked for."""
    pair = Pair(redis_url)
    try:
        for number in range(1, 8):
            pair.add(SOURCES[1], f"{number}-0", b"%d" % number)

        def read(store: RedisStore) -> Any:
            store.send_read({SOURCES[0]: "0-0", SOURCES[1]: "2-0"}, 3)
            return [(name, [[*entry] for entry in entries]) for name, entries in store.receive_read()]

        [(name, entries)] = pair.ask(0, read)
        assert name == SOURCES[1]
        assert [identifier for identifier, _ in entries] == [b"3-0", b"4-0", b"5-0"]
    finally:
        pair.close()
