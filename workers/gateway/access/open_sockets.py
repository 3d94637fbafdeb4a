"""The open WebSockets of this process: not too many, and none longer than its owner may listen."""

import asyncio
from collections import Counter
from collections.abc import Callable, Collection

import msgspec

from shared.settings import Settings
from workers.gateway.access.auth import Caller
from workers.gateway.errors import too_many
from workers.gateway.feed.messages import error, frame
from workers.gateway.feed.socket import FeedSocket
from workers.gateway.feed.subscriptions import AUTHENTICATION_FAILED

NOT_ALLOWED = 1008
RETRY_S = 5
UNREAD_MAX = 256 * 1024 * 1024
"""Bytes that all clients together may leave unread; a frame that many are sent counts for each of them."""
LOOK_S = 0.25


class _Place(msgspec.Struct):
    """Where a socket comes from, and who has said to be its owner."""

    address: str
    caller: Caller | None = None
    used: bool = False


class OpenSockets:
    """All sockets. A limit of 0 is none."""

    def __init__(self, settings: Settings) -> None:
        self._most = settings.sockets_max
        self._most_of_address = settings.sockets_per_address
        self._most_of_account = settings.sockets_per_account
        self._places: dict[FeedSocket, _Place] = {}
        self._of_address: Counter[str] = Counter()
        self._of_account: Counter[int] = Counter()

    def check(self, address: str) -> None:
        """Raises ``ApiError`` 429 if there is no place for one more socket of this address."""
        if self._most and len(self._places) >= self._most:
            raise too_many(f"too many WebSockets are open: {self._most}; try again later", RETRY_S)
        if self._most_of_address and self._of_address[address] >= self._most_of_address:
            raise too_many(
                f"too many WebSockets are open from your address: {self._most_of_address}; use one for many products",
                RETRY_S,
            )

    def enter(self, socket: FeedSocket, address: str) -> None:
        """A socket is open."""
        self._places[socket] = _Place(address)
        self._of_address[address] += 1

    def sign_in(self, socket: FeedSocket, caller: Caller) -> None:
        """The socket's owner is known now, perhaps by another key. Raises ``ApiError`` 429 if they have too many."""
        place = self._places[socket]
        if place.caller is None:
            if self._most_of_account and self._of_account[caller.account] >= self._most_of_account:
                raise too_many(
                    f"too many WebSockets of yours are open: {self._most_of_account}; close one first", RETRY_S
                )
            self._of_account[caller.account] += 1
        place.caller = caller
        socket.account = caller.account

    def leave(self, socket: FeedSocket) -> None:
        """A socket is gone."""
        place = self._places.pop(socket)
        _less(self._of_address, place.address)
        if place.caller is not None:
            _less(self._of_account, place.caller.account)

    # --- who does not read ---

    async def relieve_forever(self) -> None:
        """Look now and then how much is unread: each socket is bounded, but there are many."""
        while True:
            await asyncio.sleep(LOOK_S)
            self.relieve()

    def relieve(self) -> None:
        """Cut off those who have left the most unread, until the others together are within the bound."""
        unread = {socket: size for socket in self._places if (size := socket.unread)}
        total = sum(unread.values())
        for socket in sorted(unread, key=unread.__getitem__, reverse=True):
            if total <= UNREAD_MAX:
                return
            total -= unread[socket]
            socket.abort()

    # --- who may stay ---

    def sessions(self) -> set[str]:
        """The sessions (hashes of their ids) that have a socket."""
        return {place.caller.session for place in self._places.values() if place.caller and place.caller.session}

    def note_use(self, socket: FeedSocket) -> None:
        """The socket's owner has just done something by it."""
        self._places[socket].used = True

    def used_sessions(self) -> set[str]:
        """The sessions whose sockets were used since this was asked last."""
        found = {place.caller.session for place in self._places.values() if place.used and place.caller}
        for place in self._places.values():
            place.used = False
        return found - {""}

    def end_sessions(self, hashes: Collection[str]) -> None:
        """Close the sockets of these sessions."""
        if hashes:
            self.recheck(lambda caller: caller.session not in hashes)

    def recheck(self, is_good: Callable[[Caller], bool]) -> None:
        """Close the sockets of those who may no longer listen."""
        for socket, place in list(self._places.items()):
            if place.caller is not None and not is_good(place.caller):
                what = "session has ended" if place.caller.session else "API key has ended, or what it may do changed"
                socket.send(frame(error(AUTHENTICATION_FAILED, f"your {what}; connect again")))
                socket.close(NOT_ALLOWED, "no longer allowed")


def _less[Key](counter: Counter[Key], key: Key) -> None:
    counter[key] -= 1
    if not counter[key]:
        del counter[key]
