"""Requests from the command line: only the calls matter here, so a fake Redis stands in for the server."""

import threading

import fakeredis
import msgspec
import pytest

from shared import keys
from shared.errors import RejectReason, Unavailable
from shared.messages import (
    Blocked,
    BlockRequest,
    Duplicate,
    LedgerEntry,
    Rejected,
    Transferred,
    TransferRequest,
    decode_request,
    encode,
)
from shared.pressure import Pressure
from shared.submit import Refused, Submitter

REQUEST = TransferRequest("r1", 5, "USD", 100)


@pytest.fixture
def client():
    with fakeredis.FakeRedis() as client:
        yield client


def ledger(client, shard, *events):
    """Log ``events`` once the request is in the shard's inbox."""

    def run():
        while not client.xlen(keys.inbox(shard)):
            pass
        for number, event in enumerate(events, 1):
            client.xadd(
                keys.log(keys.shard_tag(shard)), {"d": encode(LedgerEntry("s 1", 1, [event]))}, id=f"{number}-0"
            )

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread


def test_the_answer_is_the_event_with_its_own_id(client):
    """Events of other requests are passed over; the request is in the inbox as it was given."""
    thread = ledger(client, 0, Duplicate("other", 5), Transferred("r1", 5, "USD", 100))
    assert Submitter(client).submit(REQUEST) == Transferred("r1", 5, "USD", 100)
    thread.join()
    ((_, fields),) = client.xrange(keys.inbox(0))
    assert decode_request(fields[b"d"]) == REQUEST


def test_a_request_goes_to_the_shard_of_its_account(client):
    """Account 5 of 3 shards is kept by shard 2."""
    thread = ledger(client, 2, Transferred("r1", 5, "USD", 100))
    Submitter(client, shards=3).submit(REQUEST)
    thread.join()
    assert client.xlen(keys.inbox(0)) == client.xlen(keys.inbox(1)) == 0


def test_a_refusal_is_an_error_with_the_ledgers_words(client):
    """``Rejected`` becomes ``Refused``, whose text is the ledger's sentence."""
    ledger(client, 0, Rejected("r1", 5, RejectReason.INSUFFICIENT_FUNDS, "Insufficient funds"))
    with pytest.raises(Refused, match="Insufficient funds"):
        Submitter(client).submit(REQUEST)


def test_silence_is_unavailable(client):
    """Without an answer the error names the ledger and the time; the request stays in the inbox."""
    with pytest.raises(Unavailable, match=r"ledger 0 did not answer within 0\.1 s"):
        Submitter(client).submit(REQUEST, timeout_s=0.1)
    assert client.xlen(keys.inbox(0)) == 1


def test_a_ledger_that_hangs_keeps_a_kill_switch_from_no_other(client, monkeypatch):
    """Every shard is asked before the first is waited for; who did not answer is named, and who did."""
    block = BlockRequest("r1", 0, True)
    add = client.xadd

    def add_and_answer(stream, fields):
        add(stream, fields)
        if stream == keys.inbox(1):
            add(keys.log(keys.shard_tag(1)), {"d": encode(LedgerEntry("s 1", 1, [Blocked("r1", 0, [])]))}, id="1-0")

    monkeypatch.setattr(client, "xadd", add_and_answer)
    with pytest.raises(Unavailable, match=r"^ledger 0 did not answer within 0.3 s; all others have done it\."):
        Submitter(client, shards=2).submit_to_all(block, timeout_s=0.3)
    assert [client.xlen(keys.inbox(shard)) for shard in (0, 1)] == [1, 1]


def test_full_stores_get_nothing_from_the_command_line_either(client):
    """What a gateway would refuse is refused before it is sent, and says why; a kill switch goes through."""
    client.set(keys.PRESSURE, msgspec.json.encode(Pressure("halted", "Redis memory 9 of 8 kB")))
    with pytest.raises(Unavailable, match=r"halted for now \(Redis memory 9 of 8 kB\); nothing was sent"):
        Submitter(client).submit(REQUEST)
    assert not client.exists(keys.inbox(0))
    thread = ledger(client, 0, Blocked("r1", 0, []))
    Submitter(client).submit_to_all(BlockRequest("r1", 0, True))
    thread.join()
