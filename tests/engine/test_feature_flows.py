"""Long seeded flows of all kinds of orders against the naive book: denser than what hypothesis draws.

``MATCHBOX_FLOWS`` scales it as in ``test_against_oracle.py``.
"""

import os

import pytest

from shared.errors import RejectReason
from shared.messages import (
    Activate,
    AmendRefused,
    Change,
    Conditions,
    Done,
    ListPlaced,
    Match,
    Open,
    Received,
)
from tests.engine.feature_flow import FeatureFlow
from tests.engine.harness import Harness, configured

FLOWS = int(os.environ.get("MATCHBOX_FLOWS", "10"))
COMMANDS = 2_000


class PublicFollower:
    """Who shows what, in priority, from public events alone: no accounts, nothing of what icebergs hide."""

    def __init__(self):
        self.orders = {}

    def follow(self, events):
        """The rules a client needs; a dict keeps the order in which its orders opened."""
        for event in events:
            match event:
                case Open():
                    assert event.order_id not in self.orders
                    self.orders[event.order_id] = [event.side, event.price, event.remaining]
                case Match():
                    for order_id in [event.maker_order_id, *([event.taker_order_id] if event.auction else [])]:
                        self.orders[order_id][2] -= event.quantity
                        if self.orders[order_id][2] == 0:
                            del self.orders[order_id]
                case Change() if event.order_id in self.orders:
                    moves = event.price != event.old_price or event.new_quantity > event.old_quantity
                    if event.reason == "amend" and moves:
                        del self.orders[event.order_id]
                    else:
                        shown = self.orders[event.order_id]
                        shown[2] = min(shown[2], event.new_quantity)
                case Done():
                    self.orders.pop(event.order_id, None)

    def side(self, side):
        found = [(order_id, price, shown) for order_id, (its, price, shown) in self.orders.items() if its == side]
        return sorted(found, key=lambda one: -one[1] if side == "buy" else one[1])


@pytest.mark.parametrize("seed", range(FLOWS))
def test_public_events_rebuild_the_book_with_its_priority(order_book, seed):
    """A client of the full channel knows each order's shown size and place in the queue, refreshes and amends too."""
    book, follower, flow = order_book(), PublicFollower(), FeatureFlow(1_000 + seed)
    book.apply(configured(time=1))
    for _ in range(COMMANDS):
        follower.follow(book.apply(flow.next(sorted(book.ids_of(0, "")))))
        for side in ("buy", "sell"):
            resting = [(one.order_id, one.price, one.remaining) for one in book.resting(side)]
            assert follower.side(side) == resting


@pytest.mark.parametrize("seed", range(FLOWS))
def test_long_flows_of_all_features_agree(seed):
    """Over thousands of commands and hundreds of open orders, the book does what the naive one does."""
    harness, flow = Harness(), FeatureFlow(seed)
    harness.do(configured(time=1))
    for number in range(COMMANDS):
        harness.do(flow.next(sorted(harness.book.ids_of(0, ""))), deep=number % 10 == 0 or flow.mode == "auction")
        if number % 97 == 0:
            harness.restart()
    harness.check_books()


def test_the_flows_try_everything():
    """Over a few seeds each kind of event and each cause of an end occurs often, so that agreement says something."""
    seen: dict[object, int] = {}
    for seed in range(100, 104):
        harness, flow = Harness(), FeatureFlow(seed)
        harness.do(configured(time=1))
        for _ in range(COMMANDS):
            for event in harness.do(flow.next(sorted(harness.book.ids_of(0, ""))), deep=False):
                names: list[object] = [type(event)]
                match event:
                    case Done():
                        names.append(event.cause or event.reason)
                    case AmendRefused():
                        names.append(("amend refused", event.reason))
                    case Open():
                        names.append(("open, hides", bool(event.hidden)))
                    case Match():
                        names.append(("match, auction", event.auction))
                    case Change():
                        names.append(("change", event.reason, bool(event.hidden), bool(event.stop_price)))
                    case Received(conditions=Conditions(stop=stop, trail=trail)) if stop:
                        names.append(("triggered", stop, bool(trail)))
                for name in names:
                    seen[name] = seen.get(name, 0) + 1
    causes = {
        RejectReason.EXPIRED, RejectReason.MINIMUM_QUANTITY, RejectReason.PRICE_COLLAR, RejectReason.AUCTION_MODE,
        RejectReason.LINKED_ORDER, RejectReason.LIST_REFUSED, RejectReason.SELF_TRADE, RejectReason.FILL_OR_KILL,
        RejectReason.POST_ONLY,
    }  # fmt: skip
    needed = {
        Activate, ListPlaced, Match, ("open, hides", True), ("match, auction", True), ("match, auction", False),
        ("change", "amend", False, False), ("change", "amend", True, False), ("change", "amend", False, True),
        ("change", "stp", True, False), ("triggered", "loss", False), ("triggered", "entry", False),
        ("triggered", "loss", True), ("triggered", "entry", True),
        *(("amend refused", reason) for reason in (RejectReason.POST_ONLY, RejectReason.QUANTITY_TOO_SMALL)),
    }  # fmt: skip
    rare = {name: seen.get(name, 0) for name in needed | causes if seen.get(name, 0) < 5}
    assert not rare, rare
