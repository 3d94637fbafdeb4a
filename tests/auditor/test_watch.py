"""The watch over good logs, however they are cut and wherever it begins: it finds nothing wrong."""

import random
from functools import cache

import pytest

from tests.auditor.live import Follower, Live, LiveFeatures, LiveRecorded, Moment

KINDS = {"plain": LiveRecorded, "features": LiveFeatures}


@cache
def made(kind: str, seed: int, shards: int) -> Live:
    return KINDS[kind](seed, 400, shards)


def told(follower: Follower) -> list[str]:
    return [str(one.violation) for one in follower.watch.take()]


@pytest.mark.parametrize("shards", [1, 2])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(6))
def test_good_logs_are_good_at_every_cut(kind, seed, shards):
    """Followed live from the first entry: at each instant all invariants hold, and the owners' states are the log's."""
    live = made(kind, seed, shards)
    follower = Follower(live)
    for number, moment in enumerate((*live.past.moments, follower.final())):
        follower.follow(moment, save=number % 3 == 0)
        follower.watch.end()
        assert told(follower) == []
    assert follower.watch.compared > 20


@pytest.mark.parametrize("shards", [1, 2])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(12))
def test_it_may_begin_behind_any_snapshots(kind, seed, shards):
    """Each log begins behind a snapshot of its own time, as after a restart or a trim: there is no false alarm."""
    live, dice = made(kind, seed % 6, shards), random.Random(seed)
    moments = [one for one in live.past.moments if all(at.length for at in one.standings.values())]
    first = dice.randrange(len(moments) - 6)
    starts: dict[str, Moment] = {tag: moments[first + dice.randint(0, 5)] for tag in moments[0].standings}
    follower = Follower(live, starts, "python" if seed % 2 else "auto")
    for number, moment in enumerate((*moments[first + 5 :], follower.final())):
        follower.follow(moment, save=number % 3 == 0)
        follower.watch.end()
        assert told(follower) == []
    assert follower.watch.compared > 0
