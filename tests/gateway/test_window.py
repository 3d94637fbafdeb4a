"""The figures of 24 hours, kept up trade by trade, against counting them all."""

from hypothesis import given
from hypothesis import strategies as st

from workers.gateway.window import DAY_MINUTES, HOUR_NS, MINUTE_NS, MONTH_HOURS, Bucket, Window

DAY_NS = DAY_MINUTES * MINUTE_NS
START = 20_000 * DAY_NS
TRADES = st.lists(st.tuples(st.integers(0, 3 * DAY_NS), st.integers(1, 50), st.integers(1, 9)), max_size=60)


def naive(trades, now):
    """Open, high, low, volume of the minutes within a day, and the volume of the hours within 30 days."""
    recent = [one for one in trades if one[0] // MINUTE_NS > now // MINUTE_NS - DAY_MINUTES]
    month = sum(one[2] for one in trades if one[0] // HOUR_NS > now // HOUR_NS - MONTH_HOURS)
    if not recent:
        return (0, 0, 0, 0, month)
    prices = [one[1] for one in recent]
    return (prices[0], max(prices), min(prices), sum(one[2] for one in recent), month)


def figures(window, now):
    stats = window.stats(now)
    return (stats.open, stats.high, stats.low, stats.volume, stats.volume_month)


@given(TRADES, st.integers(0, 40 * DAY_NS))
def test_the_window_counts_as_a_full_count_does(gaps, later):
    """After any trades and any time, the figures are those of counting all trades anew."""
    trades = [(START + time, price, quantity) for time, price, quantity in sorted(gaps)]
    window = Window()
    for count, (time, price, quantity) in enumerate(trades, 1):
        window.add(time, price, quantity)
        assert figures(window, time) == naive(trades[:count], time)
    now = (trades[-1][0] if trades else START) + later
    assert figures(window, now) == naive(trades, now)


def test_a_window_goes_on_from_buckets_of_the_past():
    """Buckets read from PostgreSQL and trades that follow count together."""
    minute, hour = START // MINUTE_NS, START // HOUR_NS
    window = Window([Bucket(minute - 5, 10, 30, 5, 20, 100)], [(hour - 1, 1000), (hour, 100)])
    window.add(START, 40, 7)
    assert figures(window, START) == (10, 40, 5, 107, 1107)
    assert figures(window, START + DAY_NS - 3 * MINUTE_NS) == (40, 40, 40, 7, 1107)
