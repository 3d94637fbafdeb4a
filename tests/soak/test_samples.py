"""What a soak makes of its looks."""

from tests.soak.samples import Sample, course, courses


def test_a_leak_shows_as_its_slope_per_hour():
    """1 MB a minute is 60 MB an hour, whatever the warm-up did."""
    points = [(0.0, 500.0), *((60.0 * minute, 100.0 + minute) for minute in range(1, 11))]
    found = course(points, warm_s=60)
    assert (found.first, found.most, found.last, found.slope) == (101, 110, 110, 60)


def test_what_is_short_has_no_slope():
    """One look behind the warm-up, or none: the last one counts."""
    assert course([(1.0, 7.0)], warm_s=60).slope == 0
    assert course([(1.0, 7.0), (90.0, 8.0)], warm_s=60).last == 8


def test_each_figure_has_a_course():
    """Memory by kind, streams by kind, and the lag."""
    looks = [Sample(at, {"engine": 40.0 + at}, {"inbox": 3}, 0) for at in (0.0, 3600.0)]
    found = courses(looks, warm_s=0)
    assert sorted(found) == ["engine MB", "inbox entries", "lag entries"]
    assert found["engine MB"].slope == 3600
