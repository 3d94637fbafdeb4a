"""Runs seeds: one, or many until something is wrong."""

from collections.abc import Callable, Iterable

from tests.simulation.checks import Verdict, judge
from tests.simulation.mutants import without
from tests.simulation.world import World

COMMAND = "python -m tests.simulation"


def simulate(seed: int, guard: str = "", trace: Callable[[str], None] | None = None) -> Verdict:
    """Run one seed, with a guard switched off if one is named."""
    with without(guard) as redis:
        world = World(seed, trace, redis)
        try:
            world.run()
        except Exception as error:  # noqa: BLE001  # whatever a process dies of is what is looked for
            world.failures.append(f"{type(error).__name__}: {error}")
        return judge(world)


def first_caught(guard: str, seeds: Iterable[int]) -> Verdict | None:
    """The first seed that notices that a guard is off; None if none does."""
    for seed in seeds:
        verdict = simulate(seed, guard)
        if verdict.violations:
            return verdict
    return None


def told(verdict: Verdict) -> str:
    """A failed seed in words, with the command that shows it step by step."""
    lines = [f"seed {verdict.seed}: {len(verdict.violations)} violations; {COMMAND} --seed {verdict.seed} shows it"]
    return "\n  ".join([*lines, *verdict.violations[:5]])
