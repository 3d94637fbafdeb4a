"""The whole pipeline, simulated: the real ledgers, books and runtime under seeded faults. See CONTRIBUTING.md."""

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from tests.simulation.checks import Verdict
from tests.simulation.command import Totals
from tests.simulation.run import simulate, told

SEEDS, PARTS = 2_000, 8


@pytest.mark.slow
@pytest.mark.parametrize("part", range(PARTS))
def test_no_answer_is_lost_or_doubled_whatever_fails(part):
    """Every seed ends with all invariants: answers, states, money, orders, logs, snapshots."""
    share = SEEDS // PARTS
    for seed in range(part * share, (part + 1) * share):
        verdict = simulate(seed)
        assert not verdict.violations, told(verdict)


def test_every_kind_of_fault_happens():
    """A harness that injects nothing would find nothing. What happens in these few seeds does no harm, either."""
    faults: set[str] = set()
    for seed in range(100):
        verdict = simulate(seed)
        assert not verdict.violations, told(verdict)
        faults |= verdict.faults.keys()
    assert faults >= {
        "crash", "stop", "zombie", "reset", "server clock", "script flush", "lost request", "lost reply",
        "refused write", "late command", "stale commit", "duplicate send", "follower crash", "damaged snapshot", "hole",
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


def run(*options: str) -> tuple[int, list[str], Totals]:
    """The command as people run it: exit code, lines, figures."""
    command = [sys.executable, "-m", "tests.simulation", *options]
    result = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=60)
    lines = result.stdout.splitlines()
    return result.returncode, lines, msgspec.json.decode(lines[-1], type=Totals)


@pytest.mark.slow
def test_the_command_ends_with_its_figures():
    """Many seeds: one JSON line and exit code 0; with a guard off: the failed seeds and exit code 1."""
    code, lines, totals = run("--seeds", "30")
    assert (code, len(lines)) == (0, 1)
    assert (totals.seeds, totals.lost, totals.doubled, totals.violations) == (30, 0, 0, 0)
    assert totals.acknowledged > 30 * 20
    code, _, totals = run("--seeds", "2", "--first", "5", "--without", "trim rule")
    assert (code, totals.failed) == (1, [5, 6])


@pytest.mark.slow
def test_a_seed_is_shown_step_by_step():
    """The trace tells who did what and when, and ends with the figures."""
    code, lines, totals = run("--seed", "3")
    assert (code, totals.seeds) == (0, 1)
    assert any("starts" in line for line in lines)
    assert any("commit 0:" in line for line in lines)
