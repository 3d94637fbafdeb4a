"""Which orders belong together: the lists that are not over, and the orders of them that are not live yet."""

import msgspec

from shared.messages import ListKind, Place


class OrderList(msgspec.Struct, array_like=True):
    """A list: the fill of ``parent`` (0: none, or it is done) makes ``legs`` live, which are ``waiting`` till then.

    Two legs that do not wait cancel each other. ``due``, while deciding: the legs are about to go live. ``shrunk``:
    self-trade prevention took some of the parent, so it will never be filled whole. Also its row in a snapshot: fields
    may only be added at the end, with a default.
    """

    parent: int
    legs: list[int]
    waiting: bool
    first_fill: bool = False
    due: bool = False
    shrunk: bool = False

    def rivals(self, order_id: int) -> list[int]:
        """The other legs that a fill, a trigger or the end of this one cancels."""
        return [leg for leg in self.legs if leg != order_id] if order_id in self.legs else []


class Lists:
    """All lists of a book. ``pending``: orders that are not live yet, by id."""

    __slots__ = ("of_order", "pending")

    def __init__(self) -> None:
        self.of_order: dict[int, OrderList] = {}
        self.pending: dict[int, Place] = {}

    def add(self, kind: ListKind, ids: list[int], first_fill: bool) -> None:
        """Take up a list."""
        found = OrderList(0, ids, False) if kind == "oco" else OrderList(ids[0], ids[1:], True, first_fill)
        self.restore(found)

    def restore(self, found: OrderList) -> None:
        """A list as it was."""
        for order_id in (found.parent, *found.legs):
            if order_id:
                self.of_order[order_id] = found

    def arrive(self, order_id: int) -> None:
        """A pending order goes live. With the first of the legs, nothing ties the parent any more."""
        del self.pending[order_id]
        found = self.of_order.get(order_id)
        if found is None or found.parent == order_id:
            return
        self.of_order.pop(found.parent, None)
        found.parent, found.waiting, found.due = 0, False, False
        self._end(found)

    def shrink(self, order_id: int) -> None:
        """Self-trade prevention took some of an order."""
        found = self.of_order.get(order_id)
        if found is not None and found.parent == order_id:
            found.shrunk = True

    def leave(self, order_id: int) -> None:
        """An order is done."""
        self.pending.pop(order_id, None)
        found = self.of_order.pop(order_id, None)
        if found is None:
            return
        if found.parent == order_id:
            found.parent = 0
        else:
            found.legs.remove(order_id)
        self._end(found)

    def all(self) -> list[OrderList]:
        """Each list once, in the order of their coming."""
        return list({id(found): found for found in self.of_order.values()}.values())

    def _end(self, found: OrderList) -> None:
        if not found.legs or (len(found.legs) == 1 and not found.waiting):
            for order_id in (found.parent, *found.legs):
                self.of_order.pop(order_id, None)
