"""The harness itself: with any one guard of the product switched off, it has to fail."""

import pytest

from tests.simulation.mutants import MUTANTS
from tests.simulation.run import first_caught

SEEDS_MAX = 400


@pytest.mark.parametrize("guard", MUTANTS)
def test_a_guard_that_is_off_is_noticed(guard):
    """Within a bounded number of seeds."""
    assert first_caught(guard, range(SEEDS_MAX)) is not None, f"{SEEDS_MAX} seeds without {guard} went well"
