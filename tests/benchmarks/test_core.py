"""The benchmark of the matching core: what it calls right is right, and what is wrong it names."""

import json

import pytest
from click.testing import CliRunner

from benchmarks.core.checking import expected, faults, outcome
from benchmarks.core.command import main, ratios
from benchmarks.core.flows import FLOWS
from benchmarks.core.measures import latencies, quantile
from benchmarks.core.ours import Matchbox, ours
from benchmarks.core.stress import COUNT, STRESSES
from benchmarks.peers import installed
from benchmarks.peers.engine import Trade

COMMANDS = 2_000


@pytest.mark.parametrize("name", FLOWS)
def test_our_engines_match_correctly(name):
    """Trades, in order, and levels are those of the plain book on every flow."""
    flow = FLOWS[name](COMMANDS)
    right = expected(flow)
    for engine in ours():
        assert faults(outcome(engine(), flow), right) == []


@pytest.mark.parametrize("name", ["mixed", "cross"])
def test_the_installed_peers_are_judged(name):
    """Each that is installed can be asked, and those known to be right are."""
    flow = FLOWS[name](COMMANDS).first(200)
    right = expected(flow)
    for engine in installed()[0]:
        found = faults(outcome(engine(), flow), right)
        assert not found or engine.name in ("akhil4n-orderbook", "litebook"), f"{engine.name}: {found}"


class OtherOrder(Matchbox):
    """Two trades change places."""

    def trades(self, results):
        found = super().trades(results)
        return [found[1], found[0], *found[2:]]


class OtherPrice(Matchbox):
    """The taker's price, or so."""

    def trades(self, results):
        return [Trade(one.maker, one.taker, one.price + 1, one.quantity) for one in super().trades(results)]


class OtherLevels(Matchbox):
    """A level too many."""

    def levels(self):
        bids, asks = super().levels()
        return bids | {1: 1}, asks


@pytest.mark.parametrize(
    ("engine", "wrong"), [(OtherOrder, "trades"), (OtherPrice, "trade prices"), (OtherLevels, "level totals")]
)
def test_a_wrong_engine_is_found(engine, wrong):
    """Each kind of fault is named as what it is."""
    flow = FLOWS["cross"](COMMANDS)
    assert faults(outcome(engine(), flow), expected(flow)) == [wrong]


def test_only_peers_that_match_correctly_count():
    """A fast engine that is wrong is no measure."""
    figures = {"matchbox (python)": {"mixed": 300}, "quick": {"mixed": 900}, "slow": {"mixed": 100}}
    wrong = {"matchbox (python)": [], "quick": ["trades"], "slow": []}
    assert ratios(figures, wrong, ["mixed"])["matchbox (python)"] == {"mixed": 3.0}


@pytest.mark.parametrize("name", STRESSES)
def test_a_stress_measures_commands_that_do_something(name):
    """None is refused, and each run has as many times as commands."""
    flow = STRESSES[name][0]()
    book = Matchbox()
    answers = [call(command) for call, command in book.operations([*flow.preparation, *flow.commands[:100]])]
    assert all(events for events in answers)
    assert len(flow.commands) >= COUNT
    assert len(latencies(Matchbox, flow.first(100), 2)) == 100


def test_quantiles_are_those_of_the_sorted_times():
    """The 99th percentile of 1..100 is reached by no fewer than 99 of them."""
    times = list(range(1, 101))
    assert [quantile(times, share) for share in (0.5, 0.99, 0.999)] == [51, 100, 100]


@pytest.mark.slow
def test_the_command_ends_with_its_figures():
    """Tables for people, then one JSON line."""
    run = CliRunner().invoke(main, ["--quick", "--flow", "cross"])
    assert run.exit_code == 0, run.output
    found = json.loads(run.output.splitlines()[-1])
    assert found["wrong"]["matchbox (python)"] == []
    assert found["apply"]["matchbox (python)"]["cross"] > 0
    assert set(found["ours"]["matchbox (python)"]["cross"]) == {"step", "fold", "p50_ns", "p99_ns", "p999_ns", "max_ns"}
