"""Waiting for what comes soon: a trade is settled, and PostgreSQL has it, a moment after the order was accepted."""

import time
from collections.abc import Callable
from typing import Any

WAIT_S = 20.0


def until(look: Callable[[], Any]) -> Any:
    """The first answer of ``look`` that is true."""
    end = time.monotonic() + WAIT_S
    while not (found := look()):
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.05)
    return found
