"""What an audit knows of one book while it follows the book's log, and how it says that something is wrong.

The rules (the other book_*.py) are functions of this state and an event. They decide nothing: each holds what the log
says against what must be so, and says which rule is broken in the rule's own words.
"""

from collections import deque

from shared.errors import RejectReason
from shared.instrument import Instrument
from shared.messages import Side
from workers.audit.invariants import Findings, Invariant
from workers.audit.naive_auction import Clearing
from workers.audit.naive_book import OTHER, KnownOrder, NaiveSide
from workers.audit.naive_waiting import Deadlines, KnownLists, Sleepers
from workers.audit.settlement_checks import SettlementChecks

NOTHING = (0, 0)


class FollowedBook:
    """The state of one book as its log tells it. Prices in ticks, quantities in lots, time in ns."""

    def __init__(self, symbol: str, findings: Findings, settlement: SettlementChecks) -> None:
        self.symbol = symbol
        self.findings = findings
        self.settlement = settlement
        self.number = 0
        """The last entry followed."""
        self.time = 0
        self.sequence = 0
        self.trade_id = 0
        self.last_price = 0
        self.instrument: Instrument | None = None
        self.mode = "halted"
        """A book without rules takes nothing up."""
        self.has_collar = False
        self.orders: dict[int, KnownOrder] = {}
        self.sides: dict[Side, NaiveSide] = {"buy": NaiveSide("buy"), "sell": NaiveSide("sell")}
        self.sleepers = Sleepers()
        self.lists = KnownLists()
        self.deadlines = Deadlines()
        # --- within one entry, nothing between two ---
        self.arriving: KnownOrder | None = None
        """The order that came, and neither rests nor is done yet."""
        self.comes_again = False
        """Whether it rested before, and an amend lets it come once more."""
        self.taken = 0
        """Lots that it has traded since it came."""
        self.must_end: RejectReason | None = None
        """Why it may neither trade nor stay."""
        self.queue: deque[int] = deque()
        """Who is due to come behind the command: children, and stops whose condition held."""
        self.reference = 0
        """The last price before the command, which the price collar is around."""
        self.used_up: dict[int, KnownOrder] = {}
        """Orders of which trades took all that they showed: they are done, or show their next part."""
        self.prevented: tuple[int, int] = NOTHING
        """Account, and lots that self-trade prevention has just taken off one of its resting orders."""
        self.clearing: Clearing | None = None
        """What the auction that ends in this entry has to do."""
        self.is_watched = False
        """Whether rules of stops, lists, icebergs or auctions have to be looked after at the next step."""

    def configure(self, instrument: Instrument) -> None:
        """The rules from here on."""
        self.instrument, self.mode = instrument, instrument.mode
        self.has_collar = instrument.price_collar > 0

    def violate(
        self, invariant: Invariant, rule: str, order_id: int = 0, expected: object = "", found: object = ""
    ) -> None:
        """The entry followed last breaks a ``rule``."""
        name, log = f"order {order_id}: " if order_id else "", f"{{i:{self.symbol}}}:log"
        self.findings.violate(
            invariant,
            f"{self.symbol} entry {self.number}",
            f"{rule}: {name}expected {expected}, found {found}",
            f'halt it ("matchbox instrument halt {self.symbol}") and read the entry '
            f'("redis-cli XRANGE {log} {self.number}-0 {self.number}-0")',
        )

    def check(
        self, invariant: Invariant, holds: bool, rule: str, order_id: int, expected: object, found: object
    ) -> None:
        """Count one look at a ``rule``, and a violation unless it ``holds``. For where speed does not matter."""
        self.findings.checked[invariant] += 1
        if not holds:
            self.violate(invariant, rule, order_id, expected, found)

    def against(self, order: KnownOrder) -> NaiveSide:
        """The side that an order trades with."""
        return self.sides[OTHER[order.side]]

    def bound(self, order: KnownOrder) -> int:
        """The worst price at which an arriving order may trade: its own, or the collar's. 0: at any."""
        width = self.instrument.price_collar if self.instrument is not None else 0
        if not width or not self.reference:
            return order.price
        away = self.reference * width // 1_000_000
        if order.side == "buy":
            collar = self.reference + away
            return min(order.price, collar) if order.price else collar
        return max(order.price, self.reference - away, 1)
