"""Reading the processes' logs: their ends, and what follows."""

import pytest

from cluster.logs import find_logs, follow, last_lines
from shared.errors import InvalidInput


def test_the_last_lines_are_read_from_the_end(tmp_path):
    """Any number of lines, of files of any length, without the rest."""
    log = tmp_path / "a.log"
    log.write_text("".join(f"line {number}\n" for number in range(20_000)))
    assert last_lines(log, 2) == ["line 19998", "line 19999"]
    assert len(last_lines(log, 30_000)) == 20_000
    assert last_lines(log, 0) == []
    log.write_text("")
    assert last_lines(log, 5) == []


def test_a_process_is_named_as_in_status(tmp_path):
    """``engine:BTC-USD`` finds its log; a name that has none is told those that have."""
    (tmp_path / "engine-BTC-USD.log").write_text("")
    (tmp_path / "pusher.log").write_text("")
    assert [path.stem for path in find_logs(tmp_path, "engine:BTC-USD")] == ["engine-BTC-USD"]
    assert len(find_logs(tmp_path, None)) == 2
    with pytest.raises(InvalidInput, match="there are: engine-BTC-USD, pusher"):
        find_logs(tmp_path, "engine:LTC-USD")


def test_following_shows_whole_lines_of_all_logs(tmp_path, monkeypatch):
    """Lines come once each, when they are complete; new logs and logs that were begun anew are noticed."""
    log = tmp_path / "a.log"
    log.write_text("before\n")
    lines = follow(tmp_path, None)
    log_b = tmp_path / "b.log"

    def write(path, text, mode="a"):
        with path.open(mode) as file:
            file.write(text)

    steps = iter([(log, "one\nhal", "a"), (log, "f\n", "a"), (log_b, "two\n", "a"), (log, "x\n", "w")])
    monkeypatch.setattr("cluster.logs.time.sleep", lambda _: write(*next(steps)))  # what happens between two looks
    assert [next(lines) for _ in range(4)] == [("a", "one"), ("a", "half"), ("b", "two"), ("a", "x")]
