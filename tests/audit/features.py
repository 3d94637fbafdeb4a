"""A cluster in memory like ``recorded.py``'s, with all that orders can ask for, in every mode."""

from typing import Any

from shared.instrument import make_instrument
from shared.messages import (
    AmendRequest,
    CancelAllRequest,
    CancelRequest,
    Conditions,
    InstrumentRequest,
    ListKind,
    OrderListRequest,
    OrderRequest,
    Side,
)
from tests.audit.recorded import SYMBOLS, Recorded

MID, SPREAD = 10_000, 8
FEES = dict(zip(SYMBOLS, ((1000, 2500), (0, 700)), strict=True))
MODES = ("auction", "auction", "auction", "post-only", "limit-only", "halted", "cancel-only", "online")
SIDES: tuple[Side, ...] = ("buy", "sell")
KINDS: tuple[ListKind, ...] = ("oco", "oco", "oto", "otoco", "otoco")


class Features(Recorded):
    """Logs of ``count`` random requests of every kind. Prices lie around 10,000 ticks, so that most of them meet."""

    def __init__(self, seed: int = 1, count: int = 600, shards: int = 1, *, finish: bool = True) -> None:
        self._modes = dict.fromkeys(SYMBOLS, "online")
        super().__init__(seed, count, shards, finish=finish)

    def _request(self, number: int) -> None:
        rng, name = self._rng, f"r{number}"
        account, symbol = rng.randint(1, 5), rng.choice(SYMBOLS)
        chance = rng.random()
        if chance < 0.05:
            self._switch(name, symbol)
            return
        request: Any
        if chance < 0.55:
            request = self._order(name, account, symbol, rng.choice(SIDES))
        elif chance < 0.67:
            request = self._list(name, account, symbol)
        elif chance < 0.85:
            request = self._amend(name, account)
        elif chance < 0.98:
            own = self.ledgers[account % self.shards].handler.ledger.open_orders(account)
            request = CancelRequest(name, account, rng.choice(own).order_id if own else number)
        else:
            request = CancelAllRequest(name, account, symbol, rng.choice(("", "buy", "sell")))
        self._send(account % self.shards, request)
        if rng.random() < 0.1:
            self._clock += rng.choice((500, 5_000))
            for ledger in self.ledgers.values():
                ledger.tick(self._streams)

    def _switch(self, name: str, symbol: str) -> None:
        """Another mode, mostly back to online."""
        self._modes[symbol] = "online" if self._modes[symbol] != "online" else self._rng.choice(MODES)
        maker, taker = FEES[symbol]
        rules = make_instrument(
            symbol, "0.01", "0.001", maker_fee=maker, taker_fee=taker, mode=self._modes[symbol],  # type: ignore[arg-type]
            price_collar=self._rng.choice((0, 0, 200, 500)),
        )  # fmt: skip
        for shard in range(self.shards):
            self._send(shard, InstrumentRequest(f"{name}-{shard}", rules))

    def _price(self, side: Side) -> int:
        """Mostly one that rests."""
        away = self._rng.randint(1, SPREAD)
        crosses = self._rng.random() < 0.25
        return MID + away if (side == "buy") == crosses else MID - away

    def _order(self, name: str, account: int, symbol: str, side: Side) -> OrderRequest:
        rng = self._rng
        order = OrderRequest(
            name, account, symbol, side, "limit", self._price(side), rng.randint(1, 200),
            stp=rng.choice(("dc", "dc", "co", "cn", "cb")), client_id=f"c{name[1:]}" if name[1:].isdecimal() else "",
        )  # fmt: skip
        asked: dict[str, Any] = {}
        if rng.random() < 0.15:
            order.order_type, order.price = "market", 0
            if rng.random() < 0.4:
                order.quantity, order.funds = 0, rng.randint(1, 30) * 10**11
        if rng.random() < 0.25:
            self._make_stop(order, asked)
        if order.order_type == "limit":
            self._make_limit(order, asked)
        if order.quantity and not order.post_only and rng.random() < 0.08:
            asked["min_quantity"] = rng.randint(1, order.quantity)
        if (order.order_type == "limit" or asked.get("stop")) and order.time_in_force == "GTC" and rng.random() < 0.2:
            order.time_in_force, asked["expires"] = "GTT", self._clock + rng.choice((500, 5_000, 50_000))
        order.conditions = Conditions(**asked) if asked else None
        return order

    def _make_stop(self, order: OrderRequest, asked: dict[str, Any]) -> None:
        rng = self._rng
        stop, away = rng.choice(("loss", "entry")), rng.randint(-SPREAD // 4, SPREAD)  # mostly where it may wait
        asked |= {"stop": stop, "stop_price": MID - away if stop == "loss" else MID + away}
        if rng.random() < 0.5:
            order.order_type, order.price = "market", 0
        if order.order_type == "market" and rng.random() < 0.4:
            asked |= {"stop": "loss" if order.side == "sell" else "entry", "stop_price": 0}
            asked |= rng.choice(({"trail": rng.randint(1, 4)}, {"trail_bps": rng.randint(1, 4)}))

    def _make_limit(self, order: OrderRequest, asked: dict[str, Any]) -> None:
        rng = self._rng
        if rng.random() < 0.25:
            asked["display_quantity"] = rng.randint(max(1, order.quantity // 20), order.quantity)
        elif rng.random() < 0.1:
            order.time_in_force = rng.choice(("IOC", "FOK"))
        elif not asked and rng.random() < 0.1:
            order.post_only = True

    def _list(self, name: str, account: int, symbol: str) -> OrderListRequest:
        rng = self._rng
        kind, side = rng.choice(KINDS), rng.choice(SIDES)
        legs = [self._order(f"{name}-{at}", account, symbol, side) for at in range(1 if kind == "oto" else 2)]
        parent = [] if kind == "oco" else [self._order(f"{name}-p", account, symbol, rng.choice(SIDES))]
        return OrderListRequest(name, account, symbol, kind, [*parent, *legs], rng.random() < 0.3)

    def _amend(self, name: str, account: int) -> AmendRequest:
        """Of an open order, mostly such as its kind allows; several may be under way."""
        rng = self._rng
        own = self.ledgers[account % self.shards].handler.ledger.open_orders(account)
        if not own:
            return AmendRequest(name, account, 1, quantity=1)
        order = rng.choice(own[-8:])
        price = rng.choice((0, self._price(order.side))) if order.order_type == "limit" else 0
        total = rng.choice((0, rng.randint(1, 200), order.filled + rng.randint(0, 20))) if order.quantity else 0
        stop_price = MID + rng.randint(-SPREAD, SPREAD) if rng.random() < 0.2 else 0
        return AmendRequest(name, account, order.order_id, "", "", price, total, stop_price)
