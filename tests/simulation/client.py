"""What ``RedisStore`` believes to be redis-py: a client and bare connections over a network that loses things.

A command that was sent may arrive at once, later, after its sender has died, or never; its answer may be lost. What
arrives is done by ``MemoryRedis`` as a whole. Each round trip is a point at which the scheduler may let others run, or
kill the caller.
"""

from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Protocol, Self

from redis.exceptions import ConnectionError as Disconnected
from redis.exceptions import RedisError, ResponseError, WatchError

from tests.simulation.memory import MemoryRedis, id_of, raw
from workers.store import COMMIT

REFUSED = "OOM command not allowed when used memory > 'maxmemory'."


class Caller(Protocol):
    """The simulated process whose client this is."""

    redis: MemoryRedis

    def wait(self, ms: float, news: Callable[[], bool] | None = None) -> None:
        """Let others run; come back when there are ``news``, at the latest after ``ms``."""

    def may_yield(self, act: Callable[[], Any]) -> None:
        """Let others run, perhaps; ``act`` is on its way to the server, and may get there if the caller dies."""

    def mishap(self) -> str:
        """What happens to this round trip: "", "lost request", "lost reply", "refused write"."""

    def is_slow(self, sent: "Sent") -> bool:
        """Whether a command that was just sent stays under way for a while."""

    def abandon(self, sent: "Sent") -> None:
        """The connection of a command is gone; if it has not arrived, it may do so all the same."""

    def committed(self, *, by_owner: bool, answer: Any) -> None:
        """A commit has arrived: of the present owner or of a former one, and what the server said."""

    def note(self, what: str) -> None:
        """For the trace."""


class Sent:
    """A commit on its way to the server. It arrives once, or never."""

    def __init__(self, caller: Caller, command: tuple[Any, ...]) -> None:
        self.is_done = False
        self.answer: Any = None
        self._caller = caller
        self._command = command

    def arrive(self) -> None:
        """The command is at the server."""
        if self.is_done:
            return
        self.is_done = True
        redis, (name, script, count, *rest) = self._caller.redis, self._command
        keys, arguments = rest[:count], [*map(raw, rest[count:])]
        by_owner = redis.hmget(keys[0], b"epoch", b"owner") == arguments[:2]
        try:
            self.answer = (
                redis.evalsha(raw(script), keys, arguments)
                if name == "EVALSHA"
                else redis.eval(COMMIT, keys, arguments)
            )
        except RedisError as error:
            self.answer = error
        self._caller.committed(by_owner=by_owner, answer=self.answer)
        entries = arguments[9 + 2 * int(arguments[8])].decode()
        self._caller.note(f"commit {arguments[2].decode()}: {entries} entries {rest[2:count]}: {self.answer!s}")

    def lose(self) -> None:
        """It never arrives."""
        self.is_done = True


class Connection:
    """One bare connection: one command at a time."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller
        self._command: tuple[Any, ...] = ()
        self._sent: Sent | None = None
        self.is_connected = False

    def disconnect(self) -> None:
        """Close."""
        if self._sent is not None:
            self._caller.abandon(self._sent)
        self.is_connected, self._sent = False, None

    def pack_command(self, *command: Any) -> tuple[Any, ...]:
        """What ``send_packed_command`` takes."""
        return command

    def send_packed_command(self, command: tuple[Any, ...], check_health: bool) -> None:
        """Send; it may arrive before anybody waits for the answer."""
        self.is_connected, self._command, self._sent = True, command, None
        if command[0] != "XREAD":
            self._sent = Sent(self._caller, command)
            if not self._caller.is_slow(self._sent):
                self._sent.arrive()

    def read_response(self, *, disable_decoding: bool) -> Any:
        """Wait for the answer. Raises a ``RedisError`` of redis-py."""
        if self._command[0] == "XREAD":
            return self._read()
        sent = self._sent
        self._caller.wait(0)
        if sent is None or not self.is_connected:
            raise Disconnected("Connection closed by server.")
        mishap = self._caller.mishap()
        if not sent.is_done and mishap == "lost request":
            sent.lose()
        if not sent.is_done and mishap == "refused write":
            sent.lose()
            raise ResponseError(REFUSED)
        sent.arrive()
        if mishap in ("lost reply", "lost request"):
            raise Disconnected("Connection reset by peer")
        if isinstance(sent.answer, Exception):
            raise sent.answer
        return sent.answer

    def _read(self) -> list[list[Any]] | None:
        _, _, count, _, block_ms, _, *rest = self._command
        half = len(rest) // 2
        redis = self._caller.redis
        sources = [(redis.stream(name), id_of(raw(at))) for name, at in zip(rest[:half], rest[half:], strict=True)]
        self._caller.wait(block_ms, lambda: any(stream.has_after(at) for stream, at in sources))
        if not self.is_connected or self._caller.mishap():
            raise Disconnected("Connection reset by peer")
        found = zip(rest[:half], (stream.after(at, count) for stream, at in sources), strict=True)
        return [[raw(name), entries] for name, entries in found if entries] or None


class MemoryClient:
    """A client: each method is one round trip."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller
        self._redis = caller.redis
        self.connection_pool = self

    def make_connection(self) -> Connection:
        """A bare connection."""
        return Connection(self._caller)

    def trip(self, act: Callable[[], Any], *, writes: bool = False) -> Any:
        """Have the server do it, and wait for its answer. Raises a ``RedisError`` of redis-py."""
        self._caller.may_yield(act if writes else bool)
        mishap = self._caller.mishap()
        if mishap == "lost request":
            raise Disconnected("Connection closed by server.")
        if mishap == "refused write" and writes:
            raise ResponseError(REFUSED)
        answer = act()
        if mishap == "lost reply":
            raise Disconnected("Connection reset by peer")
        return answer

    def eval(self, script: str, count: int, *rest: Any) -> Any:
        """EVAL."""
        names, arguments = [*rest[:count]], [*map(raw, rest[count:])]
        return self.trip(lambda: self._redis.eval(script, names, arguments), writes=True)

    def hgetall(self, name: str) -> dict[bytes, bytes]:
        """HGETALL."""
        found: dict[bytes, bytes] = self.trip(lambda: dict(self._redis.hash_of(name)))
        return found

    def hkeys(self, name: str) -> list[bytes]:
        """HKEYS."""
        return [*self.hgetall(name)]

    def hmget(self, name: str, fields: Sequence[Any]) -> list[bytes | None]:
        """HMGET."""
        found: list[bytes | None] = self.trip(lambda: self._redis.hmget(name, *map(raw, fields)))
        return found

    def xrange(self, name: str, first: str, last: str, count: int) -> list[tuple[bytes, dict[bytes, bytes]]]:
        """XRANGE."""
        found = self.trip(lambda: self._redis.stream(name).between(raw(first), raw(last), count))
        return [(identifier, {field: payload}) for identifier, (field, payload) in found]

    def xrevrange(self, name: str, count: int) -> list[tuple[bytes, None]]:
        """XREVRANGE, the ids."""
        return [(entry[0], None) for entry in self.trip(lambda: self._redis.stream(name).entries[-count:])]

    def xtrim(self, name: str, minid: bytes, approximate: bool, limit: int = 0) -> int:
        """XTRIM MINID: always exact, which is the most that "approximate" may do."""
        self._caller.note(f"trim {name} before {minid.decode()}")
        dropped: int = self.trip(lambda: self._redis.xtrim(name, minid), writes=True)
        return dropped

    def pubsub(self) -> "PubSub":
        """A listener."""
        return PubSub(self._caller)

    def pipeline(self, transaction: bool = True) -> "Pipeline":
        """A pipeline, or a transaction with WATCH."""
        return Pipeline(self)


class PubSub:
    """Hears of one channel."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller
        self._channel = ""
        self._heard: list[str] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._channel:
            self._caller.redis.listeners[self._channel].remove(self._heard)

    def subscribe(self, channel: str) -> None:
        """SUBSCRIBE."""
        self._channel = channel
        self._caller.redis.listeners.setdefault(channel, []).append(self._heard)
        self._heard.append("subscribed")

    def get_message(self, timeout: float) -> str | None:
        """The next message, or nothing in so many seconds."""
        if not self._heard:
            self._caller.wait(timeout * 1000, lambda: bool(self._heard))
        return self._heard.pop(0) if self._heard else None


class Pipeline:
    """Commands that go together; with WATCH, all or none of them."""

    def __init__(self, client: MemoryClient) -> None:
        self._client = client
        self._redis = client._redis
        self._acts: list[Callable[[], Any]] = []
        self._watched: dict[str, int] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._acts.clear()

    def watch(self, name: str) -> None:
        """WATCH."""
        self._watched[name] = self._redis.touched[name]

    def multi(self) -> None:
        """MULTI: from here on commands wait for ``execute``."""

    def hmget(self, name: str, *fields: str) -> list[bytes | None]:
        """HMGET, at once."""
        return self._client.hmget(name, fields)

    def hkeys(self, name: str) -> list[bytes]:
        """HKEYS, at once."""
        return self._client.hkeys(name)

    def set(self, name: str, value: bytes, ex: int) -> None:
        """SET: beats, which nobody here reads."""

    def hset(self, name: str, field: str, value: Any) -> None:
        """HSET."""
        self._acts.append(lambda: self._redis.hset(name, {raw(field): raw(value)}))

    def hdel(self, name: str, *fields: str) -> None:
        """HDEL."""
        self._acts.append(lambda: self._redis.hdel(name, [*map(raw, fields)]))

    def execute(self) -> None:
        """EXEC. Raises ``WatchError`` if a watched key was written since."""
        self._client.trip(self._execute, writes=True)

    def _execute(self) -> None:
        if any(self._redis.touched[name] != count for name, count in self._watched.items()):
            raise WatchError("Watched variable changed.")
        for act in self._acts:
            act()
