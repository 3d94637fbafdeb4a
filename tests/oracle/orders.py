"""The orders of the naive book, in their several states."""

from shared.messages import Conditions, Place

PLAIN = Conditions()


def terms(order):
    """The order's conditions, if it has any."""
    return order.conditions or PLAIN


class Resting:
    """An order on the book. ``remaining`` is what it shows, ``left`` all that is not filled."""

    def __init__(self, place: Place, left: int, filled: int):
        self.place = place
        self.order_id = place.order_id
        self.account = place.account
        self.side = place.side
        self.price = place.price
        self.maker_fee = place.maker_fee
        self.left = left
        self.filled = filled
        self.remaining = 0
        self.show()

    def show(self):
        """Rule: an iceberg shows its display quantity at a time."""
        self.remaining = min(self.left, terms(self.place).display_quantity or self.left)

    @property
    def hidden(self):
        return self.left - self.remaining


class Sleeping:
    """A stop off the book, and the prices that were traded since it was accepted."""

    def __init__(self, place: Place, seen: list[int], age: int):
        self.place = place
        self.seen = seen
        self.age = age
        self.woken_at = 0

    def stands_at(self):
        """Rule: a trailing stop keeps its distance to the best price since; per cent round away from it."""
        asked = terms(self.place)
        if not (asked.trail or asked.trail_bps):
            return asked.stop_price
        if not self.seen:
            return 0
        best = max(self.seen) if asked.stop == "loss" else min(self.seen)
        distance = asked.trail or (best * asked.trail_bps + 9_999) // 10_000
        return max(0, best - distance) if asked.stop == "loss" else best + distance

    def triggers(self, last_price):
        """Rule: loss when the last trade is at or below the stop price, entry at or above."""
        at = self.stands_at()
        if not at or not last_price:
            return False
        return last_price <= at if terms(self.place).stop == "loss" else last_price >= at


class Group:
    """A list of orders. The parent (0: none or done) lets the waiting legs in; legs that live cancel each other."""

    def __init__(self, parent, legs, first_fill=False):
        self.parent = parent
        self.legs = legs
        self.first_fill = first_fill
        self.waiting = parent != 0
        self.called = False
        self.shrunk = False


class Arriving:
    """An order while it trades. A cap that the order does not have stays 0."""

    def __init__(self, order: Place, filled: int = 0):
        self.order = order
        self.quantity = order.quantity
        self.funds = order.funds
        self.filled = filled
        self.stopped = False

    def use_up(self, lots, money):
        """A trade took this much."""
        self.filled += lots
        if self.order.quantity:
            self.quantity -= lots
        if self.order.funds:
            self.funds -= money
