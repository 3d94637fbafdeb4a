"""Logs and snapshots that earlier versions wrote are read by this one."""

import json
from pathlib import Path
from typing import get_args

import pytest

from shared.messages import (
    AllCanceled,
    BookEvent,
    CancelRefused,
    Change,
    Configured,
    Done,
    Match,
    Open,
    Received,
    decode_book_entry,
)
from workers.engine import snapshot

FOLDER = Path(__file__).parent / "data"
VERSIONS = sorted(path.stem.removeprefix("book-log-") for path in FOLDER.glob("book-log-*.jsonl"))


def entries_of(version):
    lines = (FOLDER / f"book-log-{version}.jsonl").read_bytes().splitlines()
    return [decode_book_entry(line) for line in lines]


def dump_of(version):
    return (FOLDER / f"book-dump-{version}.json").read_bytes().strip()


def view_of(book):
    """What the book says of itself, in the words of the first dump."""
    fields = ("order_id", "account", "side", "price", "remaining", "maker_fee")
    rows = {side: [[getattr(one, name) for name in fields] for one in book.resting(side)] for side in ("buy", "sell")}
    return {
        "sequence": book.sequence,
        "trade_id": book.trade_id,
        "time": book.time,
        "last_price": book.last_price,
        "mode": book.instrument.mode,
        "bids": rows["buy"],
        "asks": rows["sell"],
    }


def view_of_dump(version):
    """The same, read from the dump without our code."""
    found = json.loads(dump_of(version))
    found["mode"] = found.pop("instrument").get("mode", "online")
    for side in ("bids", "asks"):
        found[side] = [row[:6] for row in found[side]]
    for name in ("format", "sleeping", "lists", "pending"):
        found.pop(name, None)
    return found


def test_something_is_recorded():
    """Each version's log is there, a few hundred entries with every kind of event it had."""
    assert "v1" in VERSIONS
    kinds = {type(event) for entry in entries_of("v1") for event in entry.events}
    assert kinds == {Received, Open, Match, Change, Done, CancelRefused, AllCanceled, Configured}
    kinds = {type(event) for entry in entries_of("v2") for event in entry.events}
    assert kinds == set(get_args(BookEvent))
    assert all(json.loads(dump_of("v2"))[name] for name in ("sleeping", "lists", "pending"))


@pytest.mark.parametrize("version", VERSIONS)
def test_a_recorded_log_folds_to_its_recorded_state(order_book, version):
    """Who rests where, in which order, and every counter."""
    book = order_book()
    for entry in entries_of(version):
        book.fold_entry(entry)
    assert view_of(book) == view_of_dump(version)
    assert book.levels("buy")
    assert book.levels("sell")
    assert order_book.load(book.dump()).dump() == book.dump()


def _starts_with(now, before):
    """Whether all is as before, but that rows may have come to have more fields, with their defaults."""
    if isinstance(before, dict):
        return now.keys() == before.keys() and all(_starts_with(now[key], before[key]) for key in before)
    if isinstance(before, list) and before and isinstance(before[0], list):
        return len(now) == len(before) and all(map(_starts_with, now, before))
    if isinstance(before, list):
        return now[: len(before)] == before and not any(now[len(before) :])
    return now == before


@pytest.mark.parametrize("version", VERSIONS)
def test_a_recorded_snapshot_loads(order_book, version):
    """A snapshot saves no less than the log says, and what it loads to is dumped as it was, but for newer fields."""
    book = order_book.load(dump_of(version))
    assert view_of(book) == view_of_dump(version)
    if json.loads(dump_of(version))["format"] == snapshot.FORMAT:
        assert _starts_with(json.loads(book.dump()), json.loads(dump_of(version)))


@pytest.mark.parametrize("version", VERSIONS)
def test_recovery_from_a_snapshot_in_the_middle(order_book, version):
    """A snapshot taken anywhere, and the entries after it, lead to the same state."""
    entries = entries_of(version)
    book = order_book()
    for at, entry in enumerate(entries):
        if at % 37 == 0:
            book = order_book.load(book.dump())
        book.fold_entry(entry)
    assert view_of(book) == view_of_dump(version)
