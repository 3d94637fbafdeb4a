"""Follows all logs at once, as they grow: the checks of an audit, and replicas to hold the owners' states against.

Nothing here reads a clock or a server. How far there is something to read, cuts say, each of which has what caused
whatever it has: so nothing that is only on its way is taken for lost.
"""

from collections import deque
from collections.abc import Callable, Iterator
from functools import partial

import msgspec

from shared import keys
from shared.errors import CorruptState
from shared.messages import BookEntry, LedgerEntry, LedgerEvent
from workers.audit import snapshot_checks
from workers.audit.book_checks import BookChecks
from workers.audit.history import History, LogView
from workers.audit.invariants import Findings, Invariant, Violation
from workers.audit.ledger_checks import LedgerChecks
from workers.audit.settlement_checks import SettlementChecks
from workers.auditor.places import entry_of, shard_of, symbol_of, tag_of
from workers.engine.book import OrderBook
from workers.engine.core import order_book
from workers.engine.digest import digest as book_digest
from workers.handler import UNFOLDABLE
from workers.ledger.digest import digest as ledger_digest
from workers.ledger.ledger import Ledger
from workers.store import Snapshot, Standing

FOREVER = 1 << 62
DIGESTS_KEPT = 200
"""Digests of each owner that are remembered, to be told again by a journal."""

Machine = OrderBook | Ledger
Payloads = Iterator[tuple[bytes, bytes]]


class Start(msgspec.Struct):
    """Where a log begins here: behind entry ``position``, with that chain and state (``None``: an empty one)."""

    position: int = 0
    chain: str = ""
    machine: Machine | None = None


class Finding(msgspec.Struct, frozen=True):
    """A breach, whose it is, and the entry of its log at which it was found."""

    tag: str
    position: int
    violation: Violation


def load(tag: str, snapshot: Snapshot, core: str) -> Start:
    """Where a log goes on behind a snapshot. Raises ``CorruptState``."""
    machine = order_book(core).load(snapshot.state) if symbol_of(tag) else Ledger.load(snapshot.state)
    return Start(snapshot.position, snapshot.chain, machine)


class Differing(msgspec.Struct):
    """An owner's snapshot that is not the fold of its log; ``state`` is, behind the entry with this ``payload``."""

    tag: str
    snapshot: Snapshot
    state: bytes
    chain: str
    payload: bytes


class Followed:
    """One machine: its log, what an audit knows of it, and a replica."""

    def __init__(self, view: LogView, checks: BookChecks | LedgerChecks, machine: Machine) -> None:
        self.view = view
        self.checks = checks
        self.machine = machine
        self.is_broken = False
        """Whether an entry could not be folded: from there on the replica is no one's state."""
        self.digests: deque[tuple[int, str]] = deque(maxlen=DIGESTS_KEPT)
        """What its owner has told: (length of its log, digest)."""
        self.snapshots: set[int] = set()
        """Positions of the owner's snapshots that were, or are to be, compared."""
        self.touched: list[LedgerEvent] = []
        """The events of a ledger's last entry."""
        self.agreed = 0
        """The entry behind which the owner's state was last found to be this one."""
        self.state_bytes = 0
        """How big the owner's last snapshot was."""

    def digest(self) -> str:
        """What an owner in this state tells."""
        if isinstance(self.machine, Ledger):
            return ledger_digest(self.machine, self.touched)
        return book_digest(self.machine)


class Watch:
    """All machines of a cluster of ``shards`` account shards.

    ``find_snapshot`` gets a tag and a position and answers the owner's snapshot, ``None`` if it is damaged or gone.
    """

    def __init__(self, shards: int, core: str, find_snapshot: Callable[[str, int], Snapshot | None]) -> None:
        self.shards = shards
        self.core = core
        self.machines: dict[str, Followed] = {}
        self.differing: list[Differing] = []
        self.on_unreadable: Callable[[Followed], None] = lambda _one: None
        """Told where the owner's snapshot should be that is damaged or gone; the machine stands there."""
        self.compared = 0
        """Digests and snapshots of owners that were held against the replicas."""
        self.findings = Findings()
        self._find_snapshot = find_snapshot
        self._settlement = SettlementChecks(self.findings)
        self._history = History(self.findings, self._settlement)
        self._history.on_book_entry = self._fold_book
        self._history.on_ledger_entry = self._fold_ledger
        self._ended_at = 0

    # --- what there is to follow -------------------------------------------------------------------

    def add(self, tag: str, payloads: Payloads, start: Start) -> None:
        """Follow a machine's log, given behind ``start``."""
        symbol = symbol_of(tag)
        view = LogView(tag, Standing(0, 0, "", {}, {}), payloads, self.findings, start.position, start.chain)
        machine = start.machine
        if symbol:
            book = self._history.add_book(symbol, view)
            if isinstance(machine, OrderBook):
                book.start_from(start.position, machine)
            self.machines[tag] = Followed(view, book, machine or order_book(self.core)())
        else:
            ledger = self._history.add_ledger(shard_of(tag), view)
            if isinstance(machine, Ledger):
                ledger.start_from(start.position, machine)
            self.machines[tag] = Followed(view, ledger, machine or Ledger(shard_of(tag), self.shards))

    def leave_out(self, symbol: str) -> None:
        """A book that is not to be followed: nothing that a ledger settles of it is known here."""
        self._settlement.book_starts(symbol, FOREVER)

    def cut(self, standings: dict[str, Standing], snapshots: dict[str, list[int]]) -> None:
        """How far the logs go now, and where their owners have snapshots."""
        for tag, one in self.machines.items():
            one.view.standing = standing = standings[tag]
            position, digest = standing.digest
            if position > one.view.number:
                self.expect_digest(tag, position, digest)
            for position in snapshots.get(tag, ()):
                if max(one.view.start + 1, one.view.number) <= position <= standing.length:
                    self.expect_snapshot(tag, position)

    def expect_digest(self, tag: str, position: int, digest: str) -> None:
        """Compare the owner's digest when its log has been followed so far."""
        one = self.machines[tag]
        if (position, digest) not in one.digests:
            one.digests.append((position, digest))
            one.view.at(position, partial(self._compare_digest, one, digest))

    def expect_snapshot(self, tag: str, position: int) -> None:
        """Compare the owner's whole state when its log has been followed so far."""
        one = self.machines[tag]
        if position not in one.snapshots:
            one.snapshots.add(position)
            one.view.at(position, partial(self._compare_snapshot, one))

    # --- following ---------------------------------------------------------------------------------

    def follow(self) -> Iterator[None]:
        """Follow all up to the cut; yields where no entry is half done. Look for ``take`` then."""
        yield from self._history.follow()

    @property
    def count(self) -> int:
        """Entries followed."""
        return sum(one.view.number - one.view.start for one in self.machines.values())

    @property
    def lag(self) -> int:
        """Entries of the cut that are still to be followed."""
        return sum(max(0, one.view.standing.length - one.view.number) for one in self.machines.values())

    def is_end_due(self, every: int) -> bool:
        """Whether so much was followed since ``end`` that it costs little next to that."""
        weight = sum(len(one.machine.orders) for one in self.machines.values())
        return self.count - self._ended_at >= max(every, weight)

    def is_quiet(self) -> bool:
        """Whether nothing was followed since ``end``."""
        return self.count == self._ended_at

    def end(self) -> None:
        """Check what can be said of whole states, where all stand in a cut. Costs about 1 µs an order and balance."""
        self._history.end()
        self._ended_at = self.count

    def take(self) -> list[Finding]:
        """What is wrong, so far."""
        symbols = [*filter(None, map(symbol_of, self.machines))]
        found = []
        for violation in self.findings.violations:
            tag = tag_of(violation.where, symbols, self.shards)
            one = self.machines.get(tag)
            position = entry_of(violation.where) or (one.view.number if one is not None else 0)
            if one is not None and violation.invariant is Invariant.ENTRIES:
                one.is_broken = True
            found.append(Finding(tag, position, violation))
        return found

    def starts(self) -> dict[str, Start]:
        """Where each log would go on from here, with the replicas as they are."""
        return {tag: Start(one.view.number, one.view.chain, one.machine) for tag, one in self.machines.items()}

    # --- replicas ------------------------------------------------------------------------------------

    def _fold_book(self, symbol: str, number: int, entry: BookEntry) -> None:
        self._fold(self.machines[keys.instrument_tag(symbol)], f"{symbol} entry {number}", entry)

    def _fold_ledger(self, checks: LedgerChecks, number: int, entry: LedgerEntry) -> None:
        one = self.machines[keys.shard_tag(checks.shard)]
        self._fold(one, f"ledger {checks.shard} entry {number}", entry)
        one.touched = entry.events

    def _fold(self, one: Followed, where: str, entry: BookEntry | LedgerEntry) -> None:
        if one.is_broken:
            return
        try:
            one.machine.fold_entry(entry)  # type: ignore[arg-type]  # each machine gets its own kind
        except UNFOLDABLE as error:
            one.is_broken = True
            self.findings.violate(Invariant.ENTRIES, where, f"it does not follow on the state before: {error}")

    def _compare_digest(self, one: Followed, digest: str) -> None:
        if one.is_broken:
            return
        self.compared += 1
        found, tag, position = one.digest(), one.view.tag, one.view.number
        self.findings.check(
            Invariant.SNAPSHOTS, found == digest, f"{keys.meta(tag)} entry {position}",
            f"its owner tells digest {digest} of its state, the log gives {found}",
        )  # fmt: skip
        if found == digest:
            one.agreed = position

    def _compare_snapshot(self, one: Followed) -> None:
        """Byte for byte; an older program may have written the same state in other bytes."""
        tag, position = one.view.tag, one.view.number
        if one.is_broken:
            return
        snapshot = self._find_snapshot(tag, position)
        if snapshot is None:
            self.on_unreadable(one)
            return
        self.compared += 1
        one.state_bytes = len(snapshot.state)
        state = one.machine.dump()
        where, before = f"{keys.snapshot(tag)} entry {position}", self.findings.violated.total()
        try:
            is_same = snapshot.state == state or type(one.machine).load(snapshot.state).dump() == state
        except CorruptState as error:
            self.findings.violate(Invariant.SNAPSHOTS, where, str(error))
            is_same = False
        if not is_same or snapshot.chain != one.view.chain:
            snapshot_checks.compare(snapshot, one.view, one.checks, self.findings, where)
            if self.findings.violated.total() == before:
                self.findings.violate(Invariant.SNAPSHOTS, where, "is not the state that the log gives")
            self.differing.append(Differing(tag, snapshot, state, one.view.chain, one.view.payload))
        else:
            one.agreed = position
