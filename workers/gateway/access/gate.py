"""Who comes in: by the signature of an API key or by the cookie of a session, and not too often.

Whoever sends a key is judged by that alone. Who is refused is counted against their address, like anybody unknown.
"""

import time
from typing import Any

from shared.credentials import scopes_of
from shared.settings import Settings
from workers.gateway.access.address import address_of, neighbourhood
from workers.gateway.access.auth import BLOCKED, WEBSOCKET_PATH, Caller, Claim, claim_of_headers, signed_headers, verify
from workers.gateway.access.keyring import KeyRing
from workers.gateway.access.rates import Rates
from workers.gateway.access.sessions import READING, Sessions, check_change, check_origin, hash_of
from workers.gateway.errors import ApiError, unauthorized

_ENDED = "the session has ended; log in again by POST /sessions"


class Gate:
    """Lets callers in."""

    def __init__(self, settings: Settings, keyring: KeyRing, sessions: Sessions, rates: Rates) -> None:
        self._proxied = settings.proxied
        self._keyring = keyring
        self._sessions = sessions
        self._rates = rates

    def address_of(self, scope: Any) -> str:
        """The client's address."""
        return address_of(scope, proxied=self._proxied)

    def neighbourhood_of(self, scope: Any) -> str:
        """What a limit counts as one client."""
        return neighbourhood(self.address_of(scope))

    def count(self, scope: Any) -> None:
        """A request of somebody unknown. Raises ``ApiError`` 429 if their address sends too many."""
        self._rates.public.take(self.neighbourhood_of(scope))

    async def caller_of(self, scope: Any, target: bytes, body: bytes) -> Caller:
        """Who sent a request. Raises ``ApiError``: 401 if nobody who may, 429 if too often, 503 if nobody can tell."""
        found = signed_headers(scope["headers"])
        try:
            if "key" in found:
                caller = await self._signed(claim_of_headers(found), scope, target, body)
            else:
                caller = await self._logged_in(scope)
        except ApiError:
            self.count(scope)
            raise
        self._rates.of(scope["method"]).take(caller.account)
        return caller

    async def signer_of(self, claim: Claim, scope: Any) -> Caller:
        """Who signed a message of the WebSocket with this scope. Raises ``ApiError``: 401, 429, 503."""
        try:
            return await self._signed(claim, scope | {"method": "GET"}, WEBSOCKET_PATH, b"")
        except ApiError:
            self.count(scope)
            raise

    async def _signed(self, claim: Claim, scope: Any, target: bytes, body: bytes) -> Caller:
        credential = await self._keyring.find(claim.key)
        caller = verify(claim, credential, scope["method"].encode(), target, body, time.time())
        assert credential is not None
        if credential.blocked or credential.networks:
            credential.check_use(self.address_of(scope))
        return caller

    async def _logged_in(self, scope: Any) -> Caller:
        headers = scope["headers"]
        session_id = self._sessions.id_of(headers)
        if not session_id:
            claim_of_headers({})  # says what is missing
        caller = await self._caller_in(session_id)
        if caller is None:
            raise unauthorized(_ENDED)
        if scope["method"] not in READING:
            check_change(headers, session_id)
        return caller

    async def visitor_of(self, scope: Any) -> Caller | None:
        """Whose session a WebSocket opens with: a page of ours has no key to sign with. None: nobody known."""
        try:
            check_origin(scope["headers"])
            session_id = self._sessions.id_of(scope["headers"])
            return await self._caller_in(session_id) if session_id else None
        except ApiError:  # the public channels are for everybody
            return None

    async def _caller_in(self, session_id: str) -> Caller | None:
        session = await self._sessions.find(session_id)
        if session is None:
            return None
        user = await self._keyring.find_user(session.account)
        if user is None or session.began < user.sessions_since:
            return None
        if user.blocked:
            raise unauthorized(BLOCKED)
        return Caller(user.account, frozenset(scopes_of(user.role)), "", hash_of(session_id), session.began)

    def is_good(self, caller: Caller) -> bool:
        """Whether somebody who came in some time ago still may, as far as memory knows."""
        if caller.key:
            credential = self._keyring.peek(caller.key)
            return credential is not None and not credential.blocked and caller.scopes == credential.scopes
        user = self._keyring.peek_user(caller.account)
        if user is None or user.blocked or caller.began < user.sessions_since:
            return False
        return caller.scopes == frozenset(scopes_of(user.role))
