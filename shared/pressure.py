"""How full the exchange's stores are, as one supervisor tells all gateways: what they still let in depends on it."""

from typing import Literal

import msgspec

from shared.messages import BlockRequest, CancelAllRequest, CancelRequest, InstrumentRequest, Request

Level = Literal["open", "cancel-only", "halted"]
LEVELS: tuple[Level, ...] = ("open", "cancel-only", "halted")
"""What is let in: everything; only cancels and kill switches; only kill switches, mass-cancels among them."""
SWITCHES = (BlockRequest, InstrumentRequest, CancelAllRequest)
"""Halts and kill switches go through whatever happens, and so does everything at once of an account's own."""
CANCELS = (CancelRequest, *SWITCHES)
"""What gets whoever trades, or all, out of trouble."""


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

    def refusal(self, request: Request) -> str:
        """Why a request must not be sent; "" if it may."""
        if self.level == "halted" and not isinstance(request, SWITCHES):
            return f"the exchange is halted for now ({self.says}); nothing was sent, try again"
        if self.level == "cancel-only" and not isinstance(request, CANCELS):
            return f"the exchange takes only cancels for now ({self.says}); nothing was sent, try again"
        return ""


_decode = msgspec.json.Decoder(Pressure).decode


def decode_pressure(text: bytes | None) -> Pressure:
    """What was published; open if nothing was."""
    return _decode(text) if text else Pressure()
