"""Token buckets: what they let through, to whom, and that they forget who is of no interest."""

from contextlib import suppress

import pytest

from shared.settings import Settings
from workers.gateway.access import rates
from workers.gateway.access.rates import Rate, Rates
from workers.gateway.errors import ApiError

SECOND = 10**9


class Clock:
    """A clock that a test turns."""

    def __init__(self):
        self.now = 10**15

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def taken(rate, who="a", tries=1000):
    """How many of so many requests at once are let through."""
    passed = 0
    for _ in range(tries):
        with suppress(ApiError):
            rate.take(who)
            passed += 1
    return passed


def test_two_seconds_worth_at_once_and_then_the_rate(clock):
    """A full bucket, then so many a second, also after a long rest."""
    rate = Rate("Private", 10, clock=clock)
    assert taken(rate) == 20
    for _ in range(3):
        clock.now += SECOND
        assert taken(rate) == 10
    clock.now += 3600 * SECOND
    assert taken(rate) == 20


def test_over_a_long_time_it_is_the_rate_whatever_the_rhythm(clock):
    """Somebody who tries all the time gets no more than so many a second and the first burst."""
    rate = Rate("Private", 7, clock=clock)
    passed = 0
    for _ in range(1000):
        clock.now += SECOND // 100
        passed += taken(rate, tries=3)
    assert 7 * 10 <= passed <= 7 * 10 + 14


def test_a_refused_request_costs_nothing(clock):
    """Whoever goes on asking is let in as soon as somebody who waits."""
    rate = Rate("Private", 1, clock=clock)
    assert taken(rate, tries=100) == 2
    clock.now += SECOND
    assert taken(rate, tries=100) == 1


def test_retry_after_is_enough(clock):
    """Whoever waits as long as the answer says is let in."""
    rate = Rate("Private", 3, clock=clock)
    for _ in range(20):
        taken(rate, tries=100)
        with pytest.raises(ApiError) as error:
            rate.take("a")
        assert (error.value.status, error.value.retry_after_s >= 1) == (429, True)
        clock.now += error.value.retry_after_s * SECOND
        rate.take("a")
        assert "Private rate limit exceeded: 3 a second" in str(error.value)


def test_each_has_a_bucket_of_their_own(clock):
    """One client's flood does not take from another's."""
    rate = Rate("Public", 5, clock=clock)
    assert taken(rate, "a") == 10
    assert taken(rate, "b") == 10
    assert taken(rate, 1) == 10


def test_dear_requests_take_more(clock):
    """Several at once, or none of them."""
    rate = Rate("Message", 10, 2, clock)
    rate.take("a", 19)
    with pytest.raises(ApiError):
        rate.take("a", 2)
    rate.take("a", 1)


def test_zero_is_no_limit(clock):
    """And costs no memory."""
    rate = Rate("Public", 0, clock=clock)
    assert taken(rate, tries=100_000) == 100_000
    assert not rate._full_at


def test_a_clock_that_stands_still_gives_nothing_away(clock):
    """Requests of one instant are counted one by one."""
    rate = Rate("Public", 10_000, clock=clock)
    assert taken(rate, tries=20_010) == 20_000


def test_full_buckets_are_forgotten(clock):
    """A million addresses that each came once take no memory for long, and nobody gains by being forgotten."""
    rate = Rate("Public", 1, clock=clock)
    for number in range(100_000):
        clock.now += SECOND // 10_000
        rate.take(number)
        if number % 10_000 == 0:
            taken(rate, "flood")
            assert taken(rate, "flood") == 0
    assert len(rate._full_at) <= 2 * 10_000 + rates.TRACKED_MIN, "those of the last second, twice, and a few"
    assert taken(rate, "flood") <= 1


def test_cancels_have_a_bucket_of_their_own():
    """Whoever has used up their orders can still cancel them."""
    limits = Rates(Settings(private_rate=1, cancel_rate=1))
    assert taken(limits.of("POST"), 7, 10) == 2
    assert taken(limits.of("GET"), 7, 10) == 0
    assert taken(limits.of("PATCH"), 7, 10) == 0
    assert taken(limits.of("DELETE"), 7, 10) == 2
