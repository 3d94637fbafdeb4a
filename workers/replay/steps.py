"""What a recording consists of, whatever its format: the steps that people took, in the order they took them.

``order`` is the recording's own order id; ``price`` and ``quantity`` are counts of the recording's units
(``Market.price_unit``, ``Market.quantity_unit``); ``time`` is nanoseconds since the epoch, by the recording's clock.
What the recorded exchange did by itself (fills, and what a fill leaves of an order) is no step: the engine does it.
"""

from typing import NamedTuple

import msgspec

from shared.errors import InvalidInput
from shared.messages import Side


class Add(msgspec.Struct, gc=False, frozen=True):
    """A limit order comes; it may cross."""

    order: int
    time: int
    side: Side
    price: int
    quantity: int


class Cancel(msgspec.Struct, gc=False, frozen=True):
    """An order goes. The engine may have filled it before."""

    order: int
    time: int


class Modify(msgspec.Struct, gc=False, frozen=True):
    """A resting order gets another price or quantity. ``keeps_priority``: it only got smaller.

    ``quantity`` is what is left of it then, ``filled`` what the recorded exchange had filled before.
    """

    order: int
    time: int
    side: Side
    price: int
    quantity: int
    keeps_priority: bool = False
    filled: int = 0


class Aggress(msgspec.Struct, gc=False, frozen=True):
    """An order takes what rests, up to ``price``; what is left of it rests there if ``rests``, else it goes.

    It may have rested before, by an earlier step; ``filled`` is what the recorded exchange had filled of it by then.
    """

    order: int
    time: int
    side: Side
    price: int
    quantity: int
    rests: bool = False
    filled: int = 0


Step = Add | Cancel | Modify | Aggress


class Market(NamedTuple):
    """What a recording says of its instrument. ``tick`` and ``lot`` are "" where it does not say them."""

    source: str
    symbol: str
    tick: str
    lot: str
    price_unit: str
    quantity_unit: str


class Unreadable(InvalidInput):
    """A recording cannot be read; the text names the file, the place in it, and what is wrong there."""

    def __init__(self, path: str, where: str, what: str) -> None:
        super().__init__(f"{path}: {where}: {what}" if where else f"{path}: {what}")
