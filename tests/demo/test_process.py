"""The demo against a real gateway: a market at once, through restarts, and nothing left behind."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import psycopg
import pytest

from shared import keys
from shared.instrument import make_instrument
from shared.messages import InstrumentRequest
from shared.submit import Submitter
from tests.nursery import ROOT, Child
from tests.replay.exchange import Exchange
from workers.audit.run import audit

pytestmark = pytest.mark.slow


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def until(condition: Callable[[], Any], what: str, seconds: float = 30) -> Any:
    """The first true answer of ``condition``."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, f"{what} did not happen within {seconds} s"
        time.sleep(0.1)
    return found


@pytest.fixture
def market(redis_url, database_url, tmp_path) -> Iterator[Exchange]:
    """A cluster with a gateway, and the two instruments that the demo knows."""
    changes = {"data": str(tmp_path), "port": free_port()}
    with Exchange(redis_url, database_url, "BTC-USD", "ETH-USD", **changes) as exchange:
        for symbol in ("BTC-USD", "ETH-USD"):
            rules = make_instrument(symbol, "0.01", "0.00000001", maker_fee=1000, taker_fee=2000)
            Submitter(exchange.client).submit_to_all(InstrumentRequest(f"add {symbol}", rules))
            exchange.client.hset(keys.INSTRUMENTS, symbol, msgspec.json.encode(rules))
        exchange.start("gateway:0")
        exchange.wait()
        yield exchange


@pytest.fixture
def start_demo(market, tmp_path) -> Iterator[Callable[[], Child]]:
    """Starts a demo that ends with the test."""
    started: list[Child] = []

    def start() -> Child:
        log = tmp_path / "demo.log"
        started.append(Child("workers.demo.__main__", [], os.environ | market.settings.environment(), log))
        return started[-1]

    yield start
    for process in started:
        process.end()


def get(market: Exchange, path: str) -> Any:
    with urllib.request.urlopen(f"http://127.0.0.1:{market.settings.port}{path}", timeout=10) as answer:
        return json.load(answer)


def beat(market: Exchange) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(market.client.get(keys.beat("demo")) or b"{}")
    return found


def trade_id(market: Exchange, symbol: str = "BTC-USD") -> int:
    try:
        trades = get(market, f"/products/{symbol}/trades")
    except urllib.error.URLError as error:  # nobody there, or 503: the gateway is not ready yet
        if isinstance(error, urllib.error.HTTPError) and error.code != 503:
            raise
        return 0
    return trades[0]["trade_id"] if trades else 0


def is_written(market: Exchange) -> bool:
    """Whether PostgreSQL has all that was written so far."""
    for tag in (keys.shard_tag(0), keys.instrument_tag("BTC-USD"), keys.instrument_tag("ETH-USD")):
        length = int(market.client.hget(keys.meta(tag), "length") or 0)
        if market.client.hget(keys.consumers(keys.log(tag)), keys.POSTGRESQL) != b"%d-0" % length:
            return False
    return True


def supply(market: Exchange) -> dict[str, int]:
    with psycopg.connect(market.settings.database_url) as connection:
        rows = connection.execute(
            "SELECT currency, sum(amount) FROM movements WHERE kind = 'transfer' GROUP BY currency"
        )
        return dict(rows.fetchall())


def test_a_market_lives_and_leaves_nothing_behind(market, start_demo):
    """Quotes on both sides and trades within seconds; SIGTERM: exit code 0 and no order left; money is given once."""
    demo = start_demo()
    until(lambda: trade_id(market) >= 5, "five trades")
    sign = until(
        lambda: (one := beat(market)) and one["sequence"] > 10 and not one["error"] and one,
        "a beat that tells of ten orders, by all",
    )
    assert (sign["state"], sign["pid"]) == ("running", demo.pid)

    def deep():
        book = get(market, "/products/BTC-USD/book?level=2")
        return len(book["bids"]) > 5 and len(book["asks"]) > 5

    until(deep, "more than five levels a side")
    demo.send_signal(signal.SIGTERM)
    assert demo.wait(30.0) == 0
    until(lambda: not any(get(market, "/products/BTC-USD/book?level=2")[side] for side in ("bids", "asks")), "no order")
    until(lambda: is_written(market), "all in PostgreSQL")
    given = supply(market)
    assert given
    again = start_demo()
    before = trade_id(market)
    until(lambda: trade_id(market) > before + 2, "trades after the second start")
    again.send_signal(signal.SIGTERM)
    assert again.wait(30.0) == 0
    until(lambda: is_written(market), "all in PostgreSQL")
    assert supply(market) == given
    report = audit(market.settings)
    assert (report.violations, report.notes) == ([], [])


def test_it_survives_a_restart_of_the_gateway(market, start_demo):
    """The gateway is killed: the demo says so in its beat, comes back by itself, and trades on."""
    demo = start_demo()
    until(lambda: trade_id(market) >= 3, "three trades")
    market.kill("gateway:0")
    until(lambda: beat(market).get("error"), "a complaint in the beat")
    market.client.delete(keys.beat("gateway:0"))
    market.start("gateway:0")
    market.wait()
    until(lambda: beat(market).get("state") == "running", "the demo's return")
    before = until(lambda: trade_id(market), "the gateway's knowledge of trades")
    until(lambda: trade_id(market) > before + 2, "trades after the restart")
    assert not demo.has_ended()


def test_a_product_that_is_not_available_keeps_nobody_from_the_other(market, start_demo):
    """The book of one cannot be followed: the demo says so in its beat, and trades the other on."""
    start_demo()
    until(lambda: trade_id(market) >= 1 and trade_id(market, "ETH-USD") >= 1, "trades in both")
    log = keys.log(keys.instrument_tag("BTC-USD"))
    market.client.delete(log)
    market.client.set(log, "no log")
    until(lambda: "BTC-USD is not available" in beat(market).get("error", ""), "a complaint in the beat")
    before = trade_id(market, "ETH-USD")
    until(lambda: trade_id(market, "ETH-USD") > before + 2, "trades in the other")
    until(lambda: beat(market).get("state") == "running", "a beat of a demo that runs")


def test_without_products_it_says_what_to_do(redis_url, database_url, tmp_path):
    """No instrument that it knows: exit code 3 and one line."""
    with Exchange(redis_url, database_url, data=str(tmp_path)) as exchange:
        environment = os.environ | exchange.settings.environment() | {"PYTHONPATH": str(ROOT)}
        done = subprocess.run([sys.executable, "-m", "workers.demo"], cwd=ROOT, env=environment, capture_output=True)
        assert done.returncode == 3
        last = done.stderr.decode().splitlines()[-1]
        assert last.startswith(
            "the demo trades BTC-USD and ETH-USD, and neither is listed; add one: matchbox instrument"
        )
