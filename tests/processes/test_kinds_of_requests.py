"""kill -9 of ledger and books under amends, order lists and mass cancels, which the crash matrix does not send."""

import random
import threading
import time
import uuid
from typing import Any

import httpx
import msgspec
import pytest
from sqlalchemy import select

from shared.order_id import to_uuid
from shared.schema import orders
from tests import harness
from workers.audit.run import audit

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

SYMBOL = "BTC-USD"
VICTIMS = ("ledger:0", "engine:BTC-USD")
KILLS = 3


class Promise(msgspec.Struct):
    """An order and what was last said of it. ``price`` and ``size``: "" while an amend has no answer."""

    order_id: str
    rival: str = ""
    price: str = ""
    size: str = ""
    canceled: bool = False


class Trader(threading.Thread):
    """Lists, amends and mass cancels; what has no answer is sent again."""

    def __init__(self, user: harness.Trader, seed: int) -> None:
        super().__init__(daemon=True)
        self.user = user
        self.placed: dict[str, Promise] = {}
        self.problems: list[str] = []
        self.amended = self.retries = 0
        self.is_refused = False
        """Whether the last request was: nothing has changed then, unless it had been sent before."""
        self.stopping = threading.Event()
        self._dice = random.Random(seed)

    def run(self) -> None:
        while not self.stopping.is_set():
            self._dice.choice((self._order, self._list, self._amend, self._amend, self._amend, self._cancel))()
            if self._dice.random() < 0.01:
                self._cancel_all()

    def _order(self) -> None:
        answer = self._ask("POST", "/orders", self._body())
        if answer is not None:
            self._promised([answer])

    def _body(self, **changes: str) -> dict[str, str]:
        side, cents = self._dice.choice(("buy", "sell")), self._dice.randrange(-40, 40)
        price = f"{50_000 + cents / 100:.2f}"
        fixed = {"product_id": SYMBOL, "size": "0.02", "stp": "co", "client_oid": uuid.uuid4().hex}
        return fixed | {"side": side, "price": price} | changes

    def _list(self) -> None:
        """A profit a little away, and a stop far away."""
        profit = self._body(side="sell", price=f"{50_000 + self._dice.randrange(5, 40) / 100:.2f}")
        stop = self._body(side="sell", price="39000.00", stop="loss", stop_price="39500.00")
        entry = self._body(side="buy", price=f"{50_000 - self._dice.randrange(5, 40) / 100:.2f}")
        kind, parts = self._dice.choice((("oco", [profit, stop]), ("otoco", [entry, profit, stop])))
        answer = self._ask("POST", "/order-lists", {"type": kind, "orders": parts})
        if answer is not None:
            self._promised(answer["orders"])
            rivals = [self.placed[one["id"]] for one in answer["orders"][-2:]]
            rivals[0].rival, rivals[1].rival = rivals[1].order_id, rivals[0].order_id

    def _promised(self, answers: list[dict[str, str]]) -> None:
        for one in answers:
            assert one["client_oid"]
            self.placed[one["id"]] = Promise(one["id"], price=one["price"], size=one["size"])

    def _amend(self) -> None:
        if not self.placed:
            return
        promise = self._dice.choice(list(self.placed.values())[-12:])
        price = f"{50_000 + self._dice.randrange(-40, 40) / 100:.2f}"
        if promise.price == "39000.00":
            price = "39000.00"
        stood, promise.price = (promise.price, promise.size), ""
        size = f"0.0{self._dice.randrange(1, 9)}"
        answer = self._ask("PATCH", f"/orders/{promise.order_id}", {"price": price, "size": size}, may_fail=True)
        if answer is None:
            if self.is_refused:
                promise.price, promise.size = stood
            return
        self.amended += 1
        if (answer["price"], float(answer["size"])) != (price, float(size)) and answer["status"] != "done":
            self.problems.append(f"amended to {price} {size}: {answer}")
        promise.price, promise.size = answer["price"], answer["size"]

    def _cancel(self) -> None:
        if self.placed:
            promise = self._dice.choice(list(self.placed.values())[-50:])
            if self._ask("DELETE", f"/orders/{promise.order_id}", may_fail=True) is not None:
                promise.canceled = True

    def _cancel_all(self) -> None:
        for number in self._ask("DELETE", "/orders") or ():
            self.placed[number].canceled = True

    def _ask(self, method: str, path: str, body: object = None, may_fail: bool = False):
        self.is_refused, tries = False, 0
        while not self.stopping.is_set():
            tries += 1
            try:
                answer = self.user.call(method, path, body)
            except httpx.HTTPError:
                self.retries += 1
                continue
            if answer.status_code == 200:
                return answer.json()
            if answer.status_code != 503:
                self.is_refused = tries == 1
                if not may_fail and "Insufficient" not in answer.text and "last trade" not in answer.text:
                    self.problems.append(f"{method} {path} {body}: {answer.status_code} {answer.text}")
                return None
            self.retries += 1
            time.sleep(0.02)
        return None


@pytest.fixture
def cluster(redis_url, database_url):
    changes: dict[str, Any] = {
        "lease_ms": 500,
        "snapshot_every": 300,
        "digest_every": 50,
        "private_rate": 0,
        "cancel_rate": 0,
    }
    with harness.Cluster(redis_url, database_url, **changes) as cluster:
        yield cluster


def test_amends_lists_and_mass_cancels_survive_kills(cluster):
    """What was answered last stands: terms as amended, both orders of a list, one of them ended with the other."""
    traders = [Trader(cluster.user(USD="100000000", BTC="10000"), seed) for seed in range(2)]
    for trader in traders:
        trader.start()
    for number in range(KILLS):
        time.sleep(0.6)
        cluster.restart(VICTIMS[number % len(VICTIMS)])
    end = time.monotonic() + 30
    while sum(trader.amended for trader in traders) <= 30 and time.monotonic() < end:
        time.sleep(0.1)
    time.sleep(0.6)
    for trader in traders:
        trader.stopping.set()
    for trader in traders:
        trader.join(30)
        assert not trader.is_alive()
    problems = [problem for trader in traders for problem in trader.problems]
    wait_until_written(cluster)
    report = audit(cluster.settings)
    assert not report.violations
    problems += [problem for trader in traders for problem in broken(cluster, trader)]
    print({name: sum(getattr(one, name) for one in traders) for name in ("amended", "retries")})
    assert not problems, "\n".join(problems[:5])
    assert sum(trader.amended for trader in traders) > 30


def wait_until_written(cluster):
    """Until PostgreSQL has all."""
    end = time.monotonic() + 20
    while any(one.violations for one in [audit(cluster.settings)]) and time.monotonic() < end:
        time.sleep(0.2)


def broken(cluster, trader):
    """What was promised to a trader and is not so."""
    with cluster.database.connect() as connection:
        rows = connection.execute(select(orders).where(orders.c.account == trader.user.account)).all()
    found = {to_uuid(row.order_id): row for row in rows}
    assert len({row.client_id for row in rows}) == len(rows), "a client id has two orders"
    for number, promise in trader.placed.items():
        row = found.get(number)
        if row is None:
            yield f"{number} is lost"
            continue
        if promise.canceled and row.done_reason in ("", "filled"):
            yield f"{promise} was not canceled: {row}"
        stands = f"{row.price / 100:.2f}", row.quantity / 10**8
        if promise.price and stands != (promise.price, float(promise.size)):
            yield f"{promise} stands as {stands}: {row}"
        rival = found.get(promise.rival)
        if rival is not None and rival.done_reason and not (row.done_reason or row.filled):  # any fill ends the other
            yield f"{number} is open, and its rival is done: {row} {rival}"
        if rival is not None and row.done_reason == rival.done_reason == "filled":
            yield f"both orders of an oco were filled: {row} {rival}"
