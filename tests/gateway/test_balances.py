"""What the balance channel tells, from a ledger's recorded log."""

from collections.abc import Iterator
from decimal import Decimal

import pytest

from shared.messages import decode_ledger_entry
from tests.gateway.ear import Ear
from tests.ledger.recording import SHARD, SHARDS, files_of
from workers.gateway.feed.balances import standing
from workers.gateway.feed.hub import Hub
from workers.gateway.markets import Markets
from workers.gateway.render import account_uuid
from workers.ledger.ledger import Ledger


class Bank:
    """A ledger that follows the log, and the hub that tells of it."""

    def __init__(self, version="v2"):
        self.ledger = Ledger(SHARD, SHARDS)
        self.hub = Hub(Markets())
        self.entries = files_of(version)[0].read_bytes().splitlines()

    def run(self, count=10**9) -> Iterator[None]:
        """Fold the next entries, one by one."""
        todo, self.entries = self.entries[:count], self.entries[count:]
        for line in todo:
            entry = decode_ledger_entry(line)
            self.ledger.fold_entry(entry)
            if self.hub.balances:
                self.hub.balances.tell(self.ledger, entry)
            yield

    def truth(self, account):
        """The account's balances, as the API writes them."""
        return {
            currency: (
                Decimal(found.available).scaleb(-self.ledger.scales[currency]),
                Decimal(found.held).scaleb(-self.ledger.scales[currency]),
            )
            for currency, found in self.ledger.balances(account).items()
        }


def pair(message):
    return Decimal(message["available"]), Decimal(message["holds"])


@pytest.mark.parametrize("account", [2, 4])
@pytest.mark.parametrize("version", ["v1", "v2"])
def test_a_listener_has_its_balances_after_every_entry(version, account):
    """From how they stand and what is told then: each balance is right after each entry, told once, and its own."""
    bank, ear = Bank(version), Ear(account)
    list(bank.run(40))
    mirror = {one["currency"]: pair(one) for one in standing(bank.ledger, account, [""])}
    bank.hub.add(ear, [("balance", "")])
    count = 0
    for _ in bank.run():
        told = [one["currency"] for one in ear.heard]
        assert len(told) == len(set(told))
        for one in ear.heard:
            assert one["account_id"] == account_uuid(account, one["currency"])
            mirror[one["currency"]] = pair(one)
        count += len(told)
        ear.heard.clear()
        assert mirror.items() >= bank.truth(account).items()
    assert count > 10


def test_who_names_accounts_hears_only_those():
    """And each once, although it listens to all besides; who has left hears nothing."""
    bank = Bank()
    list(bank.run(40))
    currency, *others = bank.truth(2)
    assert others
    one, both, gone = (Ear(2) for _ in range(3))
    only = ("balance", account_uuid(2, currency))
    bank.hub.add(one, [only])
    bank.hub.add(both, [only, ("balance", "")])
    bank.hub.add(gone, [only, ("balance", "")])
    bank.hub.remove(gone, [only, ("balance", "")])
    list(bank.run())
    assert {message["currency"] for message in one.heard} == {currency}
    assert {message["currency"] for message in both.heard} == {currency, *others}
    assert [message for message in both.heard if message["currency"] == currency] == one.heard
    assert not gone.heard
    bank.hub.remove(one, [only])
    bank.hub.remove(both, [("balance", ""), only])
    assert bank.hub.is_idle
