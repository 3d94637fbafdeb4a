"""Clusters in memory whose past is known: where all machines stood at many instants, and what their owners told."""

import random
from copy import deepcopy
from typing import Any

import msgspec

from shared import keys
from shared.chain import advance
from tests.audit.features import Features
from tests.audit.recorded import Recorded, Tag
from workers.auditor.watch import Start, Watch, load
from workers.store import Snapshot, Standing


class Moment(msgspec.Struct):
    """An instant: where all stood, and the snapshot that each would have written."""

    standings: dict[str, Standing]
    states: dict[str, bytes]


class Past:
    """Remembers moments of a recording while it is made."""

    def __init__(self) -> None:
        self.moments: list[Moment] = []
        self._dice = random.Random(7)

    def remember(self, tags: list[Tag], every: int) -> None:
        """Now and then."""
        if self._dice.randrange(every) == 0:
            self.moments.append(Moment({one.handler.tag: _standing(one) for one in tags}, _states(tags)))


def _standing(tag: Tag) -> Standing:
    found = deepcopy(tag.standing)
    found.length, found.chain = len(tag.log), advance("", tag.log)
    found.digest = (found.length, tag.handler.digest()) if tag.log else (0, "")
    return found


def _states(tags: list[Tag]) -> dict[str, bytes]:
    return {one.handler.tag: one.handler.dump() for one in tags}


class LiveRecorded(Recorded):
    """Plain orders."""

    def __init__(self, *args: Any, **more: Any) -> None:
        self.past = Past()
        super().__init__(*args, **more)

    def _request(self, number: int) -> None:
        self.past.remember([*self.ledgers.values(), *self.books.values()], 12)
        super()._request(number)


class LiveFeatures(Features):
    """Orders of every kind."""

    def __init__(self, *args: Any, **more: Any) -> None:
        self.past = Past()
        super().__init__(*args, **more)

    def _request(self, number: int) -> None:
        self.past.remember([*self.ledgers.values(), *self.books.values()], 12)
        super()._request(number)


Live = LiveRecorded | LiveFeatures


class Feed:
    """What a log has up to the present cut."""

    def __init__(self, log: list[bytes], start: int) -> None:
        self._log = log
        self._at = start
        self.last = start

    def grow(self, log: list[bytes], last: int) -> None:
        """The log is longer now, and may be read up to ``last``."""
        self._log, self.last = log, last

    def __iter__(self) -> "Feed":
        return self

    def __next__(self) -> tuple[bytes, bytes]:
        if self._at >= self.last:
            raise StopIteration
        self._at += 1
        return b"%d-0" % self._at, self._log[self._at - 1]


class Follower:
    """A watch over a recording, from its beginning or from any moments of its past, one for each machine."""

    def __init__(
        self, live: Live, starts: dict[str, Moment] | None = None, core: str = "auto", left_out: str = ""
    ) -> None:
        self.live = live
        self.tags = {one.handler.tag: one for one in (*live.ledgers.values(), *live.books.values())}
        self.saved: dict[tuple[str, int], Snapshot] = {}
        self.watch = Watch(live.shards, core, lambda tag, position: self.saved.get((tag, position)))
        self.feeds: dict[str, Feed] = {}
        if left_out:
            self.watch.leave_out(left_out)
            del self.tags[keys.instrument_tag(left_out)]
        for tag, one in self.tags.items():
            start = self.start(tag, starts[tag], core) if starts is not None else Start()
            self.feeds[tag] = Feed(one.log, start.position)
            self.watch.add(tag, self.feeds[tag], start)

    def go_on(self) -> None:
        """Go on with another watch, from the replicas as they are."""
        starts = self.watch.starts()
        self.watch = Watch(self.live.shards, self.watch.core, lambda tag, position: self.saved.get((tag, position)))
        for tag, start in starts.items():
            self.watch.add(tag, self.feeds[tag], start)

    def start(self, tag: str, moment: Moment, core: str) -> Start:
        """Behind the snapshot that an owner might have written then."""
        at = moment.standings[tag]
        return load(tag, Snapshot(at.length, at.chain, "", moment.states[tag]), core)

    def follow(
        self, moment: Moment, *, save: bool = False, positions: dict[str, list[int]] | None = None
    ) -> None:  # fmt: skip
        """Follow up to there; ``save``: the owners have just written snapshots; ``positions``: of those there are."""
        positions = dict(positions or {})
        for tag, at in moment.standings.items():
            if tag not in self.feeds:
                continue
            self.feeds[tag].last = max(self.feeds[tag].last, at.length)
            if save:
                self.saved[tag, at.length] = Snapshot(at.length, at.chain, "", moment.states[tag])
                positions[tag] = [at.length]
        self.watch.cut(moment.standings, positions)
        for _ in self.watch.follow():
            pass

    def final(self) -> Moment:
        """The end of the recording."""
        tags = list(self.tags.values())
        return Moment({tag: _standing(one) for tag, one in self.tags.items()}, _states(tags))
