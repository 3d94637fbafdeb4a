"""The engine's process: commands in as bytes, log entries out, and nothing lost when it ends."""

import os
import re
import signal
import subprocess
import sys
import time

import pytest
import redis

from shared import keys
from shared.errors import CorruptState
from shared.messages import BookEntry, Cancel, Done, Place, decode_book_entry, encode
from shared.settings import Settings
from tests.engine.flows import AnyFlow
from tests.engine.harness import configured
from workers.engine.book import OrderBook
from workers.engine.core import order_book
from workers.engine.process import EngineHandler
from workers.handler import Batch

SYMBOL = "BTC-USD"
SOURCE = keys.outbox(0, SYMBOL)
LOG = keys.log(keys.instrument_tag(SYMBOL))


def entries_of(commands):
    """Commands as Redis answers a stream's entries."""
    return [[b"%d-0" % number, [b"d", encode(command)]] for number, command in enumerate(commands, 1)]


def test_names_its_streams():
    """It reads one outbox per shard; the shards' ledgers and PostgreSQL read its log."""
    handler = EngineHandler(Settings(shards=2), SYMBOL)
    assert handler.tag == "{i:BTC-USD}"
    assert handler.sources() == ["{a:0}:to:BTC-USD", "{a:1}:to:BTC-USD"]
    assert handler.readers(LOG) == ["{a:0}", "{a:1}", "postgresql"]


def test_each_command_becomes_one_entry_that_names_it():
    """Refused commands too; ``source`` is the stream and the entry, ``time`` the book's."""
    handler, batch = EngineHandler(Settings(), SYMBOL), Batch()
    commands = [configured(time=5), Place(1, 1, 9, "buy", "limit", 100, 5), Cancel(2, 1, 7), Cancel(1, 1, 11)]
    handler.handle(SOURCE, entries_of(commands), batch)
    entries = [decode_book_entry(payload) for payload in batch.log]
    assert [entry.source for entry in entries] == [f"{SOURCE} {number}-0" for number in range(1, 5)]
    assert [entry.time for entry in entries] == [5, 9, 9, 11]
    assert [[event.__struct_config__.tag for event in entry.events] for entry in entries] == [
        ["configured"],
        ["received", "open"],
        ["cancel_refused"],
        ["done"],
    ]
    assert not batch.sends
    assert handler.sequence() == 3


def test_its_log_recovers_it():
    """Folding the log's payloads, from the start or from a dump, gives the book that wrote them."""
    commands = AnyFlow(3, spread=30, accounts=9).commands(600)
    handler, batch = EngineHandler(Settings(), SYMBOL), Batch()
    handler.handle(SOURCE, entries_of(commands[:400]), batch)
    middle = handler.dump()
    handler.handle(SOURCE, entries_of(commands[400:]), batch)
    follower = EngineHandler(Settings(), SYMBOL)
    for payload in batch.log:
        follower.fold(payload)
    assert follower.dump() == handler.dump()
    follower.load(middle)
    for payload in batch.log[400:]:
        follower.fold(payload)
    assert follower.dump() == handler.dump()
    follower.reset()
    assert follower.sequence() == 0


@pytest.mark.parametrize("payload", [b"", b"{}", b'{"type":"bribe"}', b'{"type":"cancel","order_id":"x"}', b"\xff"])
def test_an_entry_that_no_ledger_wrote_stops_it(payload):
    """The error names the instrument, the entry and the stream."""
    handler = EngineHandler(Settings(), SYMBOL)
    with pytest.raises(CorruptState, match=r"BTC-USD: entry 7-0 of \{a:0\}:to:BTC-USD: "):
        handler.handle(SOURCE, [[b"7-0", [b"d", payload]]], Batch())


def wait_for_log(client, length):
    """The log's entries once there are ``length`` of them."""
    end = time.monotonic() + 40
    while client.xlen(LOG) < length:
        assert time.monotonic() < end, f"{client.xlen(LOG)} of {length} entries after 40 s"
        time.sleep(0.01)
    return [decode_book_entry(fields[b"d"]) for _, fields in client.xrange(LOG)]


def started(redis_url, core):
    return subprocess.Popen(
        [sys.executable, "-m", "workers.engine", SYMBOL],
        env={**os.environ, "MATCHBOX_REDIS_URL": redis_url, "MATCHBOX_CORE": core},
        stderr=subprocess.PIPE,
    )


def test_the_process_goes_on_where_it_was_killed(redis_url):
    """Killed and started again over the same Redis, it handles each command once, as one book that never died.

    The first process runs the core in Python, the second the compiled one, if it is built; each says so.
    """
    commands = AnyFlow(4, spread=30, accounts=9).commands(300)
    with redis.Redis.from_url(redis_url) as client:
        process = started(redis_url, "python")
        try:
            for number, command in enumerate(commands, 1):
                client.xadd(SOURCE, {b"d": encode(command)}, id=f"{number}-0")
                if number == 150:
                    wait_for_log(client, 100)
                    process.kill()
                    said = process.communicate()[1]
                    client.hset(keys.meta(keys.instrument_tag(SYMBOL)), "lease", "0")  # do not wait for its end
                    process = started(redis_url, "auto")
            entries = wait_for_log(client, len(commands))
            process.send_signal(signal.SIGTERM)
            said += process.communicate(timeout=60)[1]
            assert process.returncode == 0
        finally:
            process.kill()
            process.wait()
    assert re.findall(rb'"order book" core=(\w+)', said) == [b"python", order_book().core.encode()]
    book = OrderBook()
    for number, (command, entry) in enumerate(zip(commands, entries, strict=True), 1):
        assert entry == BookEntry(f"{SOURCE} {number}-0", entry.time, book.apply(command))
        assert entry.time == book.time
    assert any(isinstance(event, Done) for entry in entries for event in entry.events)


def test_the_process_wants_an_instrument():
    """Without one it says how it is used."""
    done = subprocess.run([sys.executable, "-m", "workers.engine"], capture_output=True, text=True, timeout=30)
    assert done.returncode == 1
    assert done.stderr == "usage: python -m workers.engine SYMBOL\n"
