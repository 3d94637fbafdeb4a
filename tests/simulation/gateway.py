"""A gateway with its clients: sends requests, sometimes again, and reads the answers in the ledgers' logs."""

from typing import Any

import msgspec

from shared import keys
from shared.messages import (
    Accepted,
    AmendRequested,
    Blocked,
    CancelAllRequested,
    CancelRequested,
    Duplicate,
    InstrumentSet,
    OrderListRequest,
    Rejected,
    Transferred,
    decode_ledger_entry,
    encode,
)
from tests.simulation.flow import NONSENSE, Flow
from tests.simulation.memory import id_of
from tests.simulation.stage import Stage

ANSWERS = (
    Accepted, AmendRequested, Blocked, CancelAllRequested, CancelRequested, Duplicate, InstrumentSet, Rejected,
    Transferred,
)  # fmt: skip
PATIENCE_MS = 250


class Asked(msgspec.Struct, eq=False):
    """A request of a client, until it has its answer."""

    shard: int
    payload: bytes
    ids: list[str]
    again_at: float = 0


class Acknowledged(msgspec.Struct, frozen=True):
    """What a client was told: an entry of a ledger's log."""

    log: str
    number: int
    payload: bytes


class Gateway:
    """Sends ``count`` requests of ``flow``."""

    def __init__(self, world: Stage, flow: Flow, count: int) -> None:
        self.name = "gateway"
        self.ready_at = float(world.clock.ms)
        self.acknowledged: list[Acknowledged] = []
        self.answered = 0
        self._world = world
        self._flow = flow
        self.left = count
        self._number = 0
        self._next = [*flow.opening()]
        self._waiting: dict[tuple[int, str], Asked] = {}
        self._read = dict.fromkeys(range(flow.shards), b"0-0")

    @property
    def has_more(self) -> bool:
        """Whether there is something still to be asked."""
        return bool(self._next) or self.left > 0

    @property
    def is_waiting(self) -> bool:
        """Whether an answer is missing."""
        return bool(self._waiting)

    def is_ready(self, now: float) -> bool:
        """Whether it has something to do."""
        return now >= self.ready_at

    def go(self) -> None:
        """Send, send again, or read."""
        world = self._world
        self.ready_at = world.clock.ms + world.dice.choice((0, 1, 1, 2, 10))
        chance = world.dice.random()
        if self.has_more and chance < 0.5:
            self._ask()
        elif chance < 0.55 or (chance < 0.8 and not self.has_more):
            self._ask_again()
        else:
            self._listen()
        if not self.has_more:
            self.ready_at += 40

    def _ask(self) -> None:
        if not self._next:
            self.left -= 1
            self._number += 1
            self._next = self._flow.next(self._number)
            if self._world.dice.random() < 0.01:
                self._send(self._world.dice.randrange(self._flow.shards), self._world.dice.choice(NONSENSE))
        shard, request = self._next.pop(0)
        asked = Asked(shard, encode(request), _ids(request))
        for one in asked.ids:
            self._waiting[shard, one] = asked
        self._send_one(asked)

    def _send_one(self, asked: Asked) -> None:
        """A lost request or answer, and a client that asks twice, look alike to the ledger."""
        world = self._world
        asked.again_at = world.clock.ms + PATIENCE_MS * (0.5 + world.dice.random())
        mishap = world.faults.mishap("gateway")
        if mishap in ("", "lost reply"):
            self._send(asked.shard, asked.payload)
        if mishap == "lost reply" or world.faults.happens("duplicate send"):
            self._send(asked.shard, asked.payload)

    def _send(self, shard: int, payload: bytes) -> None:
        identifier = self._world.redis.xadd(keys.inbox(shard), b"*", payload)
        if self._world.is_traced:
            self._world.note(self.name, f"sends {keys.inbox(shard)} {identifier.decode()} {payload.decode()}")

    def _ask_again(self) -> None:
        now = self._world.clock.ms
        late = [one for one in self._waiting.values() if one.again_at <= now]
        if late:
            self._send_one(self._world.dice.choice(late))

    def _listen(self) -> None:
        for shard, position in self._read.items():
            log = keys.log(keys.shard_tag(shard))
            for identifier, (_, payload) in self._world.redis.stream(log).after(id_of(position), 20):
                self._read[shard] = identifier
                self._hear(shard, log, identifier, payload)

    def _hear(self, shard: int, log: str, identifier: bytes, payload: bytes) -> None:
        entry = decode_ledger_entry(payload)
        heard: dict[int, Asked] = {}
        for event in entry.events:
            if not isinstance(event, ANSWERS):
                continue
            if isinstance(event, Accepted):
                self._flow.known.append(event)
            if (asked := self._waiting.get((shard, event.request_id))) is not None:
                heard[id(asked)] = asked
        for asked in heard.values():
            for one in asked.ids:
                self._waiting.pop((shard, one), None)
            self.answered += 1
            self.acknowledged.append(Acknowledged(log, int(identifier.partition(b"-")[0]), payload))
            if self._world.is_traced:
                self._world.note(self.name, f"hears {log} {identifier.decode()} {payload.decode()}")


def _ids(request: Any) -> list[str]:
    """By which ids an answer may name the request. Ids of transfers are the account's own."""
    legs = [one.request_id for one in request.orders] if isinstance(request, OrderListRequest) else []
    return [request.request_id, *legs]
