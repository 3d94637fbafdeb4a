"""An instrument from what a person writes: basis points, percent, decimal sizes."""

from typing import Any

from shared.errors import InvalidInput
from shared.instrument import (
    DEFAULT_SCALE,
    Instrument,
    Mode,
    decimal_of,
    make_instrument,
    plain,
    price_ticks,
    quantity_lots,
)

OPEN_MODES: tuple[Mode, ...] = ("online", "post-only", "limit-only", "cancel-only", "auction")
"""Modes a person puts an instrument into; to halt and to remove it have their own commands."""


def define(
    symbol: str,
    tick: str,
    lot: str,
    *,
    maker_fee_bps: str = "0",
    taker_fee_bps: str = "0",
    min_size: str | None = None,
    max_size: str | None = None,
    max_price: str | None = None,
    collar_percent: str = "10",
    price_collar_percent: str = "0",
    base_scale: int = DEFAULT_SCALE,
    quote_scale: int = DEFAULT_SCALE,
    mode: Mode = "online",
) -> Instrument:
    """An instrument from what a person writes: basis points, percent, decimal sizes. Raises ``InvalidInput``."""
    rules: dict[str, Any] = {
        "base_scale": base_scale,
        "quote_scale": quote_scale,
        "maker_fee": _millionths(maker_fee_bps, 100, f"{symbol}: maker fee"),
        "taker_fee": _millionths(taker_fee_bps, 100, f"{symbol}: taker fee"),
        "collar": _millionths(collar_percent, 10_000, f"{symbol}: collar"),
        "price_collar": _millionths(price_collar_percent, 10_000, f"{symbol}: price collar"),
        "mode": mode,
    }
    widest = make_instrument(symbol, tick, lot, **rules)
    if min_size is not None:
        rules["min_quantity"] = quantity_lots(widest, min_size)
    if max_size is not None:
        rules["max_quantity"] = quantity_lots(widest, max_size)
    if max_price is not None:
        rules["max_price"] = price_ticks(widest, max_price)
    return make_instrument(symbol, tick, lot, **rules)


def _millionths(text: str, factor: int, name: str) -> int:
    value = decimal_of(text, name) * factor
    if value != value.to_integral_value():
        raise InvalidInput(f"{name} {text} is finer than a millionth ({plain(1 / decimal_of(str(factor), name))})")
    return int(value)
