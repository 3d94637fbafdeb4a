"""Products and currencies in the API's words. Pure."""

from collections.abc import Iterable, Mapping
from typing import Annotated

import msgspec
from msgspec import Meta

from shared.instrument import Instrument
from workers.gateway.render import Texts, decimal_text, rate_text


class Fees(msgspec.Struct, frozen=True):
    """Fee rates as fractions."""

    maker: str
    taker: str


class Product(msgspec.Struct, frozen=True):
    """A product: what is traded, in which steps, and whether it is traded just now.

    ``kind``, ``fees``, ``collar`` and ``price_collar`` are Matchbox's.
    """

    id: str
    base_currency: str
    quote_currency: str
    base_increment: str
    quote_increment: str
    base_min_size: str
    base_max_size: str
    min_market_funds: str
    display_name: str
    status: Annotated[str, Meta(description="online, offline (halted) or delisted")]
    status_message: Annotated[str, Meta(description="the mode and why, if it is not online")]
    margin_enabled: bool
    post_only: Annotated[bool, Meta(description="only orders with post_only are taken")]
    limit_only: Annotated[bool, Meta(description="no market orders are taken")]
    cancel_only: Annotated[bool, Meta(description="no orders are taken")]
    trading_disabled: Annotated[bool, Meta(description="no orders are taken, and nothing trades")]
    auction_mode: Annotated[
        bool,
        Meta(
            description="orders that can wait are collected and trade at one price when the auction ends; see the book"
        ),
    ]
    kind: str
    fees: Fees
    collar: Annotated[
        str, Meta(description="how far from the last trade a market order may go, as a fraction", examples=["0.100000"])
    ]
    price_collar: Annotated[
        str,
        Meta(
            description="how far from the last trade any trade of an order may be, as a fraction; 0.000000: any",
            examples=["0.050000"],
        ),
    ]


class CurrencyDetails(msgspec.Struct, frozen=True):
    """Details of a currency."""

    type: Annotated[str, Meta(description="fiat or crypto, by its name; here it means nothing, to clients it may")]
    min_size: str
    min_withdrawal_amount: str
    display_name: str


class Currency(msgspec.Struct, frozen=True):
    """A currency that some product is made of."""

    id: str
    name: str
    status: str
    message: str
    min_size: str
    max_precision: str
    convertible_to: list[str]
    details: CurrencyDetails
    supported_networks: list[str]


FIAT = frozenset({
    "AUD", "BRL", "CAD", "CHF", "CNY", "CZK", "DKK", "EUR", "GBP", "HKD", "HUF", "ILS", "INR", "JPY", "KRW", "MXN",
    "NOK", "NZD", "PLN", "SEK", "SGD", "THB", "TRY", "TWD", "USD", "ZAR",
})  # fmt: skip
"""Money of countries, as far as it is traded much."""
_STATUS = {"halted": "offline", "delisted": "delisted"}


def product_answer(instrument: Instrument) -> Product:
    """An instrument as a product."""
    texts, mode = Texts(instrument), instrument.mode
    return Product(
        id=instrument.symbol,
        base_currency=instrument.base,
        quote_currency=instrument.quote,
        base_increment=instrument.lot,
        quote_increment=instrument.tick,
        base_min_size=texts.size(instrument.min_quantity),
        base_max_size=texts.size(instrument.max_quantity),
        min_market_funds=texts.quote(instrument.tick_value),
        display_name=f"{instrument.base}/{instrument.quote}",
        status=_STATUS.get(mode, "online"),
        status_message="" if mode == "online" else _mode_text(instrument),
        margin_enabled=False,
        post_only=mode == "post-only",
        limit_only=mode == "limit-only",
        cancel_only=mode == "cancel-only",
        trading_disabled=mode in _STATUS,
        auction_mode=mode == "auction",
        kind=instrument.kind,
        fees=Fees(rate_text(instrument.maker_fee), rate_text(instrument.taker_fee)),
        collar=rate_text(instrument.collar),
        price_collar=rate_text(instrument.price_collar),
    )


def _mode_text(instrument: Instrument) -> str:
    return f"{instrument.mode}: {instrument.mode_reason}" if instrument.mode_reason else instrument.mode


def currency_answer(name: str, scale: int) -> Currency:
    """A currency with ``scale`` decimal places."""
    smallest = decimal_text(1, scale)
    return Currency(
        id=name,
        name=name,
        status="online",
        message="",
        min_size=smallest,
        max_precision=smallest,
        convertible_to=[],
        details=CurrencyDetails("fiat" if name in FIAT else "crypto", smallest, smallest, name),
        supported_networks=[],
    )


def product_answers(instruments: Iterable[Instrument]) -> list[Product]:
    """All products, by name."""
    return [product_answer(one) for one in sorted(instruments, key=lambda one: one.symbol)]


def currency_answers(scales: Mapping[str, int]) -> list[Currency]:
    """All currencies, by name."""
    return [currency_answer(name, scales[name]) for name in sorted(scales)]
