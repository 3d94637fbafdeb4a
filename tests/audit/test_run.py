"""The audit of a running cluster: good while it runs, and every table, snapshot and stream is really compared."""

import io
import threading
import time

import msgspec
import psycopg
import pytest
from rich.console import Console

from shared import keys
from shared.errors import Unavailable
from shared.instrument import make_instrument
from shared.messages import (
    AmendRequest,
    CancelRequest,
    Conditions,
    InstrumentRequest,
    OrderListRequest,
    OrderRequest,
    Side,
    TransferRequest,
    decode_request,
    encode,
)
from shared.settings import Settings
from shared.submit import Submitter
from tests.audit.features import Features
from tests.audit.recorded import SYMBOLS
from tests.audit.spoiling import but
from tests.replay.exchange import Exchange
from tests.replay.test_feed import recording
from workers.audit.run import AuditReport, audit
from workers.audit.show import audit_to
from workers.replay.feed import replay

pytestmark = pytest.mark.slow


def trade(exchange: Exchange) -> None:
    """Some accounts, fees, trades of every kind, resting orders and cancels."""
    submitter = Submitter(exchange.client, exchange.settings.shards)
    rules = make_instrument("BTC-USD", "0.01", "0.001", maker_fee=1000, taker_fee=2500)
    submitter.submit_to_all(InstrumentRequest("add", rules))
    exchange.client.hset(keys.INSTRUMENTS, "BTC-USD", msgspec.json.encode(rules))
    for account in (1, 2, 3):
        for currency in ("USD", "BTC"):
            submitter.submit(TransferRequest(f"in-{currency}", account, currency, 10**17))
    submitter.submit(TransferRequest("out", 1, "USD", -77))
    for number in range(60):
        side: Side = "buy" if number % 3 else "sell"
        order = OrderRequest(f"o{number}", 1 + number % 3, "BTC-USD", side, "limit", 10_000 + number % 7, 100 + number)
        submitter.submit(msgspec.structs.replace(order, client_id=f"c{number}\0"))
    submitter.submit(OrderRequest("m", 3, "BTC-USD", "buy", "market", funds=10**12))
    submitter.submit(OrderRequest("q", 3, "BTC-USD", "sell", "market", quantity=50))
    submitter.submit(CancelRequest("x", 3, client_id="c59\0"))
    ask_for_more(submitter)


def ask_for_more(submitter: Submitter) -> None:
    """An iceberg that was amended, stops that sleep, two that cancel each other, one that waits behind its parent.

    Their prices are beyond the reach of the market orders above, which another shard may bring to the book later.
    """
    far = OrderRequest("", 2, "BTC-USD", "sell", "limit", 11_900, 100)
    stop = Conditions(stop="loss", stop_price=5_000)
    submitter.submit(but(request_id="ice", client_id="ice", conditions=Conditions(display_quantity=30))(far))
    submitter.submit(AmendRequest("less", 2, client_id="ice", quantity=90))
    submitter.submit(but(request_id="stop", conditions=stop)(far))
    submitter.submit(OrderRequest("trail", 2, "BTC-USD", "sell", "market", 0, 9, conditions=Conditions("loss", 0, 90)))
    legs = [but(request_id="leg")(far), but(request_id="other", conditions=stop)(far)]
    submitter.submit(OrderListRequest("leg", 2, "BTC-USD", "oco", legs))
    parent = OrderRequest("parent", 2, "BTC-USD", "buy", "limit", 8_000, 50)
    submitter.submit(OrderListRequest("parent", 2, "BTC-USD", "oto", [parent, but(request_id="child")(far)]))


@pytest.fixture
def traded(redis_url, database_url):
    """A cluster of two shards in which people have traded."""
    with Exchange(redis_url, database_url, "BTC-USD", shards=2) as exchange:
        trade(exchange)
        yield exchange


def test_a_good_cluster_has_no_violation(traded):
    """Everything is compared, PostgreSQL included, and nothing is wrong or left out."""
    report = audit(traded.settings)
    assert (report.violations, report.notes, report.is_good) == ([], [], True)
    assert report.instruments == ["BTC-USD"]
    assert report.checked["postgresql"] > 200
    assert report.checked["priority"] > 20


def test_an_entry_that_no_owner_wrote_is_a_violation(traded):
    """The log is right up to where its owner wrote it: nobody can go on behind that, and the audit says who and why."""
    log, book = keys.log(keys.instrument_tag("BTC-USD")), keys.instrument_tag("BTC-USD")
    while not all(_has_read(traded, book, keys.outbox(shard, "BTC-USD")) for shard in range(2)):
        time.sleep(0.05)
    length = int(traded.client.hget(keys.meta(book), "length"))
    traded.client.xadd(log, {"d": "{}"}, id=f"{length + 1}-0")
    [found] = audit(traded.settings).violations
    assert str(found).startswith(f"ENTRIES: {log}: has an entry {length + 1}-0, its owner has written {length}")


WRONG_ROWS = [
    ("UPDATE orders SET filled = filled + 1 WHERE order_id = (SELECT min(order_id) FROM orders)", "orders: order"),
    ("UPDATE orders SET done_reason = 'filled' WHERE done_reason = 'canceled'", "orders: order"),
    ("UPDATE orders SET hold = 1 WHERE order_id = (SELECT max(order_id) FROM orders WHERE NOT settled)", "orders:"),
    ("DELETE FROM orders WHERE order_id = (SELECT min(order_id) FROM orders)", "orders: order"),
    ("UPDATE resting_orders SET remaining = remaining + 1", "resting_orders: BTC-USD order"),
    ("UPDATE resting_orders SET priority = -priority", "resting_orders: BTC-USD"),
    ("DELETE FROM resting_orders", "resting_orders: BTC-USD order"),
    ("UPDATE trades SET price = price + 1 WHERE trade_id = 3", "trades: BTC-USD trade 3"),
    ("DELETE FROM trades WHERE trade_id = 3", "trades: BTC-USD trade 3"),
    ("UPDATE fills SET fee = fee + 1 WHERE trade_id = 3 AND liquidity = 'M'", "fills: BTC-USD trade 3"),
    ("DELETE FROM fills WHERE trade_id = 3 AND liquidity = 'T'", "fills: BTC-USD trade 3"),
    ("UPDATE balances SET held = held + 1 WHERE account = 2 AND currency = 'USD'", "balances: account 2 USD"),
    ("UPDATE balances SET available = available - 1 WHERE account = 0 AND shard = 1", "balances: account 0 USD"),
    ("DELETE FROM movements WHERE kind = 'fee' AND account = 0", "movements: account 0 USD"),
    ("UPDATE instruments SET sequence = sequence - 1", "instruments: BTC-USD"),
    ("UPDATE instruments SET time = time + 1", "instruments: BTC-USD"),
    ("UPDATE orders SET price = price + 1 WHERE client_id = 'ice'", "orders: order"),
    ("UPDATE orders SET quantity = 100 WHERE client_id = 'ice'", "orders: order"),
    ("UPDATE orders SET conditions = NULL WHERE client_id = 'ice'", "orders: order"),
    ("UPDATE orders SET conditions = conditions || '{\"trail\": 91}' WHERE request_id = 'trail'", "orders: order"),
    ("UPDATE orders SET rival = 0 WHERE request_id = 'leg'", "orders: order"),
    ("UPDATE orders SET parent = 0 WHERE request_id = 'child'", "orders: order"),
    ("UPDATE orders SET due = due - 1 WHERE request_id = 'child'", "orders: order"),
    ("UPDATE resting_orders SET hidden = hidden - 1 WHERE hidden > 0", "resting_orders: BTC-USD order"),
    ("UPDATE waiting_orders SET stop_price = stop_price + 1", "waiting_orders: BTC-USD order"),
    ("UPDATE waiting_orders SET status = 'active' WHERE status = 'pending'", "waiting_orders: BTC-USD order"),
    ("DELETE FROM waiting_orders WHERE status = 'active'", "waiting_orders: BTC-USD order"),
    ("UPDATE list_orders SET shrunk = TRUE WHERE position = 1", "list_orders: BTC-USD order"),
    ("DELETE FROM list_orders WHERE kind = 'oto'", "list_orders: BTC-USD order"),
    ("UPDATE positions SET chain = 'ff' WHERE tag = '{a:1}'", "{a:1}:log"),
    ("UPDATE positions SET length = length + 1 WHERE tag = '{i:BTC-USD}'", "{i:BTC-USD}:log"),
]
TABLES = (
    "orders", "resting_orders", "waiting_orders", "list_orders", "trades", "fills", "balances", "movements",
    "instruments", "positions",
)  # fmt: skip


def test_a_wrong_row_is_found(traded):
    """One row of any table is not what the logs say: only that rule is broken, and the row is named."""
    assert audit(traded.settings).is_good
    with psycopg.connect(traded.settings.database_url, autocommit=True) as connection:
        for table in TABLES:
            connection.execute(f"CREATE TABLE good_{table} AS SELECT * FROM {table}")
        try:
            for statement, where in WRONG_ROWS:
                assert connection.execute(statement).rowcount, statement
                report = audit(traded.settings)
                assert set(report.violated) == {"postgresql"}, statement
                assert any(one.where.startswith(where) for one in report.violations), (statement, report.violations)
                for table in TABLES:
                    connection.execute(f"TRUNCATE {table}")
                    connection.execute(f"INSERT INTO {table} SELECT * FROM good_{table}")
        finally:
            for table in TABLES:
                connection.execute(f"DROP TABLE good_{table}")


def test_it_audits_a_cluster_with_everything(redis_url, database_url):
    """Random orders of every kind in every mode, through real processes and into PostgreSQL: all is as the logs say."""
    with Exchange(redis_url, database_url, *SYMBOLS, shards=2, snapshot_every=40) as exchange:
        for symbol in SYMBOLS:
            exchange.client.hset(
                keys.INSTRUMENTS, symbol, msgspec.json.encode(make_instrument(symbol, "0.01", "0.001"))
            )
        for shard, requests in Features(4, 900, 2).requests().items():
            for payload in requests:
                exchange.client.xadd(keys.inbox(shard), {"d": _in_our_time(payload)})
        while not all(_has_read(exchange, keys.shard_tag(shard), keys.inbox(shard)) for shard in range(2)):
            time.sleep(0.1)
        report = audit(exchange.settings)
    assert (report.violations, report.notes) == ([], [])
    asked = ("expiry", "stops", "icebergs", "lists", "amends", "auction", "collar", "modes", "snapshots")
    assert {name: report.checked[name] for name in asked if report.checked[name] < 10} == {}


def _has_read(exchange: Exchange, tag: str, stream: str) -> bool:
    """Whether a tag's owner has handled the whole of a stream."""
    [[newest, _]] = exchange.client.xrevrange(stream, count=1)
    return bool(exchange.client.hget(keys.meta(tag), f"at:{stream}") == newest)


def _in_our_time(payload: bytes) -> bytes:
    """A recorded request whose orders expire after now, and not in 1970: some soon, some when a slow ledger is done."""
    request = decode_request(payload)
    for one in getattr(request, "orders", [request]):
        if (conditions := getattr(one, "conditions", None)) is not None and conditions.expires:
            after_ns = 300_000_000 if conditions.expires % 2 else 20_000_000_000
            one.conditions = msgspec.structs.replace(conditions, expires=time.time_ns() + after_ns)
    return encode(request)


def test_it_audits_a_cluster_that_trades(redis_url, database_url, tmp_path):
    """While a replay runs, with workers that trim their logs behind snapshots, audit after audit finds nothing."""
    changes = {"snapshot_every": 300, "log_keep": 500}
    with Exchange(redis_url, database_url, "BTC-USD", **changes) as exchange:
        path = recording(tmp_path, 4000)
        feeding = threading.Thread(target=replay, args=(exchange.settings, path), kwargs={"rate": 800})
        feeding.start()
        audits = 0
        while feeding.is_alive():
            report = _audit_unless_trimmed(exchange.settings)
            assert report is None or report.violations == []
            audits += report is not None
        feeding.join()
        assert audits
        tags = ("{a:0}", "{i:BTC-USD}")
        written = sum(int(exchange.client.hget(keys.meta(tag), "length")) for tag in tags)
        end = time.monotonic() + 30
        while sum(exchange.client.xlen(keys.log(tag)) for tag in tags) >= written / 2:  # until the next trim
            assert time.monotonic() < end, "no log was trimmed"
            time.sleep(0.1)
        report = audit(exchange.settings)
        assert (report.violations, report.notes) == ([], [])
        assert report.checked["snapshots"] > 100
        assert report.entries < written / 2


def _audit_unless_trimmed(settings: Settings) -> AuditReport | None:
    try:
        return audit(settings)
    except Unavailable as error:
        if "was trimmed while the audit read it" not in str(error):
            raise
        return None


def test_a_damaged_snapshot_is_found(redis_url):
    """A snapshot whose bytes changed, or that is not the fold of its log, is a violation."""
    with Exchange(redis_url, "", "BTC-USD", snapshot_every=20) as exchange:
        trade(exchange)
        assert audit(exchange.settings).is_good
        name = keys.snapshot(keys.shard_tag(0))
        field, value = min(exchange.client.hgetall(name).items(), key=lambda one: int(one[0]))  # of its newest an owner
        # sees to it itself, at its next trim
        middle = len(value) // 2
        exchange.client.hset(name, field, value[:middle] + bytes([value[middle] ^ 1]) + value[middle + 1 :])
        assert set(audit(exchange.settings).violated) == {"snapshots"}


def test_a_lost_entry_is_found(redis_url):
    """An entry deleted from a stream behind the owner's back."""
    with Exchange(redis_url, "", "BTC-USD") as exchange:
        trade(exchange)
        exchange.client.xdel(keys.log(keys.shard_tag(0)), "20-0")
        report = audit(exchange.settings)
        assert {"entries", "chain"} <= set(report.violated)
        assert report.notes == ["PostgreSQL is not compared: MATCHBOX_DATABASE_URL is not set"]


def test_without_a_cluster(redis_url):
    """No exchange, or no Redis: one line that says so."""
    with pytest.raises(Unavailable, match="there is no exchange in this Redis"):
        audit(Settings(redis_url=redis_url))
    with pytest.raises(Unavailable, match="Redis does not answer"):
        audit(Settings(redis_url="redis://127.0.0.1:1"))


def test_it_shows_a_table_lines_and_json(traded):
    """Every violation has its line, and the last line is for programs."""
    assert audit(traded.settings).is_good
    with psycopg.connect(traded.settings.database_url) as connection:
        connection.execute("UPDATE trades SET price = price + 1")
    out = io.StringIO()
    report = audit_to(Console(file=out, width=120), traded.settings)
    lines = out.getvalue().splitlines()
    assert msgspec.json.decode(lines[-1], type=AuditReport) == report
    assert report.violated["postgresql"] > 20
    assert any(line.startswith("POSTGRESQL: trades: BTC-USD trade 1: price is ") for line in lines)
    assert any(line.startswith("... and ") for line in lines)
