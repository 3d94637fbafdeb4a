"""Turns the steps of a recording into requests for the inbox of a running exchange.

Buyers and sellers are different accounts, so that self-trade prevention never interferes with what was recorded. All
of them live on one account shard, because requests keep their order within one inbox only.

An order of the recording is known by its ``client_id``, unique per run. A modified order is amended, also across the
other side: asked for is its total, what the recorded exchange had filled included, so that it means the same where ours
has filled another part of it. One that comes again (the next part of an iceberg) is a new order with an id of its own,
since ours may have filled all it knew of.
"""

from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction

from shared.errors import InvalidInput
from shared.instrument import Instrument, plain
from shared.messages import AmendRequest, CancelRequest, OrderRequest, Side, TimeInForce
from workers.replay.steps import Aggress, Cancel, Market, Modify, Step

ACCOUNTS_PER_SIDE = 4
"""Several, because each may have a limited number of open orders."""

AnyRequest = OrderRequest | AmendRequest | CancelRequest


class Units:
    """Converts a recording's counts of price and quantity into an instrument's ticks and lots."""

    def __init__(self, market: Market, instrument: Instrument) -> None:
        self._market = market
        self._instrument = instrument
        price = Fraction(market.price_unit) / Fraction(instrument.tick)
        quantity = Fraction(market.quantity_unit) / Fraction(instrument.lot)
        self._price = price.numerator, price.denominator
        self._quantity = quantity.numerator, quantity.denominator

    def ticks(self, price: int) -> int:
        """A price in ticks. Raises ``InvalidInput`` if it lies between two ticks or is out of range."""
        count, rest = divmod(price * self._price[0], self._price[1])
        if rest or not 0 < count <= self._instrument.max_price:
            raise self._misfit(
                "price", price, self._market.price_unit, f"a multiple of its tick {self._instrument.tick}"
            )
        return count

    def lots(self, quantity: int) -> int:
        """A quantity in lots. Raises ``InvalidInput`` if it is no whole number of them or out of range."""
        count, rest = divmod(quantity * self._quantity[0], self._quantity[1])
        if rest or not 0 < count <= self._instrument.max_quantity:
            unit = self._market.quantity_unit
            raise self._misfit("quantity", quantity, unit, f"a multiple of its lot {self._instrument.lot}")
        return count

    def _misfit(self, name: str, count: int, unit: str, want: str) -> InvalidInput:
        value = plain(count * Decimal(unit))
        return InvalidInput(
            f"{self._instrument.symbol}: the recorded {name} {value} is not {want} within its limits; "
            "choose another instrument with --instrument"
        )


class Flow:
    """One run of a recording: knows which request each step is. ``run`` makes its ids unique.

    ``accounts``: first those of the buyers, then as many of the sellers.
    """

    def __init__(self, run: str, units: Units, instrument: str, accounts: list[int]) -> None:
        self._run = run
        self._units = units
        self._instrument = instrument
        self._accounts = {"buy": accounts[:ACCOUNTS_PER_SIDE], "sell": accounts[ACCOUNTS_PER_SIDE:]}
        self._open: dict[int, tuple[int, str]] = {}
        self._lives: dict[int, int] = {}
        self._requests = 0

    def requests(self, step: Step) -> Iterator[AnyRequest]:
        """What a step asks of the exchange. Raises ``InvalidInput`` if it does not fit the instrument."""
        is_known, goes = step.order in self._open, isinstance(step, Aggress) and not step.rests
        if isinstance(step, Modify | Aggress) and is_known:
            yield self._amend(step)
            if goes:
                yield self._cancel(step.order)
            return
        if is_known:
            yield self._cancel(step.order)
        if not isinstance(step, Cancel):
            yield self._order(step.order, step.side, step.price, step.quantity, "IOC" if goes else "GTC")

    def _order(self, order: int, side: Side, price: int, quantity: int, time_in_force: TimeInForce) -> OrderRequest:
        ticks, lots = self._units.ticks(price), self._units.lots(quantity)
        life = self._lives.get(order, 0)
        self._lives[order] = life + 1
        client_id = f"{self._run}-{order}.{life}" if life else f"{self._run}-{order}"
        account = self._accounts[side][order % ACCOUNTS_PER_SIDE]
        if time_in_force == "GTC":
            self._open[order] = account, client_id
        return OrderRequest(
            self._request_id(), account, self._instrument, side, "limit", ticks, lots,
            time_in_force=time_in_force, client_id=client_id,
        )  # fmt: skip

    def _amend(self, step: Modify | Aggress) -> AmendRequest:
        account, client_id = self._open[step.order]
        return AmendRequest(
            self._request_id(), account, client_id=client_id, instrument=self._instrument,
            price=self._units.ticks(step.price), quantity=self._units.lots(step.filled + step.quantity),
        )  # fmt: skip

    def _cancel(self, order: int) -> CancelRequest:
        account, client_id = self._open.pop(order)
        return CancelRequest(self._request_id(), account, client_id=client_id, instrument=self._instrument)

    def _request_id(self) -> str:
        self._requests += 1
        return f"{self._run}:{self._requests}"
