"""A small cluster with an auditor: a ledger, two engines, and people who write into the inbox."""

import json
import secrets
import time
from typing import Any

from shared import keys
from shared.instrument import Instrument
from shared.messages import OrderRequest, Side, TransferRequest, encode
from shared.submit import Refused
from tests.harness import BTC_USD, ETH_USD, Cluster

EVERY = 40
WAIT_S = 15.0
TAGS = ("{a:0}", "{i:BTC-USD}", "{i:ETH-USD}")


class Audited(Cluster):
    """``workers``: which processes there are."""

    def __init__(
        self, redis_url: str, *, workers: tuple[str, ...] = ("ledger", "engine", "auditor"), **changes: Any
    ) -> None:
        super().__init__(
            redis_url, "postgresql://nobody/nothing", (BTC_USD, ETH_USD), workers=workers, digest_every=EVERY, **changes
        )

    def fund(self) -> None:
        """Two who can pay."""
        for account in (1, 2):
            for currency in ("USD", "BTC", "ETH"):
                self.submitter.submit(TransferRequest(secrets.token_hex(8), account, currency, 10**17))

    def trade(self, count: int, symbols: tuple[str, ...] = ("BTC-USD", "ETH-USD")) -> None:
        """Orders on each instrument, of which most rest and some trade; waits until all are settled."""
        pipe = self.client.pipeline(transaction=False)
        for number in range(count):
            for symbol in symbols:
                side: Side = "buy" if number % 2 else "sell"
                price = 10_000 + (number * 7) % 50 * (-1 if number % 2 else 1) + (5 if number % 5 == 0 else 0)
                order = OrderRequest(secrets.token_hex(8), 1 + number % 2, symbol, side, "limit", price, 100 + number)
                pipe.xadd(keys.inbox(0), {"d": encode(order)})
        pipe.execute()
        self.settle()

    def settle(self) -> None:
        """Wait until ledger and books have read all that was sent to them."""
        self.wait(self._is_settled, "the cluster does not settle")

    def _is_settled(self) -> bool:
        ledger = self.client.hgetall(keys.meta("{a:0}"))
        asked = self.client.xrevrange(keys.inbox(0), count=1)
        for one in self.instruments:
            tag, outbox = keys.instrument_tag(one.symbol), keys.outbox(0, one.symbol)
            book = self.client.hgetall(keys.meta(tag))
            read = book.get(b"at:" + outbox.encode(), b"0-0").partition(b"-")[0]
            settled = ledger.get(b"at:" + keys.log(tag).encode(), b"0-0").partition(b"-")[0]
            if read != ledger.get(b"len:" + outbox.encode(), b"0") or settled != book.get(b"length", b"0"):
                return False
        return not asked or ledger.get(b"at:{a:0}:in") == asked[0][0]

    def wait(self, is_there: Any, why: str) -> Any:
        """Wait until ``is_there()`` answers something, and answer that."""
        end = time.monotonic() + WAIT_S
        while not (found := is_there()):
            assert time.monotonic() < end, f"{why}\n{self.log('auditor').read_text()}"
            time.sleep(0.05)
        return found

    def wait_audited(self) -> None:
        """Wait until the auditor has followed all there is."""
        self.settle()
        tags = ["{a:0}", *(keys.instrument_tag(one.symbol) for one in self.instruments)]
        lengths = {tag.encode(): self.client.hget(keys.meta(tag), "length") for tag in tags}
        self.wait(lambda: self.client.hgetall(keys.AUDITED) == lengths, "the auditor does not follow")

    def sign(self) -> dict[str, Any]:
        """The auditor's last beat."""
        return json.loads(self.client.get(keys.beat("auditor")) or b"{}")

    def finding(self, tag: str) -> dict[str, Any]:
        """What was halted for, as soon as it is."""
        return json.loads(self.wait(lambda: self.client.hget(keys.FINDINGS, tag), "nothing was found"))

    def mode(self, symbol: str) -> str:
        """As supervisors know it."""
        return json.loads(self.client.hget(keys.INSTRUMENTS, symbol)).get("mode", "online")

    def order(self, symbol: str) -> str:
        """Whether it was accepted, or why not."""
        try:
            self.submitter.submit(OrderRequest(secrets.token_hex(8), 1, symbol, "buy", "limit", 9_000, 10))
        except Refused as error:
            return str(error.event.reason.value)
        return "accepted"

    def instrument(self, symbol: str) -> Instrument:
        """Its rules as they were made."""
        return next(one for one in self.instruments if one.symbol == symbol)
