"""How much the clients of one process may leave unread together."""

import asyncio

from shared.settings import Settings
from workers.gateway.access.open_sockets import UNREAD_MAX, OpenSockets
from workers.gateway.feed.socket import BUFFER_MAX, FeedSocket


class Clogged(asyncio.Transport):
    """A connection whose client has so many bytes still to read."""

    def __init__(self, unread):
        super().__init__()
        self.unread = unread
        self.is_cut = False

    def get_write_buffer_size(self):
        return self.unread

    def is_closing(self):
        return self.is_cut

    def abort(self):
        self.is_cut = True


def opened(*sizes):
    sockets, transports = OpenSockets(Settings()), [Clogged(size) for size in sizes]
    for transport in transports:
        sockets.enter(FeedSocket(transport), "203.0.113.7")
    return sockets, transports


def test_within_the_bound_nobody_is_cut_off():
    """However many are slow."""
    sockets, transports = opened(*[BUFFER_MAX] * (UNREAD_MAX // BUFFER_MAX))
    sockets.relieve()
    assert not any(one.is_cut for one in transports)


def test_beyond_it_those_who_read_least_go_first():
    """As many as it takes, and no more; what was given up is not counted again."""
    slow = [BUFFER_MAX - number for number in range(UNREAD_MAX // BUFFER_MAX + 10)]
    sockets, transports = opened(0, *reversed(slow), 1000)
    sockets.relieve()
    cut = [one.unread for one in transports if one.is_cut]
    left = sum(one.unread for one in transports) - sum(cut)
    assert left <= UNREAD_MAX < left + min(cut)
    assert sorted(cut, reverse=True) == slow[: len(cut)]
    sockets.relieve()
    assert [one.unread for one in transports if one.is_cut] == cut
