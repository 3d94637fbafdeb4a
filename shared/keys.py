"""The names of every key, stream and channel in Redis: the public contract of the cluster.

A hash tag (``{a:S}`` for account shard S, ``{i:SYMBOL}`` for an instrument) keeps what one commit touches in one
Redis Cluster slot.
"""

INSTRUMENTS = "matchbox:instruments"
"""Hash: symbol -> Instrument JSON. What the supervisors should run; the rules in force are those in the logs."""
SHARDS = "matchbox:shards"
"""String: the number of account shards, fixed when the cluster was made."""
HALTED = "matchbox:halted"
"""Hash: worker name -> why its supervisor gave it up."""
PRESSURE = "matchbox:pressure"
"""String with a short TTL: JSON ``Pressure``, how full the stores are and what the gateways may let in."""
LOST = "matchbox:lost"
"""Hash: tag -> what Redis has lost of it. Nothing trades until ``matchbox recover`` has removed it."""
FINDINGS = "matchbox:findings"
"""Hash: tag -> JSON of the last breach that the auditor has halted for: where, what, and which file tells it again."""
AUDITED = "matchbox:audited"
"""Hash: tag -> the entry of its log up to which the auditor has checked everything."""
SUPERVISORS = "matchbox:supervisors"
"""Hash: host and data folder -> JSON of what that supervisor runs and how it is, written twice a second."""
CANCEL_ON_DISCONNECT = "matchbox:cancel-on-disconnect"
"""Hash: session -> JSON of whose orders a gateway has promised to cancel when that session's socket ends."""
KEYS_CHANNEL = "matchbox:api-keys"
"""Pub/sub: an API key was made or revoked (its id), a user changed (``user:`` and the account), a session ended
(``session:`` and its hash)."""


def shard_tag(shard: int) -> str:
    """Hash tag of an account shard."""
    return f"{{a:{shard}}}"


def instrument_tag(symbol: str) -> str:
    """Hash tag of an instrument."""
    return f"{{i:{symbol}}}"


def shard_of(account: int, shards: int) -> int:
    """The shard that keeps an account."""
    return account % shards


def inbox(shard: int) -> str:
    """Stream of requests, written by gateways with ``XADD *``."""
    return f"{shard_tag(shard)}:in"


def is_inbox(stream: str) -> bool:
    """Whether a stream is an inbox, the only kind whose ids are not gapless."""
    return stream.endswith("}:in")


def outbox(shard: int, symbol: str) -> str:
    """Stream of commands from a shard to a book, gapless from 1-0."""
    return f"{shard_tag(shard)}:to:{symbol}"


def log(tag: str) -> str:
    """Stream of what the tag's owner did, gapless from 1-0."""
    return f"{tag}:log"


def meta(tag: str) -> str:
    """Hash: epoch, owner, lease, version, length, chain, ``at:<source>`` positions, ``len:<outbox>`` lengths."""
    return f"{tag}:meta"


def snapshot(tag: str) -> str:
    """Hash: log position -> snapshot bytes; the two newest."""
    return f"{tag}:snapshot"


def consumers(stream: str) -> str:
    """Hash: reader -> the last entry of the stream it will never need again. Trimming never passes the lowest."""
    return f"{stream}:consumers"


POSTGRESQL = "postgresql"
"""The pusher's name among the consumers of a log: what PostgreSQL has."""

AUDITOR = "matchbox:auditor"
"""Stands where a tag does: one auditor per cluster, by its lease."""

PUSHER_LOCK = "matchbox:pusher"
"""Lock: one pusher per cluster."""


def lease(tag: str) -> str:
    """Name of the lease on a book or shard: its state is in ``meta``, its wake-ups on ``<lease>.live``."""
    return f"{tag}:lease"


def beat(worker: str) -> str:
    """String with a short TTL: JSON of the worker's last sign of life."""
    return f"matchbox:beat:{worker}"


def engine(symbol: str) -> str:
    """Name of the worker that runs an instrument's book."""
    return f"engine:{symbol}"


def own_beat(worker: str, host: str, pid: int) -> str:
    """The same of one process: several hosts may run a worker of the same name, of which one works and others wait."""
    return f"matchbox:beat:{worker}@{host}:{pid}"


def supervisor(host: str) -> str:
    """Lock: one supervisor per cluster and host."""
    return f"matchbox:supervisor:{host}"


def session(hashed: str) -> str:
    """String with a TTL, the session's idle time: JSON of a session, by the hash of its id."""
    return f"matchbox:session:{hashed}"


def attempts(kind: str, hashed: str) -> str:
    """String with a TTL: how often this was tried, by the hash of who tried."""
    return f"matchbox:attempts:{kind}:{hashed}"


def user_changed(account: int) -> str:
    """What is announced on ``KEYS_CHANNEL`` when a user's role, block or password has changed."""
    return f"user:{account}"


def session_ended(hashed: str) -> str:
    """What is announced on ``KEYS_CHANNEL`` when a session has ended before its time."""
    return f"session:{hashed}"


def price(symbol: str) -> str:
    """String: the last trade price, as decimal text."""
    return f"{symbol}.price"


def live(symbol: str) -> str:
    """Pub/sub: conflated live updates of an instrument."""
    return f"{symbol}.live"
