"""How full the exchange's stores are, as one supervisor tells all gateways: what they still let in depends on it."""

from typing import Literal

import msgspec

Level = Literal["open", "cancel-only", "halted"]
LEVELS: tuple[Level, ...] = ("open", "cancel-only", "halted")
"""What is let in: everything; only cancels and kill switches; only kill switches, mass-cancels among them."""


class Reading(msgspec.Struct, frozen=True):
    """One store. From ``cancel_only_at`` on there are only cancels, from ``halted_at`` on only kill switches."""

    name: str
    unit: str
    value: int
    cancel_only_at: int
    halted_at: int
    level: Level = "open"

    def __str__(self) -> str:
        bound = self.halted_at if self.level == "halted" else self.cancel_only_at
        return f"{self.name} {self.value:,} of {bound:,} {self.unit}"


class Pressure(msgspec.Struct, frozen=True):
    """The strictest level of all readings, and why, "" while it is open."""

    level: Level = "open"
    says: str = ""
    readings: list[Reading] = []
