"""Which resting orders are whose, for those who cancel all of theirs.

Nothing else asks, and most orders leave before anybody does. So an order that comes to rest is only noted, and one that
leaves not even that: it shows by its ``remaining`` being 0. Now and then those noted are sorted by account, and some of
those who have left are forgotten, a bounded number at a time. To keep a dict of orders for each account instead cost a
cancel a third more time, and a new order a sixth.
"""

from workers.engine.levels import RestingOrder

RECENT_MAX = 256
"""Orders noted until they are sorted, which with their end is a pause of about 0.1 ms."""
_LOOKS = 3 * RECENT_MAX
"""Orders looked at for the dead in one go: at least half of them are, on average, so that they do not pile up."""


class Accounts:
    """``recent`` are the orders noted since ``sort``; who appends to it calls that when there are ``RECENT_MAX``."""

    __slots__ = ("_at", "_held", "_orders", "_round", "recent")

    def __init__(self) -> None:
        self.recent: list[RestingOrder] = []
        self._orders: dict[int, list[RestingOrder]] = {}
        self._held = 0
        """Orders in all lists of ``_orders``, dead ones included."""
        self._round: list[int] = []
        """Accounts that are still to be looked through for the dead, before all are again."""
        self._at = 0
        """How far the last of them is looked through."""

    def of(self, account: int) -> list[RestingOrder]:
        """The resting orders of an account, in the order of their coming."""
        self._sort_recent()
        return [order for order in self._orders.get(account, ()) if order.remaining]

    def sort(self, resting: int) -> None:
        """Sort the recent ones, and look for the dead if they could outnumber the ``resting`` orders."""
        self._sort_recent()
        looks = _LOOKS if self._held > 2 * resting + RECENT_MAX else 0
        while looks > 0:
            looks -= 1 + self._forget_dead(looks)

    def __len__(self) -> int:
        """How many accounts have resting orders. Looks at all of them."""
        return sum(1 for account in self._orders.keys() | {order.account for order in self.recent} if self.of(account))

    def _sort_recent(self) -> None:
        orders = self._orders
        living = [order for order in self.recent if order.remaining]
        for order in living:
            own = orders.get(order.account)
            if own is None:
                own = orders[order.account] = []
            own.append(order)
        self._held += len(living)
        self.recent.clear()

    def _forget_dead(self, most: int) -> int:
        """Forget the dead among the next ``most`` orders of one account. Says how many were looked at."""
        if not self._round:
            self._round = list(self._orders)
        account, at = self._round[-1], self._at
        own = self._orders[account]
        stretch = own[at : at + most]
        living = [order for order in stretch if order.remaining]
        own[at : at + most] = living
        self._held -= len(stretch) - len(living)
        self._at += len(living)
        if self._at == len(own):
            self._round.pop()
            self._at = 0
            if not own:
                del self._orders[account]
        return len(stretch)
