"""What a comparison found."""

from typing import Literal

import msgspec

Cause = Literal[
    "order of listing",
    "self-match prevention",
    "iceberg",
    "order from before the recording",
    "trade without an aggressor",
    "modified order",
    "unknown",
]


class Exceptional(msgspec.Struct):
    """An aggressor whose fills are not those of the recording. ``time`` is UTC, prices are decimal text."""

    time: str
    order: int
    cause: Cause
    recorded: list[tuple[int, str, int]]
    engine: list[tuple[int, str, int]]


class Auction(msgspec.Struct):
    """A call auction: its price and volume by the recording and by the engine, and the orders filled by either.

    ``equal``: those of them that both filled with the same quantity; ``different``: the others, as (order, recorded
    lots, the engine's lots). ``unseen``: those that never were on the recorded book: triggered stops, market orders.
    """

    time: str
    price: str
    engine_price: str
    lots: int
    engine_lots: int
    orders: int
    equal: int
    unseen: int
    different: list[tuple[int, int, int]]


class Report(msgspec.Struct, kw_only=True):
    """What a comparison found.

    ``aggressors``: orders that took, by the recording or by the engine. ``equal``: those for which both have the same
    makers, quantities and order. Of these, ``listed_last``: one maker, filled whole, stands behind others at its price,
    where CME lists orders with a display quantity; ``from_before``: makers from before the recording, whose priority
    was learned from the order in which they were filled.

    ``mended``: exchange events after which the engine's book was brought back to the recorded one, by why.
    """

    file: str
    records: int = 0
    aggressors: int = 0
    equal: int = 0
    equal_percent: float = 0.0
    listed_last: int = 0
    from_before: int = 0
    fills: int = 0
    lots: int = 0
    causes: dict[str, int] = {}
    exceptions: list[Exceptional] = []
    auctions: list[Auction] = []
    mended: dict[str, int] = {}
    own_orders: int = 0
    icebergs: int = 0
    orders_from_before: int = 0
    left_out: dict[str, int] = {}
    seconds: float = 0.0
