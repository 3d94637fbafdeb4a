"""Send one request to the ledger and wait for its answer: for the command line, tools and tests.

The gateway has its own, concurrent way (``workers/gateway/inbox.py``).
"""

import time
from typing import Any

from shared import keys
from shared.connections import BLOCK_MS
from shared.errors import MatchboxError, Unavailable
from shared.messages import FIELD, LedgerEvent, Rejected, Request, decode_ledger_entry, encode
from shared.pressure import decode_pressure

COUNT = 500


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
        so repeat it with the same ``request_id`` only; or if the stores are too full: then nothing was sent. Raises
        ``Refused`` for a ``Rejected``.
        """
        if shard is None:
            shard = keys.shard_of(getattr(request, "account", 0), self._shards)
        return self._answer_of(request, shard, self._send(request, shard), time.monotonic() + timeout_s, timeout_s)

    def submit_to_all(self, request: Request, *, timeout_s: float = 10.0) -> None:
        """Send ``request`` to every shard at once, then wait for each: one that hangs keeps it from no other.

        Raises as ``submit``; ``Unavailable`` names who did not answer.
        """
        sent = {shard: self._send(request, shard) for shard in range(self._shards)}
        end, silent = time.monotonic() + timeout_s, list[int]()
        for shard, position in sent.items():
            try:
                self._answer_of(request, shard, position, end, timeout_s)
            except Unavailable:
                silent.append(shard)
        if silent:
            more = "; all others have done it" if len(silent) < self._shards else ""
            raise _silent(" and ".join(map(str, silent)), timeout_s, more)

    def _send(self, request: Request, shard: int) -> bytes:
        """Send it, and answer where the shard's log ended before. Raises ``Unavailable`` if the stores are too full."""
        if refusal := decode_pressure(self._client.get(keys.PRESSURE)).refusal(request):
            raise Unavailable(refusal)
        newest = self._client.xrevrange(keys.log(keys.shard_tag(shard)), count=1)
        self._client.xadd(keys.inbox(shard), {FIELD: encode(request)})
        return newest[0][0] if newest else b"0-0"

    def _answer_of(self, request: Request, shard: int, position: bytes, end: float, timeout_s: float) -> LedgerEvent:
        """The shard's answer, looked for after ``position``: until ``end``, and in all that is there."""
        log = keys.log(keys.shard_tag(shard))
        while True:
            block_ms = max(1, min(BLOCK_MS, int((end - time.monotonic()) * 1000)))
            entries: list[Any] = []
            for _, entries in _streams(self._client.xread({log: position}, count=COUNT, block=block_ms)):
                for position, fields in entries:  # noqa: B007  # the last one is where the next read goes on
                    for event in decode_ledger_entry(fields[FIELD]).events:
                        if getattr(event, "request_id", None) == request.request_id:
                            return _answer(event)
            if time.monotonic() > end and len(entries) < COUNT:
                raise _silent(str(shard), timeout_s)


def _silent(who: str, timeout_s: float, more: str = "") -> Unavailable:
    return Unavailable(
        f"ledger {who} did not answer within {timeout_s:g} s{more}. What was asked waits for it and may still be done; "
        'is the cluster running? See "matchbox status"'
    )


def _streams(reply: Any) -> Any:
    """(stream, entries) pairs, whichever RESP version the connection speaks."""
    return reply.items() if isinstance(reply, dict) else reply or []


def _answer(event: LedgerEvent) -> LedgerEvent:
    if isinstance(event, Rejected):
        raise Refused(event)
    return event
