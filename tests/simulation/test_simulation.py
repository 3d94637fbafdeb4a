"""The whole pipeline, simulated: the real ledgers, books and runtime under seeded faults. See CONTRIBUTING.md."""

import msgspec
import pytest
from click.testing import CliRunner

from tests.simulation.__main__ import Totals, main
from tests.simulation.checks import Verdict
from tests.simulation.run import simulate, told

SEEDS, PARTS = 2_000, 8


@pytest.mark.parametrize("part", range(PARTS))
def test_no_answer_is_lost_or_doubled_whatever_fails(part):
    """Every seed ends with all invariants: answers, states, money, orders, logs, snapshots."""
    share = SEEDS // PARTS
    for seed in range(part * share, (part + 1) * share):
        verdict = simulate(seed)
        assert not verdict.violations, told(verdict)


def test_every_kind_of_fault_happens():
    """A harness that injects nothing would find nothing."""
    faults = {kind for seed in range(60) for kind in simulate(seed).faults}
    assert faults >= {
        "crash", "stop", "zombie", "reset", "server clock", "script flush", "lost request", "lost reply",
        "refused write", "late command", "stale commit", "duplicate send", "follower crash", "hole",
    }  # fmt: skip


def test_a_seed_gives_the_same_run_again():
    """The same steps, word for word, so that a failure can be looked at."""
    traces: list[list[str]] = [[], []]
    for trace in traces:
        simulate(3, "", trace.append)
    assert traces[0] == traces[1]
    assert len(traces[0]) > 100


def test_a_failing_seed_names_its_replay():
    """Who finds a failure knows the number, and the command that shows it."""
    text = told(Verdict(17, 100, 0, {}, violations=["money appeared"]))
    assert "python -m tests.simulation --seed 17" in text
    assert "money appeared" in text


def test_the_command_ends_with_its_figures():
    """Many seeds: one JSON line and exit code 0; with a guard off: the failed seeds and exit code 1."""
    result = CliRunner().invoke(main, ["--seeds", "4"])
    assert result.exit_code == 0, result.output
    totals = msgspec.json.decode(result.stdout.splitlines()[-1], type=Totals)
    assert (totals.seeds, totals.lost, totals.doubled, totals.violations) == (4, 0, 0, 0)
    assert totals.acknowledged > 4 * 20
    result = CliRunner().invoke(main, ["--seeds", "2", "--without", "dedupe"])
    assert result.exit_code == 1
    assert msgspec.json.decode(result.stdout.splitlines()[-1], type=Totals).failed == [0, 1]


def test_a_seed_is_shown_step_by_step():
    """The trace tells who did what and when, and ends with the figures."""
    result = CliRunner().invoke(main, ["--seed", "3"])
    assert result.exit_code == 0, result.output
    assert "starts" in result.stdout
    assert "commit 0:" in result.stdout
    assert msgspec.json.decode(result.stdout.splitlines()[-1], type=Totals).seeds == 1
