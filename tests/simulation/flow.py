"""What the simulated clients ask: the audit's flow of every kind of order, and besides money, blocks and nonsense."""

import random
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from shared.instrument import make_instrument
from shared.messages import (
    Accepted,
    AmendRequest,
    BlockRequest,
    CancelAllRequest,
    CancelRequest,
    InstrumentRequest,
    OrderRequest,
    Side,
    TransferRequest,
    encode,
)
from tests.audit.features import FEES, MID, SIDES, SPREAD, Features
from tests.audit.recorded import SYMBOLS
from tests.simulation.clock import Clock

ACCOUNTS = 4
MS = 1_000_000


class Flow(Features):
    """Random requests of four accounts: (shard, JSON) each. ``known`` are orders that the clients know of."""

    def __init__(self, dice: random.Random, shards: int, clock: Clock) -> None:
        self.shards = shards
        self.known: list[Accepted] = []
        self._rng = dice
        self._modes = dict.fromkeys(SYMBOLS, "online")
        self._clock = 0  # the base's own; ours gives what expires its end
        self._time = clock
        self._asked: list[tuple[int, Any]] = []

    def opening(self) -> Iterator[tuple[int, Any]]:
        """Instruments and money."""
        for symbol in SYMBOLS:
            maker, taker = FEES[symbol]
            rules = make_instrument(symbol, "0.01", "0.001", maker_fee=maker, taker_fee=taker)
            for shard in range(self.shards):
                yield shard, InstrumentRequest(f"add-{symbol}-{shard}", rules)
        for account in range(1, ACCOUNTS + 1):
            for currency in ("USD", "BTC", "ETH"):
                amount = 10**12 if account == ACCOUNTS and currency == "USD" else 10**16  # one is soon out of money
                yield account % self.shards, TransferRequest(f"in-{account}-{currency}", account, currency, amount)

    def next(self, number: int) -> list[tuple[int, Any]]:
        """What is asked next, and of which shards."""
        self._asked = []
        self._request(number)
        return self._asked

    def _send(self, shard: int, request: Any) -> None:
        self._asked.append((shard, request))

    def _request(self, number: int) -> None:
        dice, name = self._rng, f"r{number}"
        account, symbol = dice.randint(1, ACCOUNTS), dice.choice(SYMBOLS)
        chance = dice.random()
        if chance < 0.04:
            self._switch(name, symbol)
            return
        request: Any
        if chance < 0.60:
            request = self._order(name, account, symbol, dice.choice(SIDES))
            if dice.random() < 0.1:
                request.client_id = f"c{dice.randint(0, number)}"  # perhaps of another order
        elif chance < 0.70:
            request = self._list(name, account, symbol)
        elif chance < 0.80:
            request = self._amend(name, account)
        elif chance < 0.92:
            own = [one.order_id for one in self.known if one.account == account]
            request = CancelRequest(name, account, dice.choice(own) if own else number)
        else:
            request = self._other(name, account, symbol)
        self._send(account % self.shards, request)

    def _other(self, name: str, account: int, symbol: str) -> Any:
        dice = self._rng
        match dice.randint(0, 6):
            case 0:
                return BlockRequest(name, account, dice.random() < 0.3)
            case 1 | 2:
                return CancelAllRequest(name, account, dice.choice(("", symbol)), dice.choice(("", "buy", "sell")))
            case _:
                currency = dice.choice(("USD", "BTC", "ETH"))
                return TransferRequest(name, account, currency, dice.choice((-(10**11), 10**10, 5 * 10**15)))

    def _order(self, name: str, account: int, symbol: str, side: Side) -> OrderRequest:
        order = super()._order(name, account, symbol, side)
        if order.conditions is not None and order.conditions.expires:
            end = self._time.time_ns() + self._rng.choice((30, 300, 3_000)) * MS
            order.conditions = msgspec.structs.replace(order.conditions, expires=end)
        return order

    def _amend(self, name: str, account: int) -> AmendRequest:
        dice = self._rng
        own = [one for one in self.known if one.account == account][-8:]
        if not own:
            return AmendRequest(name, account, 1, quantity=1)
        order = dice.choice(own)
        price = dice.choice((0, self._price(order.side))) if order.order_type == "limit" else 0
        quantity = dice.choice((0, dice.randint(1, 200))) if order.quantity else 0
        stop_price = MID + dice.randint(-SPREAD, SPREAD) if dice.random() < 0.2 else 0
        return AmendRequest(name, account, order.order_id, "", "", price, quantity, stop_price)


Sender = Callable[[int, bytes], None]

NONSENSE = (b"{", b'{"type":"order_request"}', b'{"type":"tick","time":1}', encode([1, 2]))
"""What anybody may write into an inbox."""
