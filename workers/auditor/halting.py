"""What the auditor does about a finding: the instruments it concerns are halted, and it is written where all look."""

import socket
import time
from pathlib import Path
from typing import Any

import msgspec

from shared import keys
from shared.instrument import Instrument
from shared.messages import FIELD, InstrumentRequest, encode
from workers.auditor.places import symbol_of
from workers.auditor.watch import Finding

REASON = "the auditor found it broken"
"""What those who try to trade it are told; the finding itself is for the operator."""
FENCE = """
-- KEYS: meta. ARGV: channel on which releases are told.
redis.call('HINCRBY', KEYS[1], 'epoch', 1)
redis.call('HSET', KEYS[1], 'owner', '', 'lease', '0')
redis.call('PUBLISH', ARGV[1], 'released')
"""


class Record(msgspec.Struct):
    """A finding that was halted for. ``journal``: a file on ``host``; ``time`` in ns.

    ``last``: up to that entry it is known that things are wrong, and nobody need be told again.
    """

    tag: str
    position: int
    invariant: str
    where: str
    what: str
    journal: str
    host: str
    time: int
    last: int = 0

    def __str__(self) -> str:
        name = symbol_of(self.tag) or f"ledger {self.tag}"
        again = symbol_of(self.tag) or "SYMBOL"
        return (
            f"{name} is halted since entry {self.position:,}: {self.invariant}: {self.what} ({self.where}); "
            f'look at it with "matchbox audit --journal {self.journal}", then "matchbox instrument resume {again}"'
        )


def record(finding: Finding, journal: Path) -> Record:
    """The record of a finding."""
    violation = finding.violation
    return Record(
        finding.tag, finding.position, violation.invariant.name, violation.where, violation.what, str(journal),
        socket.gethostname(), time.time_ns(),
    )  # fmt: skip


def read(client: Any) -> dict[str, Record]:
    """What was halted for before, by tag."""
    found = {tag.decode(): text for tag, text in client.hgetall(keys.FINDINGS).items()}
    return {tag: msgspec.json.decode(text, type=Record) for tag, text in found.items()}


def write(client: Any, found: Record) -> None:
    """Keep a record; it stays when the instrument is resumed, so that the same entries are not found once more."""
    client.hset(keys.FINDINGS, found.tag, encode(found))


def open_symbols(client: Any, tag: str) -> list[str]:
    """The instruments that a finding of ``tag`` concerns and that are not halted; a ledger's concerns all."""
    symbol, rules = symbol_of(tag), _rules(client)
    concerned = [symbol] if symbol else sorted(rules)
    return [one for one in concerned if one in rules and rules[one].mode != "halted"]


def halt(client: Any, shards: int, symbols: list[str]) -> None:
    """Have the ledgers and books refuse orders for these instruments, as "matchbox instrument halt" does."""
    rules = _rules(client)
    for symbol in symbols:
        halted = rules[symbol].in_mode("halted", REASON)
        request = InstrumentRequest(f"auditor-{symbol}-{time.time_ns()}", halted)
        for shard in range(shards):
            client.xadd(keys.inbox(shard), {FIELD: encode(request)})
        client.hset(keys.INSTRUMENTS, symbol, encode(halted))


def have_recover(client: Any, tag: str) -> None:
    """End the ownership of a machine whose state is not that of its log.

    Its next commit, snapshot or renewal is refused, and it, or whoever waits for it, recovers from the log.
    """
    client.eval(FENCE, 1, keys.meta(tag), f"{keys.lease(tag)}.live")


def _rules(client: Any) -> dict[str, Instrument]:
    texts = client.hgetall(keys.INSTRUMENTS)
    return {name.decode(): msgspec.json.decode(text, type=Instrument) for name, text in texts.items()}
