"""Every order as its owner sees it: open ones from the ledgers' replicas, done ones from memory, older from PostgreSQL.

The memory of done orders bridges PostgreSQL's lag, so whoever just placed or canceled an order finds it. No I/O here.
"""

import asyncio
from bisect import bisect_left, bisect_right, insort
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from heapq import merge

import msgspec

from shared.messages import Closed
from shared.order_id import SHARD_BITS, shard_of_order
from workers.gateway.market import Market
from workers.gateway.paging import Page
from workers.ledger.ledger import Ledger
from workers.ledger.orders import OpenOrder

DONE_KEPT = 200_000
"""Done orders in memory. PostgreSQL has the others, unless it is further behind than this."""


class KnownOrder(msgspec.Struct, gc=False):
    """An order and, once it is done, why and when (``done_at`` in ns, 0: not done)."""

    order: OpenOrder
    done_reason: str = ""
    cause: str = ""
    done_at: int = 0

    @property
    def is_done(self) -> bool:
        """Whether the ledger has closed it."""
        return self.done_at != 0


class Standing(msgspec.Struct, frozen=True, gc=False):
    """What an order's book adds to what its ledger knows.

    ``status`` is the API's word; "unknown" while the book is not followed: the order is not done, and may be all else.
    ``stop_price`` (ticks): where a stop that sleeps stands. ``parent``: the order that it waits for. 0: none.
    """

    status: str
    stop_price: int = 0
    parent: int = 0


_PENDING, _OPEN, _DONE, _UNKNOWN = Standing("pending"), Standing("open"), Standing("done"), Standing("unknown")


class KnownOrders:
    """Finds orders in memory, and wakes those who wait for one to be done."""

    def __init__(self, ledgers: Sequence[Ledger], markets: Mapping[str, Market]) -> None:
        self._ledgers = ledgers
        self._markets = markets
        self._done: dict[int, KnownOrder] = {}
        self._done_ids: dict[int, list[int]] = {}  # by account, ascending
        self._oldest: deque[int] = deque()
        self._waiting: dict[int, list[asyncio.Future[str]]] = {}

    def is_beyond(self, order_id: int) -> bool:
        """Whether the replica has not come as far as this order: another gateway may have answered it."""
        return order_id >> SHARD_BITS > self._ledger(order_id).count

    def close(self, order: OpenOrder, event: Closed, time: int) -> None:
        """The ledger closed ``order``."""
        known = KnownOrder(order, event.reason, event.cause or "", time)
        self._done[order.order_id] = known
        insort(self._done_ids.setdefault(order.account, []), order.order_id)
        self._oldest.append(order.order_id)
        if len(self._oldest) > DONE_KEPT:
            self._forget(self._oldest.popleft())
        for waiting in self._waiting.pop(order.order_id, ()):
            if not waiting.done():
                waiting.set_result(event.reason)

    def _forget(self, order_id: int) -> None:
        account = self._done.pop(order_id).order.account
        own = self._done_ids[account]
        del own[bisect_left(own, order_id)]
        if not own:
            del self._done_ids[account]

    def find(self, account: int, order_id: int) -> KnownOrder | None:
        """The account's order, if it is in memory. Somebody else's is not found."""
        order = self._ledger(order_id).order(order_id)
        known = KnownOrder(order) if order is not None else self._done.get(order_id)
        return known if known is not None and known.order.account == account else None

    def find_by_client_id(self, account: int, client_id: str) -> KnownOrder | None:
        """The account's order with its own id, if it is in memory."""
        order_id = self._ledgers[account % len(self._ledgers)].by_client_id(account, client_id)
        return self.find(account, order_id) if order_id else None

    def select(self, account: int, page: Page, wanted: Callable[[KnownOrder], bool]) -> list[KnownOrder]:
        """The account's orders in memory that are ``wanted``: one more than the page, in the page's direction."""
        opened = [order.order_id for order in self._ledgers[account % len(self._ledgers)].open_orders(account)]
        ids = merge(
            *(_part(ids, page) for ids in (opened, self._done_ids.get(account, []))), reverse=not page.ascending
        )
        found: list[KnownOrder] = []
        for order_id in ids:
            known = self.find(account, order_id)
            if known is not None and wanted(known):
                found.append(known)
                if len(found) > page.limit:
                    break
        return found

    def status(self, known: KnownOrder) -> str:
        """The API's word: pending (accepted, or waits in its list), active (a stop that sleeps), open, done.

        While nobody here knows which but the last: unknown.
        """
        return self.standing(known).status

    def standing(self, known: KnownOrder) -> Standing:
        """Where an order stands now."""
        order_id = known.order.order_id
        market = self._markets.get(known.order.instrument)
        if known.is_done or market is None:
            return _DONE if known.is_done else _UNKNOWN
        sleeping = market.book.stops.orders.get(order_id)
        if sleeping is not None:
            return Standing("active", sleeping.stop_price)
        if order_id in market.book.lists.pending:
            found = market.book.lists.of_order.get(order_id)
            waits = found is not None and found.parent != order_id
            return Standing("pending", parent=found.parent) if found is not None and waits else _PENDING
        return _OPEN if market.has_received(order_id) else _PENDING

    async def wait_done(self, order_id: int, timeout_s: float) -> str:
        """Why the order was done; "" if it is not within ``timeout_s``."""
        if done := self._done.get(order_id):
            return done.done_reason
        waiting: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(order_id, []).append(waiting)
        try:
            async with asyncio.timeout(timeout_s):
                return await waiting
        except TimeoutError:
            return ""
        finally:
            self._leave(order_id, waiting)

    def _leave(self, order_id: int, waiting: asyncio.Future[str]) -> None:
        others = self._waiting.get(order_id)
        if others is not None and waiting in others:
            others.remove(waiting)
            if not others:
                del self._waiting[order_id]

    def _ledger(self, order_id: int) -> Ledger:
        return self._ledgers[shard_of_order(order_id) % len(self._ledgers)]


def _part(ids: list[int], page: Page) -> Iterator[int]:
    """Ascending ``ids`` within the page's cursors, in its direction; nothing is copied."""
    low = bisect_right(ids, page.before) if page.before else 0
    high = bisect_left(ids, page.after) if page.after else len(ids)
    positions = range(low, high) if page.ascending else range(high - 1, low - 1, -1)
    return (ids[position] for position in positions)
