"""What the runtime needs of Redis: own a tag, read its sources, commit, recover, snapshot, trim.

Uses bare connections of redis-py, one to read and one to write, so that a blocking read and a commit can be under
way together. Nothing is retried behind the runtime's back: a commit whose reply was lost is sent again with the very
same arguments, and the script answers OK, DUP or FENCED.
"""

import hashlib
import secrets
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
from redis.exceptions import NoScriptError, RedisError, ResponseError

from shared import keys
from shared.beat import Beat, put_beat
from shared.connections import BLOCK_MS, connect, is_other_type
from shared.errors import CorruptState
from shared.mutex import ACQUIRE, LONGEST_MS, RELEASE

COMMIT = (Path(__file__).parent / "commit.lua").read_text()
COMMIT_SHA = hashlib.sha1(COMMIT.encode(), usedforsecurity=False).hexdigest()
HISTORY_CHUNK = 2000
RETRY_S = 0.5
FOREIGN = "equal or smaller than the target stream top item"
"""What Redis says when somebody else has written to a stream of ours. Trying again is of no use."""
STATE_BYTES_S = 2_000_000
"""At least so much of a state a slow machine loads or writes in a second: its lease must not end meanwhile."""

TRIM_ENTRIES, TRIMS_MAX = 20_000, 50
"""Redis drops them in some milliseconds, in which it does nothing else; so many times each time. Its own limit, 10,000
a call, is less than a busy book writes from one trimming to the next: then a log grows for ever."""

STAND = """
-- KEYS: meta. ARGV: epoch, owner, ttl in ms, version. Extends the lease of an owner that stands where Redis says.
local state = redis.call('HMGET', KEYS[1], 'epoch', 'owner', 'version')
if state[1] ~= ARGV[1] or state[2] ~= ARGV[2] or (state[3] or '0') ~= ARGV[4] then return 0 end
local time = redis.call('TIME')
redis.call('HSET', KEYS[1], 'lease', string.format('%d', time[1] * 1000 + math.floor(time[2] / 1000) + ARGV[3]))
return 1
"""
"""A Redis that came back without the end of its append-only file has another version: an owner that has nothing to
commit would else never notice, and wait behind entries that are gone."""

Entries = list[list[Any]]
"""What Redis answers for a stream: ``[id, [b"d", payload]]`` each."""


class NoStream(CorruptState):
    """The key of ``stream``, which is to be read, holds something else."""

    def __init__(self, stream: str, found: str) -> None:
        super().__init__(f'{stream}: its key holds a {found}: somebody else wrote there; run "matchbox audit"')
        self.stream = stream


class Standing(msgspec.Struct):
    """What ``{tag}:meta`` says: where the machine stands."""

    version: int
    length: int
    chain: str
    positions: dict[str, str]
    lengths: dict[str, int]
    digest: tuple[int, str] = (0, "")
    """What its owner told last of its state: the length of the log then, and the digest."""


class Snapshot(msgspec.Struct):
    """A machine's state after log entry ``position``, with the chain at that point and the sha256 of ``state``."""

    position: int
    chain: str
    sha256: str
    state: bytes
    format: int = 1

    def is_valid(self) -> bool:
        """Whether the state is what was written."""
        return self.format == 1 and hashlib.sha256(self.state).hexdigest() == self.sha256


class Commit(msgspec.Struct):
    """What one commit writes. ``sends``: outbox -> (its length before, payloads). ``digest``: the state's, or ""."""

    version: int
    length: int
    chain_before: str
    chain_after: str
    positions: dict[str, str]
    log: list[bytes]
    sends: dict[str, tuple[int, list[bytes]]]
    digest: str = ""


def read_snapshots(fields: dict[bytes, bytes]) -> list[Snapshot]:
    """The valid snapshots of a ``{tag}:snapshot`` hash, newest first."""
    found = map(_snapshot, fields.values())
    return sorted((one for one in found if one is not None), key=lambda one: -one.position)


def _snapshot(value: bytes) -> Snapshot | None:
    """A snapshot; ``None`` if it is not what was written."""
    try:
        found = msgspec.msgpack.decode(value, type=Snapshot)
    except msgspec.DecodeError:
        return None
    return found if found.is_valid() else None


def read_standing(fields: dict[bytes, bytes]) -> Standing:
    """The standing in a ``{tag}:meta`` hash (of a tag that was never owned: the beginning)."""
    text = {name.decode(): value.decode() for name, value in fields.items()}
    digested, _, digest = text.get("digest", "0 ").partition(" ")
    return Standing(
        version=int(text.get("version", "0")),
        length=int(text.get("length", "0")),
        chain=text.get("chain", ""),
        positions={name[3:]: value for name, value in text.items() if name.startswith("at:")},
        lengths={name[4:]: int(value) for name, value in text.items() if name.startswith("len:")},
        digest=(int(digested), digest),
    )


class RedisStore:
    """The store of one machine process. Not safe for threads."""

    def __init__(
        self, url: str, tag: str, lease_ms: int, *, stopping: Callable[[], bool], warn: Callable[..., Any]
    ) -> None:
        self.tag = tag
        self.owner = ""
        self.epoch = 0
        self._client = connect(url)
        self._lease_ms = lease_ms
        self._stopping = stopping
        self._warn = warn
        self._meta, self._log = keys.meta(tag), keys.log(tag)
        self._reader = self._client.connection_pool.make_connection()
        self._writer = self._client.connection_pool.make_connection()
        self._read_command: tuple[Any, ...] = ()
        self._commit_command: tuple[Any, ...] = ()
        self._sound: set[int] = set()

    # --- ownership ---

    def acquire(self) -> int:
        """Try to own the tag: 0, or the milliseconds until the present owner's lease ends.

        Every ownership has a token and an epoch of its own, also after a mere hiccup: a commit that an earlier one
        still had on its way must find the fence closed.
        """
        for connection in (self._reader, self._writer):
            connection.disconnect()
        token = secrets.token_hex(8)
        taken, number = self._client.eval(ACQUIRE, 1, self._meta, token, self._lease_ms, self.owner)
        if not taken:
            return max(1, int(number))
        self.owner, self.epoch = token, int(number)
        self._sound.clear()
        return 0

    def wait_for_release(self, wait_ms: int) -> None:
        """Sleep until the owner releases the tag, or ``wait_ms`` (at most one blocking read) have passed."""
        with self._client.pubsub() as listener:
            listener.subscribe(f"{keys.lease(self.tag)}.live")
            listener.get_message(timeout=1.0)  # the confirmation
            listener.get_message(timeout=min(wait_ms, BLOCK_MS) / 1000)

    def renew(self, version: int, lease_s: float = 0.0) -> bool:
        """Extend the lease; False: somebody else owns the tag now, or Redis does not stand at ``version``."""
        lease_ms = max(self._lease_ms, min(LONGEST_MS, int(lease_s * 1000)))
        return bool(self._client.eval(STAND, 1, self._meta, self.epoch, self.owner, lease_ms, version))

    def is_owner(self) -> bool:
        """Whether the tag is still ours, if perhaps past the end of the lease. Raises ``RedisError``."""
        epoch, owner = self._client.hmget(self._meta, ["epoch", "owner"])
        return (epoch, owner) == (b"%d" % self.epoch, self.owner.encode())

    def release(self) -> None:
        """Give the tag back and wake who waits for it."""
        self._client.eval(RELEASE, 1, self._meta, self.epoch, self.owner, f"{keys.lease(self.tag)}.live")

    # --- recovery ---

    def losses(self) -> list[str]:
        """What is known to be lost of anybody's log, in words."""
        return [why.decode() for _, why in sorted(self._client.hgetall(keys.LOST).items())]

    def tell_loss(self, why: str) -> None:
        """Let everyone know that Redis has lost something of this tag: nothing trades until it is recovered."""
        self._client.hset(keys.LOST, self.tag, why)

    def standing(self) -> Standing:
        """Where the tag's log stands."""
        return read_standing(self._client.hgetall(self._meta))

    def snapshots(self) -> list[Snapshot]:
        """The valid snapshots, newest first."""
        return read_snapshots(self._client.hgetall(keys.snapshot(self.tag)))

    def history(self, after: int, last: int) -> Iterator[list[bytes]]:
        """Payloads of the own log from ``after`` + 1 to ``last``, in chunks. Raises ``CorruptState`` on a hole."""
        while after < last:
            entries = self._client.xrange(self._log, f"{after + 1}-0", f"{last}-0", count=HISTORY_CHUNK)
            numbers = [int(entry_id.partition(b"-")[0]) for entry_id, _ in entries]
            if numbers != list(range(after + 1, after + 1 + len(numbers))) or not numbers:
                raise CorruptState(
                    f'{self._log}: entries are missing after {after} (stored length {last}); run "matchbox audit"'
                )
            after = numbers[-1]
            yield [fields[b"d"] for _, fields in entries]

    # --- the stream of work ---

    def send_read(self, positions: dict[str, str], count: int) -> None:
        """Ask for up to ``count`` entries of each source after its position; blocks in the server, not here."""
        self._read_command = (
            "XREAD", "COUNT", count, "BLOCK", BLOCK_MS, "STREAMS", *positions.keys(), *positions.values()
        )  # fmt: skip
        try:
            self._send(self._reader, self._read_command)
        except RedisError:
            self._reader.disconnect()  # receive_read sends it again

    def receive_read(self) -> list[tuple[str, Entries]]:
        """What was asked for: (source, entries) each; empty if nothing came. Waits while Redis is away.

        Raises ``NoStream``.
        """
        while not self._stopping():
            try:
                if not self._reader.is_connected:
                    self._send(self._reader, self._read_command)
                reply = self._reader.read_response(disable_decoding=True)
            except RedisError as error:
                if is_other_type(error):
                    self._refuse_other_types()
                self._pause(self._reader, error)
                continue
            streams = reply.items() if isinstance(reply, dict) else (reply or [])
            return [(source.decode(), entries) for source, entries in streams]
        return []

    def _refuse_other_types(self) -> None:
        """Say which of the sources is none. Raises ``NoStream``."""
        places = self._read_command[6:]
        for stream in places[: len(places) // 2]:
            if (found := self._client.type(stream).decode()) not in ("stream", "none"):
                raise NoStream(stream, found)

    def send_commit(self, commit: Commit) -> None:
        """Send a commit; ``receive_commit`` tells its fate. One at a time."""
        arguments: list[Any] = [
            self.epoch, self.owner, commit.version, commit.length, commit.chain_before, commit.chain_after,
            self._lease_ms, commit.digest, len(commit.positions),
        ]  # fmt: skip
        for position in commit.positions.items():
            arguments += position
        arguments.append(len(commit.log))
        arguments += commit.log
        for length, payloads in commit.sends.values():
            arguments += [length, len(payloads), *payloads]
        self._commit_command = (
            "EVALSHA",
            COMMIT_SHA,
            2 + len(commit.sends),
            self._meta,
            self._log,
            *commit.sends,
            *arguments,
        )
        try:
            self._send(self._writer, self._commit_command)
        except RedisError:
            self._writer.disconnect()  # receive_commit sends it again

    def receive_commit(self) -> str:
        """The commit's fate: OK, DUP, GAP or FENCED. Sends it again until Redis has answered, "" if told to stop."""
        while True:
            try:
                if not self._writer.is_connected:
                    self._send(self._writer, self._commit_command)
                return str(self._writer.read_response(disable_decoding=True), "ascii")
            except NoScriptError:
                self._commit_command = ("EVAL", COMMIT, *self._commit_command[2:])
                self._writer.disconnect()
                continue  # Redis is there: what we were told to stop before it gets done all the same
            except RedisError as error:
                if FOREIGN in str(error) or is_other_type(error):
                    raise CorruptState(
                        f'{self.tag}: a stream is not what its owner left there ({error}); run "matchbox audit"'
                    ) from error
                self._pause(self._writer, error)
            if self._stopping():
                return ""

    def _send(self, connection: Any, command: tuple[Any, ...]) -> None:
        connection.send_packed_command(connection.pack_command(*command), check_health=False)

    def _pause(self, connection: Any, error: RedisError) -> None:
        """Redis is away, loading, full or read-only: say so, wait a little, start on a fresh connection."""
        connection.disconnect()
        self._warn("Redis refused or went away; trying again", error=str(error))
        time.sleep(RETRY_S)

    # --- upkeep ---

    def save_snapshot(self, version: int, position: int, chain: str, state: bytes) -> bool:
        """Keep a snapshot, and of the others the newest sound one. False: not the owner, or not at ``version``.

        A snapshot of what Redis has lost, or of what a former owner thinks, would poison the log that grows past it.
        """
        name = keys.snapshot(self.tag)
        snapshot = Snapshot(position, chain, hashlib.sha256(state).hexdigest(), state)
        sound = self.sound_snapshots()
        with self._client.pipeline() as pipe:
            pipe.watch(self._meta)
            stands = [(one or b"0").decode() for one in pipe.hmget(self._meta, "epoch", "owner", "version")]
            if stands != [str(self.epoch), self.owner, str(version)]:
                return False
            older = {int(field) for field in pipe.hkeys(name)} - {position}
            kept = max(older.intersection(sound) or older, default=0)
            pipe.multi()
            pipe.hset(name, str(position), msgspec.msgpack.encode(snapshot))
            if stale := [str(one) for one in sorted(older - {kept})]:
                pipe.hdel(name, *stale)
            pipe.execute()
        self._sound.discard(position)
        return True

    def beat(self, worker: str, beat: Beat, positions: dict[str, str], reader: str) -> None:
        """Show that the worker lives, and up to where it will never read its sources again."""
        pipe = self._client.pipeline(transaction=False)
        put_beat(pipe, worker, beat)
        for source, position in positions.items():
            pipe.hset(keys.consumers(source), reader, position)
        pipe.execute()

    def backlog(self, positions: dict[str, str]) -> int:
        """How many entries of its gapless sources lie ahead of ``positions``."""
        behind = 0
        for source, position in positions.items():
            try:
                newest = self._client.xrevrange(source, count=1)
            except ResponseError as error:
                if is_other_type(error):
                    continue  # whoever reads it says so
                raise
            if newest and int(newest[0][0].partition(b"-")[0]) < 1_000_000_000_000:
                behind += int(newest[0][0].partition(b"-")[0]) - int(position.partition("-")[0])
        return behind

    def snapshot_positions(self) -> list[int]:
        """Positions of the kept snapshots, newest first."""
        return sorted((int(field) for field in self._client.hkeys(keys.snapshot(self.tag))), reverse=True)

    def sound_snapshots(self) -> list[int]:
        """Positions of the kept snapshots that can be loaded, newest first: each is read back once.

        A log must not be trimmed behind a snapshot of which nobody knows that it is what was sent.
        """
        positions = self.snapshot_positions()
        self._sound.intersection_update(positions)
        for position in positions:
            if position not in self._sound:
                stored = self._client.hmget(keys.snapshot(self.tag), [str(position)])[0]
                if stored and read_snapshots({b"": stored}):
                    self._sound.add(position)
        return [one for one in positions if one in self._sound]

    def trim(self, stream: str, readers: list[str], keep_from: int | None) -> None:
        """Drop what every one of ``readers`` has passed (and, for a log, what lies before ``keep_from``).

        A reader that never reported holds everything: nothing is trimmed.
        """
        reported = self._client.hmget(keys.consumers(stream), readers)
        if None in reported:
            return
        passed = min(reported, key=_order)
        oldest = passed if keep_from is None else min(passed, b"%d-0" % keep_from, key=_order)
        for _ in range(TRIMS_MAX):
            if self._client.xtrim(stream, minid=oldest, approximate=True, limit=TRIM_ENTRIES) < TRIM_ENTRIES // 2:
                return

    def close(self) -> None:
        """Close all connections."""
        for connection in (self._reader, self._writer):
            connection.disconnect()
        self._client.close()


def _order(position: bytes) -> tuple[int, int]:
    first, _, second = position.partition(b"-")
    return int(first), int(second or 0)
