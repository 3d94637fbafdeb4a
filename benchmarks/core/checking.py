"""Whether an engine matches correctly: its trades and final levels next to those of the plain book."""

from benchmarks.core.flows import Flow
from benchmarks.core.plain_book import PlainBook
from benchmarks.peers.engine import Engine, Outcome


def outcome(engine: Engine, flow: Flow) -> Outcome:
    """What an empty engine makes of a flow, its preparation included."""
    operations = engine.operations([*flow.preparation, *flow.commands])
    results = [call(argument) for call, argument in operations]
    bids, asks = engine.levels()
    return Outcome(engine.trades(results), bids, asks)


def expected(flow: Flow) -> Outcome:
    """What is right."""
    return outcome(PlainBook(), flow)


def faults(found: Outcome, right: Outcome) -> list[str]:
    """What is wrong, in words; nothing if nothing is."""
    wrong = []
    if [(one.maker, one.taker, one.quantity) for one in found.trades] != [
        (one.maker, one.taker, one.quantity) for one in right.trades
    ]:
        wrong.append("trades")
    elif found.trades != right.trades:
        wrong.append("trade prices")
    if (found.bids, found.asks) != (right.bids, right.asks):
        wrong.append("level totals")
    return wrong
