"""The comparison of the engine's fills with recorded ones: what is equal, and that nothing wrong passes for equal.

Hand-written events are (action, side, price, size, order[, flags]); without flags an exchange event ends there.
"""

from pathlib import Path

import msgspec
import pytest
import zstandard
from click.testing import CliRunner, Result

from cli import cli
from tests.replay.dbn import write, write_records
from workers.replay.bitstamp import HEADER
from workers.replay.compare.report import Report
from workers.replay.compare.run import compare
from workers.replay.exchange_event import Record
from workers.replay.recording import Recording
from workers.replay.steps import Unreadable

DATA = Path(__file__).parents[2].parent / "shared/data/cme-es-20231225-first-part.mbo.dbn.zst"
needs_data = pytest.mark.skipif(not DATA.exists(), reason=f"the CME recording is not at {DATA}")

BOOK = [
    ("A", "B", 99, 5, 1),
    ("A", "A", 101, 3, 2), ("A", "A", 101, 4, 3), ("A", "A", 101, 1, 4), ("A", "A", 102, 9, 5),
]  # fmt: skip
SWEEP = [
    ("T", "B", 101, 8, 20, 0), ("F", "A", 101, 3, 2, 0), ("F", "A", 101, 4, 3, 0), ("F", "A", 101, 1, 4, 0),
    ("T", "B", 102, 2, 20, 0), ("F", "A", 102, 2, 5, 0),
    ("C", "A", 101, 3, 2, 0), ("C", "A", 101, 4, 3, 0), ("C", "A", 101, 1, 4, 0), ("M", "A", 102, 7, 5),
]  # fmt: skip


@pytest.fixture
def run(tmp_path):
    """Compares rows."""
    return lambda *rows: compare(write(tmp_path, *rows))


def assert_equal(report: Report, aggressors: int) -> None:
    assert (report.aggressors, report.equal, report.exceptions) == (aggressors, aggressors, [])
    assert report.listed_last == 0


def test_priority(run):
    """Price, then time: a reduction keeps its place; more quantity and another price go to the back."""
    report = run(
        *BOOK,
        ("M", "A", 101, 2, 2), ("M", "A", 101, 5, 3), ("M", "A", 102, 1, 4), ("M", "A", 101, 1, 4),
        ("T", "B", 101, 8, 20, 0), ("F", "A", 101, 2, 2, 0), ("F", "A", 101, 5, 3, 0), ("F", "A", 101, 1, 4, 0),
        ("C", "A", 101, 2, 2, 0), ("C", "A", 101, 5, 3, 0), ("C", "A", 101, 1, 4),
    )  # fmt: skip
    assert_equal(report, 1)
    assert (report.fills, report.lots, report.mended) == (3, 8, {})


def test_a_sweep_and_what_rests(run):
    """An aggressor takes level by level; what is left of it rests, and is a maker then."""
    report = run(
        *BOOK,
        ("T", "B", 101, 8, 20, 0), *SWEEP[1:4], ("A", "B", 101, 2, 20, 0), *SWEEP[6:8], ("C", "A", 101, 1, 4),
        ("T", "A", 101, 1, 21, 0), ("F", "B", 101, 1, 20, 0), ("M", "B", 101, 1, 20),
    )  # fmt: skip
    assert_equal(report, 2)


@pytest.mark.parametrize(("one", "other"), [(1, 2), (2, 3), (1, 3)])
def test_exchanged_makers_are_found(run, one, other):
    """Of three makers that are filled at one price, any two in each other's place are an exception."""
    rows = [*BOOK, *SWEEP, ("T", "B", 102, 1, 21, 0), ("F", "A", 102, 1, 5, 0), ("M", "A", 102, 6, 5)]
    assert_equal(run(*rows), 2)
    start = len(BOOK)
    rows[start + one], rows[start + other] = rows[start + other], rows[start + one]
    report = run(*rows)
    assert (report.aggressors, report.equal, report.listed_last) == (2, 1, 0)
    (found,) = report.exceptions
    assert (found.order, found.cause) == (20, "order of listing")
    assert found.engine == [(2, "101", 3), (3, "101", 4), (4, "101", 1), (5, "102", 2)]
    assert sorted(found.recorded) == found.engine != found.recorded


def test_a_wrong_maker_does_not_spread(run):
    """Who is filled out of turn is one exception with an unknown cause; afterwards the book is the recorded one."""
    report = run(
        *BOOK,
        ("T", "B", 101, 4, 20, 0), ("F", "A", 101, 4, 3, 0), ("C", "A", 101, 4, 3),
        ("T", "B", 101, 4, 21, 0), ("F", "A", 101, 3, 2, 0), ("F", "A", 101, 1, 4, 0), ("C", "A", 101, 3, 2, 0),
        ("C", "A", 101, 1, 4),
    )  # fmt: skip
    assert (report.aggressors, report.equal) == (2, 1)
    (found,) = report.exceptions
    assert (found.order, found.cause, found.time) == (20, "unknown", "1970-01-01T00:00:00.000000006Z")
    assert found.recorded == [(3, "101", 4)]
    assert found.engine == [(2, "101", 3), (3, "101", 1)]
    assert report.mended == {"after an exception": 1}


def test_wrong_quantities_are_found(run):
    """A maker that gives less than it shows, though the aggressor wants more, is an exception."""
    report = run(
        *BOOK,
        ("T", "B", 101, 4, 20, 0), ("F", "A", 101, 2, 2, 0), ("F", "A", 101, 2, 3, 0), ("M", "A", 101, 1, 2, 0),
        ("M", "A", 101, 2, 3),
    )  # fmt: skip
    assert [(one.cause, one.engine) for one in report.exceptions] == [("unknown", [(2, "101", 3), (3, "101", 1)])]


def test_self_match_prevention(run):
    """Who is canceled without a fill in the aggressor's way has its owner, and the engine takes it away by itself."""
    report = run(
        *BOOK,
        ("T", "B", 101, 4, 20, 0), ("F", "A", 101, 4, 3, 0), ("C", "A", 101, 4, 3, 0), ("C", "A", 101, 3, 2),
        ("A", "B", 102, 1, 21, 0), ("C", "A", 101, 1, 4, 0), ("C", "A", 102, 9, 5),  # without a trade: it rests
    )  # fmt: skip
    assert_equal(report, 1)
    assert (report.own_orders, report.mended) == (5, {})


def test_an_iceberg(run):
    """It gives more than it shows, shows its next part at the back, and is listed last; nobody else is."""
    report = run(
        ("A", "A", 101, 3, 2), ("A", "A", 101, 4, 3),
        ("T", "B", 101, 5, 20, 0), ("F", "A", 101, 2, 3, 0), ("F", "A", 101, 3, 2, 0), ("M", "A", 101, 2, 3, 0),
        ("M", "A", 101, 3, 2),
        ("T", "B", 101, 3, 21, 0), ("F", "A", 101, 2, 3, 0), ("F", "A", 101, 1, 2, 0), ("C", "A", 101, 2, 3, 0),
        ("M", "A", 101, 2, 2),
        ("T", "B", 101, 6, 22, 0), ("F", "A", 101, 6, 2, 0), ("M", "A", 101, 2, 2),
        ("C", "A", 101, 2, 2),
    )  # fmt: skip
    assert_equal(report, 3)
    assert (report.icebergs, report.mended) == (1, {})


def test_an_iceberg_that_took_shows_the_rest_of_its_part(run):
    """CME's aggressors are shown part by part, so less may rest than a whole one: the engine's is mended, and told."""
    report = run(
        ("A", "A", 101, 3, 2),
        ("T", "B", 101, 3, 20, 0), ("F", "A", 101, 3, 2, 0), ("A", "B", 101, 1, 20, 0), ("C", "A", 101, 3, 2),
        ("A", "B", 101, 1, 3),
        ("T", "A", 101, 2, 21, 0), ("F", "B", 101, 1, 3, 0), ("F", "B", 101, 1, 20, 0), ("M", "B", 101, 4, 20, 0),
        ("C", "B", 101, 1, 3),
        ("T", "A", 101, 4, 22, 0), ("F", "B", 101, 4, 20, 0), ("C", "B", 101, 4, 20),
    )  # fmt: skip
    assert_equal(report, 3)
    assert report.mended == {"shown part of an iceberg": 1}


def test_listed_last(run):
    """One maker, filled whole, that stands behind two others it came before is equal, but counted."""
    start = len(BOOK)
    rows = [*BOOK, *SWEEP]
    rows[start + 1 : start + 4] = [rows[start + 2], rows[start + 3], rows[start + 1]]
    report = run(*rows)
    assert (report.equal, report.listed_last, report.exceptions) == (1, 1, [])


def test_stops_of_the_same_event(run):
    """Several aggressors of one event take one after the other, and each is compared."""
    rows = [
        *BOOK,
        ("T", "B", 101, 5, 20, 0), ("F", "A", 101, 3, 2, 0), ("F", "A", 101, 2, 3, 0),
        ("T", "B", 101, 1, 8, 0), ("F", "A", 101, 1, 3, 0), ("C", "A", 101, 3, 2, 0), ("M", "A", 101, 1, 3),
    ]  # fmt: skip
    assert_equal(run(*rows), 2)
    rows[-3] = ("F", "A", 101, 1, 4, 0)
    rows[-1:] = [("M", "A", 101, 2, 3, 0), ("C", "A", 101, 1, 4)]
    report = run(*rows)
    assert [one.order for one in report.exceptions] == [8]


def test_a_resting_order_that_takes(run):
    """Modified across the other side: what is left of it rests, or it is filled and gone."""
    report = run(
        *BOOK,
        ("T", "B", 101, 8, 1, 0), ("F", "B", 101, 8, 1, 0), *SWEEP[1:4], ("M", "B", 101, 2, 1, 0), *SWEEP[6:8],
        ("C", "A", 101, 1, 4),
        ("T", "A", 101, 2, 5, 0), ("F", "A", 101, 2, 5, 0), ("F", "B", 101, 2, 1, 0), ("C", "B", 101, 2, 1, 0),
        ("C", "A", 102, 9, 5),
    )  # fmt: skip
    assert_equal(report, 2)
    assert report.mended == {}


AUCTION = [
    ("A", "B", 101, 4, 1), ("A", "B", 100, 3, 2), ("A", "A", 99, 2, 3), ("A", "A", 100, 5, 4), ("A", "A", 101, 9, 5),
    ("T", "N", 100, 7, 0, 0),
    ("F", "N", 100, 4, 1, 0), ("F", "N", 100, 2, 3, 0), ("F", "N", 100, 3, 2, 0), ("F", "N", 100, 5, 4, 0),
    ("C", "B", 101, 4, 1, 0), ("C", "B", 100, 3, 2, 0), ("C", "A", 99, 2, 3, 0), ("C", "A", 100, 5, 4),
    ("T", "B", 101, 1, 20, 0), ("F", "A", 101, 1, 5, 0), ("M", "A", 101, 8, 5),
]  # fmt: skip


def test_an_auction(run):
    """Orders collect while they cross, and are uncrossed at the recorded price; then trading is continuous."""
    report = run(*AUCTION)
    assert_equal(report, 1)
    (auction,) = report.auctions
    assert (auction.price, auction.engine_price, auction.lots, auction.engine_lots) == ("100", "100", 7, 7)
    assert (auction.orders, auction.equal, auction.unseen, auction.different) == (4, 4, 0, [])
    assert report.mended == {}


def test_an_auction_that_differs(run):
    """Fills that the auction's rule does not give are told order by order."""
    rows = list(AUCTION)
    rows[7] = ("F", "N", 100, 1, 3, 0)
    (auction,) = run(*rows).auctions
    assert (auction.orders, auction.equal, auction.different) == (4, 3, [(3, 1, 2)])


def test_an_auction_fills_orders_that_never_were_on_the_book(run):
    """Stops that its price triggers are known from its list alone, which is alternating: a buyer, a seller."""
    rows = list(AUCTION)
    rows[5:10] = [
        ("T", "N", 100, 8, 0, 0),
        ("F", "N", 100, 4, 1, 0), ("F", "N", 100, 2, 3, 0), ("F", "N", 100, 1, 50, 0), ("F", "N", 100, 1, 51, 0),
        ("F", "N", 100, 3, 2, 0), ("F", "N", 100, 5, 4, 0),
    ]  # fmt: skip
    report = run(*rows)
    (auction,) = report.auctions
    assert (auction.engine_price, auction.engine_lots, auction.orders) == ("100", 8, 6)
    assert (auction.equal, auction.unseen) == (6, 2)
    assert report.mended == {}


def test_trades_without_an_aggressor(run):
    """Outside an auction: those that took from one side are compared; those of both sides cannot be explained."""
    report = run(
        *BOOK,
        ("T", "N", 101, 4, 0, 0), ("F", "A", 101, 3, 2, 0), ("F", "A", 101, 1, 3, 0), ("C", "A", 101, 3, 2, 0),
        ("M", "A", 101, 3, 3),
        ("T", "N", 100, 1, 0, 0), ("F", "A", 100, 1, 3, 0), ("F", "B", 100, 1, 1, 0), ("M", "A", 101, 2, 3, 0),
        ("M", "B", 99, 4, 1),
    )  # fmt: skip
    assert (report.aggressors, report.equal) == (2, 1)
    assert report.causes == {"trade without an aggressor": 1}


def test_orders_from_before_the_recording(run):
    """A fill or a cancel of an unknown order tells that it rested before; the fills tell who came first."""
    report = run(
        ("A", "A", 101, 2, 7),
        ("M", "A", 101, 2, 6),  # it got smaller, and keeps a place before all others, as its fill shows
        ("T", "B", 101, 3, 20, 0), ("F", "A", 101, 2, 6, 0), ("F", "A", 101, 1, 3, 0), ("C", "A", 101, 2, 6, 0),
        ("M", "A", 101, 3, 3),
        ("M", "A", 101, 1, 8),  # it came just now
        ("T", "B", 101, 6, 21, 0), ("F", "A", 101, 3, 3, 0), ("F", "A", 101, 2, 7, 0), ("F", "A", 101, 1, 8, 0),
        ("C", "A", 101, 3, 3, 0), ("C", "A", 101, 2, 7, 0), ("C", "A", 101, 1, 8),
        ("C", "A", 102, 5, 9),
    )  # fmt: skip
    assert_equal(report, 2)
    assert (report.from_before, report.orders_from_before, report.mended) == (2, 3, {})


def test_an_iceberg_from_before_the_recording(run):
    """What its first fill did (it showed a new part, at the back) is told only by what it gives later."""
    report = run(
        ("A", "A", 101, 2, 7),
        ("T", "B", 101, 1, 20, 0), ("F", "A", 101, 1, 2, 0), ("M", "A", 101, 1, 2),
        ("T", "B", 101, 2, 21, 0), ("F", "A", 101, 2, 7, 0), ("C", "A", 101, 2, 7),
        ("T", "B", 101, 2, 22, 0), ("F", "A", 101, 2, 2, 0), ("M", "A", 101, 1, 2),
    )  # fmt: skip
    assert_equal(report, 3)
    assert (report.icebergs, report.orders_from_before, report.mended) == (1, 1, {})


def test_an_event_without_its_beginning_or_end(run):
    """A recording that is cut out of a longer one may begin and end within an event: neither is compared."""
    report = run(
        ("F", "A", 101, 1, 9, 0), ("C", "A", 101, 1, 9),
        *BOOK, *SWEEP, ("T", "B", 102, 7, 21, 0), ("F", "A", 102, 7, 5, 0),
    )  # fmt: skip
    assert_equal(report, 1)
    assert report.left_out == {
        "fills whose aggressor is before the recording": 1,
        "records of an event without an end": 2,
    }


def test_a_book_that_is_cleared(run):
    """A record that clears the book starts over; what was unknown before or after is learned for its part only."""
    report = run(*BOOK, ("R", "N", 0, 0, 0), *BOOK[:1], *SWEEP[:-1], ("M", "A", 102, 7, 5))
    assert_equal(report, 1)
    assert report.orders_from_before == 4


def test_recordings_with_nothing_to_compare(tmp_path):
    """No trades, no records, a price the book cannot take: one sentence that names the file."""
    for rows, complaint in (
        (BOOK, "there are no trades in its 5 records, so nothing to compare with"),
        ((), "there are no trades in its 0 records"),
        ([("A", "B", -1, 5, 1)], "record 1: a price that is not above 0"),
        ([("A", "N", 1, 5, 1)], "record 1: an order with side N"),
    ):
        path = write(tmp_path, *rows)
        with pytest.raises(Unreadable) as caught:
            compare(path)
        assert str(caught.value).startswith(f"{path}: {complaint}")


# --- the real recording ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def session() -> list[Record]:
    """The records of CME's part of a session."""
    return list(Recording.open(str(DATA)).records())


@needs_data
def test_the_real_recording():
    """At least 99.5% of the aggressors get CME's fills, and the opening auction is CME's, order by order."""
    report = compare(str(DATA))
    assert report.aggressors == 1275
    assert report.equal >= 0.995 * report.aggressors
    assert report.equal - report.listed_last >= 0.995 * report.aggressors
    assert set(report.causes) <= {"order of listing"}
    assert report.mended.keys() <= {"shown part of an iceberg"}
    (auction,) = report.auctions
    assert (auction.price, auction.lots, auction.orders) == ("4800.25", 44, 35)
    assert (auction.engine_price, auction.engine_lots, auction.equal) == ("4800.25", 44, 35)


@needs_data
@pytest.mark.parametrize(("start", "end"), [(0.2, 0.4), (0.5, 0.7), (0.8, 1.0)])
def test_any_part_of_it(session, tmp_path, start, end):
    """A part from the middle, whose book at its start is unknown, is as equal."""
    part = session[int(start * len(session)) : int(end * len(session))]
    report = compare(write_records(tmp_path, part))
    assert report.aggressors > 150
    assert report.equal >= 0.995 * report.aggressors
    assert report.from_before > 10


@needs_data
def test_changes_to_it_are_found(session, tmp_path):
    """Every aggressor whose first two of several makers exchange places is an exception, and nobody else is."""
    part = session[:20_000]
    before = compare(write_records(tmp_path, part))
    assert before.exceptions == []
    takers: set[int] = set()
    for number, four in enumerate(zip(part, part[1:], part[2:], part[3:], strict=False)):
        taker, first, second, _ = four
        if "".join(record.action for record in four) == "TFFF" and taker.side in "AB" and first.order != taker.order:
            part[number + 1 : number + 3] = second, first
            takers.add(taker.order)
    after = compare(write_records(tmp_path, part))
    assert after.aggressors == before.aggressors
    assert {one.order for one in after.exceptions} == takers
    assert after.causes == {"order of listing": len(takers)}


# --- the command ----------------------------------------------------------------------------------


def matchbox(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["replay", *arguments])


def test_the_command(tmp_path):
    """Tables for people, exceptions by cause among them, and a last line of JSON; no exchange is asked."""
    rows = [*BOOK, *SWEEP, ("T", "B", 102, 1, 21, 0), ("F", "A", 102, 1, 5, 0), ("M", "A", 102, 6, 5)]
    start = len(BOOK)
    rows[start + 1], rows[start + 2] = rows[start + 2], rows[start + 1]
    done = matchbox("--compare", write(tmp_path, *rows))
    assert done.exit_code == 0, done.output
    report = msgspec.json.decode(done.stdout.splitlines()[-1], type=Report)
    assert (report.aggressors, report.equal, report.equal_percent) == (2, 1, 50.0)
    assert report.causes == {"order of listing": 1}
    lines = [[cell.strip() for cell in line.strip("│").split("│")] for line in done.stdout.splitlines()]
    assert ["aggressors", "2", "100.00%"] in lines
    assert ["equal: same makers, quantities and order", "1", "50.00%"] in lines
    assert ["order of listing", "1", "50.00%"] in lines
    assert ["order of listing", "4 of 3 at 101", "3 of 2 at 101"] in lines
    assert ["20", "3 of 2 at 101", "4 of 3 at 101"] in lines


def test_files_that_cannot_be_compared(tmp_path):
    """A wrong, empty or cut file, and one without fills: exit code 1 and one line that names it."""
    whole = Path(write(tmp_path, *BOOK, *SWEEP, pack=False)).read_bytes()
    csv = f"{','.join(HEADER)}\n1,1,1,235.00,100,created,ask\n".encode()
    for content, complaint in (
        (b"", "the file is empty"),
        (b"hello\n", 'line 1: neither a Databento DBN file nor a Bitstamp CSV: it begins with "hello"'),
        (csv, "a Bitstamp CSV tells of no fills, so there is nothing to compare with; give a Databento MBO file"),
        (whole[:-10], "after record 14: the file ends within a record (46 bytes are left)"),
        (zstandard.compress(whole)[:-10], "after byte"),
    ):
        path = tmp_path / "file"
        path.write_bytes(content)
        done = matchbox("--compare", str(path))
        assert (done.exit_code, done.stdout) == (1, "")
        (line,) = done.stderr.splitlines()
        assert line.startswith(f"Error: {path}: {complaint}")
    done = matchbox("--compare", str(tmp_path / "nothing"))
    assert done.stderr == f"Error: {tmp_path}/nothing: No such file or directory\n"


def test_options_that_do_not_go_together(tmp_path):
    """A comparison takes the whole file and no exchange; an option that says otherwise is not ignored."""
    done = matchbox("--compare", write(tmp_path, *BOOK), "--limit", "5")
    assert done.exit_code == 2
    assert done.stderr.endswith(
        "Error: --compare reads the whole file and needs no exchange: give it no other option\n"
    )


def test_ctrl_c(tmp_path, monkeypatch):
    """Stopped by hand: one line that says what that means."""

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("workers.replay.compare.show.compare", stop)
    done = matchbox("--compare", write(tmp_path, *BOOK))
    assert done.exit_code == 1
    assert "stopped before its end; nothing was changed" in done.stderr
