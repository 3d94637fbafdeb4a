"""What a cluster has in Redis, as an audit reads it: standings at one instant, and the logs up to there."""

from collections import deque
from typing import Any

from redis.exceptions import RedisError

from shared import keys
from shared.connections import is_other_type
from shared.errors import CorruptState, Unavailable
from shared.settings import Settings
from workers.audit.history import LogView
from workers.audit.invariants import BROKEN_LOG, Findings, Invariant
from workers.store import Snapshot, Standing, read_snapshots, read_standing

CHUNK = 2000


class Trimmed(Unavailable):
    """A log was trimmed while it was read: its next entries are gone."""


class Cut:
    """Where all machines stand at one instant, the positions of their snapshots, and the last entry of each log."""

    def __init__(self, standings: dict[str, Standing], snapshots: dict[str, list[int]], ends: dict[str, bytes]) -> None:
        self.standings = standings
        self.snapshots = snapshots
        self._ends = ends

    def foreign(self) -> dict[str, str]:
        """Logs with entries that their owner has not written, and what to say of each. No owner gets past them."""
        return {
            keys.log(tag): f"has an entry {end.decode()}, its owner has written {self.standings[tag].length}: "
            "somebody else wrote there"
            for tag, end in self._ends.items()
            if number_of(end) > self.standings[tag].length
        }


class Feed:
    """The entries of a log, (id, payload) each, up to entry ``last``: raise it, and there is more to come.

    Raises ``Trimmed``. A hole is given out as it is.
    """

    def __init__(self, redis: "RedisLogs", log: str, start: int, last: int = 0) -> None:
        self.last = last
        self._redis = redis
        self._log = log
        self._at = start
        self._read: deque[tuple[bytes, bytes]] = deque()

    def __iter__(self) -> "Feed":
        return self

    def __next__(self) -> tuple[bytes, bytes]:
        if not self._read:
            self._read.extend(self._redis.entries(self._log, self._at, self.last))
            if not self._read:
                raise StopIteration
            self._at = number_of(self._read[-1][0])
        return self._read.popleft()


class RedisLogs:
    """The logs and snapshots of the cluster in a Redis. Raises ``Unavailable`` if there is none."""

    def __init__(self, client: Any, settings: Settings) -> None:
        self._client = client
        found = client.get(keys.SHARDS)
        if found is None and not client.exists(keys.meta(keys.shard_tag(0))):
            raise Unavailable('there is no exchange in this Redis; start one with "matchbox start"')
        self.shards = int(found or settings.shards)
        prefix, suffix = keys.meta(keys.instrument_tag("|")).split("|")
        owned = {
            name.decode().removeprefix(prefix).removesuffix(suffix)
            for name in client.scan_iter(f"{prefix}*{suffix}", count=1000)
        }
        self.symbols = sorted({name.decode() for name in client.hkeys(keys.INSTRUMENTS)} | owned)

    @property
    def tags(self) -> list[str]:
        """All machines."""
        shards = [keys.shard_tag(shard) for shard in range(self.shards)]
        return [*shards, *(keys.instrument_tag(symbol) for symbol in self.symbols)]

    def standings(self) -> dict[str, Standing]:
        """Where every machine stands, at one instant."""
        return self.known().standings

    def known(self) -> Cut:
        """All that is known of ``symbols`` and the shards at one instant."""
        return self._cut()[1]

    def cut(self) -> Cut:
        """The same with the instruments there are at that instant, new ones included."""
        while True:
            listed, found = self._cut()
            if listed <= set(self.symbols):
                return found
            self.symbols = sorted(listed.union(self.symbols))

    def _cut(self) -> tuple[set[str], Cut]:
        tags = self.tags
        pipe = self._client.pipeline(transaction=True)
        pipe.hkeys(keys.INSTRUMENTS)
        for tag in tags:
            pipe.hgetall(keys.meta(tag))
            pipe.hkeys(keys.snapshot(tag))
            pipe.xrevrange(keys.log(tag), count=1)
        listed, *answers = pipe.execute(raise_on_error=False)
        for tag, end in zip(tags, answers[2::3], strict=True):
            _refuse_other_type(keys.log(tag), end)
        if failed := [one for one in (listed, *answers) if isinstance(one, RedisError)]:
            raise failed[0]
        return {name.decode() for name in listed}, Cut(
            {tag: read_standing(fields) for tag, fields in zip(tags, answers[::3], strict=True)},
            {tag: sorted(map(int, found), reverse=True) for tag, found in zip(tags, answers[1::3], strict=True)},
            {tag: found[0][0] for tag, found in zip(tags, answers[2::3], strict=True) if found},
        )

    def view(self, tag: str, standing: Standing, findings: Findings) -> tuple[LogView, Snapshot | None]:
        """A log from its beginning; if that was trimmed, from the oldest snapshot that the rest follows on."""
        usable = self.usable(tag, standing.length)
        begin = usable[-1] if self.oldest(tag) > 1 else None
        start, chain = (begin.position, begin.chain) if begin else (0, "")
        entries = Feed(self, keys.log(tag), start, standing.length)
        return LogView(tag, standing, entries, findings, start, chain), begin

    def usable(self, tag: str, length: int) -> list[Snapshot]:
        """The valid snapshots that the log follows on up to ``length``, the newest first.

        Raises ``CorruptState`` if it needs one and there is none, ``Trimmed`` if its owner has left ``length`` behind.
        """
        oldest, valid = self.oldest(tag), self._valid(tag)
        usable = [one for one in valid if oldest - 1 <= one.position <= length]
        if oldest > 1 and not usable and any(one.position > length for one in valid):
            raise Trimmed(f"{keys.log(tag)} was trimmed while the audit read it; run it again")
        if oldest > 1 and not usable:
            raise CorruptState(f"{keys.log(tag)}: begins at {oldest}-0, and no snapshot leads there; {BROKEN_LOG}")
        return usable

    def snapshots(self, tag: str, findings: Findings) -> list[Snapshot]:
        """The snapshots of a tag. One whose bytes are not what was written is a violation."""
        stored = self._client.hgetall(keys.snapshot(tag))  # at once: their owner goes on writing
        valid = read_snapshots(stored)
        findings.check(
            Invariant.SNAPSHOTS, len(valid) == len(stored), keys.snapshot(tag),
            f"{len(stored) - len(valid)} of {len(stored)} are damaged: their sha256 is not that of their bytes",
        )  # fmt: skip
        return valid

    def snapshot(self, tag: str, position: int) -> Snapshot | None:
        """One snapshot; ``None`` if it is damaged, or gone."""
        stored = self._client.hget(keys.snapshot(tag), str(position))
        return next(iter(read_snapshots({b"": stored})), None) if stored else None

    def is_damaged(self, tag: str, position: int) -> bool:
        """Whether there is a snapshot that is not what was written."""
        stored = self._client.hget(keys.snapshot(tag), str(position))
        return bool(stored) and not read_snapshots({b"": stored})

    def _valid(self, tag: str) -> list[Snapshot]:
        return read_snapshots(self._client.hgetall(keys.snapshot(tag)))

    def oldest(self, tag: str) -> int:
        """The number of the log's first entry, or of the one that would be its next."""
        first = self._client.execute_command(b"XRANGE", keys.log(tag), "-", "+", "COUNT", 1)
        return number_of(first[0][0]) if first else int(self._client.hget(keys.meta(tag), "length") or 0) + 1

    def entries(self, log: str, start: int, last: int) -> list[tuple[bytes, bytes]]:
        """Some entries after ``start`` up to ``last``: (id, payload). Raises ``Trimmed`` if they are gone."""
        if start >= last:
            return []
        # The name as bytes skips redis-py's conversion into dicts.
        found = self._client.execute_command(b"XRANGE", log, f"{start + 1}-0", f"{last}-0", "COUNT", CHUNK)
        if not found or number_of(found[0][0]) > start + 1:
            oldest = self.oldest(log.removesuffix(keys.log("")))
            if oldest > start + 1:
                raise Trimmed(
                    f"{log}: was trimmed while the audit read it; run it again, or with a larger MATCHBOX_LOG_KEEP"
                )
        return [(key, fields[1]) for key, fields in found]


def _refuse_other_type(log: str, answer: Any) -> None:
    """Raise ``CorruptState`` if Redis has answered that the key of a log is none any more."""
    if isinstance(answer, RedisError) and is_other_type(answer):
        raise CorruptState(f"{log}: its key holds something else than a log: somebody else wrote there; {BROKEN_LOG}")


def number_of(key: bytes) -> int:
    """The number of a log's entry by its id."""
    return int(key.partition(b"-")[0])
