"""The supervisor's eyes and voice in Redis: one short look, twice a second, of everything it wants to know."""

import asyncio
import socket
import uuid
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from redis.exceptions import RedisError

from cluster.instruments import DEMO_INSTRUMENTS, encode, request
from cluster.plan import AUDITOR, PUSHER, symbol_of
from cluster.pressure import measure
from cluster.view import SupervisorView, identity
from shared import keys
from shared.beat import Beat, decode_beat
from shared.connections import connect_async
from shared.errors import MatchboxError
from shared.instrument import Instrument
from shared.messages import FIELD
from shared.mutex import Mutex
from shared.pressure import Pressure
from shared.settings import Settings

LOOK_S = 2.0
"""A look that takes longer counts as Redis being away."""
LEASE_MS = 5000
GIVEN_UP = "its order book does not run"

_FREE = """
-- KEYS: state. ARGV: epoch of the dead holder, channel. Ends its lease, so that its successor need not wait for it.
if redis.call('HGET', KEYS[1], 'epoch') ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'owner', '', 'lease', '0')
redis.call('PUBLISH', ARGV[2], 'released')
return 1
"""


class Seen(msgspec.Struct):
    """What a look has shown. ``error``: why Redis could not be seen, "" if it could.

    ``told_apart``: workers whose beat is their own, and not of whoever beat last under their name.
    """

    error: str = ""
    symbols: tuple[str, ...] = ()
    halted: frozenset[str] = frozenset()
    beats: dict[str, Beat | None] = {}
    told_apart: frozenset[str] = frozenset()
    pressure: Pressure = Pressure()


class Observer:
    """One supervisor's connection to Redis."""

    def __init__(self, settings: Settings, *, demo: bool) -> None:
        self._settings = settings
        self._demo = demo
        self._client: Any = connect_async(settings.redis_url, connections=4)
        self._identity = identity(settings.data_dir)
        self._lock = Mutex(self._client, keys.supervisor(self._identity), LEASE_MS)
        # The same after each start: who holds the data folder's lock need not wait for the lease of its predecessor.
        self._lock.owner = f"{uuid.getnode():x}"
        self._is_set_up = False

    async def look(self, pids: Mapping[str, int], view: SupervisorView) -> Seen:
        """What is wanted, what was given up, and which of ``pids`` live, by name; and show others what we run.

        Raises ``MatchboxError`` if this cluster is not ours to run.
        """
        try:
            async with asyncio.timeout(LOOK_S):
                if not self._is_set_up:
                    await self._set_up()
                return await self._look(dict(pids), view)
        except (RedisError, OSError) as error:
            return Seen(error=str(error) or type(error).__name__)
        except TimeoutError:
            return Seen(error=f"no answer within {LOOK_S:g} s")

    async def _look(self, pids: dict[str, int], view: SupervisorView) -> Seen:
        if await self._lock.try_acquire():
            raise MatchboxError(
                f"another machine that is called {socket.gethostname()} runs a supervisor of {view.data} on this "
                "Redis; stop it, or use another data folder"
            )
        pipe = self._client.pipeline(transaction=False)
        pipe.hgetall(keys.INSTRUMENTS)
        pipe.hkeys(keys.HALTED)
        pipe.hvals(keys.LOST)
        pipe.hset(keys.SUPERVISORS, self._identity, encode(view))
        if pids:
            pipe.mget([keys.own_beat(name, socket.gethostname(), pid) for name, pid in pids.items()])
            pipe.mget([keys.beat(name) for name in pids])
        instruments, halted, lost, _, *found = await pipe.execute()
        if lost:
            raise MatchboxError(lost[0].decode())
        own, latest = found or ((), ())
        symbols = tuple(sorted(symbol.decode() for symbol in instruments))
        return Seen(
            symbols=symbols,
            halted=frozenset(name.decode() for name in halted),
            beats={name: decode_beat(a or b) for name, a, b in zip(pids, own, latest, strict=True)},
            told_apart=frozenset(name for name, text in zip(pids, own, strict=True) if text),
            pressure=await measure(self._client, self._settings, symbols),
        )

    async def _set_up(self) -> None:
        shards = self._settings.shards
        if not await self._client.set(keys.SHARDS, shards, nx=True):
            have = int(await self._client.get(keys.SHARDS))
            if have != shards:
                raise MatchboxError(
                    f"this cluster was made with {have} account shards, MATCHBOX_SHARDS={shards} cannot change that; "
                    f"start it with MATCHBOX_SHARDS={have}"
                )
        if self._demo and not await self._client.exists(keys.INSTRUMENTS):
            for instrument in DEMO_INSTRUMENTS:
                await self._tell_ledgers(instrument)
                await self._client.hset(keys.INSTRUMENTS, instrument.symbol, encode(instrument))
        self._is_set_up = True

    async def _tell_ledgers(self, instrument: Instrument) -> None:
        for shard in range(self._settings.shards):
            await self._client.xadd(keys.inbox(shard), {FIELD: encode(request(instrument))})

    async def free(self, state: str, channel: str, epoch: int) -> None:
        """A worker of ours is dead: its successor need not wait for its lease. What it sent late is fenced anyway."""
        if epoch:
            await self._try(self._client.eval(_FREE, 1, state, epoch, channel))

    async def give_up(self, name: str, reason: str) -> bool:
        """Say that a worker is given up, and have the ledgers refuse orders for its instrument.

        False: not now, because Redis is away, or because another host's worker does what ours cannot.
        """
        return bool(await self._try(self._give_up(name, reason)))

    async def _give_up(self, name: str, reason: str) -> bool:
        if await self._is_owned(keys.meta(keys.instrument_tag(symbol_of(name)))):
            return False
        text = await self._client.hget(keys.INSTRUMENTS, symbol_of(name))
        if text is not None:
            instrument = msgspec.json.decode(text, type=Instrument).in_mode("halted", GIVEN_UP)
            await self._tell_ledgers(instrument)
            await self._client.hset(keys.INSTRUMENTS, instrument.symbol, encode(instrument))
        await self._client.hset(keys.HALTED, name, reason)
        return True

    async def _is_owned(self, state: str) -> bool:
        """Whether somebody holds a lease."""
        owner, lease = await self._client.hmget(state, "owner", "lease")
        seconds, micros = await self._client.time()
        return bool(owner) and int(lease or 0) > seconds * 1000 + micros // 1000

    async def ends(self, streams: Iterable[str]) -> dict[str, bytes]:
        """The last entry of each stream that has any; nothing if Redis is away."""
        names = list(streams)
        pipe = self._client.pipeline(transaction=False)
        for name in names:
            pipe.xrevrange(name, count=1)
        found = await self._try(pipe.execute(raise_on_error=False)) or []
        return {
            name: newest[0][0]
            for name, newest in zip(names, found, strict=False)
            if isinstance(newest, list) and newest
        }

    async def unread(self, places: Iterable["Place"], ends: Mapping[str, bytes]) -> list["Place"]:
        """Where the reader has not come to ``ends`` yet (nowhere, if Redis is away)."""
        awaited = [one for one in places if one.stream in ends]
        pipe = self._client.pipeline(transaction=False)
        for one in awaited:
            pipe.hget(one.key, one.field)
        found = await self._try(pipe.execute()) or []
        return [
            one
            for one, position in zip(awaited, found, strict=False)
            if position is None or entry_order(position) < entry_order(ends[one.stream])
        ]

    async def close(self) -> None:
        """Leave no trace: our view, our lease, our connections."""
        await self._try(self._client.hdel(keys.SUPERVISORS, self._identity))
        if self._lock.epoch:
            await self._try(self._lock.release())
        await self._client.aclose()

    async def _try(self, work: Any) -> Any:
        """Do it, and answer what came of it; ``None`` if Redis does not answer."""
        try:
            async with asyncio.timeout(LOOK_S):
                return await work
        except (RedisError, OSError, TimeoutError):
            return None


class Place(msgspec.Struct, frozen=True):
    """Where a reader of ``stream`` keeps its position: a field of a hash."""

    key: str
    field: str
    stream: str


def read_by(tag: str, stream: str) -> Place:
    """How far the owner of a tag has read a stream."""
    return Place(keys.meta(tag), f"at:{stream}", stream)


def recorded(tag: str) -> Place:
    """How far PostgreSQL has the log of a tag."""
    return Place(keys.consumers(keys.log(tag)), keys.POSTGRESQL, keys.log(tag))


def entry_order(position: bytes) -> tuple[int, int]:
    """Sorts ids of entries as their stream has them."""
    first, _, second = position.partition(b"-")
    return int(first), int(second or 0)


def lease_of(name: str) -> tuple[str, str] | None:
    """The key with the state of a worker's lease, and the channel on which its release is told."""
    kind, _, argument = name.partition(":")
    if kind in ("engine", "ledger"):
        tag = keys.instrument_tag(argument) if kind == "engine" else keys.shard_tag(int(argument))
        return keys.meta(tag), f"{keys.lease(tag)}.live"
    if kind == AUDITOR:
        return keys.meta(keys.AUDITOR), f"{keys.lease(keys.AUDITOR)}.live"
    if kind == PUSHER:
        return f"{keys.PUSHER_LOCK}.current", f"{keys.PUSHER_LOCK}.live"
    return None
