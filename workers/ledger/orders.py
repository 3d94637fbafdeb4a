"""The open-order index, and the memory of ids that makes a repeated request harmless."""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from typing import Literal

import msgspec

from shared.errors import CorruptState
from shared.messages import Conditions, OrderType, SelfTradePrevention, Side, TimeInForce
from workers.engine.expiry import Deadlines

PAST_MAX = 100_000
"""How many closed orders and transfers a shard remembers. Open orders are always remembered."""

IdKind = Literal["c", "r", "t"]
"""Whose id it is: a client's order id, the request id of an order without one, the request id of a transfer."""


class AskedAmend(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """An amend that the book has not answered yet, as the book was asked: 0 leaves a value as it is."""

    request_id: str
    price: int
    quantity: int
    stop_price: int


class OpenOrder(msgspec.Struct, array_like=True, gc=False):
    """An accepted order that is not closed yet. Units as in ``shared.messages``.

    ``hold`` is what it still holds, ``quantity`` its total after amends and self-trade prevention (0 for a market buy
    by funds), ``remaining`` what is left of that,
    ``filled``, ``executed_value`` and ``fees`` what its trades add up to; ``amends`` are on their way, the oldest
    first; ``rival`` is the order of its list that it and this one cancel (0: none any more). ``due`` is what it will
    hold, besides, out of what its parent brings; ``children`` are the orders that wait for that. Also its row in a
    snapshot: fields may only be added at the end, with a default.
    """

    order_id: int
    account: int
    instrument: str
    side: Side
    order_type: OrderType
    price: int
    quantity: int
    funds: int
    specified_funds: int
    time_in_force: TimeInForce
    post_only: bool
    stp: SelfTradePrevention
    maker_fee: int
    taker_fee: int
    client_id: str
    request_id: str
    time: int
    hold: int
    remaining: int
    filled: int = 0
    executed_value: int = 0
    fees: int = 0
    fee_rest: int = 0
    conditions: Conditions | None = None
    amends: tuple[AskedAmend, ...] = ()
    rival: int = 0
    due: int = 0
    children: tuple[int, ...] = ()

    @property
    def kind(self) -> IdKind:
        """Which of its ids keeps a second order from being made."""
        return "c" if self.client_id else "r"


class Past(msgspec.Struct, array_like=True, gc=False):
    """A closed order, or a transfer (``order_id`` 0), that is still remembered."""

    account: int
    kind: IdKind
    id: str
    order_id: int


def id_key(account: int, kind: IdKind, one: str) -> str:
    """An account's id as a key: two accounts, or two kinds of ids, never share one."""
    return f"{account}{kind}{one}"


_NO_ORDERS: Mapping[int, OpenOrder] = {}


class OrderIndex:
    """Open orders by id, by account and by when they expire, ids of open and past orders and transfers."""

    __slots__ = ("_by_account", "_closed", "_first", "_open", "_past", "deadlines")

    def __init__(self, orders: Iterable[OpenOrder] = (), past: Iterable[Past] = ()) -> None:
        self._open: dict[int, OpenOrder] = {}
        self._by_account: dict[int, dict[int, OpenOrder]] = {}
        self._first: dict[str, int] = {}  # id -> the order it made (0: a transfer)
        self._closed: dict[int, int] = {}  # past order -> its account
        self._past: deque[Past] = deque()  # the oldest first
        self.deadlines = Deadlines()
        for order in orders:
            self.add(order)
        for one in past:
            self._first[id_key(one.account, one.kind, one.id)] = one.order_id
            self._remember(one)

    def add(self, order: OpenOrder) -> None:
        """A new open order."""
        self._open[order.order_id] = order
        own = self._by_account.get(order.account)
        if own is None:
            own = self._by_account[order.account] = {}
        own[order.order_id] = order
        self._first[id_key(order.account, order.kind, order.client_id or order.request_id)] = order.order_id
        if order.conditions is not None and order.conditions.expires:
            self.deadlines.add(order.order_id, order.conditions.expires)

    def remove(self, order: OpenOrder) -> None:
        """The order is closed; its id is remembered for a while."""
        del self._open[order.order_id]
        del self._by_account[order.account][order.order_id]
        if order.conditions is not None:
            self.deadlines.drop(order.order_id)
        self._remember(Past(order.account, order.kind, order.client_id or order.request_id, order.order_id))

    def add_transfer(self, account: int, request_id: str) -> None:
        """A transfer was made; its id is remembered for a while."""
        self._first[id_key(account, "t", request_id)] = 0
        self._remember(Past(account, "t", request_id, 0))

    def _remember(self, one: Past) -> None:
        past = self._past
        past.append(one)
        if one.order_id:
            self._closed[one.order_id] = one.account
        if len(past) > PAST_MAX:
            oldest = past.popleft()
            del self._first[id_key(oldest.account, oldest.kind, oldest.id)]
            self._closed.pop(oldest.order_id, None)

    def first(self, account: int, kind: IdKind, one: str) -> int | None:
        """The order that this id made (0: a transfer); None if the id is new."""
        return self._first.get(id_key(account, kind, one))

    def get(self, order_id: int) -> OpenOrder | None:
        """The open order, if it is one."""
        return self._open.get(order_id)

    def known(self, order_id: int, account: int, instrument: str) -> OpenOrder:
        """The open order that a log speaks of. Raises ``CorruptState`` if there is none."""
        order = self._open.get(order_id)
        if order is None or order.account != account or order.instrument != instrument:
            raise CorruptState(
                f'{instrument}: the ledger has no open order {order_id} of account {account}; run "matchbox audit"'
            )
        return order

    def closed_account(self, order_id: int) -> int:
        """The account of an order that was closed lately; 0 if it is none."""
        return self._closed.get(order_id, 0)

    def of(self, account: int) -> Mapping[int, OpenOrder]:
        """The account's open orders by id, the oldest first: a live view, not to be changed."""
        return self._by_account.get(account, _NO_ORDERS)

    def __iter__(self) -> Iterator[OpenOrder]:
        """All open orders, the oldest first."""
        return iter(self._open.values())

    def __len__(self) -> int:
        return len(self._open)

    def past(self) -> list[Past]:
        """What is remembered, the oldest first, for a snapshot."""
        return list(self._past)
