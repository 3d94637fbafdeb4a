"""The hash chain over a log: one value that stands for every entry so far, in their order.

``chain_n = sha1(chain_(n-1) || payload_n)`` as 40 hex characters; the chain of an empty log is "". The owner of the log
stores it with every commit, PostgreSQL with every transaction, and whoever folds the log can check it.
"""

from collections.abc import Iterable
from hashlib import sha1


def advance(chain: str, payloads: Iterable[bytes]) -> str:
    """The chain after ``payloads``."""
    link = bytes.fromhex(chain)
    for payload in payloads:
        link = sha1(link + payload, usedforsecurity=False).digest()
    return link.hex()
