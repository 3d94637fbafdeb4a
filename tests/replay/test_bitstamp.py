"""What the rows of a Bitstamp recording mean."""

import lzma
from pathlib import Path

import pytest

from workers.replay.recording import Recording
from workers.replay.steps import Add, Cancel, Modify, Unreadable

HEADER = "id,timestamp,exchange.timestamp,price,volume,action,direction\n"
DATA = Path(__file__).parents[2].parent / "shared/data/bitstamp-btcusd-20150501-orders.csv.xz"


def write(folder: Path, *rows: str, header: str = HEADER) -> str:
    path = folder / "orders.csv.xz"
    path.write_bytes(lzma.compress((header + "".join(f"{row}\n" for row in rows)).encode()))
    return str(path)


def steps(path: str) -> list:
    return list(Recording.open(path).steps())


def test_orders_come_and_go(tmp_path):
    """A created row is a new limit order in cents and 1e-8, a deleted row a cancel, whatever its volume."""
    path = write(
        tmp_path,
        "7,1430438404518,1,236.47,200000000,created,bid",
        "8,1430438404520,1,236.5,5,created,ask",
        "7,1430438404600,1,236.47,0,deleted,bid",
        "8,1430438404601,1,236.5,5,deleted,ask",
    )
    assert steps(path) == [
        Add(7, 1430438404518000000, "buy", 23647, 200000000),
        Add(8, 1430438404520000000, "sell", 23650, 5),
        Cancel(7, 1430438404600000000),
        Cancel(8, 1430438404601000000),
    ]


def test_fills_are_the_engines_business(tmp_path):
    """A change of the volume alone is a fill, and no step; one of the price is a market order that walks."""
    path = write(
        tmp_path,
        "1,1,1,235.00,100,created,ask",
        "1,2,1,235.00,60,changed,ask",
        "1,3,1,234.72,60,changed,ask",
    )
    recording = Recording.open(path)
    assert list(recording.steps()) == [
        Add(1, 1_000_000, "sell", 23500, 100),
        Modify(1, 3_000_000, "sell", 23472, 60, filled=40),
    ]
    assert recording.skipped == {"changed by a fill": 1}


def test_rows_out_of_order_do_no_harm(tmp_path):
    """Deleted before created, deleted twice, changed after deleted, never created: counted, not fed."""
    path = write(
        tmp_path,
        "1,1,1,235.00,100,deleted,ask",
        "1,2,1,235.00,100,created,ask",
        "2,3,1,235.00,100,created,ask",
        "2,4,1,235.00,100,deleted,ask",
        "2,5,1,235.00,100,deleted,ask",
        "2,6,1,235.00,50,changed,ask",
        "3,7,1,235.00,0,created,ask",
    )
    recording = Recording.open(path)
    assert list(recording.steps()) == [Add(2, 3_000_000, "sell", 23500, 100), Cancel(2, 4_000_000)]
    assert sum(recording.skipped.values()) == 5


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        ("1,2,3", "line 3: has 3 columns, not 7"),
        ("-1,1,1,1.00,1,created,bid", 'line 3: id "-1" is not a whole number'),
        ("1,1,1,1.005,1,created,bid", "line 3: price 1.005 is not a whole number of cents"),
        ("1,1,1,nan,1,created,bid", 'line 3: price "nan" is not a decimal number'),
        ("1,1,1,1.00,1e3,created,bid", 'line 3: volume "1e3" is not a whole number'),
        ("1,1,1,1.00,1,born,bid", 'line 3: action "born" is not created, changed or deleted'),
        ("1,1,1,1.00,1,created,long", 'line 3: direction "long" is not bid or ask'),
        ("1,1,1,1.00,1,créated,bid", "line 3: is not ASCII text"),
        ("", "line 3: has 0 columns, not 7"),
    ],
)
def test_a_bad_row_is_named(tmp_path, row, complaint):
    """What cannot be read is refused with the file, the line and the fault."""
    path = write(tmp_path, "1,1,1,235.00,100,created,ask", row)
    with pytest.raises(Unreadable) as caught:
        steps(path)
    assert str(caught.value) == f"{path}: {complaint}"


def test_files_that_are_no_recording(tmp_path):
    """Missing, empty, of another format, with another header, cut off: one line that names the file."""
    path = tmp_path / "file"
    with pytest.raises(Unreadable, match="No such file"):
        Recording.open(str(path))
    for content, complaint in (
        (b"", "the file is empty"),
        (b"hello\n", 'line 1: neither a Databento DBN file nor a Bitstamp CSV: it begins with "hello"'),
        (b"id,price\n1,2\n", 'line 1: neither a Databento DBN file nor a Bitstamp CSV: it begins with "id,price"'),
    ):
        path.write_bytes(content)
        with pytest.raises(Unreadable) as caught:
            Recording.open(str(path))
        assert str(caught.value).startswith(f"{path}: {complaint}")


def test_a_cut_off_file_is_found_out(tmp_path):
    """A packed file that ends too early is refused, wherever it ends."""
    rows = [f"{n},1,1,{235 + n % 7}.00,100,created,ask" for n in range(1, 3000)]
    whole = Path(write(tmp_path, *rows)).read_bytes()
    for length in (1, 20, len(whole) // 2, len(whole) - 1):
        path = tmp_path / "cut"
        path.write_bytes(whole[:length])
        with pytest.raises(Unreadable):
            steps(str(path))


@pytest.mark.skipif(not DATA.exists(), reason=f"the Bitstamp recording is not at {DATA}")
def test_the_real_recording():
    """Every row of the five hours is a step or counted as none."""
    recording = Recording.open(str(DATA))
    found = list(recording.steps())
    adds = sum(isinstance(step, Add) for step in found)
    cancels = sum(isinstance(step, Cancel) for step in found)
    assert (adds, cancels, len(found)) == (24889, 24710, 49635)
    assert len(found) + sum(recording.skipped.values()) == 50414
