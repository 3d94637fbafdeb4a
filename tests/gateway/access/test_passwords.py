"""Hashing beside the trading: a few at once, off the loop, and a queue with an end."""

import asyncio
import threading
import time

import pytest

from shared.settings import Settings
from workers.gateway.access.passwords import AT_ONCE, WAITING_MAX, Passwords
from workers.gateway.errors import ApiError

TINY = Settings(argon_time_cost=1, argon_memory_cost=64, argon_parallelism=1)


class SlowHasher:
    """Holds every hash until it is told to go on, and notes how many are under way."""

    def __init__(self):
        self.under_way = self.most = 0
        self.go_on = threading.Event()
        self._lock = threading.Lock()

    def hash(self, password):
        with self._lock:
            self.under_way += 1
            self.most = max(self.most, self.under_way)
        self.go_on.wait(10)
        with self._lock:
            self.under_way -= 1
        return password


def test_no_more_than_two_hash_at_once_and_the_loop_goes_on():
    """Each takes 64 MiB: a flood of logins waits its turn, and who trades does not notice."""

    async def flood():
        passwords = Passwords(TINY)
        slow = SlowHasher()
        passwords._hasher = slow  # type: ignore[assignment]  # a hash that takes as long as the test likes
        tasks = [asyncio.create_task(passwords.hash(f"password {n}")) for n in range(WAITING_MAX)]
        started, turns = time.monotonic(), 0
        while slow.under_way < AT_ONCE or turns < 50:
            await asyncio.sleep(0.001)  # the loop runs while they hash
            turns += 1
            assert time.monotonic() - started < 5
        with pytest.raises(ApiError) as error:
            await passwords.hash("one more")
        assert (error.value.status, error.value.retry_after_s) == (503, 1)
        slow.go_on.set()
        assert await asyncio.gather(*tasks) == [f"password {n}" for n in range(WAITING_MAX)]
        assert slow.most == AT_ONCE == 2
        assert await passwords.hash("afterwards") == "afterwards"
        passwords.close()

    asyncio.run(flood())


def test_real_hashes():
    """What was hashed matches, and nobody's does not."""

    async def both():
        passwords = Passwords(TINY)
        stored = await passwords.hash("correct horse")
        found = [
            await passwords.matches(one, password)
            for one, password in ((stored, "correct horse"), (stored, "wrong"), ("", "correct horse"))
        ]
        passwords.close()
        return found

    assert asyncio.run(both()) == [True, False, False]
