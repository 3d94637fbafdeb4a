"""How often somebody may guess: counted in Redis, so that it is the same number for all gateway processes.

An attempt counts before its password is looked at, so that guesses that arrive together do not pass together.
"""

import hashlib
from typing import Any

import msgspec

from shared import keys
from workers.gateway.errors import redis_is_away, too_many

WINDOW_S = 15 * 60


class Guess(msgspec.Struct, frozen=True):
    """A kind of attempt: at most ``most`` in ``WINDOW_S``, counted from the first one."""

    kind: str
    most: int
    what: str


LOGIN = Guess("login", 5, "failed logins as this user from your address")
"""Of one name and address: others cannot lock a user out, wherever they are."""
LOGINS = Guess("logins", 50, "failed logins from your address")
"""Of one address, whatever the names."""
REGISTRATIONS = Guess("registrations", 50, "new users from your address")


class Attempts:
    """Counts attempts."""

    def __init__(self, client: Any) -> None:
        self._client = client

    async def count(self, guess: Guess, *who: str) -> None:
        """One more attempt. Raises ``ApiError``: 429 if that is one too many, 503 if it cannot be counted."""
        key = _key(guess, who)
        with redis_is_away("attempts to log in"):
            pipe = self._client.pipeline(transaction=True)  # or a key that ends in between would stay without an end
            pipe.set(key, 0, ex=WINDOW_S, nx=True)
            pipe.incr(key)
            pipe.ttl(key)
            _, count, left_s = await pipe.execute()
        if count > guess.most:
            wait_s = max(1, left_s)
            raise too_many(f"too many {guess.what}; try again in {wait_s} s", wait_s)

    async def forget(self, guess: Guess, *who: str) -> None:
        """It succeeded: start anew. Raises ``ApiError`` 503."""
        with redis_is_away("attempts to log in"):
            await self._client.delete(_key(guess, who))

    async def uncount(self, guess: Guess, *who: str) -> None:
        """It succeeded: this one does not count. Raises ``ApiError`` 503."""
        key = _key(guess, who)
        with redis_is_away("attempts to log in"):
            pipe = self._client.pipeline(transaction=True)
            pipe.set(key, 1, ex=WINDOW_S, nx=True)
            pipe.decr(key)
            await pipe.execute()


def _key(guess: Guess, who: tuple[str, ...]) -> str:
    """Hashed, since a name is any text, and nobody should read from Redis who tries to log in."""
    return keys.attempts(guess.kind, hashlib.sha256("\x00".join(who).encode("utf-8", "surrogatepass")).hexdigest())
