"""What an audit knows of one account shard while it follows its log, and how it says that something is wrong."""

from collections import Counter, OrderedDict, deque

import msgspec

from shared.instrument import Instrument
from shared.messages import Accepted, AmendRequested, Conditions
from workers.audit.invariants import Findings, Invariant
from workers.audit.settlement_checks import SettlementChecks

MILLION = 1_000_000

UsedId = tuple[int, str, str]
"""Account, kind of id (a client's, a request's, a transfer's), id."""


class OwnedOrder(msgspec.Struct, gc=False):
    """An open order: as it was accepted, and what became of it. ``exact_fee`` in millionths of the smallest unit.

    ``price``, ``quantity`` and ``conditions`` are what amends have made of them; ``amends`` are on their way, the
    oldest first. ``rival`` shares its hold with it (0: nobody, or nobody any more). ``due`` is what it will hold,
    besides, out of what its parent brings; ``children`` wait for that. ``shrunk``: self-trade prevention took some.
    ``is_restored``: accepted before the audit's first entry, and known as a snapshot has it.
    """

    accepted: Accepted
    time: int
    hold: int
    remaining: int
    price: int
    quantity: int
    filled: int = 0
    executed_value: int = 0
    fees: int = 0
    exact_fee: int = 0
    rival: int = 0
    conditions: Conditions | None = None
    amends: tuple[AmendRequested, ...] = ()
    due: int = 0
    children: tuple[int, ...] = ()
    shrunk: bool = False
    is_restored: bool = False

    @property
    def fee_rest(self) -> int:
        """What rounding up has charged ahead."""
        return self.fees * MILLION - self.exact_fee

    @property
    def used_id(self) -> UsedId:
        """The id that keeps a second such order from being made."""
        one = self.accepted
        return one.account, "c" if one.client_id else "r", one.client_id or one.request_id

    @property
    def held_currency(self) -> str:
        """What it holds."""
        base, _, quote = self.accepted.instrument.partition("-")
        return quote if self.accepted.side == "buy" else base


class Money(msgspec.Struct, gc=False):
    """A balance."""

    available: int = 0
    held: int = 0


class FollowedLedger:
    """The state of one account shard as its log tells it."""

    def __init__(self, shard: int, findings: Findings, settlement: SettlementChecks) -> None:
        self.shard = shard
        self.findings = findings
        self.settlement = settlement
        self.number = 0
        """The last entry followed."""
        self.where = ""
        """The same in words."""
        self.time = 0
        self.count = 0
        """Orders accepted so far; ``first_count`` of them before the audit's first entry."""
        self.first_count = 0
        self.instruments: dict[str, Instrument] = {}
        self.last_prices: dict[str, int] = {}
        self.blocked: set[int] = set()
        """Accounts whose kill switch is on; 0: everyone's."""
        self.balances: dict[tuple[int, str], Money] = {}
        self.orders: dict[int, OwnedOrder] = {}
        self.deposits: dict[str, int] = {}
        """What came in less what went out, per currency; from a snapshot on: what was there, and then."""
        self.sent: Counter[str] = Counter()
        """Commands that went to each book."""
        self.named_rivals: list[tuple[int, int]] = []
        """Within an entry: orders that were accepted with a rival, and whom they name."""
        self.left_alone: dict[int, int] = {}
        """Within an entry: whose rival was filled, and by which order; the book has canceled them."""
        self.unfunded: deque[tuple[int, int]] = deque()
        """Within an entry: for which orders how much of what the last fill brought has to be held next."""
        self.late_amends: OrderedDict[int, list[str]] = OrderedDict()
        """Orders that closed with amends on their way, which come too late -> those. The newest ones only."""

    def violate(self, invariant: Invariant, what: str) -> None:
        """The entry followed last breaks a rule."""
        log = f"{{a:{self.shard}}}:log"
        self.findings.violate(
            invariant, self.where, what,
            f'stop the cluster ("matchbox stop") and read the entry ("redis-cli XRANGE {log} {self.number}-0 '
            f'{self.number}-0")',
        )  # fmt: skip

    def violate_rule(self, invariant: Invariant, rule: str, order_id: int, expected: object, found: object) -> None:
        """The same with the rule in words, and what was expected of which order."""
        self.violate(invariant, f"{rule}: order {order_id}: expected {expected}, found {found}")

    def check(
        self, invariant: Invariant, holds: bool, rule: str, order_id: int, expected: object, found: object
    ) -> None:
        """Count one look at a ``rule``, and a violation unless it ``holds``. For where speed does not matter."""
        self.findings.checked[invariant] += 1
        if not holds:
            self.violate_rule(invariant, rule, order_id, expected, found)

    def move(self, account: int, currency: str, available: int, held: int) -> None:
        """Money moves."""
        money = self.balances.get((account, currency))
        if money is None:
            money = self.balances[account, currency] = Money()
        money.available += available
        money.held += held
        self.findings.checked[Invariant.NEGATIVE] += 1
        if money.available < 0 or money.held < 0:
            self.violate(
                Invariant.NEGATIVE,
                f"nothing is negative: account {account} has {money.available} {currency} available and "
                f"{money.held} held",
            )

    def release(self, order: OwnedOrder, amount: int) -> None:
        """What an order need not hold any more."""
        order.hold -= amount
        if amount:
            self.move(order.accepted.account, order.held_currency, amount, -amount)
