"""The cluster's logs in Redis, as the slow lane reads them, and what it says there of how far PostgreSQL has them.

Whenever a log is read on, the last entry that PostgreSQL has is read again and compared by its hash: a Redis that lost
its tail and has grown again is found out before a row of it is written.
"""

from typing import Any

from redis.exceptions import RedisError

from shared import keys
from shared.chain import advance
from shared.connections import is_other_type
from shared.settings import Settings
from workers.follow import LogGap, numbered
from workers.pusher.rows import Positions, PositionStart

RECOVER = 'stop the cluster and run "matchbox recover"'
Entries = list[tuple[int, bytes]]


class Logs:
    """All logs of a cluster by tag, that of ``shards`` and that of ``symbols``."""

    def __init__(self, client: Any, settings: Settings) -> None:
        self.shards = {keys.shard_tag(shard): shard for shard in range(settings.shards)}
        self.symbols: dict[str, str] = {}
        self._client = client
        self._batch = settings.slow_batch
        self._published: dict[str, int] = {}
        self._told_lost: set[str] = set()

    async def lengths(self) -> dict[str, tuple[int, str]]:
        """Length and chain of each log, by tag, as its owner last committed them, and what is published of it.

        What is published is read each time: a pusher that was frozen may, on waking up, have put an older position
        over ours.
        """
        for name in await self._client.hkeys(keys.INSTRUMENTS):
            self.symbols.setdefault(keys.instrument_tag(name.decode()), name.decode())
        tags = [*self.shards, *self.symbols]
        pipe = self._client.pipeline(transaction=False)
        for tag in tags:
            pipe.hmget(keys.meta(tag), "length", "chain")
            pipe.hget(keys.consumers(keys.log(tag)), keys.POSTGRESQL)
        answers = await pipe.execute()
        published = zip(tags, answers[1::2], strict=True)
        self._published = {tag: int(position.partition(b"-")[0]) for tag, position in published if position}
        return {
            tag: (int(length or 0), (chain or b"").decode())
            for tag, (length, chain) in zip(tags, answers[::2], strict=True)
        }  # fmt: skip

    async def publish(self, positions: Positions) -> None:
        """Tell what PostgreSQL has for good, so that the logs may be trimmed up to there."""
        known = (positions[tag] for tag in {*positions, *self._published})  # one that it lost with its rows is 0
        news = [one for one in known if self._published.get(one.tag) != one.length]
        if not news:
            return
        pipe = self._client.pipeline(transaction=False)
        for one in news:
            pipe.hset(keys.consumers(keys.log(one.tag)), keys.POSTGRESQL, f"{one.length}-0")
        await pipe.execute()
        self._published |= {one.tag: one.length for one in news}

    async def tell_losses(self, lost: dict[str, str]) -> None:
        """Redis has not what it had: say so where whoever trades looks."""
        news = {tag: why for tag, why in lost.items() if tag not in self._told_lost}
        if news:
            await self._client.hset(keys.LOST, mapping=news)
            self._told_lost |= news.keys()

    async def read(self, behind: dict[str, int], positions: Positions, halted: dict[str, str]) -> dict[str, Entries]:
        """The next entries of each log after the last one that PostgreSQL has, up to where its owner has written.

        What stands behind that is somebody else's. Before a hole, or a key that is no log, is all that can be had.
        """
        if not behind:
            return {}
        count = max(1, self._batch // len(behind)) + 1
        pipe = self._client.pipeline(transaction=False)
        for tag, length in behind.items():
            first = max(1, positions[tag].length)
            # The name as bytes skips redis-py's conversion into dicts.
            pipe.execute_command(b"XRANGE", keys.log(tag), f"{first}-0", f"{length}-0", "COUNT", count)
        found: dict[str, Entries] = {}
        for tag, answer in zip(behind, await pipe.execute(raise_on_error=False), strict=True):
            if isinstance(answer, RedisError) and is_other_type(answer):
                halted[tag] = f"{keys.log(tag)}: is no log any more ({answer}); {RECOVER}"
            elif isinstance(answer, RedisError):
                raise answer
            else:
                self._take(positions[tag], answer, found, halted)
        return found

    def _take(self, have: PositionStart, answer: Any, found: dict[str, Entries], halted: dict[str, str]) -> None:
        """Those of the entries that follow one another; if none does, the log is halted."""
        stream, start = keys.log(have.tag), max(0, have.length - 1)
        try:
            entries = numbered(stream, start, answer)
        except LogGap as gap:
            entries = numbered(stream, start, answer[: gap.position - start])
            if len(entries) <= (1 if have.length else 0):
                halted[have.tag] = str(gap)
                return
        self._check(have, entries, found, halted)

    def _check(self, have: PositionStart, entries: Entries, found: dict[str, Entries], halted: dict[str, str]) -> None:
        """Whether this is the log that PostgreSQL has followed: its last entry has the hash it had."""
        if have.length and entries:
            if advance(have.chain_before, [entries[0][1]]) != have.chain:
                halted[have.tag] = diverged(have.tag, have.length)
                return
            entries = entries[1:]
        if entries:
            found[have.tag] = entries
        else:
            lost = f"has no entry after {have.length:,}, but a greater length; its entries are lost"
            halted[have.tag] = f"{keys.log(have.tag)}: {lost}; {RECOVER}"

    async def forged(self, tag: str, need: int) -> str:
        """What to say if there is an entry ``need`` that the log's owner has not written; "" if all is well."""
        length = int(await self._client.hget(keys.meta(tag), "length") or 0)
        if need <= length or not await self._client.xrange(keys.log(tag), f"{need}-0", f"{need}-0"):
            return ""
        what = f"a ledger has settled entry {need}-0, its owner has written {length}: somebody else wrote there"
        return f"{keys.log(tag)}: {what}; {RECOVER}"


def diverged(tag: str, length: int) -> str:
    """PostgreSQL has rows of a log that this one is not."""
    what = f"PostgreSQL has followed another log up to {length:,} (their hashes differ)"
    return f'{keys.log(tag)}: {what}; run "matchbox recover"'
