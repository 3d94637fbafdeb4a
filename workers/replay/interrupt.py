"""Ctrl-C as an error of one sentence."""

from collections.abc import Iterator
from contextlib import contextmanager

from shared.errors import MatchboxError


class Interrupted(MatchboxError):
    """The user pressed Ctrl-C; the text says what that means."""


@contextmanager
def interruptible(meaning: str) -> Iterator[None]:
    """Raises ``Interrupted`` where Ctrl-C would raise ``KeyboardInterrupt``."""
    try:
        yield
    except KeyboardInterrupt as error:
        raise Interrupted(meaning) from error
