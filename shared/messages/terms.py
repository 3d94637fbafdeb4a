"""The words that all messages use, and what only some orders ask for."""

from typing import Literal

import msgspec

Side = Literal["buy", "sell"]
OrderType = Literal["limit", "market"]
TimeInForce = Literal["GTC", "IOC", "FOK", "GTT"]
SelfTradePrevention = Literal["dc", "co", "cn", "cb"]
Liquidity = Literal["M", "T"]
DoneReason = Literal["filled", "canceled", "rejected"]
StopDirection = Literal["", "loss", "entry"]
ListKind = Literal["oco", "oto", "otoco"]

FEE_ACCOUNT = 0
"""Each account shard keeps the fees it took on this account. Users' accounts start at 1."""


class Message(msgspec.Struct, tag_field="type", omit_defaults=True, gc=False):
    """Base of all messages: tagged by ``type``; defaults are left out on the wire."""


class Conditions(msgspec.Struct, omit_defaults=True, frozen=True, gc=False):
    """What only some orders ask for, apart from the order so that the others do not pay for it.

    **Stop**: ``stop`` says when it triggers, by the last trade: "loss" at or below ``stop_price``, "entry" at or above.
    So a sell with "loss" and a buy with "entry" is a stop, a sell with "entry" and a buy with "loss" a take-profit; the
    order's ``order_type`` says what it becomes. With ``trail`` (ticks) or ``trail_bps`` (basis points) the stop price
    follows the best trade since; such a stop is a market order, a sell with "loss" or a buy with "entry", and gives no
    ``stop_price``.

    ``expires``: with time in force GTT, the instant (ns) from which on the order is gone. ``display_quantity``: lots
    of a limit order that are shown at a time. ``min_quantity``: lots that must fill at once when it arrives.
    """

    stop: StopDirection = ""
    stop_price: int = 0
    trail: int = 0
    trail_bps: int = 0
    expires: int = 0
    display_quantity: int = 0
    min_quantity: int = 0
