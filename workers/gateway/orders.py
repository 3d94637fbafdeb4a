"""The order desk: takes what clients ask of their orders to the ledgers, waits, and answers how the orders stand then.

REST and WebSocket both come here. An account and decoded JSON in, an answer out; whatever cannot be done is an
``ApiError``.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable

from msgspec import UNSET

from shared import keys
from shared.errors import InvalidInput
from shared.messages import (
    Accepted,
    AmendFailed,
    AmendRequest,
    CancelAllRequest,
    CancelAllRequested,
    CancelRequest,
    Closed,
    Duplicate,
    LedgerEvent,
    OrderListRequest,
    OrderRequest,
    Rejected,
)
from shared.order_id import from_uuid, shard_of_order, to_uuid
from workers.gateway.amending import amend_failure, has_ended
from workers.gateway.errors import (
    ApiError,
    bad_request,
    order_already_done,
    order_not_found,
    product_not_found,
    refusal,
    unavailable,
)
from workers.gateway.forms.conditions_form import check_expiry
from workers.gateway.forms.json_input import choice_field
from workers.gateway.forms.order_form import client_id, read_amend, read_order
from workers.gateway.forms.order_list_form import check_expiries, check_market, read_order_list
from workers.gateway.history import History
from workers.gateway.inbox import Inbox
from workers.gateway.known_orders import KnownOrder
from workers.gateway.order_answer import OrderAnswer, OrderListAnswer, order_answer
from workers.gateway.replicas import Replicas

CANCEL_WAIT_S = 5.0
"""How long a cancel waits for its order to be done: longer than a book whose process died is away."""
CANCEL_UNKNOWN = (
    "no answer in time; the cancel is on its way, and until it has come to the book the order may still be filled. "
    "Look it up, or repeat the request"
)
NOTHING_SENT = ". Nothing was sent"
_CLIENT = "client:"


class Desk:
    """Orders of all accounts. ``reference`` is an order's id, or ``client:`` and its client's own id."""

    def __init__(self, inbox: Inbox, replicas: Replicas, history: History, shards: int, gateways: int) -> None:
        self._inbox = inbox
        self._replicas = replicas
        self._history = history
        self._shards = shards
        self._gateways = gateways

    # --- asking ---

    async def place(self, account: int, fields: dict[str, object]) -> OrderAnswer:
        """Place an order (``OrderBody``). A second one with the same client id is not placed: the first is answered."""
        self._replicas.require()
        now_ns = time.time_ns()
        request = read_order(fields, self._replicas.instruments, self._inbox.request_id(), account, now_ns)

        def check() -> None:
            self._replicas.markets.require(request.instrument, NOTHING_SENT)
            check_expiry(request, now_ns)

        await self._check(account, [request], check)
        event = await self._ask(request)
        assert isinstance(event, (Accepted, Duplicate)), event
        return self.answer(await self._find_by_id(account, event.order_id))

    async def place_list(self, account: int, fields: dict[str, object]) -> OrderListAnswer:
        """Place an order list (``OrderListBody``): all of its orders, or none. A repeat answers the first ones."""
        ledger, now_ns = self._replicas.ledger(account), time.time_ns()
        request = read_order_list(fields, ledger.instruments, self._inbox.request_id, account, now_ns)
        symbol = request.instrument

        def check() -> None:
            self._replicas.markets.require(symbol, NOTHING_SENT)
            check_expiries(request, now_ns)
            check_market(request, ledger.instruments[symbol], ledger.last_prices.get(symbol, 0))

        await self._check(account, request.orders, check)
        found = []
        for event in await self._ask_list(request):
            assert isinstance(event, (Accepted, Duplicate)), event
            found.append(self.answer(await self._find_by_id(account, event.order_id)))
        trigger = "first_fill" if request.first_fill else "full_fill"
        return OrderListAnswer(request.kind, found, UNSET if request.kind == "oco" else trigger)

    async def _check(self, account: int, orders: list[OrderRequest], check: Callable[[], None]) -> None:
        """Whether new orders can be taken now; repeats always can, since the first ones are answered."""
        try:
            check()
        except ApiError:
            shard = keys.shard_of(account, self._shards)
            await self._replicas.catch_up(shard)
            ledger = self._replicas.ledgers[shard]
            if not any(order.client_id and ledger.by_client_id(account, order.client_id) for order in orders):
                raise

    async def amend(self, account: int, reference: str, fields: dict[str, object]) -> OrderAnswer:
        """Change an order (``AmendBody``), and answer it as it stands when its book has done so."""
        known = await self.find(account, reference)
        if known.is_done:
            raise order_already_done()
        order = known.order
        self._replicas.markets.require(order.instrument, NOTHING_SENT)
        instrument = self._replicas.instruments[order.instrument]
        request = read_amend(fields, instrument, self._inbox.request_id(), account, order.order_id)
        event = await self._ask(request)
        known = await self._find_by_id(account, order.order_id)
        if isinstance(event, AmendFailed):
            raise amend_failure(event, request, known, self._replicas.orders.standing(known), instrument)
        if isinstance(event, Closed) and not has_ended(request, known, event):
            raise order_already_done()
        return self.answer(known)

    async def cancel(self, account: int, reference: str, product_id: str = "") -> str:
        """Cancel an order, and answer its id when what it held is available again."""
        known = await self.find(account, reference)
        number = known.order.order_id
        if product_id not in ("", known.order.instrument):
            raise order_not_found()
        if known.is_done:
            raise order_already_done()
        await self._ask(CancelRequest(self._inbox.request_id(), account, number))
        (reason,) = await self._ends([number])
        if reason == "filled":
            raise order_already_done()
        return to_uuid(number)

    async def cancel_all(self, account: int, product_id: str = "", side: str = "") -> list[str]:
        """Cancel all open orders, or those of a product and/or side; answers the ids of those that were canceled."""
        self._replicas.require()
        if side:
            choice_field({"side": side}, "side", ("buy", "sell"))
        if product_id and product_id not in self._replicas.instruments:
            raise product_not_found(400)
        asked = await self._ask(CancelAllRequest(self._inbox.request_id(), account, product_id, side))
        assert isinstance(asked, CancelAllRequested), asked
        reasons = await self._ends(asked.order_ids)
        return [to_uuid(number) for number, why in zip(asked.order_ids, reasons, strict=True) if why != "filled"]

    async def _ends(self, numbers: list[int]) -> list[str]:
        """Why each of the orders ended. Raises ``ApiError`` 503 if one has not: "canceled" is only said of what is."""
        orders = self._replicas.orders
        reasons = await asyncio.gather(*(orders.wait_done(number, CANCEL_WAIT_S) for number in numbers))
        if not all(reasons):
            raise unavailable(CANCEL_UNKNOWN)
        return reasons

    async def _ask(self, request: OrderRequest | AmendRequest | CancelRequest | CancelAllRequest) -> LedgerEvent:
        """Send a request to its account's ledger and wait for the answer. Raises ``ApiError``: refused, or 503."""
        event = await self._inbox.ask(keys.shard_of(request.account, self._shards), request)
        if isinstance(event, Rejected):
            raise refusal(event)
        return event

    async def _ask_list(self, request: OrderListRequest) -> list[LedgerEvent]:
        """The same for a list: an answer for each of its orders."""
        ids = [order.request_id for order in request.orders]
        events = await self._inbox.ask_each(keys.shard_of(request.account, self._shards), request, ids)
        if isinstance(events[0], Rejected):
            raise refusal(events[0])
        return events

    # --- finding ---

    def answer(self, known: KnownOrder) -> OrderAnswer:
        """An order as its owner sees it now."""
        return order_answer(known, self._replicas.orders.standing(known), self._replicas.texts(known.order.instrument))

    async def find(self, account: int, reference: str) -> KnownOrder:
        """The account's order, as any gateway has answered it. Raises ``ApiError``: 404 (somebody else's, too), 400."""
        await self.catch_up(account)
        if reference.startswith(_CLIENT):
            own = client_id(reference.removeprefix(_CLIENT))
            if not own:  # it would mean any of the orders without one
                raise bad_request("Invalid order id")
            return await self._find_by_client_id(account, own)
        try:
            number = from_uuid(reference)
        except InvalidInput as error:
            raise bad_request(str(error)) from None
        if not number:
            raise order_not_found()
        return await self._find_by_id(account, number)

    async def catch_up(self, account: int) -> None:
        """Come to know what another gateway, if there is one, has answered the account. Raises ``ApiError`` 503."""
        self._replicas.require()
        if self._gateways > 1 or not self._replicas.is_alone:
            await self._replicas.catch_up(keys.shard_of(account, self._shards))

    async def _find_by_id(self, account: int, number: int) -> KnownOrder:
        """From memory, after catching up with another gateway that may have answered it already; else PostgreSQL."""
        orders, shard = self._replicas.orders, keys.shard_of(account, self._shards)
        if shard_of_order(number) != shard:
            raise order_not_found()
        known = orders.find(account, number)
        if known is None and orders.is_beyond(number):
            await self._replicas.catch_up(shard)
            known = orders.find(account, number)
            if known is None and orders.is_beyond(number):
                raise order_not_found()
        return known or await self._from_history(shard, lambda: self._history.order(account, number))

    async def _find_by_client_id(self, account: int, own: str) -> KnownOrder:
        known = self._replicas.orders.find_by_client_id(account, own)
        shard = keys.shard_of(account, self._shards)
        return known or await self._from_history(shard, lambda: self._history.order_by_client_id(account, own))

    async def _from_history(self, shard: int, look: Callable[[], Awaitable[KnownOrder | None]]) -> KnownOrder:
        """An order that memory does not have. Raises ``ApiError`` 404."""
        known = await look()
        if known is None and await self._replicas.wait_covered(shard):
            known = await look()
        if known is None:
            raise order_not_found()
        return known
