"""Any records, however little sense they make, are compared to their end, or refused with a sentence."""

from hypothesis import given, settings
from hypothesis import strategies as st

from shared.messages import Side
from workers.replay.compare.comparison import Comparison
from workers.replay.compare.findings import Findings
from workers.replay.compare.knowledge import gather
from workers.replay.exchange_event import Record
from workers.replay.steps import Unreadable

RECORDS = st.builds(
    Record, st.sampled_from("AAAACMTTFFFR"), st.sampled_from("BBBAAAN"), st.integers(97, 103), st.integers(1, 5),
    st.integers(0, 9), st.just(0), st.sampled_from([0, 128, 128, 32]),
)  # fmt: skip


def no_progress(_done: int, _all: int) -> None:
    """Nobody looks."""


def queues(comparison: Comparison, side: Side) -> list[tuple[int, int, int, int]]:
    """The recorded orders of a side by priority: id, price, shown and hidden lots."""
    orders = comparison.recorded.orders
    prices = sorted({one.price for one in orders.values() if one.side == side}, reverse=side == "buy")
    ranked = [order for price in prices for order in comparison.recorded.level(side, price)]
    return [(order, orders[order].price, orders[order].quantity, orders[order].hidden) for order in ranked]


@settings(max_examples=300)
@given(st.lists(RECORDS, min_size=5, max_size=60))
def test_any_records(records):
    """Every aggressor is equal or an exception, and afterwards the engine's book is the recorded one."""
    try:
        known = gather("file", iter(records), no_progress)
    except Unreadable:
        return
    findings = Findings("file", known, "1")
    comparison = Comparison(known, findings)
    comparison.run(iter(records), no_progress)
    report = findings.finished()
    assert report.aggressors == report.equal + len(report.exceptions)
    assert sum(report.causes.values()) == len(report.exceptions)
    for side in ("buy", "sell"):
        resting = comparison.mirror.book.resting(side)
        found = [(one.order_id, one.price, one.remaining, one.hidden) for one in resting]
        assert found == queues(comparison, side)
