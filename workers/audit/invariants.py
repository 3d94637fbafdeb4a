"""What an audit looks for, how often it looked, and what it found."""

from collections import Counter
from enum import StrEnum

import msgspec

SHOWN_MAX = 20
"""Violations of one invariant that are kept in words; more are only counted."""


class Invariant(StrEnum):
    """What must always hold, in the order in which a report shows it."""

    ENTRIES = "log entries follow one another, each readable"
    CHAIN = "hash chain of each log is the stored one"
    SEQUENCE = "sequences, trade ids and order ids have no gap"
    SOURCES = "every command handled once, in order"
    PRIORITY = "price-time priority: the maker is first in the best level"
    CROSSED = "book never crossed"
    SELF_TRADE = "no account trades with itself"
    TERMS = "orders keep to their terms: limit, time in force, post-only, minimum"
    QUANTITY = "fills + remaining = quantity"
    MODES = "modes let in and trade what they may"
    COLLAR = "no trade beyond the price collar"
    ICEBERGS = "icebergs show no more than they want, and hide behind what is shown"
    EXPIRY = "expired orders are gone before anything can meet them"
    STOPS = "stops trigger when their condition holds, the oldest first"
    LISTS = "one leg's fill, trigger or end cancels the other; children follow their parent"
    AMENDS = "each amend is answered once, and does what it says"
    AUCTION = "auctions trade at one price, as much as can be"
    DONE = "each accepted order rests, or is done once"
    ACCEPTED = "the book has each order as the ledger accepted it"
    SETTLED = "each fill and release settled exactly once"
    TRADES = "bought = sold on every trade"
    FEES = "fees rounded up once an order"
    CLIENT_IDS = "each client order id once"
    BLOCKED = "nothing accepted of whom a kill switch has blocked"
    NEGATIVE = "nothing negative"
    HOLDS = "holds = what the open orders need"
    CONSERVED = "money of all accounts = deposits - withdrawals"
    SNAPSHOTS = "snapshots = fold of the log"
    POSTGRESQL = "PostgreSQL = fold of the logs"


READ_BOTH = 'halt the instrument ("matchbox instrument halt SYMBOL") and read these entries with redis-cli XRANGE'
BROKEN_LOG = 'stop the cluster ("matchbox stop"), copy its data folder, and run "matchbox recover"'
NEXT_STEPS = {
    Invariant.ENTRIES: BROKEN_LOG,
    Invariant.CHAIN: BROKEN_LOG,
    Invariant.SNAPSHOTS: "remove it (redis-cli HDEL with its hash and position): a restart begins with an older one",
    Invariant.POSTGRESQL: "put back a backup of the database: the pusher writes anew what came after",
}
"""What to do where the place alone does not say more."""


def place_of(source: str) -> tuple[str, tuple[int, int]]:
    """The stream that an entry answers, and the id there as two numbers; (-1, -1) if that is no id."""
    stream, _, identifier = source.partition(" ")
    first, _, second = identifier.partition("-")
    if not (first.isdecimal() and second.isdecimal()):
        return stream, (-1, -1)
    return stream, (int(first), int(second))


class Violation(msgspec.Struct, frozen=True):
    """One breach: which invariant, where (a log and entry, an order, a row), what is wrong there, and what to do."""

    invariant: Invariant
    where: str
    what: str
    next_step: str = ""

    def __str__(self) -> str:
        text = f"{self.invariant.name}: {self.where}: {self.what}"
        return f"{text}; {self.next_step}" if self.next_step else text


class Findings:
    """Counts of what was checked, and the violations."""

    def __init__(self) -> None:
        self.checked: Counter[Invariant] = Counter()
        self.violated: Counter[Invariant] = Counter()
        self.violations: list[Violation] = []

    def check(self, invariant: Invariant, holds: bool, where: str, what: str) -> None:
        """Count one check, and a violation unless it ``holds``. For where speed does not matter."""
        self.checked[invariant] += 1
        if not holds:
            self.violate(invariant, where, what)

    def violate(self, invariant: Invariant, where: str, what: str, next_step: str = "") -> None:
        """Count a violation and keep its words."""
        self.violated[invariant] += 1
        if self.violated[invariant] <= SHOWN_MAX:
            next_step = next_step or NEXT_STEPS.get(invariant, READ_BOTH)
            self.violations.append(Violation(invariant, where, what, next_step))
