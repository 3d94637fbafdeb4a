"""Guesses are counted in Redis: for all gateway processes together, and before they are looked at."""

import asyncio
from contextlib import asynccontextmanager

import pytest

from shared.connections import connect, connect_async
from workers.gateway.access.attempts import LOGIN, LOGINS, WINDOW_S, Attempts
from workers.gateway.errors import ApiError


@asynccontextmanager
async def processes(url, count=1):
    """Counters of so many gateway processes."""
    clients = [connect_async(url) for _ in range(count)]
    try:
        yield [Attempts(client) for client in clients]
    finally:
        for client in clients:
            await client.aclose()


async def passed(attempts, *who, guess=LOGIN):
    try:
        await attempts.count(guess, *who)
    except ApiError as error:
        return not (error.status == 429 and 0 < error.retry_after_s <= WINDOW_S)
    return True


def test_five_and_no_more_however_many_processes_are_asked(redis_url):
    """Guesses go to two processes in turn, and all at once to both: five pass in either case."""

    async def guess():
        async with processes(redis_url, 2) as both:
            in_turn = [await passed(both[n % 2], "alice", "192.0.2.1") for n in range(12)]
            at_once = await asyncio.gather(*(passed(both[n % 2], "bob", "192.0.2.1") for n in range(40)))
        assert in_turn == [True] * 5 + [False] * 7
        assert sum(at_once) == 5

    asyncio.run(guess())


def test_the_count_is_of_a_name_and_an_address(redis_url):
    """Elsewhere the user can still log in, and so can others from there; texts cannot be shifted into each other."""

    async def guess():
        async with processes(redis_url) as (one,):
            for who in (("alice", "1.1.1.1"), ("alice", "1.1.1.2"), ("alic", "e1.1.1.1"), ("Alice", "1.1.1.1")):
                assert [await passed(one, *who) for _ in range(6)] == [True] * 5 + [False]

    asyncio.run(guess())


def test_the_window_ends_and_guessing_does_not_prolong_it(redis_url):
    """A quarter of an hour after the first guess, whatever came in between; every counter has an end."""

    async def guess():
        async with processes(redis_url) as (one,):
            with connect(redis_url) as client:
                for _ in range(6):
                    await passed(one, "alice", "1.1.1.1")
                (key,) = client.keys("matchbox:attempts:*")
                assert WINDOW_S - 5 < client.ttl(key) <= WINDOW_S
                client.expire(key, 100)
                assert not await passed(one, "alice", "1.1.1.1")
                assert client.ttl(key) <= 100
                client.pexpire(key, 1)
                await asyncio.sleep(0.05)
                assert await passed(one, "alice", "1.1.1.1")
                assert client.ttl(key) > WINDOW_S - 5

    asyncio.run(guess())


def test_a_success_starts_anew_and_does_not_count(redis_url):
    """Of the user: from the beginning. Of the address: only this one is taken back."""

    async def guess():
        async with processes(redis_url) as (one,):
            for _ in range(5):
                await one.count(LOGIN, "alice", "1.1.1.1")
            await one.forget(LOGIN, "alice", "1.1.1.1")
            assert await passed(one, "alice", "1.1.1.1")
            for _ in range(LOGINS.most):
                await one.count(LOGINS, "1.1.1.1")
                await one.uncount(LOGINS, "1.1.1.1")
            for _ in range(LOGINS.most):
                assert await passed(one, "1.1.1.1", guess=LOGINS)
            assert not await passed(one, "1.1.1.1", guess=LOGINS)

    asyncio.run(guess())


def test_names_are_not_in_redis(redis_url):
    """Nor anything from which they could be read off."""

    async def guess():
        async with processes(redis_url) as (one,):
            await one.count(LOGIN, "alice", "192.0.2.1")
            await one.count(LOGIN, "\ud800", "192.0.2.1")
            with connect(redis_url) as client:
                assert not [key for key in client.keys("*") if b"alice" in key or b"192" in key]

    asyncio.run(guess())


def test_what_cannot_be_counted_does_not_pass():
    """Redis away: 503, not a free guess."""

    async def guess():
        async with processes("redis://127.0.0.1:1") as (one,):
            with pytest.raises(ApiError) as error:
                await one.count(LOGIN, "alice", "1.1.1.1")
            assert error.value.status == 503

    asyncio.run(guess())
