"""One trader of the demo at one product: a client with a strategy, that reconnects for as long as it takes.

A person trades each product by a connection of its own, so one that is not available keeps nobody from the others. It
knows its own orders from the ``user`` channel and the last trades from ``ticker``. When the connection breaks it
comes back with growing pauses, and reads anew which of its orders are open.
"""

import asyncio
import contextlib
import itertools
from decimal import Decimal
from random import Random
from typing import Any

import msgspec
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import WebSocketException

from shared import log
from shared.instrument import Instrument, plain
from workers.demo.client import ApiClient, Away, Declined
from workers.demo.people import PRODUCTS, Person
from workers.demo.strategies import Action, Desk, FairValue, OwnOrder, Place

PAUSE_MIN_S = 0.5
PAUSE_MAX_S = 8.0
INVENTORY_S = 10.0
FAIR_VALUE_S = 0.25
LEAVE_S = 3.0

decode = msgspec.json.Decoder().decode


class Trader:
    """A person at their desk for one product. ``sent``: orders so far; ``trouble``: why it cannot trade now."""

    def __init__(
        self,
        person: Person,
        api: ApiClient,
        instrument: Instrument,
        value: FairValue,
        endowment: int,
        seed: int,
    ) -> None:
        self.name = f"{person.role.name} {instrument.symbol}"
        self.sent = 0
        self.trouble = "not connected yet"
        self._role = person.role
        self._api = api
        self._rules = instrument
        self._value = value
        self._endowment = endowment  # smallest units of the base currency
        self._rng = Random(f"{seed} {self.name}")
        self._desk = Desk(value.value, int(Decimal(PRODUCTS[instrument.symbol].unit) / Decimal(instrument.lot)))
        self._client_ids = (f"{instrument.symbol}-{seed}-{count}" for count in itertools.count(1))
        self._known: dict[str, str] = {}  # id of an open order -> client id
        self._log = log.get()

    async def run(self) -> None:
        """Trade until cancelled."""
        pause_s, is_first = PAUSE_MIN_S, True
        while True:
            try:
                async with self._api.feed([self._rules.symbol], ["user", "ticker"]) as socket:
                    await self._begin(withdraw=is_first)
                    pause_s, is_first, self.trouble = PAUSE_MIN_S, False, ""
                    await self._trade(socket)
            except* (OSError, WebSocketException, TimeoutError, Away, Declined) as errors:
                self.trouble = _first(errors)
                self._log.info("Not connected", trader=self.name, error=self.trouble)
            await asyncio.sleep(pause_s)
            pause_s = min(PAUSE_MAX_S, pause_s * 2)

    async def leave(self) -> None:
        """Withdraw all orders, if the exchange answers in time."""
        with contextlib.suppress(Away, Declined, TimeoutError):
            async with asyncio.timeout(LEAVE_S):
                await self._withdraw()

    async def _withdraw(self) -> None:
        await self._api.request("DELETE", f"/orders?product_id={self._rules.symbol}")

    async def _begin(self, *, withdraw: bool) -> None:
        """Start with no open order (of an earlier run), or with those that are open."""
        if withdraw:
            await self._withdraw()
        self._known.clear()
        self._desk.orders.clear()
        for one in await self._api.request("GET", f"/orders?status=open&product_id={self._rules.symbol}"):
            if one.get("client_oid") and one.get("price"):
                self._open(one["client_oid"], one)
                self._known[one["id"]] = one["client_oid"]
        await self._count_inventory()

    async def _trade(self, socket: ClientConnection) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._listen(socket))
            tasks.create_task(self._watch_inventory())
            tasks.create_task(self._work())

    # --- acting ------------------------------------------------------------------------------------

    async def _work(self) -> None:
        """Look at the product again and again, and do what the strategy says."""
        desk, pace_s = self._desk, self._role.pace_s
        while True:
            await asyncio.sleep(pace_s * self._rng.uniform(0.5, 1.5))
            desk.fair = self._value.value
            for action in self._role.strategy.decide(desk, self._rng):
                await self._do(desk, action)

    async def _do(self, desk: Desk, action: Action) -> None:
        try:
            if isinstance(action, Place):
                await self._place(desk, action)
            else:
                desk.orders.pop(action.client_id, None)
                await self._api.request("DELETE", f"/orders/client:{action.client_id}")
        except Declined as refusal:
            if refusal.status == 401:
                raise
            await asyncio.sleep(refusal.retry_after_s)  # a done order, an empty purse, a closed market: go on

    async def _place(self, desk: Desk, order: Place) -> None:
        rules, client_id = self._rules, next(self._client_ids)
        body: dict[str, Any] = {
            "product_id": rules.symbol,
            "side": order.side,
            "size": plain(order.quantity * Decimal(rules.lot)),
            "client_oid": client_id,
            "type": "limit" if order.price else "market",
        }
        if order.price:
            body |= {"price": plain(order.price * Decimal(rules.tick)), "time_in_force": order.time_in_force}
            body |= {"post_only": True} if order.post_only else {}
        if order.price and order.time_in_force == "GTC":
            desk.orders[client_id] = OwnOrder(order.side, order.price, order.quantity)
        self.sent += 1
        try:
            await self._api.request("POST", "/orders", body)
        except Declined:
            desk.orders.pop(client_id, None)
            raise

    # --- listening ---------------------------------------------------------------------------------

    async def _listen(self, socket: ClientConnection) -> None:
        async for text in socket:
            message = decode(text)
            match message.get("type"):
                case "ticker":
                    self._desk.trades.append(self._ticks(message["price"]))
                case "received" if message.get("client_oid"):
                    self._known[message["order_id"]] = message["client_oid"]
                case "done":
                    self._desk.orders.pop(self._known.pop(message["order_id"], ""), None)
                case "error":
                    raise Away(f"the feed says: {message.get('message')} {message.get('reason')}")
        raise Away("the feed was closed")

    def _ticks(self, price: str) -> int:
        return int(Decimal(price) / Decimal(self._rules.tick))

    def _open(self, client_id: str, order: dict[str, Any]) -> None:
        left = Decimal(order["size"]) - Decimal(order["filled_size"])
        lots = int(left / Decimal(self._rules.lot))
        self._desk.orders[client_id] = OwnOrder(order["side"], self._ticks(order["price"]), lots)

    async def _watch_inventory(self) -> None:
        while True:
            await asyncio.sleep(INVENTORY_S)
            await self._count_inventory()

    async def _count_inventory(self) -> None:
        """Lots it has more or less than it began with."""
        balances = {one["currency"]: Decimal(one["balance"]) for one in await self._api.request("GET", "/accounts")}
        rules = self._rules
        first = Decimal(self._endowment).scaleb(-rules.base_scale)
        self._desk.inventory = int((balances.get(rules.base, first) - first) / Decimal(rules.lot))


def _first(group: BaseExceptionGroup[Any]) -> str:
    """What the first of several errors says."""
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else str(error) or type(error).__name__


async def walk_values(values: dict[str, FairValue]) -> None:
    """Move what the products are worth, for everybody alike."""
    while True:
        await asyncio.sleep(FAIR_VALUE_S)
        for value in values.values():
            value.step()
