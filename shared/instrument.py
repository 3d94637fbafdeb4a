"""The rules of an instrument, and the one place where decimal text becomes integers and back.

Prices are integers in ticks, quantities in lots, money in the currency's smallest unit (10**-scale). An
instrument is valid only if one tick times one lot is a whole number of the quote currency's smallest unit, so
price x quantity is exact. No float anywhere.
"""

import re
from decimal import Context, Decimal, InvalidOperation
from functools import lru_cache
from typing import Literal

import msgspec

from shared.errors import InvalidInput

Mode = Literal["online", "post-only", "limit-only", "cancel-only", "halted", "delisted", "auction"]

MONEY_MAX = 9_000_000_000_000_000_000
"""Largest amount of money, in smallest units: fits a signed 64-bit integer, in JSON and in PostgreSQL."""
QUANTITY_MAX = 1_000_000_000_000_000_000
PRICE_MAX = 1_000_000_000_000_000
_MILLION = 1_000_000
DEFAULT_SCALE = 10
"""Decimal places of a currency unless said otherwise: a 0.01 tick times a 0.00000001 lot stays exact."""
DECIMAL_TEXT_MAX = 40
REASON_LENGTH_MAX = 128

_SYMBOL = re.compile(r"[A-Z0-9]{1,16}-[A-Z0-9]{1,16}")
_DECIMAL = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,2})?", re.ASCII)
_EXACT = Context(prec=80)


class Instrument(msgspec.Struct, omit_defaults=True, frozen=True):
    """An instrument's rules. Make one with ``make_instrument``, which checks and derives.

    ``tick``, ``lot``: decimal text, the steps of price and quantity. ``lot_value``: base units in a lot.
    ``tick_value``: quote units in one tick x one lot. ``*_fee``: parts per million. ``collar``: how far from the
    last trade a market order may go, in ppm. ``price_collar``: how far from the last trade before a command any of
    its trades may be, in ppm (0: as far as it likes). ``*_quantity`` in lots, ``max_price`` in ticks. ``mode_reason``:
    why it is in its mode, for people; may be empty.
    """

    symbol: str
    tick: str
    lot: str
    base_scale: int
    quote_scale: int
    lot_value: int
    tick_value: int
    mode: Mode = "online"
    kind: Literal["spot"] = "spot"
    maker_fee: int = 0
    taker_fee: int = 0
    min_quantity: int = 1
    max_quantity: int = QUANTITY_MAX
    max_price: int = PRICE_MAX
    collar: int = 100_000
    price_collar: int = 0
    mode_reason: str = ""

    @property
    def base(self) -> str:
        """Currency that is bought and sold."""
        return self.symbol.partition("-")[0]

    @property
    def quote(self) -> str:
        """Currency it is paid in."""
        return self.symbol.partition("-")[2]

    def in_mode(self, mode: Mode, reason: str = "") -> "Instrument":
        """The same in another mode; whatever the reason for the last one was, it goes with it."""
        return msgspec.structs.replace(self, mode=mode, mode_reason=reason)


def make_instrument(
    symbol: str,
    tick: str,
    lot: str,
    *,
    base_scale: int = DEFAULT_SCALE,
    quote_scale: int = DEFAULT_SCALE,
    mode: Mode = "online",
    maker_fee: int = 0,
    taker_fee: int = 0,
    min_quantity: int = 1,
    max_quantity: int = QUANTITY_MAX,
    max_price: int = PRICE_MAX,
    collar: int = 100_000,
    price_collar: int = 0,
    mode_reason: str = "",
) -> Instrument:
    """Check an instrument's rules and derive its integer factors. Raises ``InvalidInput``."""
    if not _SYMBOL.fullmatch(symbol):
        raise InvalidInput(f'instrument "{symbol}": write it BASE-QUOTE in capitals, as in BTC-USD')
    base, _, quote = symbol.partition("-")
    if base == quote:
        raise InvalidInput(f"{symbol}: base and quote currency must differ")
    for name, scale in (("base_scale", base_scale), ("quote_scale", quote_scale)):
        if not 0 <= scale <= 18:
            raise InvalidInput(f"{symbol}: {name} {scale} is not within 0..18")
    for name, rate in (("maker_fee", maker_fee), ("taker_fee", taker_fee)):
        if not 0 <= rate <= 500_000:
            raise InvalidInput(f"{symbol}: {name} {rate} ppm is not within 0..500000")
    if not 0 < collar <= 100_000_000:
        raise InvalidInput(f"{symbol}: collar {collar} ppm is not within 1..100000000")
    if not 0 <= price_collar <= 100_000_000:
        raise InvalidInput(f"{symbol}: price_collar {price_collar} ppm is not within 0..100000000")
    if len(mode_reason) > REASON_LENGTH_MAX:
        raise InvalidInput(f"{symbol}: the reason for its mode is longer than {REASON_LENGTH_MAX} characters")
    if not 0 < min_quantity <= max_quantity <= QUANTITY_MAX or not 0 < max_price <= PRICE_MAX:
        raise InvalidInput(f"{symbol}: quantity or price limits are out of range")
    step, size = _positive(symbol, "tick", tick), _positive(symbol, "lot", lot)
    lot_value = _whole(
        size.scaleb(base_scale, _EXACT), f"{symbol}: lot {lot} is finer than {base}'s {base_scale} decimals"
    )
    tick_value = _whole(
        _EXACT.multiply(step, size).scaleb(quote_scale, _EXACT),
        f"{symbol}: tick {tick} x lot {lot} is finer than {quote}'s {quote_scale} decimals; use a coarser tick or lot",
    )
    return Instrument(
        symbol, plain(step), plain(size), base_scale, quote_scale, lot_value, tick_value, mode,
        "spot", maker_fee, taker_fee, min_quantity, max_quantity, max_price, collar, price_collar,
        mode_reason,
    )  # fmt: skip


def _positive(symbol: str, name: str, text: str) -> Decimal:
    value = decimal_of(text, f"{symbol}: {name}")
    if value <= 0:
        raise InvalidInput(f"{symbol}: {name} {text} must be above 0")
    return value


def _whole(value: Decimal, complaint: str) -> int:
    if value != value.to_integral_value():
        raise InvalidInput(complaint)
    if value > MONEY_MAX:
        raise InvalidInput(f"{complaint.partition(':')[0]}: tick or lot is too large")
    return int(value)


def decimal_of(text: str, name: str) -> Decimal:
    """Parse plain decimal text (bounded in length, no NaN, no infinity). Raises ``InvalidInput`` naming ``name``."""
    if len(text) > DECIMAL_TEXT_MAX or not _DECIMAL.fullmatch(text):
        shown = text if len(text) <= DECIMAL_TEXT_MAX else text[:DECIMAL_TEXT_MAX] + "..."
        raise InvalidInput(f'{name} "{shown}" is not a decimal number')
    try:
        return Decimal(text)
    except InvalidOperation as error:
        raise InvalidInput(f'{name} "{text}" is not a decimal number') from error


@lru_cache(maxsize=256)
def _decimal(step: str) -> Decimal:
    return Decimal(step)


def steps(text: str, step: str, name: str, maximum: int) -> int:
    """Decimal text as a whole number of ``step``s: 1..``maximum``. Raises ``InvalidInput`` that says what is off.

    How it begins is part of the public contract, because clients look for it: "price too small", "price too precise",
    "size is too small".
    """
    value = decimal_of(text, name)
    subject = name if name == "price" else f"{name} is"
    if value <= 0:
        raise InvalidInput(f"{subject} too small: {text} is not above 0")
    count = _EXACT.divide(value, _decimal(step))
    if count != count.to_integral_value():
        word = "too small" if count < 1 else "too precise"
        raise InvalidInput(f"{subject} {word}: {text} is no multiple of {step}")
    if count > maximum:
        raise InvalidInput(f"{subject} too large: {text} is above {plain(_EXACT.multiply(maximum, _decimal(step)))}")
    return int(count)


def price_ticks(instrument: Instrument, text: str) -> int:
    """A price as ticks. Raises ``InvalidInput``."""
    return steps(text, instrument.tick, "price", instrument.max_price)


def quantity_lots(instrument: Instrument, text: str) -> int:
    """A quantity as lots. Raises ``InvalidInput``."""
    lots = steps(text, instrument.lot, "size", instrument.max_quantity)
    if lots < instrument.min_quantity:
        raise InvalidInput(
            f"size is too small: {text} is below the minimum {quantity_text(instrument, instrument.min_quantity)}"
        )
    return lots


def money_units(text: str, scale: int, name: str = "amount") -> int:
    """Decimal money as smallest units, above 0. Raises ``InvalidInput``."""
    return steps(text, plain(Decimal(1).scaleb(-scale)), name, MONEY_MAX)


def plain(value: Decimal) -> str:
    """Decimal text without exponent and without trailing zeros."""
    text = format(value, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def _scaled(count: int, step: str) -> str:
    value = _EXACT.multiply(count, _decimal(step))
    places = max(0, -int(_decimal(step).as_tuple().exponent))
    return format(value, f".{places}f")


def collar_price(instrument: Instrument, side: str, price: int) -> int:
    """The worst price of a market order, ``collar`` away from ``price``; 0 (any) where that is 0."""
    if not price:
        return 0
    if side == "buy":
        return -(-price * (_MILLION + instrument.collar) // _MILLION)
    return max(1, price * (_MILLION - instrument.collar) // _MILLION)


def price_text(instrument: Instrument, ticks: int) -> str:
    """Ticks as decimal text with the tick's places: 100.00."""
    return _scaled(ticks, instrument.tick)


def quantity_text(instrument: Instrument, lots: int) -> str:
    """Lots as decimal text with the lot's places."""
    return _scaled(lots, instrument.lot)


def money_text(units: int, scale: int) -> str:
    """Smallest units as decimal text with ``scale`` places."""
    return format(Decimal(units).scaleb(-scale, _EXACT), f".{scale}f") if scale else str(units)
