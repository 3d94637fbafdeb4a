"""The engine's benchmark, small: its echo is a handler like any, and both go all the way."""

import pytest

from benchmarks.engine import run

pytestmark = pytest.mark.slow


def test_echo_and_book_are_measured():
    """All commands are handled and committed by either, in processes of their own, and the log is folded again."""
    run(500, 1, ("everysec",))
