"""Send one request to the ledger and wait for its answer: for the command line, tools and tests.

The gateway has its own, concurrent way (``workers/gateway/inbox.py``).
"""

import time
from typing import Any

from shared import keys
from shared.connections import BLOCK_MS
from shared.errors import MatchboxError, Unavailable
from shared.messages import FIELD, LedgerEvent, Rejected, Request, decode_ledger_entry, encode


class Refused(MatchboxError):
    """The ledger refused a request; ``event`` says why."""

    def __init__(self, event: Rejected) -> None:
        super().__init__(event.message or event.reason.value)
        self.event = event


class Submitter:
    """Blocking requests to a running cluster's ledgers."""

    def __init__(self, client: Any, shards: int = 1) -> None:
        self._client = client
        self._shards = shards

    def submit(self, request: Request, *, timeout_s: float = 10.0, shard: int | None = None) -> LedgerEvent:
        """Send ``request`` to its account's shard and answer the ledger's first event for it.

        Raises ``Unavailable`` if nothing answers in time: the request stays in the inbox and may still happen,
        so repeat it with the same ``request_id`` only. Raises ``Refused`` for a ``Rejected``.
        """
        if shard is None:
            shard = keys.shard_of(getattr(request, "account", 0), self._shards)
        log = keys.log(keys.shard_tag(shard))
        newest = self._client.xrevrange(log, count=1)
        position = newest[0][0] if newest else b"0-0"
        self._client.xadd(keys.inbox(shard), {FIELD: encode(request)})
        end = time.monotonic() + timeout_s
        while time.monotonic() < end:
            for _, entries in _streams(self._client.xread({log: position}, count=500, block=BLOCK_MS)):
                for position, fields in entries:  # noqa: B007  # the last one is where the next read goes on
                    for event in decode_ledger_entry(fields[FIELD]).events:
                        if getattr(event, "request_id", None) == request.request_id:
                            return _answer(event)
        raise Unavailable(f"ledger {shard} did not answer within {timeout_s:g} s; is the cluster running?")

    def submit_to_all(self, request: Request, *, timeout_s: float = 10.0) -> None:
        """Send ``request`` to every shard, one after the other, and wait for each."""
        for shard in range(self._shards):
            self.submit(request, timeout_s=timeout_s, shard=shard)


def _streams(reply: Any) -> Any:
    """(stream, entries) pairs, whichever RESP version the connection speaks."""
    return reply.items() if isinstance(reply, dict) else reply or []


def _answer(event: LedgerEvent) -> LedgerEvent:
    if isinstance(event, Rejected):
        raise Refused(event)
    return event
