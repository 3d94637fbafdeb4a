"""Makes the journal of a finding, from what Redis has: the snapshots before it and the logs since."""

import time

from shared import keys
from workers.audit.redis_logs import Feed, RedisLogs
from workers.auditor.journal import Journal, Recording
from workers.auditor.places import symbol_of
from workers.auditor.watch import Finding, Watch
from workers.store import Snapshot


def gather(logs: RedisLogs, watch: Watch, finding: Finding, *, is_long: bool) -> Journal | None:
    """The journal of a finding, up to the present cut; ``None`` if there is nothing left from before it.

    It begins behind the newest snapshots, with ``is_long`` as far back as Redis goes. A finding of a book needs that
    book and the ledgers alone. Raises ``CorruptState``, ``Trimmed``.
    """
    of_book = symbol_of(finding.tag)
    recordings, left_out = [], []
    for tag in watch.machines:
        symbol = symbol_of(tag)
        if of_book and symbol and symbol != of_book:
            left_out.append(symbol)
            continue
        recording = _recording(logs, watch, tag, finding.position - 1 if tag == finding.tag else None, is_long)
        if recording is None:
            return None
        recordings.append(recording)
    return Journal(
        time=time.time_ns(), shards=watch.shards, finding=finding, recordings=recordings, left_out=left_out
    )  # fmt: skip


def _recording(logs: RedisLogs, watch: Watch, tag: str, before: int | None, is_long: bool) -> Recording | None:
    one = watch.machines[tag]
    standing = one.view.standing
    usable = logs.usable(tag, standing.length if before is None else max(0, before))
    is_whole = logs.oldest(tag) == 1
    start: Snapshot | None = None
    if usable and not (is_long and is_whole):
        start = usable[-1] if is_long else usable[0]
    elif not is_whole:
        return None
    begin = start.position if start is not None else 0
    return Recording(
        tag=tag,
        standing=standing,
        start=start,
        entries=list(Feed(logs, keys.log(tag), begin, standing.length)),
        digests=list(one.digests),
        snapshots=[one.snapshot for one in watch.differing if one.tag == tag],
    )
