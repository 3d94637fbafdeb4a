"""Which orders have one owner, by what self-match prevention did."""

from array import array


class Owners:
    """Which orders have one owner. An order is its owner's account, unless it is linked to another order."""

    def __init__(self) -> None:
        self._links: dict[int, int] = {}
        self._met = array("Q")
        """Aggressor, maker, aggressor, maker ...: who has traded, and so is not of one owner."""

    def root(self, order: int) -> int:
        """The order that stands for all of its owner."""
        while order in self._links:
            order = self._links[order]
        return order

    def link(self, order: int, other: int) -> None:
        """Two orders have one owner."""
        first, second = self.root(order), self.root(other)
        if first != second:
            self._links[first] = second

    def traded(self, taker: int, maker: int) -> None:
        """Two orders have traded."""
        self._met.extend((taker, maker))

    def accounts(self) -> dict[int, int]:
        """Order -> account of those that are linked; a group of which two orders traded is none."""
        wrong = set()
        for taker, maker in zip(self._met[::2], self._met[1::2], strict=True):
            root = self.root(taker)
            if taker != maker and root == self.root(maker):
                wrong.add(root)
        grouped = {order: self.root(order) for order in (*self._links, *self._links.values())}
        return {order: root for order, root in grouped.items() if root not in wrong}
