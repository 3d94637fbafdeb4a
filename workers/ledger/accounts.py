"""Balances: what each account has, per currency, and the one primitive that changes them."""

from collections.abc import Iterable, Iterator, Mapping

import msgspec

from workers.ledger.settlement import Movement


class Balance(msgspec.Struct, gc=False):
    """An account's money in one currency, in smallest units: free to use, and bound to open orders."""

    available: int = 0
    held: int = 0


Row = tuple[int, str, int, int]
"""Account, currency, available, held."""

_NOTHING = Balance()
_NO_BALANCES: Mapping[str, Balance] = {}


class Accounts:
    """All balances of a shard. Nothing in here can become negative: that stops the process instead."""

    __slots__ = ("_balances",)

    def __init__(self, rows: Iterable[Row] = ()) -> None:
        self._balances: dict[int, dict[str, Balance]] = {}
        for account, currency, available, held in rows:
            self._balances.setdefault(account, {})[currency] = Balance(available, held)

    def move(self, movements: Iterable[Movement]) -> None:
        """Carry out ``movements``, in their order."""
        for movement in movements:
            try:
                balance = self._balances[movement.account][movement.currency]
            except KeyError:
                balance = self._balances.setdefault(movement.account, {})[movement.currency] = Balance()
            available = balance.available + movement.available
            held = balance.held + movement.held
            assert available >= 0, f"{movement} leaves {available} available"
            assert held >= 0, f"{movement} leaves {held} held"
            balance.available = available
            balance.held = held

    def of(self, account: int) -> Mapping[str, Balance]:
        """The account's balances by currency: a live view, not to be changed."""
        return self._balances.get(account, _NO_BALANCES)

    def balance(self, account: int, currency: str) -> Balance:
        """One balance, not to be changed; zeros if there is none."""
        return self._balances.get(account, _NO_BALANCES).get(currency, _NOTHING)

    def __iter__(self) -> Iterator[int]:
        """All accounts that ever had a balance."""
        return iter(self._balances)

    def rows(self) -> list[Row]:
        """All balances, sorted, for a snapshot."""
        return sorted(
            (account, currency, balance.available, balance.held)
            for account, balances in self._balances.items()
            for currency, balance in balances.items()
        )
