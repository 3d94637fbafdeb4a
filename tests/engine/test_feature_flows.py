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
                names = [type(event)]
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
