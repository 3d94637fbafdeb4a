"""Integers to the API's decimal text, and nanoseconds to its times. Pure, exact, and quick."""

import uuid
from decimal import Decimal
from functools import lru_cache

from shared.instrument import Instrument

_ACCOUNTS = uuid.UUID("6d617463-6862-6f78-8000-000000000000")
FEE_PLACES = 6
"""Fee rates are parts per million."""


def decimal_text(units: int, places: int) -> str:
    """``units`` x 10**-``places`` as plain decimal text with exactly ``places`` places."""
    if not places:
        return str(units)
    if units < 0:
        return "-" + decimal_text(-units, places)
    text = str(units).rjust(places + 1, "0")
    return f"{text[:-places]}.{text[-places:]}"


def rate_text(ppm: int) -> str:
    """A fee rate as a fraction: 2500 ppm is 0.002500."""
    return decimal_text(ppm, FEE_PLACES)


@lru_cache(maxsize=4096)
def user_uuid(account: int) -> str:
    """The public id of a user."""
    return str(uuid.uuid5(_ACCOUNTS, str(account)))


def account_uuid(account: int, currency: str) -> str:
    """The public id of a user's account in one currency: the same everywhere and always."""
    return str(uuid.uuid5(_ACCOUNTS, f"{account}:{currency}"))


def _step(text: str) -> tuple[int, int]:
    """Decimal text of a step as (mantissa, places)."""
    value = Decimal(text)
    places = max(0, -int(value.as_tuple().exponent))
    return int(value.scaleb(places)), places


class Texts:
    """Renders the prices, sizes and money of one instrument."""

    __slots__ = ("base_scale", "lot", "quote_scale", "size_places", "symbol", "tick", "tick_places", "tick_value")

    def __init__(self, instrument: Instrument) -> None:
        self.symbol = instrument.symbol
        self.tick, self.tick_places = _step(instrument.tick)
        self.lot, self.size_places = _step(instrument.lot)
        self.base_scale = instrument.base_scale
        self.quote_scale = instrument.quote_scale
        self.tick_value = instrument.tick_value

    def price(self, ticks: int) -> str:
        """Ticks as decimal text with the tick's places."""
        return decimal_text(ticks * self.tick, self.tick_places)

    def size(self, lots: int) -> str:
        """Lots as decimal text with the lot's places."""
        return decimal_text(lots * self.lot, self.size_places)

    def quote(self, units: int) -> str:
        """Money in the quote currency."""
        return decimal_text(units, self.quote_scale)
