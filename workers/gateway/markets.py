"""The markets by name: those that are followed, and those whose books' logs cannot be, and why. No I/O."""

from collections.abc import Mapping

import msgspec

from shared.instrument import Instrument
from workers.gateway.errors import product_not_found, unavailable
from workers.gateway.market import Market
from workers.gateway.products import Product, product_answers

NOT_FOLLOWED = "its order book cannot be followed just now: no new orders, cancels are taken"


class Broken(msgspec.Struct, frozen=True):
    """A market that is not followed. ``tries``: how often it was loaded anew since, to no avail.

    ``again_at`` is when to try it next (seconds of ``time.monotonic``).
    """

    reason: str
    tries: int
    again_at: float


class Markets(dict[str, Market]):
    """Those that are followed, by symbol; ``broken`` are the others. ``instruments`` are the rules the ledgers have."""

    def __init__(self, followed: Mapping[str, Market] | None = None) -> None:
        super().__init__(followed or {})
        self.instruments: Mapping[str, Instrument] = {}
        self.broken: dict[str, Broken] = {}

    @property
    def trouble(self) -> str:
        """Which logs of books are not followed and why; "" when all are."""
        return "; ".join(
            f'{symbol} is not available: {one.reason}; it is tried again, "matchbox audit" says what is wrong'
            for symbol, one in sorted(self.broken.items())
        )

    @property
    def is_loading(self) -> bool:
        """Whether one was lost just now, and will be there again in a moment, or given up for a while."""
        return any(not one.tries for one in self.broken.values())

    def require(self, symbol: str, more: str = "") -> Market:
        """A market. Raises ``ApiError``: 404 if there is none, 503 (with ``more`` to say) while it is not followed."""
        market = self.get(symbol)
        if market is None:
            raise unavailable(self.refusal(symbol) + more) if self.is_missing(symbol) else product_not_found()
        return market

    def is_missing(self, symbol: str) -> bool:
        """Whether there is such a market, but not here and now."""
        return symbol not in self and (symbol in self.broken or symbol in self.instruments)

    def refusal(self, symbol: str) -> str:
        """What to say to who asks for a market that is not followed."""
        return (
            f"{symbol} is not available just now: its order book cannot be followed (GET /health says why). "
            "Its orders can be canceled, all other products are available; try again later"
        )

    def listed(self) -> list[Instrument]:
        """The rules of all markets: as their books have them, or else the ledgers."""
        lost = [self.instruments[symbol] for symbol in self.broken if symbol in self.instruments]
        return [*(market.instrument for market in self.values()), *lost]

    def products(self) -> list[Product]:
        """All markets, by name; what is not followed says so."""
        return [self._product(one) for one in product_answers(self.listed())]

    def product(self, symbol: str) -> Product:
        """One of them. Raises ``ApiError``: 404 if there is none."""
        known = self[symbol].instrument if symbol in self else self.instruments.get(symbol)
        if known is None:
            raise product_not_found()
        return self._product(product_answers([known])[0])

    def _product(self, found: Product) -> Product:
        return msgspec.structs.replace(found, status_message=NOT_FOLLOWED) if found.id in self.broken else found
