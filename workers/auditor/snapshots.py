"""Snapshots that the auditor writes: where the owner's is damaged, and where a big state would have the owner pause.

They are what the owner would write, byte for byte: its state is the fold of its log, which is what the replica is. The
script lets one in only behind the very entry to which the replica was folded, so a log that was put back, or went on
differently, cannot get a state that is not its own.
"""

import hashlib
from typing import Any

import msgspec

from shared import keys
from workers.auditor.watch import Differing, Followed
from workers.store import Snapshot

SAVE = """
-- KEYS: log, snapshots. ARGV: position, payload of that entry, snapshot. Keeps the two newest.
local entry = redis.call('XRANGE', KEYS[1], ARGV[1] .. '-0', ARGV[1] .. '-0')
if #entry == 0 or entry[1][2][2] ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[2], ARGV[1], ARGV[3])
local kept = redis.call('HKEYS', KEYS[2])
table.sort(kept, function(a, b) return tonumber(a) > tonumber(b) end)
for i = 3, #kept do redis.call('HDEL', KEYS[2], kept[i]) end
return 1
"""


class Made(msgspec.Struct):
    """A snapshot of a replica, and the entry of the log behind which it stands."""

    tag: str
    payload: bytes
    snapshot: Snapshot


def make(one: Followed) -> Made:
    """The snapshot that an owner would write where ``one`` stands."""
    view = one.view
    return _made(view.tag, view.number, view.payload, view.chain, one.machine.dump())


def right(differing: Differing) -> Made:
    """What an owner should have written."""
    one = differing
    return _made(one.tag, one.snapshot.position, one.payload, one.chain, one.state)


def _made(tag: str, position: int, payload: bytes, chain: str, state: bytes) -> Made:
    return Made(tag, payload, Snapshot(position, chain, hashlib.sha256(state).hexdigest(), state))


def save(client: Any, made: Made) -> bool:
    """Write it. False: the log is another one now, or does not go back so far."""
    packed, position = msgspec.msgpack.encode(made.snapshot), made.snapshot.position
    names = keys.log(made.tag), keys.snapshot(made.tag)
    return bool(client.eval(SAVE, len(names), *names, position, made.payload, packed))
