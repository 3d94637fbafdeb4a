"""Prepares a running exchange for a replay: its instrument, and accounts with funds."""

from typing import Any

import msgspec

from shared import keys
from shared.errors import InvalidInput, Unavailable
from shared.instrument import DEFAULT_SCALE, MONEY_MAX, Instrument, make_instrument
from shared.messages import InstrumentRequest, TransferRequest
from shared.submit import Submitter
from workers.replay.flow import ACCOUNTS_PER_SIDE
from workers.replay.steps import Market

SHARD = 0
"""The shard of the replay's accounts: all on one, see ``flow``."""
SHARE_MAX = 3
"""All accounts of a currency on a shard may have ``MONEY_MAX`` together; a replay takes a third of it at most."""


class Venue:
    """The exchange that a recording is fed into."""

    def __init__(self, client: Any, shards: int) -> None:
        self.client = client
        self.shards = shards
        self._submitter = Submitter(client, shards)

    @classmethod
    def find(cls, client: Any, shards: int) -> "Venue":
        """The running exchange on this Redis. Raises ``Unavailable`` if no ledger lives there."""
        shards = int(client.get(keys.SHARDS) or shards)
        for shard in range(shards):
            if not client.exists(keys.beat(f"ledger:{shard}")):
                raise Unavailable(f'ledger {shard} is not running; start the cluster with "matchbox start"')
        return cls(client, shards)

    def instrument(self, market: Market, symbol: str | None) -> Instrument:
        """The instrument to feed: that of the exchange, else a new one (not listed yet) by the recording's rules.

        Raises ``InvalidInput`` if the exchange has none and the recording does not say enough to make one.
        """
        wanted = symbol or market.symbol
        known = self._known()
        if wanted in known:
            return known[wanted]
        if not market.tick:
            raise InvalidInput(
                f"the {market.source} recording does not say the tick of its instrument; add the instrument first, "
                "and name it with --instrument"
            )
        scales = {one.base: one.base_scale for one in known.values()}
        scales |= {one.quote: one.quote_scale for one in known.values()}
        base, _, quote = wanted.partition("-")
        return make_instrument(
            wanted, market.tick, market.lot,
            base_scale=scales.get(base, DEFAULT_SCALE), quote_scale=scales.get(quote, DEFAULT_SCALE),
        )  # fmt: skip

    def _known(self) -> dict[str, Instrument]:
        listed = self.client.hgetall(keys.INSTRUMENTS)
        return {symbol.decode(): msgspec.json.decode(text, type=Instrument) for symbol, text in listed.items()}

    def list_instrument(self, instrument: Instrument, run: str) -> bool:
        """Add the instrument unless it is there; True if it was added. Raises ``MatchboxError`` if it is refused."""
        if instrument.symbol in self._known():
            return False
        self._submitter.submit_to_all(InstrumentRequest(f"{run}:instrument", instrument))
        self.client.hsetnx(keys.INSTRUMENTS, instrument.symbol, msgspec.json.encode(instrument))
        return True

    def is_traded(self, symbol: str) -> bool:
        """Whether a process owns the instrument's book."""
        return bool(self.client.exists(keys.beat(f"engine:{symbol}")))

    def fund(self, instrument: Instrument, run: str, needs: dict[int, int]) -> None:
        """Give each account what its orders need, if there is so much: account -> smallest units."""
        most = MONEY_MAX // self.shards // SHARE_MAX // ACCOUNTS_PER_SIDE
        currencies = [instrument.quote] * ACCOUNTS_PER_SIDE + [instrument.base] * ACCOUNTS_PER_SIDE
        for (account, need), currency in zip(needs.items(), currencies, strict=True):
            if need:
                self._move(run, account, currency, min(need, most))

    def take_back(self, run: str, free: dict[tuple[int, str], int]) -> None:
        """Withdraw what the accounts still have free, so that replays do not use up the money there may be."""
        for (account, currency), amount in free.items():
            if amount:
                self._move(f"{run}:back", account, currency, -amount)

    def _move(self, run: str, account: int, currency: str, amount: int) -> None:
        self._submitter.submit(TransferRequest(f"{run}:{account}:{currency}", account, currency, amount))


def accounts(shards: int, first: int) -> list[int]:
    """New accounts from number ``first`` on: those of the buyers, then those of the sellers."""
    return [(first + count) * shards + SHARD for count in range(2 * ACCOUNTS_PER_SIDE)]
