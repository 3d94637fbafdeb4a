"""What must hold when everything has come to its end: no answer lost or doubled, one state however it is reached."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import msgspec

from shared import keys
from shared.chain import advance
from shared.errors import CorruptState
from shared.messages import Accepted, LedgerEntry, Transferred, decode_ledger_entry
from tests.audit.recorded import SYMBOLS
from tests.simulation.process import Process
from tests.simulation.world import Role, World
from workers.audit import snapshot_checks
from workers.audit.history import History, LogView
from workers.audit.invariants import Findings
from workers.audit.settlement_checks import SettlementChecks
from workers.engine.process import EngineHandler
from workers.ledger.process import LedgerHandler
from workers.store import Snapshot, read_snapshots, read_standing


class Verdict(msgspec.Struct):
    """What a run came to. ``violations`` in words; of answers, ``lost`` and ``doubled`` counted."""

    seed: int
    steps: int
    acknowledged: int
    faults: dict[str, int]
    lost: int = 0
    doubled: int = 0
    violations: list[str] = []


def judge(world: World) -> Verdict:
    """Check a run that has ended."""
    verdict = Verdict(world.seed, world.steps, len(world.gateway.acknowledged), dict(world.faults.counts))
    verdict.violations += world.failures
    if world.hole is not None:
        verdict.violations += _check_hole(world)
    elif not world.failures:
        _check_answers(world, verdict)
        for check in (_check_states, _check_follower, _audit):
            try:
                verdict.violations += check(world)
            except CorruptState as error:
                verdict.violations.append(f"a log cannot be followed: {error}")
    return verdict


def _check_answers(world: World, verdict: Verdict) -> None:
    """Each request in an inbox is answered by one entry, each id makes one order, no answer is taken back."""
    made: Counter[Any] = Counter()
    answers: Counter[str] = Counter()
    for shard in range(world.settings.shards):
        for _, payload in world.redis.stream(keys.log(keys.shard_tag(shard))).tape:
            entry: LedgerEntry = decode_ledger_entry(payload)
            answers[entry.source] += 1
            for event in entry.events:
                if isinstance(event, Accepted):
                    made[event.account, bool(event.client_id), event.client_id or event.request_id] += 1
                elif isinstance(event, Transferred):
                    made[event.account, event.request_id] += 1
        for identifier, _ in world.redis.stream(keys.inbox(shard)).tape:
            count = answers[f"{keys.inbox(shard)} {identifier.decode()}"]
            verdict.lost += count < 1
            verdict.doubled += count > 1
    verdict.doubled += sum(count - 1 for count in made.values())
    for told in world.gateway.acknowledged:
        tape = world.redis.stream(told.log).tape
        verdict.lost += told.number > len(tape) or tape[told.number - 1][1] != told.payload
    if verdict.lost or verdict.doubled:
        verdict.violations.append(f"{verdict.lost} answers lost, {verdict.doubled} doubled")


def _check_states(world: World) -> Iterator[str]:
    """Live, replayed from the first entry, and recovered from snapshot and log: byte for byte one state."""
    for role in world.roles:
        owner = world.owner(role)
        assert owner is not None, "it is drained"
        live, tape = owner.handler.dump(), world.redis.stream(keys.log(role.tag)).tape
        replayed = role.make()
        digested, digest = read_standing(world.redis.hash_of(keys.meta(role.tag))).digest
        for number, (_, payload) in enumerate(tape, start=1):
            replayed.fold(payload)
            if number == digested and replayed.digest() != digest:
                yield f"{role.name}: its digest at {number} is not that of its log"
        if replayed.dump() != live:
            yield f"{role.name}: its log, replayed, gives another state"
        for snapshot in _snapshots(world, role):
            left = world.redis.stream(keys.log(role.tag)).after((snapshot.position, 0), len(tape))
            if len(left) < len(tape) - snapshot.position:
                yield f"{role.name}: the log was trimmed beyond snapshot {snapshot.position}: the other may be damaged"
                continue
            recovered = role.make()
            recovered.load(snapshot.state)
            for _, (_, payload) in left:
                recovered.fold(payload)
            if recovered.dump() != live:
                yield f"{role.name}: snapshot {snapshot.position} and the log give another state"
    yield from _compare_open_orders(world)


def _snapshots(world: World, role: Role) -> list[Snapshot]:
    return read_snapshots(world.redis.hash_of(keys.snapshot(role.tag)))


def _compare_open_orders(world: World) -> Iterator[str]:
    """The live ledgers and the live books have the same open orders; no money is below 0 or came from nowhere."""
    in_books: set[tuple[int, int]] = set()
    in_ledgers: set[tuple[int, int]] = set()
    money: Counter[str] = Counter()
    for handler in (process.handler for process in _owners(world)):
        if isinstance(handler, EngineHandler):
            book = handler.book
            in_books |= {(one.order_id, one.left()) for side in ("buy", "sell") for one in book.resting(side)}
            in_books |= {(one.order_id, one.quantity) for one in (*(s.order for s in book.sleeping()), *book.pending())}
        elif isinstance(handler, LedgerHandler):
            ledger = handler.ledger
            in_ledgers |= {(order.order_id, order.remaining) for order in ledger.orders}
            for account, currency, available, held in ledger.accounts.rows():
                money[currency] += available + held
                if min(available, held) < 0:
                    yield f"account {account} has {available} {currency} and {held} held"
            money.subtract(ledger.supply)
    if in_books != in_ledgers:
        yield f"open in a ledger or a book, but not in both: {sorted(in_books ^ in_ledgers)}"
    if any(money.values()):
        yield f"money appeared or vanished: {dict(money)}"


def _owners(world: World) -> list[Process]:
    return [owner for role in world.roles if (owner := world.owner(role)) is not None]


def _check_follower(world: World) -> Iterator[str]:
    """What followed the logs over trims and crashes has every entry, and the owner's chain."""
    for tag, rows in world.follower.archive.items():
        tape = [payload for _, payload in world.redis.stream(keys.log(tag)).tape]
        chain = world.redis.hash_of(keys.meta(tag)).get(b"chain", b"").decode()
        if rows != tape or world.follower.chains[tag] != chain or advance("", tape) != chain:
            yield f"the follower of {tag} has {len(rows)} rows that are not the {len(tape)} entries of its log"


def _audit(world: World) -> Iterator[str]:
    """The invariants of ``matchbox audit`` over the whole logs, and the snapshots that are left."""
    findings = Findings()
    history = History(findings, SettlementChecks(findings))
    for role in world.roles:
        standing = read_standing(world.redis.hash_of(keys.meta(role.tag)))
        log = LogView(role.tag, standing, world.redis.stream(keys.log(role.tag)).tape, findings)
        symbol = role.tag.removeprefix("{i:").removesuffix("}")
        is_book = symbol in SYMBOLS
        checks = history.add_book(symbol, log) if is_book else history.add_ledger(len(history.ledgers), log)
        for snapshot in _snapshots(world, role):
            snapshot_checks.compare_at_position(snapshot, log, checks, findings)
    for _ in history.follow():
        pass
    history.end()
    yield from map(str, findings.violations)


def _check_hole(world: World) -> Iterator[str]:
    """Nobody has gone past an entry that vanished, and a ledger does without the book that lost it."""
    assert world.hole is not None
    stream, number = world.hole.stream, world.hole.number
    for role in world.roles:
        position = world.redis.hash_of(keys.meta(role.tag)).get(b"at:" + stream.encode(), b"0-0")
        if int(position.partition(b"-")[0]) >= number and role.tag not in world.hole.passed:
            yield f"{role.name} has read {stream} up to {position.decode()}, past {number}-0, which it never got"
        if (owner := world.owner(role)) is not None and isinstance(owner.handler, LedgerHandler):
            trouble = owner.handler.trouble()
            if trouble and (not world.hole.is_of_book or stream not in trouble):
                yield f"{role.name} does without what it could have: {trouble}"
        if stream == keys.log(role.tag):
            rows = world.follower.archive[role.tag]
            tape = [payload for _, payload in world.redis.stream(stream).tape]
            if rows != tape[: len(rows)]:
                yield f"the follower of {stream} went past {number}-0, which it never got"
