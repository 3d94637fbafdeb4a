"""The order in which entries become rows: nothing before what it answers."""

import random

import pytest

from shared import keys
from shared.messages import decode_book_entry, decode_ledger_entry
from tests.pusher.features import FeatureMarket
from workers.pusher.causal import book_entry, ledger_entry, writable


def entries_of(market, shares):
    """The first part of each log, as the writer reads them, by tag."""
    logs = {keys.shard_tag(shard): log for shard, log in enumerate(market.world.logs)}
    logs |= {keys.instrument_tag(symbol): log for symbol, log in market.world.book_logs.items()}
    found = {}
    for tag, log in logs.items():
        part = log[: round(shares(tag) * len(log))]
        if tag.startswith("{a:"):
            found[tag] = [ledger_entry(n, decode_ledger_entry(one)) for n, one in enumerate(part, 1)]
        else:
            found[tag] = [book_entry(n, decode_book_entry(one)) for n, one in enumerate(part, 1)]
    return found


@pytest.mark.parametrize("shards", [1, 3])
def test_all_is_written_in_the_end_and_nothing_too_early(redis_url, shards):
    """A book's entry waits for its order's acceptance, a ledger's for the book's entry; whole logs are written."""
    market, dice = FeatureMarket(redis_url, seed=1, shards=shards), random.Random(shards)
    market.trade(300)
    books = dict.fromkeys(map(keys.instrument_tag, market.books), 0)
    ledgers = {keys.shard_tag(shard): 0 for shard in range(shards)}
    whole = entries_of(market, lambda _: 1.0)
    assert writable(whole, books, ledgers) == {tag: len(own) for tag, own in whole.items()}
    some_waited = False
    for _ in range(30):
        shares = {tag: dice.random() for tag in whole}
        part = entries_of(market, shares.__getitem__)
        counts = writable(part, books, ledgers)
        some_waited |= counts != {tag: len(own) for tag, own in part.items()}
        reached = {tag: counts[tag] for tag in books}
        accepted = {tag: max([one.accepts for one in part[tag][: counts[tag]]], default=0) for tag in ledgers}
        for tag, own in part.items():
            for one in own[: counts[tag]]:
                assert all((reached | accepted)[other] >= need for other, need in one.needs)
    assert some_waited


def test_nobody_waits_for_a_log_that_is_halted(redis_url):
    """A log that cannot be written, and is named by neither position, keeps no other from going on."""
    market = FeatureMarket(redis_url, seed=2)
    market.trade(200)
    whole = entries_of(market, lambda _: 1.0)
    del whole[keys.instrument_tag("AAA-USD")]
    reached = {keys.instrument_tag("BBB-USD"): 0}
    assert writable(whole, reached, {keys.shard_tag(0): 0}) == {tag: len(own) for tag, own in whole.items()}
