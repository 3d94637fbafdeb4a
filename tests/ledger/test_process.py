"""The ledger's process: streams in and out, what it makes of nonsense, and a real run over Redis."""

import os
import signal
import subprocess
import sys
import time
from typing import Any

import pytest
import redis

from shared import keys
from shared.beat import decode_beat
from shared.errors import CorruptState, RejectReason
from shared.messages import (
    FIELD,
    Accepted,
    AmendRequest,
    BookEntry,
    Cancel,
    CancelRequest,
    CancelRequested,
    Closed,
    Conditions,
    Configure,
    Done,
    Duplicate,
    InstrumentRequest,
    LedgerEntry,
    OrderListRequest,
    Place,
    PlaceList,
    Rejected,
    Tick,
    Transferred,
    TransferRequest,
    decode_command,
    decode_ledger_entry,
    encode,
)
from shared.settings import Settings
from shared.submit import Refused, Submitter
from tests.ledger.test_risk import a_limit
from tests.ledger.world import coarse
from workers.handler import Batch, BrokenSource
from workers.ledger.process import LedgerHandler

INBOX, LOG, BOOK_LOG, OUTBOX = "{a:0}:in", "{a:0}:log", "{i:BTC-USD}:log", "{a:0}:to:BTC-USD"
SETUP = (InstrumentRequest("i", coarse("BTC-USD")), TransferRequest("d", 1, "USD", 1000))


def handler(clock=lambda: 7, **settings):
    return LedgerHandler(Settings(**settings), 0, clock)


def feed(made, source, *payloads, first=1):
    """Let it handle payloads as entries of a stream; answers the batch."""
    batch = Batch()
    made.handle(source, [[b"%d-0" % (first + at), [FIELD, payload]] for at, payload in enumerate(payloads)], batch)
    return batch


def entries(batch):
    return [decode_ledger_entry(payload) for payload in batch.log]


def test_requests_become_log_entries_and_commands():
    """One entry each, that names where it came from; commands go to the instrument's outbox in their order."""
    made = handler()
    batch = feed(made, INBOX, *map(encode, (*SETUP, a_limit(), CancelRequest("x", 1, 256))))
    assert [entry.source for entry in entries(batch)] == [f"{INBOX} {number}-0" for number in (1, 2, 3, 4)]
    assert [entry.time for entry in entries(batch)] == [7, 7, 7, 7]
    assert list(batch.sends) == [OUTBOX]
    assert [type(decode_command(payload)) for payload in batch.sends[OUTBOX]] == [Configure, Place, Cancel]
    assert made.sequence() == 1


def test_sources_grow_with_the_instruments():
    """The inbox first, then each book's log from the moment its instrument is known, also after a recovery."""
    made = handler()
    assert made.tag == "{a:0}"
    assert made.sources() == [INBOX]
    feed(made, INBOX, *map(encode, SETUP), encode(InstrumentRequest("j", coarse("ETH-USD"))))
    assert made.sources() == [INBOX, BOOK_LOG, "{i:ETH-USD}:log"]
    again = handler()
    again.load(made.dump())
    assert again.sources() == made.sources()
    made.reset()
    assert made.sources() == [INBOX]


def test_readers_are_those_who_still_need_an_entry():
    """PostgreSQL the log, the book its outbox, the ledger its inbox."""
    made = handler()
    assert made.readers(LOG) == ["postgresql"]
    assert made.readers(OUTBOX) == ["{i:BTC-USD}"]
    assert made.readers(INBOX) == ["{a:0}"]


def test_a_book_entry_without_effect_leaves_no_entry():
    """Only what moves something is logged."""
    made = handler()
    feed(made, INBOX, *map(encode, (*SETUP, a_limit())))
    made.sources()
    nothing = encode(BookEntry("x", 1, []))
    done = encode(BookEntry("x", 1, [Done(1, 256, 1, "buy", "canceled", 10, 5)]))
    batch = feed(made, BOOK_LOG, nothing, done)
    assert entries(batch) == [
        LedgerEntry(f"{BOOK_LOG} 2-0", 7, [Closed(1, 256, "BTC-USD", "canceled", 50, 5, side="buy")])
    ]
    assert batch.sends == {}


def test_a_tick_tells_the_books_whose_orders_have_expired():
    """Once, and again only after a recovery; without such orders nothing is sent, and nothing is ever logged."""
    clock = iter((7, 7, 7, 8, 9, 50, 51))
    made = handler(lambda: next(clock))
    order = a_limit(time_in_force="GTT", conditions=Conditions(expires=50))
    feed(made, INBOX, *map(encode, (*SETUP, order)))
    sent = []
    for _ in range(4):
        batch = Batch()
        made.tick(batch)
        assert batch.log == []
        sent.append([decode_command(payload) for payload in batch.sends.get(OUTBOX, [])])
    assert sent == [[], [], [Tick(50)], []]
    made._clock = lambda: 60
    made.load(made.dump())
    batch = Batch()
    made.tick(batch)
    assert [decode_command(payload) for payload in batch.sends[OUTBOX]] == [Tick(60)]


def test_a_list_is_one_entry_and_one_command():
    """All its orders are accepted at once."""
    made = handler()
    orders = [a_limit(request_id="1"), a_limit(request_id="2", conditions=Conditions(stop="entry", stop_price=12))]
    batch = feed(made, INBOX, *map(encode, (*SETUP, OrderListRequest("l", 1, "BTC-USD", "oco", orders))))
    assert [type(event) for event in entries(batch)[-1].events] == [Accepted, Accepted]
    assert [type(decode_command(payload)) for payload in batch.sends[OUTBOX]] == [Configure, PlaceList]


NONSENSE = [
    b"",
    b"no JSON",
    b"[]",
    b'{"type":"nobody_knows_this"}',
    b'{"type":"order_request"}',
    b'{"type":"transfer_request","request_id":"r","account":1.5,"currency":"USD","amount":1}',
    b'{"type":"transfer_request","request_id":"r","account":"1","currency":"USD","amount":1}',
    b'{"type":"transfer_request","request_id":"\xff","account":1,"currency":"USD","amount":1}',
    b'{"type":"transfer_request","request_id":"\\ud800","account":1,"currency":"USD","amount":1}',
    b'{"type":"transfer_request","request_id":"r","account":1,"currency":"USD","amount":' + b"9" * 5000 + b"}",
    b'{"type":"transfer_request","more":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
]


@pytest.mark.parametrize("payload", NONSENSE, ids=range(len(NONSENSE)))
def test_nonsense_in_the_inbox_is_logged_as_refused_and_changes_nothing(payload):
    """Whoever can write to Redis can write anything there; the ledger goes on."""
    made = handler()
    feed(made, INBOX, *map(encode, SETUP))
    before = made.dump()
    [entry] = entries(feed(made, INBOX, payload))
    [event] = entry.events
    assert isinstance(event, Rejected)
    assert (event.request_id, event.account, event.reason) == ("", 0, RejectReason.INVALID_ORDER)
    assert "cannot be read" in event.message
    assert made.dump() == before


@pytest.mark.parametrize("fields", [[], [b"x", b"{}"], [FIELD, b"{}", b"more", b"1"]])
def test_an_inbox_entry_of_another_shape_is_refused(fields):
    """An XADD by hand with other fields."""
    batch = Batch()
    handler().handle(INBOX, [[b"1-0", fields]], batch)
    assert "one field" in entries(batch)[0].events[0].message


HUGE = [10**30, -(10**30), 2**63, 2**64]


@pytest.mark.parametrize("number", HUGE)
@pytest.mark.parametrize("field", ["account", "price", "quantity", "funds", "amount", "order_id"])
def test_numbers_beyond_64_bits_are_refused_and_never_logged(field, number):
    """JSON allows them, PostgreSQL does not."""
    request: Any
    if field == "amount":
        request = TransferRequest("r", 1, "USD", number)
    elif field == "order_id":
        request = CancelRequest("r", 1, number)
    elif field == "account":
        request = TransferRequest("r", number, "USD", 1)
    else:
        request = a_limit(**({"order_type": "market", "price": 0, "quantity": 0} if field == "funds" else {}))
        setattr(request, field, number)
    made = handler()
    feed(made, INBOX, *map(encode, SETUP))
    batch = feed(made, INBOX, encode(request))
    [event] = entries(batch)[0].events
    assert isinstance(event, Rejected)
    assert abs(event.account) < 2**63
    assert not batch.sends


def test_a_book_log_that_cannot_be_true_is_to_blame_itself():
    """The error names the log and the entry, so that the ledger can do without it."""
    made = handler()
    feed(made, INBOX, *map(encode, SETUP))
    made.sources()
    for payload in (b"{", encode(BookEntry("x", 1, [Done(1, 999, 1, "buy", "filled")]))):
        with pytest.raises(BrokenSource, match=r"\{a:0\}: entry \{i:BTC-USD\}:log 5-0: ") as raised:
            feed(made, BOOK_LOG, payload, first=5)
        assert raised.value.source == BOOK_LOG


def test_a_book_that_is_set_aside_takes_no_orders_and_all_others_do():
    """Also after a recovery. What was accepted before stays so; cancels still go to the book. Requests always count."""
    made = handler()
    eth = {"instrument": "ETH-USD"}
    feed(made, INBOX, *map(encode, SETUP), encode(InstrumentRequest("j", coarse("ETH-USD"))), encode(a_limit()))
    assert made.sources() == [INBOX, BOOK_LOG, "{i:ETH-USD}:log"]
    assert not made.set_aside(BrokenSource(INBOX, "no requests"))
    assert made.trouble() == ""
    assert made.set_aside(BrokenSource(BOOK_LOG, "a fill of nothing"))
    assert made.trouble() == "a fill of nothing"
    made.load(made.dump())
    assert made.sources() == [INBOX, "{i:ETH-USD}:log"]
    pair = [a_limit(request_id="3"), a_limit(request_id="4", conditions=Conditions(stop="entry", stop_price=12))]
    requests = [
        a_limit(),
        a_limit(request_id="2"),
        OrderListRequest("l", 1, "BTC-USD", "oco", pair),
        AmendRequest("a", 1, 256, price=9),
        CancelRequest("x", 1, 256),
        a_limit(request_id="5", quantity=1, price=1, **eth),
    ]
    batch = feed(made, INBOX, *map(encode, requests))
    told = [event for entry in entries(batch) for event in entry.events]
    kinds = [type(event) for event in told]
    assert kinds == [Duplicate, Rejected, *[Rejected] * (len(told) - 5), Rejected, CancelRequested, Accepted]
    refused = [event for event in told if isinstance(event, Rejected)]
    assert {event.reason for event in refused} <= {RejectReason.HALTED, RejectReason.LIST_REFUSED}
    assert "what its book has done cannot be settled" in refused[0].message
    assert [stream for stream, sent in batch.sends.items() if sent] == [OUTBOX, "{a:0}:to:ETH-USD"]


def test_its_own_log_brings_it_back():
    """Folding what it logged gives the state it had; an unreadable entry is an error that names the log."""
    made, again = handler(), handler()
    batch = feed(made, INBOX, *map(encode, (*SETUP, a_limit(), a_limit(account=2))))
    for payload in batch.log:
        again.fold(payload)
    assert again.dump() == made.dump()
    with pytest.raises(CorruptState, match=r"\{a:0\}:log: an entry is unreadable"):
        again.fold(b"{}")


def test_a_snapshot_of_another_shard_is_refused():
    """The number of shards cannot change under a cluster."""
    state = LedgerHandler(Settings(shards=2), 1).dump()
    with pytest.raises(CorruptState, match="shard 1 of 2, the settings say shard 0 of 1"):
        handler().load(state)


def test_limits_come_from_the_settings_and_survive_a_recovery():
    """They are not part of the state: a restart with other settings follows those."""
    made = handler(max_open_orders=1)
    made.load(handler().dump())
    made.reset()
    requests = (*SETUP, a_limit(quantity=1), a_limit(request_id="s", quantity=1))
    assert entries(feed(made, INBOX, *map(encode, requests)))[-1].events[0].reason == RejectReason.TOO_MANY_OPEN_ORDERS


# --- the real process over a real Redis --------------------------------------------------------------


def start(url, *arguments, **variables):
    environment = os.environ | {"MATCHBOX_REDIS_URL": url} | variables
    command = [sys.executable, "-m", "workers.ledger", *arguments]
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize("arguments", [(), ("x",), ("-1",), ("1",), ("0", "1")])
def test_a_shard_that_is_none_is_refused_in_one_line(arguments):
    """Exit code 3, and the last line says what to write."""
    process = start("unix:///nowhere", *arguments)
    _, output = process.communicate(timeout=60)
    assert process.returncode == 3, output
    assert "write a number below MATCHBOX_SHARDS=1" in output.splitlines()[-1]


def wait_for(condition):
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end, "did not happen within 30 s"
        time.sleep(0.02)


def wait_running(client, process):
    """Until it takes requests: a start takes seconds, and so does the lease of one that was killed."""

    def is_running():
        beat = decode_beat(client.get(keys.beat("ledger:0")))
        return beat is not None and (beat.pid, beat.state) == (process.pid, "running")

    wait_for(is_running)


def test_the_process_answers_settles_and_comes_back(redis_url):
    """Killed without warning and started again, it remembers orders and money, and stops when asked."""
    client: Any = redis.Redis.from_url(redis_url)
    process = start(redis_url, "0")
    try:
        submitter = Submitter(client)
        wait_running(client, process)
        for request in SETUP:
            submitter.submit(request)
        accepted = submitter.submit(a_limit(client_id="mine"))
        assert isinstance(accepted, Accepted)
        assert [type(decode_command(fields[FIELD])) for _, fields in client.xrange(OUTBOX)] == [Configure, Place]
        client.xadd(BOOK_LOG, {FIELD: encode(BookEntry("x", 1, [Done(1, 256, 1, "buy", "canceled", 10, 5)]))}, "1-0")
        wait_for(lambda: client.xlen(LOG) == 4)

        os.kill(process.pid, signal.SIGKILL)
        process.communicate(timeout=20)
        process = start(redis_url, "0")
        wait_running(client, process)
        with pytest.raises(Refused, match="Order already done"):
            submitter.submit(CancelRequest("x", 1, 0, "mine"))
        assert submitter.submit(a_limit(client_id="mine")).order_id == accepted.order_id  # type: ignore[union-attr]
        assert submitter.submit(TransferRequest("w", 1, "USD", -1000)) == Transferred("w", 1, "USD", -1000)
        assert client.exists(keys.beat("ledger:0"))

        process.send_signal(signal.SIGTERM)
        _, output = process.communicate(timeout=60)
        assert process.returncode == 0, output
        assert client.hlen(keys.snapshot("{a:0}")) == 1
    finally:
        process.kill()
        process.wait()
        client.close()
