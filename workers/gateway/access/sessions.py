"""Sessions of people in browsers: a random id in a cookie, of which Redis knows only the hash.

The cookie alone lets read. What changes something needs the session's CSRF token too, which only a page of ours can
know, and must not come from a page of others: cookies do not tell ports apart, so another program on this host is the
same site to a browser.
"""

import base64
import hashlib
import hmac
import secrets
import time
from collections.abc import Iterable
from typing import Any

import msgspec

from shared import keys
from shared.instants import SECOND_NS
from shared.settings import Settings
from workers.gateway.access.address import came_by_tls
from workers.gateway.errors import redis_is_away, unauthorized

ID_BYTES = 32
ID_CHARS = 43
CSRF_HEADER = b"x-csrf-token"
READING = frozenset({"GET", "HEAD"})
_CSRF = b"matchbox csrf token"
_WHAT = "sessions"


class Session(msgspec.Struct, frozen=True):
    """A login: of ``account``, at ``began``, until ``ends`` at the latest (ns)."""

    account: int
    began: int
    ends: int


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Session).decode


class Sessions:
    """The sessions, as Redis has them for all gateway processes; their idle time is the TTL there."""

    def __init__(self, client: Any, settings: Settings) -> None:
        self._client = client
        self._idle_ms = settings.session_idle_s * 1000
        self._max_ns = settings.session_max_s * SECOND_NS
        self._touch_ms = min(60_000, self._idle_ms // 10)
        """How much idle time a use may cost without being noted: each note is a write to disk."""
        self._proxied = settings.proxied
        self.cookie = f"matchbox_{settings.port}"
        """Its name. Browsers do not tell ports apart, and two venues of one host must not log each other out."""

    # --- their life ---

    async def open(self, account: int) -> tuple[str, Session]:
        """A new session; answers its id. Raises ``ApiError`` 503."""
        now, found = time.time_ns(), secrets.token_urlsafe(ID_BYTES)
        session = Session(account, now, self.end_of(now))
        with redis_is_away(_WHAT):
            await self._client.set(keys.session(hash_of(found)), _encode(session), px=self._left_ms(session, now))
        return found, session

    def end_of(self, began: int) -> int:
        """When a session ends that began then, however it is used (ns)."""
        return began + self._max_ns

    async def find(self, session_id: str) -> Session | None:
        """The session with this id, which is used hereby; None if there is none (any more). Raises ``ApiError`` 503."""
        return await self.use(hash_of(session_id)) if len(session_id) == ID_CHARS else None

    async def use(self, hashed: str) -> Session | None:
        """The same, by the hash of the id."""
        key, now = keys.session(hashed), time.time_ns()
        with redis_is_away(_WHAT):
            pipe = self._client.pipeline(transaction=False)
            pipe.get(key)
            pipe.pttl(key)
            text, left_ms = await pipe.execute()
            if text is None:
                return None
            session = _decode(text)
            if session.ends <= now:
                return None
            if left_ms < self._left_ms(session, now) - self._touch_ms:
                await self._client.pexpire(key, self._left_ms(session, now))
        return session

    def _left_ms(self, session: Session, now: int) -> int:
        """How long a session that is used now may stay unused."""
        return max(1, min(self._idle_ms, (session.ends - now) // 1_000_000))

    async def end(self, session_id: str) -> None:
        """End a session everywhere, at once. Raises ``ApiError`` 503."""
        hashed = hash_of(session_id)
        with redis_is_away(_WHAT):
            if await self._client.delete(keys.session(hashed)):
                await self._client.publish(keys.KEYS_CHANNEL, keys.session_ended(hashed))

    async def ended(self, hashes: Iterable[str]) -> set[str]:
        """Those of these sessions that are no more. Raises ``ApiError`` 503."""
        asked = list(hashes)
        with redis_is_away(_WHAT):
            pipe = self._client.pipeline(transaction=False)
            for hashed in asked:
                pipe.exists(keys.session(hashed))
            return {hashed for hashed, there in zip(asked, await pipe.execute(), strict=True) if not there}

    # --- their cookie ---

    def id_of(self, headers: Iterable[tuple[bytes, bytes]]) -> str:
        """The session id in a request's cookies, "" if there is none.

        Raises ``ApiError`` 401 if there are several: somebody has put another's beside it.
        """
        found = self.ids_of(headers)
        if len(found) > 1:
            raise unauthorized(f"there are several cookies {self.cookie}; delete this site's cookies and log in")
        return found.pop() if found else ""

    def ids_of(self, headers: Iterable[tuple[bytes, bytes]]) -> set[str]:
        """All session ids in a request's cookies."""
        found: set[str] = set()
        for name, value in headers:
            if name == b"cookie":
                for pair in value.decode("latin-1").split(";"):
                    key, _, text = pair.partition("=")
                    if key.strip() == self.cookie:
                        found.add(text.strip().strip('"'))
        return found

    def set_cookie(self, scope: Any, session_id: str) -> str:
        """The header that gives a browser its session; with "", takes it away."""
        age_s = self._max_ns // SECOND_NS if session_id else 0
        secure = "; Secure" if came_by_tls(scope, proxied=self._proxied) else ""
        return f"{self.cookie}={session_id}; Path=/; Max-Age={age_s}; HttpOnly; SameSite=Strict{secure}"


def hash_of(session_id: str) -> str:
    """What is kept of an id. It has 256 random bits, so the hash need not be slow."""
    return hashlib.sha256(session_id.encode("utf-8", "surrogatepass")).hexdigest()


def csrf_token(session_id: str) -> str:
    """The token that a session's changes carry in ``X-CSRF-Token``: nobody gets from it to the id."""
    return base64.urlsafe_b64encode(hmac.digest(session_id.encode(), _CSRF, "sha256")).decode().rstrip("=")


def check_origin(headers: Iterable[tuple[bytes, bytes]]) -> None:
    """Raises ``ApiError`` 401 if a browser says that the request comes from a page of somebody else's.

    The host has to be the one that was called, port included. Programs that are no browser send no origin.
    """
    found = dict(headers)
    origin, host = found.get(b"origin"), found.get(b"host", b"")
    if origin is not None and origin.partition(b"://")[2].lower() != host.lower():
        shown = origin[:80].decode("latin-1")
        raise unauthorized(f'this request comes from a page of "{shown}"; only pages of this host may use its sessions')


def check_change(headers: Iterable[tuple[bytes, bytes]], session_id: str) -> None:
    """Whether a request with a cookie may change something. Raises ``ApiError`` 401."""
    found = list(headers)
    check_origin(found)
    token = dict(found).get(CSRF_HEADER, b"")
    if not hmac.compare_digest(token, csrf_token(session_id).encode()):
        raise unauthorized("X-CSRF-Token is missing or wrong: send csrf_token as POST /sessions or GET /users/self say")
