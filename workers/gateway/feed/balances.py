"""The balance channel: its owner hears each balance that an entry of the ledger's log has changed, as it is then."""

from collections.abc import Iterable, Iterator

from shared.instants import iso
from shared.messages import LedgerEntry
from workers.gateway.feed.messages import Message, frame
from workers.gateway.feed.socket import FeedSocket
from workers.gateway.render import account_uuid, decimal_text
from workers.ledger.accounts import Balance
from workers.ledger.ledger import Ledger
from workers.ledger.settlement import movements

_NOTHING = Balance()


class BalanceListeners:
    """Who listens to which balances: an account's id, or "" for all of one's own."""

    def __init__(self) -> None:
        self._of: dict[str, dict[FeedSocket, None]] = {}

    def __bool__(self) -> bool:
        return bool(self._of)

    def __iter__(self) -> Iterator[FeedSocket]:
        return (listener for listeners in self._of.values() for listener in listeners)

    def add(self, listener: FeedSocket, account_id: str) -> None:
        """Let a connection listen."""
        self._of.setdefault(account_id, {})[listener] = None

    def remove(self, listener: FeedSocket, account_id: str) -> None:
        """Let a connection listen no more."""
        del self._of[account_id][listener]
        if not self._of[account_id]:
            del self._of[account_id]

    def tell(self, ledger: Ledger, entry: LedgerEntry) -> None:
        """Tell what an entry, which is folded already, has changed: each balance once."""
        changed = {(one.account, one.currency): None for event in entry.events for one in movements(event)}
        owners = {listener.account for listener in self}
        for account, currency in changed:
            if account in owners:
                message = balance_message(ledger, account, currency)
                listeners = [one for one in self._of.get("", ()) if one.account == account]
                listeners += [one for one in self._of.get(message["account_id"], ()) if one not in listeners]
                data = frame(message)
                for listener in listeners:
                    listener.send(data)


def balance_message(ledger: Ledger, account: int, currency: str) -> Message:
    """A balance as it is, in the words of Coinbase Exchange. ``updated``: as of when."""
    balance, scale = ledger.balances(account).get(currency, _NOTHING), ledger.scales[currency]
    return {
        "type": "balance",
        "account_id": account_uuid(account, currency),
        "currency": currency,
        "available": decimal_text(balance.available, scale),
        "holds": decimal_text(balance.held, scale),
        "updated": iso(ledger.time),
    }


def standing(ledger: Ledger, account: int, account_ids: Iterable[str]) -> list[Message]:
    """What a new listener is told first: how the balances stand that it has asked for."""
    ids = set(account_ids)
    return [
        balance_message(ledger, account, currency)
        for currency in sorted(ledger.scales)
        if "" in ids or account_uuid(account, currency) in ids
    ]
