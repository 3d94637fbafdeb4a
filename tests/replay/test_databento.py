"""What Databento's records mean: which steps people took, and what the exchange did by itself."""

from pathlib import Path

import pytest
import zstandard
from databento_dbn import Metadata, Schema, SType

from workers.replay.databento import DatabentoFlow, market_of
from workers.replay.exchange_event import Record
from workers.replay.recording import Recording
from workers.replay.steps import Add, Aggress, Cancel, Modify, Unreadable

DATA = Path(__file__).parents[2].parent / "shared/data/cme-es-20231225-first-part.mbo.dbn.zst"
LAST, SNAPSHOT = 128, 32


def flow(*rows: tuple) -> list:
    """Steps of records given as (action, side, price, size, order[, flags]); without flags an event ends there."""
    records = [Record._make([*row[:5], 0, row[5] if len(row) > 5 else LAST]) for row in rows]
    return list(DatabentoFlow().steps("file", records))


BOOK = [("A", "B", 99, 5, 1), ("A", "A", 101, 3, 2), ("A", "A", 101, 4, 3), ("A", "A", 102, 9, 4)]
BOOK_STEPS = [
    Add(1, 0, "buy", 99, 5),
    Add(2, 0, "sell", 101, 3),
    Add(3, 0, "sell", 101, 4),
    Add(4, 0, "sell", 102, 9),
]


def test_quiet_events_are_steps():
    """Without a trade every add, cancel and modify is a step; a smaller one keeps its priority."""
    assert flow(*BOOK, ("M", "A", 101, 2, 3), ("M", "A", 103, 2, 3), ("M", "A", 103, 6, 3), ("C", "A", 101, 3, 2)) == [
        *BOOK_STEPS,
        Modify(3, 0, "sell", 101, 2, keeps_priority=True),
        Modify(3, 0, "sell", 103, 2),
        Modify(3, 0, "sell", 103, 6),
        Cancel(2, 0),
    ]


def test_an_aggressor_that_is_filled_goes():
    """Its quantity is the sum of its trades, its limit the worst of their prices; what fills did is no step."""
    assert flow(
        *BOOK,
        ("T", "B", 101, 7, 9, 0), ("F", "A", 101, 3, 2, 0), ("F", "A", 101, 4, 3, 0),
        ("T", "B", 102, 1, 9, 0), ("F", "A", 102, 1, 4, 0),
        ("C", "A", 101, 3, 2, 0), ("C", "A", 101, 4, 3, 0), ("M", "A", 102, 8, 4),
    ) == [*BOOK_STEPS, Aggress(9, 0, "buy", 102, 8)]  # fmt: skip


def test_an_aggressor_may_rest():
    """If it is added in the same event, its rest stays on the book."""
    assert flow(
        *BOOK, ("T", "B", 101, 3, 9, 0), ("F", "A", 101, 3, 2, 0), ("A", "B", 101, 2, 9, 0), ("C", "A", 101, 3, 2)
    ) == [*BOOK_STEPS, Aggress(9, 0, "buy", 101, 5, rests=True)]


def test_a_resting_order_may_turn_aggressor():
    """Modified into the other side: a step of an order that is known already, with what was filled of it before."""
    assert flow(
        *BOOK,
        ("T", "B", 101, 3, 1, 0), ("F", "B", 101, 3, 1, 0), ("F", "A", 101, 3, 2, 0),
        ("M", "B", 101, 2, 1, 0), ("C", "A", 101, 3, 2),
        ("T", "A", 101, 1, 9, 0), ("F", "B", 101, 1, 1, 0), ("M", "B", 101, 1, 1),
        ("M", "B", 100, 2, 1),
    ) == [
        *BOOK_STEPS,
        Aggress(1, 0, "buy", 101, 5, rests=True),
        Aggress(9, 0, "sell", 101, 1),
        Modify(1, 0, "buy", 100, 2, filled=4),
    ]  # fmt: skip


def test_self_match_prevention_comes_first():
    """A cancel without a fill in the event of a trade takes an order out of the aggressor's way."""
    assert flow(
        *BOOK, ("T", "B", 101, 4, 9, 0), ("F", "A", 101, 4, 3, 0), ("C", "A", 101, 3, 2, 0), ("C", "A", 101, 4, 3)
    ) == [*BOOK_STEPS, Cancel(2, 0), Aggress(9, 0, "buy", 101, 4)]


def test_a_refreshed_iceberg_goes_to_the_back():
    """After a fill a modify to more than what is left is a step, one to what is left is none."""
    trade = ("T", "B", 101, 3, 9, 0), ("F", "A", 101, 3, 2, 0)
    assert flow(*BOOK, *trade, ("M", "A", 101, 3, 2)) == [
        *BOOK_STEPS,
        Aggress(9, 0, "buy", 101, 3),
        Add(2, 0, "sell", 101, 3),
    ]


def test_an_auction_is_folded():
    """While the book is crossed nothing is fed; afterwards come the differences, in order of priority."""
    assert flow(
        ("A", "B", 99, 5, 1, SNAPSHOT), ("A", "A", 101, 3, 2, SNAPSHOT),
        ("A", "A", 100, 4, 3),                       # continuous so far
        ("A", "B", 100, 6, 4), ("A", "B", 98, 1, 5), # crossed: an auction is near
        ("C", "B", 99, 5, 1), ("A", "A", 99, 1, 6),
        ("T", "N", 100, 5, 0, 0), ("F", "N", 100, 5, 4, 0), ("F", "N", 100, 4, 3, 0), ("F", "N", 100, 1, 6, 0),
        ("M", "B", 100, 1, 4, 0), ("C", "A", 100, 4, 3, 0), ("C", "A", 99, 1, 6),
        ("C", "B", 98, 1, 5),
    ) == [
        Add(1, 0, "buy", 99, 5), Add(2, 0, "sell", 101, 3), Add(3, 0, "sell", 100, 4),
        Cancel(1, 0), Cancel(3, 0), Add(4, 0, "buy", 100, 1), Add(5, 0, "buy", 98, 1),
        Cancel(5, 0),
    ]  # fmt: skip


def test_a_bad_record_is_named():
    """A record that makes no sense, and an event that does not end, are refused with their number."""
    with pytest.raises(Unreadable, match="file: record 2: an order with side N"):
        flow(*BOOK[:1], ("A", "N", 99, 5, 7))
    with pytest.raises(Unreadable, match="file: record 2: the file ends within an exchange event"):
        flow(*BOOK[:1], ("A", "B", 99, 5, 7, 0))


def metadata(schema: Schema, symbols: list[str]) -> Metadata:
    return Metadata(
        dataset="GLBX.MDP3", start=1, stype_in=SType("raw_symbol"), stype_out=SType("instrument_id"), schema=schema,
        symbols=symbols,
    )  # fmt: skip


def test_the_header_tells_the_market():
    """ES is known; of other products the tick is not, and other schemas are refused."""
    assert market_of("file", metadata(Schema("mbo"), ["ESH4"]))[1:4] == ("ES-USD", "0.25", "1")
    assert market_of("file", metadata(Schema("mbo"), ["CLG4"]))[1:4] == ("", "", "")
    with pytest.raises(Unreadable, match="file: header: holds trades records, not mbo"):
        market_of("file", metadata(Schema("trades"), ["ESH4"]))
    with pytest.raises(Unreadable, match="holds 2 instruments"):
        market_of("file", metadata(Schema("mbo"), ["ESH4", "ESM4"]))


def test_dbn_files_that_are_cut_off_or_garbled(tmp_path):
    """A DBN file that ends within its header or a record, or is not DBN, is refused by name."""
    path = tmp_path / "file"
    whole = metadata(Schema("mbo"), ["ESH4"]).encode()
    for content in (
        whole[:3],
        whole[:-1],
        whole + b"\x0e\xa0" + bytes(20),
        whole + b"\x0e\xff" + bytes(100),
        zstandard.compress(whole)[:-5],
    ):
        path.write_bytes(content)
        with pytest.raises(Unreadable, match=str(path)):
            list(Recording.open(str(path)).steps())


@pytest.mark.skipif(not DATA.exists(), reason=f"the CME recording is not at {DATA}")
def test_the_real_recording():
    """The part of the session up to its end: steps, and one auction that is folded."""
    recording = Recording.open(str(DATA))
    found = list(recording.steps())
    kinds = {kind: sum(isinstance(step, kind) for step in found) for kind in (Add, Cancel, Modify, Aggress)}
    assert kinds == {Add: 17804, Cancel: 5352, Modify: 5271, Aggress: 1275}
    assert recording.skipped["of an auction"] == 36
