"""Passwords: argon2id, as slow and as large as the settings say. Blocking: a hash takes a good part of a second.

What is stored names its own parameters, so changing the settings makes no password unusable.
"""

import base64
import secrets
import unicodedata

from argon2 import PasswordHasher, Type
from argon2.exceptions import InvalidHashError, VerificationError
from argon2.low_level import ARGON2_VERSION

from shared.errors import InvalidInput
from shared.settings import Settings

CHARS_MIN = 8
BYTES_MAX = 1024
SALT_BYTES = 16
HASH_BYTES = 32


def check_password(password: str) -> None:
    """Raises ``InvalidInput`` if it cannot be a password. What it is made of is its owner's business."""
    if len(password) < CHARS_MIN:
        raise InvalidInput(f"password: use at least {CHARS_MIN} characters")
    if len(_bytes_of(password)) > BYTES_MAX:
        raise InvalidInput(f"password: use at most {BYTES_MAX} bytes")


def _bytes_of(password: str) -> bytes:
    """The password's bytes, the same from whichever keyboard an é comes."""
    return unicodedata.normalize("NFC", password).encode("utf-8", "surrogatepass")


class Hasher:
    """Hashes and verifies passwords with the settings' parameters."""

    def __init__(self, settings: Settings) -> None:
        cost, memory, lanes = settings.argon_time_cost, settings.argon_memory_cost, settings.argon_parallelism
        self._hasher = PasswordHasher(cost, max(memory, 8 * lanes), lanes, HASH_BYTES, SALT_BYTES, type=Type.ID)
        salt, digest = (_base64(secrets.token_bytes(size)) for size in (SALT_BYTES, HASH_BYTES))
        parameters = f"m={self._hasher.memory_cost},t={cost},p={lanes}"
        self._nobodys = f"$argon2id$v={ARGON2_VERSION}${parameters}${salt}${digest}"
        """Stands in for the hash of an unknown user: to find it wrong takes the same work, and nothing matches it."""

    def hash(self, password: str) -> str:
        """What is stored of a password."""
        return self._hasher.hash(_bytes_of(password))

    def matches(self, stored: str, password: str) -> bool:
        """Whether this is the password. ``stored`` "": there is no such user, or they have none; it never is."""
        try:
            self._hasher.verify(stored or self._nobodys, _bytes_of(password))
        except (VerificationError, InvalidHashError):
            return False
        return bool(stored)

    def is_outdated(self, stored: str) -> bool:
        """Whether the settings ask for other parameters by now."""
        return self._hasher.check_needs_rehash(stored)


def _base64(data: bytes) -> str:
    """As argon2's own format has it: without padding."""
    return base64.b64encode(data).decode().rstrip("=")
