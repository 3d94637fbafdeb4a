"""What the supervisor should do next: a pure function of what is wanted, what is alive and how earlier runs ended.

No process, clock or I/O here: times are seconds of the caller's clock. The rules:

- What is wanted and not alive is started: at once after its first exit, then after a pause that doubles up to a
  maximum, for as long as its runs serve less than ``HEALTHY_S``.
- An instrument's engine that ends by itself ``EXITS_MAX`` times in a row, each time within ``QUICK_S`` of its being
  ready, is given up: it would only fail again, and a person should look.
- An exit it is not to blame for (killed from outside, or Redis was away) never counts towards giving up, and the
  pause after it stays short.
- What is alive but silent for too long is hung: it is killed, and started again like one that died.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import takewhile

import msgspec

from shared import keys

PAUSE_S = 0.2
"""Pause before the second restart in a row; it doubles with each further one."""
PAUSE_MAX_S = 30.0
BLAMELESS_PAUSE_MAX_S = 1.0
ENGINE_PAUSE_MAX_S = 5.0
"""Longest pause of those that are given up in the end: that takes half a minute, and then a person knows."""
SERVER_PAUSE_MAX_S = 2.0
"""Longest pause before an embedded server or a migration is tried again: everything else waits for these."""
QUICK_S = 5.0
HEALTHY_S = 30.0
EXITS_MAX = 10
START_GRACE_S = 60.0
"""How long a worker may be silent before its first sign of life, or while it recovers."""

VALKEY, POSTGRES = "valkey", "postgres"
SERVERS = (VALKEY, POSTGRES)
INITDB, MIGRATIONS = "initdb", "migrations"
"""Run once each, until they succeed: PostgreSQL's files, and its tables."""
PUSHER, AUDITOR, DEMO = "pusher", "auditor", "demo"


def engine(symbol: str) -> str:
    """Name of an instrument's engine."""
    return keys.engine(symbol)


def symbol_of(name: str) -> str:
    """The instrument of an engine, "" for every other process."""
    kind, _, symbol = name.partition(":")
    return symbol if kind == "engine" else ""


class Wanted(msgspec.Struct, frozen=True):
    """A process that should run. ``startable``: what it needs is there; one that runs already may stay without.

    ``watched``: its signs of life can be seen at present. ``gives_up``: ten quick exits are enough.
    """

    name: str
    startable: bool = True
    watched: bool = True
    gives_up: bool = False
    pause_max_s: float = PAUSE_MAX_S


class Alive(msgspec.Struct, frozen=True):
    """A process that runs. ``sign_at``: its last sign of life, or its start. ``kill_at``: when it must have stopped."""

    name: str
    sign_at: float
    is_ready: bool = False
    kill_at: float | None = None


class Exit(msgspec.Struct, frozen=True):
    """How a run ended that nobody had asked to end. ``served_s``: from being ready to the end, 0 if it never was."""

    at: float
    served_s: float = 0.0
    blameless: bool = False


class Start(msgspec.Struct, frozen=True):
    """Start the process."""

    name: str


class Stop(msgspec.Struct, frozen=True):
    """Ask the process to stop, or with ``kill`` end it: it was ``hung``, or was asked and did not."""

    name: str
    kill: bool = False
    hung: bool = False


class GiveUp(msgspec.Struct, frozen=True):
    """Start the process no more until a person says so."""

    name: str


Action = Start | Stop | GiveUp


def plan(
    wanted: Iterable[Wanted],
    alive: Mapping[str, Alive],
    exits: Mapping[str, Sequence[Exit]],
    now: float,
    hung_after_s: float = 10.0,
) -> list[Action]:
    """The next actions. ``exits``: the unasked exits of each process, the oldest first."""
    names = set()
    actions: list[Action] = []
    for one in wanted:
        names.add(one.name)
        if one.name in alive:
            actions += _look_after(one, alive[one.name], now, hung_after_s)
        elif one.gives_up and is_hopeless(exits.get(one.name, ())):
            actions.append(GiveUp(one.name))
        elif one.startable and now >= start_time(exits.get(one.name, ()), one.pause_max_s):
            actions.append(Start(one.name))
    for name, process in alive.items():
        if name in names:
            continue
        if process.kill_at is None:
            actions.append(Stop(name))
        elif now >= process.kill_at:
            actions.append(Stop(name, kill=True))
    return actions


def _look_after(wanted: Wanted, process: Alive, now: float, hung_after_s: float) -> list[Action]:
    if process.kill_at is not None:
        return [Stop(process.name, kill=True)] if now >= process.kill_at else []
    patience_s = hung_after_s if process.is_ready else max(hung_after_s, START_GRACE_S)
    if wanted.watched and now - process.sign_at > patience_s:
        return [Stop(process.name, kill=True, hung=True)]
    return []


def start_time(exits: Sequence[Exit], pause_max_s: float = PAUSE_MAX_S) -> float:
    """When a process may be started again, on the clock of ``Exit.at``."""
    if not exits:
        return 0.0
    row = len(_in_a_row(exits, HEALTHY_S))
    if row <= 1:
        return exits[-1].at
    longest = min(BLAMELESS_PAUSE_MAX_S, pause_max_s) if exits[-1].blameless else pause_max_s
    return exits[-1].at + min(longest, PAUSE_S * (1 << min(row - 2, 20)))


def is_hopeless(exits: Sequence[Exit]) -> bool:
    """Whether a process ended by itself ``EXITS_MAX`` times in a row as soon as it was started."""
    return sum(not one.blameless for one in _in_a_row(exits, QUICK_S)) >= EXITS_MAX


def _in_a_row(exits: Sequence[Exit], served_s: float) -> list[Exit]:
    """The latest exits of runs that all served less than ``served_s``."""
    return list(takewhile(lambda one: one.served_s < served_s, reversed(exits)))


class Outlook(msgspec.Struct, frozen=True):
    """What the supervisor knows of the world: which servers answer, what is prepared, and what is to run.

    ``heard``: Redis answered just now, so a worker that is not heard is silent itself.
    """

    redis: bool = False
    heard: bool = False
    initialised: bool = False
    database: bool = False
    migrated: bool = False
    serving: bool = False
    symbols: tuple[str, ...] = ()


def wanted_processes(
    servers: Iterable[str],
    outlook: Outlook,
    given_up: Collection[str],
    shards: int,
    gateways: int,
    demo: bool,
    auditor: bool = False,
) -> list[Wanted]:
    """What should run, in the order in which it is started. ``servers``: those this cluster runs itself.

    Ledgers and engines need Redis alone, so they recover while PostgreSQL still starts; the demo needs a gateway
    that serves, and the auditor lets a start go first.
    """
    found = [_basis(name, name != POSTGRES or outlook.initialised) for name in servers]
    if not outlook.initialised:
        found.append(_basis(INITDB))
    if not outlook.migrated:
        found.append(_basis(MIGRATIONS, outlook.redis and outlook.database))
    up, heard = outlook.redis, outlook.heard
    found += [Wanted(f"ledger:{shard}", up, heard) for shard in range(shards)]
    engines = [engine(symbol) for symbol in outlook.symbols]
    found += [Wanted(one, up, heard, True, ENGINE_PAUSE_MAX_S) for one in engines if one not in given_up]
    migrated = up and outlook.migrated
    found += [Wanted(f"gateway:{number}", migrated, heard) for number in range(gateways)]
    found.append(Wanted(PUSHER, migrated, heard))
    if demo:
        found.append(Wanted(DEMO, up and outlook.serving, heard))
    if auditor:
        found.append(Wanted(AUDITOR, up and outlook.serving, heard))
    return found


def _basis(name: str, startable: bool = True) -> Wanted:
    """A server or a preparation: it sends no signs of life, and everything waits for it."""
    return Wanted(name, startable, watched=False, pause_max_s=SERVER_PAUSE_MAX_S)


def stop_stages(names: Iterable[str]) -> list[list[str]]:
    """The running workers in the order they are drained: who brings in orders, who decides them, who records them."""
    kinds = (("gateway", DEMO), ("ledger", "engine"), (PUSHER, AUDITOR, MIGRATIONS, INITDB))
    known = list(names)
    return [[name for name in known if name.partition(":")[0] in stage] for stage in kinds]
