"""A Redis in memory: streams, hashes, and our four scripts, line by line what the Lua does (test_same_as_valkey.py).

Every stream keeps a tape besides: all it ever held, whatever was trimmed since. No client sees it; the checks do.
"""

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from redis.exceptions import NoScriptError, ResponseError

from shared.mutex import ACQUIRE, RELEASE
from workers.store import COMMIT, COMMIT_SHA, STAND

Id = tuple[int, int]
Arguments = Sequence[bytes]


def id_of(text: bytes) -> Id:
    """An entry's id as two numbers."""
    first, _, second = text.partition(b"-")
    return int(first), int(second or 0)


def raw(value: Any) -> bytes:
    """An argument as a client sends it."""
    return value if isinstance(value, bytes) else str(value).encode()


class Stream:
    """Entries in the shape in which Redis answers them, by rising id."""

    def __init__(self) -> None:
        self.ids: list[Id] = []
        self.entries: list[list[Any]] = []
        self.top: Id = (0, 0)
        self.tape: list[tuple[bytes, bytes]] = []

    def add(self, identifier: bytes, payload: bytes) -> None:
        """Append. Raises ``ResponseError`` unless the id is behind the last."""
        number = id_of(identifier)
        if number <= self.top:
            raise ResponseError("The ID specified in XADD is equal or smaller than the target stream top item")
        self.top = number
        self.ids.append(number)
        self.entries.append([identifier, [b"d", payload]])
        self.tape.append((identifier, payload))

    def has_after(self, place: Id) -> bool:
        """Whether there is an entry behind an id."""
        return bool(self.ids) and self.ids[-1] > place

    def after(self, place: Id, count: int) -> list[list[Any]]:
        """At most ``count`` entries behind an id."""
        start = bisect_right(self.ids, place)
        return self.entries[start : start + count]

    def between(self, first: bytes, last: bytes, count: int) -> list[list[Any]]:
        """At most ``count`` entries from one id to another."""
        start, end = bisect_left(self.ids, id_of(first)), bisect_right(self.ids, id_of(last))
        return self.entries[start : min(end, start + count)]

    def trim(self, keep_from: bytes) -> int:
        """Drop what is before an id; answers how many."""
        count = bisect_left(self.ids, id_of(keep_from))
        del self.ids[:count], self.entries[:count]
        return count

    def drop(self, at: int) -> None:
        """Lose one entry, as no Redis should."""
        del self.ids[at], self.entries[at]


class MemoryRedis:
    """Commands take and answer what redis-py does. ``now_ms`` is the server's clock."""

    def __init__(self, now_ms: Callable[[], int]) -> None:
        self.now_ms = now_ms
        self.streams: dict[str, Stream] = {}
        self.hashes: dict[str, dict[bytes, bytes]] = {}
        self.touched: Counter[str] = Counter()
        """How often a key was written: what WATCH compares."""
        self.writes = 0
        self.scripts: set[bytes] = set()
        self.listeners: dict[str, list[list[str]]] = {}
        """Channel -> what each subscriber has heard."""
        self._scripts: dict[str, Callable[[list[str], Arguments], Any]] = {
            COMMIT: self.commit, ACQUIRE: self.acquire, STAND: self.stand, RELEASE: self.release,
        }  # fmt: skip

    # --- hashes ---

    def hash_of(self, name: str) -> dict[bytes, bytes]:
        """The fields of a hash, not to be changed."""
        return self.hashes.get(name, {})

    def hset(self, name: str, fields: dict[bytes, bytes]) -> None:
        """Set fields."""
        self.hashes.setdefault(name, {}).update(fields)
        self._touch(name)

    def hdel(self, name: str, fields: Sequence[bytes]) -> None:
        """Remove fields."""
        for field in fields:
            self.hashes.get(name, {}).pop(field, None)
        self._touch(name)

    def hmget(self, name: str, *fields: bytes) -> list[bytes | None]:
        """The values of fields."""
        return [*map(self.hash_of(name).get, fields)]

    def _touch(self, name: str) -> None:
        self.touched[name] += 1
        self.writes += 1

    # --- streams ---

    def stream(self, name: str) -> Stream:
        """A stream, empty if there is none."""
        found = self.streams.get(name)
        if found is None:
            found = self.streams[name] = Stream()
        return found

    def xadd(self, name: str, identifier: bytes, payload: bytes) -> bytes:
        """Append an entry; ``*`` gives it an id by the clock."""
        stream = self.stream(name)
        if identifier == b"*":
            first, second = stream.top
            now = self.now_ms()
            identifier = b"%d-0" % now if now > first else b"%d-%d" % (first, second + 1)
        stream.add(identifier, payload)
        self._touch(name)
        return identifier

    def xtrim(self, name: str, keep_from: bytes) -> int:
        """Drop what is before an id: all of it, where a real Redis keeps what shares a node."""
        self._touch(name)
        return self.stream(name).trim(keep_from)

    # --- scripts ---

    def eval(self, script: str, keys: list[str], arguments: Arguments) -> Any:
        """Run one of our scripts."""
        if script == COMMIT:
            self.scripts.add(COMMIT_SHA.encode())
        return self._scripts[script](keys, arguments)

    def evalsha(self, sha: bytes, keys: list[str], arguments: Arguments) -> Any:
        """Run the commit script, if it was ever loaded."""
        if sha not in self.scripts:
            raise NoScriptError("No matching script. Please use EVAL.")
        return self.commit(keys, arguments)

    def commit(self, keys: list[str], arguments: Arguments) -> bytes:
        """commit.lua."""
        have = self.hmget(keys[0], b"epoch", b"owner", b"version", b"length", b"chain")
        if self.is_fenced(have, arguments):
            return b"FENCED"
        length, sources = int(arguments[3]), int(arguments[8])
        at = 9 + 2 * sources
        entries = int(arguments[at])
        log, at = arguments[at + 1 : at + 1 + entries], at + 1 + entries
        boxes: list[tuple[str, bytes, Arguments]] = []
        for name in keys[2:]:
            count = int(arguments[at + 1])
            boxes.append((name, arguments[at], arguments[at + 2 : at + 2 + count]))
            at += 2 + count
        if refusal := self.check_standing(have, arguments, entries):
            return refusal
        if any(self.hash_of(keys[0]).get(b"len:" + raw(name), b"0") != before for name, before, _ in boxes):
            return b"GAP"
        self.write_commit(keys, arguments, length, log, boxes)
        return b"OK"

    def is_fenced(self, have: list[bytes | None], arguments: Arguments) -> bool:
        """Whether somebody else owns the tag."""
        return have[0] != arguments[0] or have[1] != arguments[1]

    def check_standing(self, have: list[bytes | None], arguments: Arguments, entries: int) -> bytes:
        """DUP, GAP or nothing."""
        version, length = int(arguments[2]), int(arguments[3])
        at_version, at_length, at_chain = int(have[2] or b"0"), int(have[3] or b"0"), have[4] or b""
        if (at_version, at_length, at_chain) == (version + 1, length + entries, arguments[5]):
            return b"DUP"
        return b"" if (at_version, at_length, at_chain) == (version, length, arguments[4]) else b"GAP"

    def write_commit(
        self, keys: list[str], arguments: Arguments, length: int, log: Arguments,
        boxes: list[tuple[str, bytes, Arguments]],
    ) -> None:  # fmt: skip
        """All writes of a commit, in the script's order: the hash last."""
        for number, payload in enumerate(log, start=length + 1):
            self.xadd(keys[1], b"%d-0" % number, payload)
        fields = {
            b"version": b"%d" % (int(arguments[2]) + 1), b"length": b"%d" % (length + len(log)),
            b"chain": arguments[5], b"lease": b"%d" % (self.now_ms() + int(arguments[6])),
        } | self.positions(arguments)  # fmt: skip
        if arguments[7]:
            fields[b"digest"] = b"%d %b" % (length + len(log), arguments[7])
        for name, before, payloads in boxes:
            for number, payload in enumerate(payloads, start=int(before) + 1):
                self.xadd(name, b"%d-0" % number, payload)
            fields[b"len:" + raw(name)] = b"%d" % (int(before) + len(payloads))
        self.hset(keys[0], fields)

    def positions(self, arguments: Arguments) -> dict[bytes, bytes]:
        """The source positions that a commit moves."""
        return {b"at:" + arguments[at]: arguments[at + 1] for at in range(9, 9 + 2 * int(arguments[8]), 2)}

    def acquire(self, keys: list[str], arguments: Arguments) -> list[int]:
        """shared.mutex.ACQUIRE."""
        token, ttl, former = arguments[0], int(arguments[1]), arguments[2]
        now = self.now_ms()
        epoch, owner, lease = self.hmget(keys[0], b"epoch", b"owner", b"lease")
        is_repeated = owner == token
        is_mine = is_repeated or (owner == former and former != b"")
        if owner and int(lease or b"0") > now and not is_mine:
            left = int(lease or b"0") - now
            if left > max(60_000, 2 * ttl):
                left = ttl
                self.hset(keys[0], {b"lease": b"%d" % (now + left)})
            return [0, left]
        number = int(epoch or b"0")
        if not is_repeated:
            number = max(number + 1, now)
        self.hset(keys[0], {b"epoch": b"%d" % number, b"owner": token, b"lease": b"%d" % (now + ttl)})
        return [1, number]

    def stand(self, keys: list[str], arguments: Arguments) -> int:
        """workers.store.STAND."""
        epoch, owner, version = self.hmget(keys[0], b"epoch", b"owner", b"version")
        if (epoch, owner, version or b"0") != (arguments[0], arguments[1], arguments[3]):
            return 0
        self.hset(keys[0], {b"lease": b"%d" % (self.now_ms() + int(arguments[2]))})
        return 1

    def release(self, keys: list[str], arguments: Arguments) -> int:
        """shared.mutex.RELEASE."""
        if self.hmget(keys[0], b"epoch", b"owner") != [*arguments[:2]]:
            return 0
        self.hset(keys[0], {b"owner": b"", b"lease": b"0"})
        for heard in self.listeners.get(arguments[2].decode(), ()):
            heard.append("released")
        return 1
