"""Real processes, one of which goes wrong: it is found, halted and reproduced, and the others go on."""

import json
import secrets
import time
from pathlib import Path
from typing import Any

import pytest

from shared import keys
from shared.instrument import Instrument
from shared.messages import OrderRequest, TransferRequest, encode
from shared.submit import Refused
from tests.auditor.faulty_engine import FAULT_AT
from tests.harness import BTC_USD, ETH_USD, Cluster
from workers.auditor import journal

pytestmark = pytest.mark.slow

EVERY = 40
WAIT_S = 15.0


class Audited(Cluster):
    """Ledger, two engines and an auditor; people trade by writing into the inbox."""

    def __init__(self, redis_url: str, database_url: str, **changes: Any) -> None:
        super().__init__(
            redis_url, database_url, (BTC_USD, ETH_USD), workers=("ledger", "engine", "auditor"),
            digest_every=EVERY, **changes,
        )  # fmt: skip

    def fund(self) -> None:
        """Two who can pay."""
        for account in (1, 2):
            for currency in ("USD", "BTC", "ETH"):
                self.submitter.submit(TransferRequest(secrets.token_hex(8), account, currency, 10**17))

    def trade(self, count: int) -> None:
        """Orders on both instruments, most of which rest; waits until all are settled."""
        for number in range(count):
            for symbol in ("BTC-USD", "ETH-USD"):
                side = "buy" if number % 2 else "sell"
                price = 10_000 + (number * 7) % 50 * (-1 if number % 2 else 1) + (5 if number % 5 == 0 else 0)
                order = OrderRequest(
                    secrets.token_hex(8), 1 + number % 2, symbol, side, "limit", price, 100 + number
                )  # fmt: skip
                self.client.xadd(keys.inbox(0), {"d": encode(order)})
        self.settle()

    def settle(self) -> None:
        """Wait until ledger and books have read all that was sent to them."""
        end = time.monotonic() + WAIT_S
        while time.monotonic() < end:
            asked = self.client.xrevrange(keys.inbox(0), count=1)[0][0]
            meta = self.client.hgetall(keys.meta("{a:0}"))
            books = [self.client.hgetall(keys.meta(keys.instrument_tag(one.symbol))) for one in self.instruments]
            sent = [meta.get(f"len:{{a:0}}:to:{one.symbol}".encode(), b"0") for one in self.instruments]
            read = [
                found.get(f"at:{{a:0}}:to:{one.symbol}".encode(), b"0-0").partition(b"-")[0]
                for one, found in zip(self.instruments, books, strict=True)
            ]
            if meta.get(b"at:{a:0}:in") == asked and sent == read:
                return
            time.sleep(0.05)
        raise AssertionError("the cluster does not settle")

    def sign(self) -> dict[str, Any]:
        """The auditor's last beat."""
        return json.loads(self.client.get(keys.beat("auditor")) or b"{}")

    def wait_audited(self) -> None:
        """Wait until the auditor has followed all there is."""
        self.settle()
        end = time.monotonic() + WAIT_S
        tags = ["{a:0}", *(keys.instrument_tag(one.symbol) for one in self.instruments)]
        while time.monotonic() < end:
            lengths = {tag.encode(): self.client.hget(keys.meta(tag), "length") for tag in tags}
            if self.client.hgetall(keys.AUDITED) == lengths:
                return
            time.sleep(0.1)
        raise AssertionError(f"the auditor does not follow: {self.log('auditor').read_text()}")

    def finding(self, tag: str) -> dict[str, Any]:
        """What was halted for, as soon as it is."""
        end = time.monotonic() + WAIT_S
        while time.monotonic() < end:
            if found := self.client.hget(keys.FINDINGS, tag):
                return json.loads(found)
            time.sleep(0.05)
        raise AssertionError(f"nothing was found: {self.log('auditor').read_text()}")

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


def changed(instrument: Instrument, mode: Any) -> Instrument:
    from msgspec.structs import replace

    return replace(instrument, mode=mode)


@pytest.mark.parametrize(("fault", "invariant"), [("tells", "QUANTITY"), ("loses", "SNAPSHOTS")])
def test_a_book_that_goes_wrong_is_halted_and_the_others_trade_on(
    redis_url, database_url, fault, invariant, monkeypatch
):
    """Within N events; a journal shows it again by itself; who resumes has the last word, over a restart too."""
    monkeypatch.setenv("MATCHBOX_TEST_FAULT", fault)
    cluster = Audited(redis_url, database_url)
    cluster.modules["engine:BTC-USD"] = "tests.auditor.faulty_engine"
    with cluster:
        cluster.fund()
        cluster.trade(FAULT_AT + 2 * EVERY)
        found = cluster.finding("{i:BTC-USD}")
        assert found["invariant"] == invariant
        assert FAULT_AT <= found["position"] <= FAULT_AT + 2 * EVERY
        assert (cluster.mode("BTC-USD"), cluster.mode("ETH-USD")) == ("halted", "online")
        cluster.settle()
        assert (cluster.order("BTC-USD"), cluster.order("ETH-USD")) == ("halted", "accepted")
        time.sleep(1.5)
        assert "matchbox audit --journal" in cluster.sign()["error"]

        made = journal.read(Path(found["journal"]))
        assert journal.is_the_same(made.finding, journal.find_again(made, "auto"))
        assert {one.tag for one in made.recordings} == {"{a:0}", "{i:BTC-USD}"}

        cluster.configure(changed(BTC_USD, "online"))
        assert cluster.order("BTC-USD") == "accepted"
        cluster.restart("auditor")
        cluster.wait_audited()
        assert cluster.finding("{i:BTC-USD}")["journal"] == found["journal"]
        assert cluster.mode("BTC-USD") == "online"
        assert len(list(Path(found["journal"]).parent.iterdir())) == 1
