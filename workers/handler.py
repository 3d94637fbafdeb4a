"""A state machine as the runtime sees it, and what passes between the two. The ledger and the book have one each."""

from typing import Protocol

import msgspec

from shared.errors import CorruptState
from workers.store import Entries

UNFOLDABLE = (
    CorruptState, msgspec.MsgspecError, AssertionError, LookupError, AttributeError, TypeError, ValueError,
    ArithmeticError,
)  # fmt: skip
"""What decoders and machines say to an entry that is none, or does not follow on the state before."""


def told(error: Exception) -> str:
    """One of them in words: ours are sentences, of the others the kind says more than the text."""
    return str(error) if isinstance(error, CorruptState) else f"{type(error).__name__}: {error}"


class Batch:
    """What a handler did with one batch: its log entries, and its messages to outboxes."""

    __slots__ = ("log", "sends")

    def __init__(self) -> None:
        self.log: list[bytes] = []
        self.sends: dict[str, list[bytes]] = {}

    def send(self, stream: str, payload: bytes) -> None:
        """Put ``payload`` into an outbox of the same tag."""
        self.sends.setdefault(stream, []).append(payload)


class BrokenSource(CorruptState):
    """What ``source`` has next cannot be followed; ``why`` names the entry. The machine's own log is not in doubt."""

    def __init__(self, source: str, why: str) -> None:
        super().__init__(why)
        self.source = source


class Handler(Protocol):
    """Bytes in, bytes out."""

    tag: str

    def sources(self) -> list[str]:
        """Streams it reads, the most urgent first; may grow while it runs."""

    def readers(self, stream: str) -> list[str]:
        """Who must have passed an entry of ``stream`` before it may be trimmed."""

    def handle(self, source: str, entries: Entries, batch: Batch) -> None:
        """Apply the entries of one source and put the effects into ``batch``. Raises ``CorruptState``.

        Of it ``BrokenSource`` if the entries are to blame.
        """

    def set_aside(self, broken: BrokenSource, /) -> bool:
        """Do without that source until this process ends. False: that is not possible."""

    def trouble(self) -> str:
        """What it does without, and why; empty if nothing."""

    def tick(self, batch: Batch) -> None:
        """About a second has passed. What is to be done by then goes into ``batch``; it reads nothing."""

    def fold(self, payload: bytes) -> None:
        """Follow one recorded entry of the own log."""

    def dump(self) -> bytes:
        """The whole state."""

    def load(self, state: bytes) -> None:
        """Replace the state."""

    def reset(self) -> None:
        """Forget everything: the state before the first entry."""

    def digest(self) -> str:
        """A few characters that stand for the state, as it is behind the last entry that was handled."""

    def sequence(self) -> int:
        """A count that tells people how far it is."""
