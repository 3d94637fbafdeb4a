"""Order ids: integers inside, a deterministic UUID (version 8, RFC 9562) at the API's edge.

The shard sits in the low bits, so ids of different shards never collide.
"""

import uuid

from shared.errors import InvalidInput

SHARD_BITS = 8
SHARD_MASK = (1 << SHARD_BITS) - 1
_PREFIX = 0x6D61746368628000_8000000000000000
_ID_BITS = 62
_MASK = (1 << _ID_BITS) - 1


def order_id(count: int, shard: int) -> int:
    """Id of the shard's ``count``-th order."""
    return count << SHARD_BITS | shard


def shard_of_order(number: int) -> int:
    """The shard that accepted an order."""
    return number & SHARD_MASK


def to_uuid(number: int) -> str:
    """The public form of an order id."""
    return str(uuid.UUID(int=_PREFIX | number))


def from_uuid(text: str) -> int:
    """The order id behind its public form; 0 if it is a UUID, but none of ours. Raises ``InvalidInput``: no UUID."""
    try:
        number = uuid.UUID(text).int
    except ValueError:
        raise InvalidInput("Invalid order id") from None
    return number & _MASK if number & ~_MASK == _PREFIX else 0
