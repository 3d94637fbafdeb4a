"""A replay into real processes: everything is answered, nothing is left, a bad file changes nothing."""

import io
import lzma
import threading
import time

import msgspec
import pytest
from rich.console import Console

from shared import keys
from shared.errors import InvalidInput, Unavailable
from shared.instrument import make_instrument
from shared.messages import InstrumentRequest
from shared.pressure import Pressure
from shared.settings import Settings
from shared.submit import Submitter
from tests.replay.dbn import write
from tests.replay.exchange import Exchange
from tests.replay.test_bitstamp import HEADER
from workers.replay import traffic
from workers.replay.feed import replay
from workers.replay.show import replay_to
from workers.replay.steps import Unreadable
from workers.replay.traffic import ReplayReport

pytestmark = pytest.mark.slow


def recording(path, count: int) -> str:
    """Orders around a price that wanders, some of which cross, and a cancel for every other one."""
    rows = []
    for n in range(1, count + 1):
        price = 100 + (n * 7 % 10) - 5 + (1 if n % 2 else -1)
        rows.append(f"{n},{n},1,{price}.00,{1000 + n % 50},created,{'bid' if n % 2 else 'ask'}")
        if n % 4 == 0:
            rows.append(f"{n - 2},{n},1,{price}.00,0,deleted,ask")
    file = path / "orders.csv.xz"
    file.write_bytes(lzma.compress((HEADER + "\n".join(rows) + "\n").encode()))
    return str(file)


def log_length(exchange: Exchange) -> int:
    return int(exchange.client.hget(keys.meta(keys.instrument_tag("BTC-USD")), "length") or 0)


def test_everything_is_fed_and_answered(redis_url, tmp_path):
    """Every order and cancel reaches the book or is refused; the report adds up; the money comes back."""
    with Exchange(redis_url, "", "BTC-USD") as exchange:
        path = recording(tmp_path, 2000)
        done: list[int] = []
        report = replay(exchange.settings, path, progress=lambda count, _all: done.append(count))
        assert (report.steps, report.orders, report.cancels) == (2500, 2000, 500)
        assert report.trades > 100
        assert not report.refused
        assert report.latency_p99_us >= report.latency_p50_us > 0
        assert done == [*range(0, 2500, 500), 2500]
        refused_by_the_ledger = report.too_late - _refused_by_the_book(exchange)
        assert log_length(exchange) == 1 + 2500 - refused_by_the_ledger  # one entry made the instrument
        again = replay(exchange.settings, path, limit=100, rate=500)
        assert again.steps == 100
        assert 0.2 <= again.seconds < 10  # at most 500 requests a second


def test_fees_are_not_given_back(redis_url, tmp_path):
    """Where trading costs a fee, the fee stays with the exchange, and the replay ends as any other."""
    with Exchange(redis_url, "", "BTC-USD") as exchange:
        rules = make_instrument("BTC-USD", "0.01", "0.00000001", maker_fee=1000, taker_fee=2000)
        Submitter(exchange.client).submit_to_all(InstrumentRequest("add", rules))
        exchange.client.hset(keys.INSTRUMENTS, "BTC-USD", msgspec.json.encode(rules))
        assert replay(exchange.settings, recording(tmp_path, 1000)).trades > 50


def _refused_by_the_book(exchange: Exchange) -> int:
    entries = exchange.client.xrange(keys.log(keys.instrument_tag("BTC-USD")))
    return sum(b'"cancel_refused"' in fields[b"d"] for _, fields in entries)


def test_it_survives_a_killed_engine(redis_url, tmp_path):
    """The engine dies and comes back under way: the replay goes on, and every request has its outcome."""
    with Exchange(redis_url, "", "BTC-USD", lease_ms=500, shards=2) as exchange:
        path = recording(tmp_path, 3000)

        def kill() -> None:
            while log_length(exchange) < 500:
                time.sleep(0.01)
            exchange.kill("engine:BTC-USD")
            exchange.start("engine:BTC-USD")

        killer = threading.Thread(target=kill)
        killer.start()
        report = replay(exchange.settings, path)
        killer.join()
        assert (report.orders, report.cancels, report.refused) == (3000, 750, {})


def test_it_waits_while_the_stores_are_full(redis_url, tmp_path, monkeypatch):
    """Nothing is sent until there is room; if none comes, it says what is full."""
    full = msgspec.json.encode(Pressure("cancel-only", "Redis memory 9 of 8 kB"))
    with Exchange(redis_url, "", "BTC-USD") as exchange:
        path = recording(tmp_path, 400)

        def fill(count: int, _all: int) -> None:
            filled_at.append(time.monotonic())
            exchange.client.set(keys.PRESSURE, full, px=1500)

        filled_at: list[float] = []
        assert replay(exchange.settings, path, progress=fill).steps == 500
        *_, last, ended = filled_at
        assert ended - last > 1.4, "before it takes its money back"
        exchange.client.delete(keys.PRESSURE)
        monkeypatch.setattr(traffic, "STALL_S", 1.0)
        with pytest.raises(Unavailable, match=r"takes no orders \(Redis memory 9 of 8 kB\) for 1 s"):
            replay(exchange.settings, path, progress=lambda *_: exchange.client.set(keys.PRESSURE, full))
        exchange.client.delete(keys.PRESSURE)


def test_amends(redis_url, tmp_path):
    """Modified orders are amended; one that our exchange has filled already is too late, and the replay goes on."""
    rows = [
        ("A", "A", 101, 3, 2), ("A", "A", 101, 4, 3), ("A", "B", 99, 5, 1),
        ("T", "B", 101, 3, 20, 0), ("F", "A", 101, 3, 3, 0), ("M", "A", 101, 1, 3),  # our exchange fills order 2
        ("M", "A", 102, 3, 2),
        ("M", "A", 101, 2, 3),
        ("T", "B", 101, 2, 1, 0), ("F", "B", 101, 2, 1, 0), ("F", "A", 101, 2, 3, 0), ("M", "B", 101, 3, 1, 0),
        ("C", "A", 101, 2, 3),
    ]  # fmt: skip
    with Exchange(redis_url, "", "ES-USD") as exchange:
        report = replay(exchange.settings, write(tmp_path, *rows))
        assert (report.orders, report.amends, report.cancels) == (4, 3, 0)
        assert (report.trades, report.quantity, report.too_late, report.refused) == (2, 8, 1, {})


def test_a_bad_file_changes_nothing(redis_url, tmp_path):
    """A fault in the last line is found before the first order is sent."""
    with Exchange(redis_url, "", "BTC-USD") as exchange:
        path = recording(tmp_path, 100)
        text = lzma.decompress((tmp_path / "orders.csv.xz").read_bytes())
        (tmp_path / "orders.csv.xz").write_bytes(lzma.compress(text + b"1,2\n"))
        with pytest.raises(Unreadable, match="line 127: has 2 columns"):
            replay(exchange.settings, path)
        assert not exchange.client.exists(keys.inbox(0), keys.INSTRUMENTS)


def test_an_instrument_that_does_not_fit(redis_url, tmp_path):
    """An existing instrument with a coarser tick than the recorded prices is refused by name, and nothing is sent."""
    with Exchange(redis_url, "", "BTC-USD") as exchange:
        rules = make_instrument("BTC-USD", "10", "0.00000001")
        Submitter(exchange.client).submit_to_all(InstrumentRequest("add", rules))
        exchange.client.hset(keys.INSTRUMENTS, "BTC-USD", msgspec.json.encode(rules))
        before = exchange.client.xlen(keys.inbox(0))
        with pytest.raises(InvalidInput, match=r"is not a multiple of its tick 10 .* --instrument"):
            replay(exchange.settings, recording(tmp_path, 100))
        assert exchange.client.xlen(keys.inbox(0)) == before


def test_without_a_cluster(redis_url, tmp_path):
    """No ledger, or no Redis: one line that says so."""
    with pytest.raises(Unavailable, match="ledger 0 is not running"):
        replay(Settings(redis_url=redis_url), recording(tmp_path, 10))
    with pytest.raises(Unavailable, match="Redis does not answer"):
        replay(Settings(redis_url="redis://127.0.0.1:1"), recording(tmp_path, 10))


def test_it_shows_a_table_and_a_line_of_json(redis_url, tmp_path):
    """The last line is for programs."""
    with Exchange(redis_url, "", "BTC-USD") as exchange:
        out = io.StringIO()
        report = replay_to(Console(file=out, width=100), exchange.settings, recording(tmp_path, 200))
        lines = out.getvalue().splitlines()
        assert msgspec.json.decode(lines[-1], type=ReplayReport) == report
        assert any("requests per second" in line for line in lines)
