"""Which orders have one owner, by what self-match prevention did."""


class Owners:
    """Orders and whom they were taken away for. Two that have traded never come to have one owner that way.

    (Of two that trade, one is filled and takes nobody away any more, so no later link leads to it.)
    """

    def __init__(self) -> None:
        self._taken_for: dict[int, int] = {}

    def take_away(self, order: int, comer: int) -> None:
        """An order was canceled, so that it would not meet one of its owner's."""
        if comer not in self._taken_for and comer != order:
            self._taken_for[order] = comer

    def accounts(self) -> dict[int, int]:
        """Order -> account, of all orders that share one."""
        found = {}
        for order in (*self._taken_for, *self._taken_for.values()):
            account = order
            while account in self._taken_for:
                account = self._taken_for[account]
            found[order] = account
        return found
