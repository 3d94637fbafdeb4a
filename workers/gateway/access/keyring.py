"""Users and API keys in memory: loaded from PostgreSQL, kept current by what is announced, so PostgreSQL may be away.

What is not in memory is looked up, at a bounded rate: whoever tries unknown keys cannot keep PostgreSQL busy.
"""

import asyncio
import ipaddress
import time
from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Row, Select, select

from shared import log
from shared.credentials import open_secret, scopes_of
from shared.errors import CorruptState
from shared.schema import api_keys, users
from workers.gateway.access.auth import Credential
from workers.gateway.errors import unavailable
from workers.gateway.history import History

LOOKUPS_A_SECOND = 50
KEY_CHARS = 32
UNKNOWN_MAX = 10_000
AWAY = "users and API keys cannot be checked just now: PostgreSQL is away; try again"


class User(msgspec.Struct, frozen=True):
    """A user as the gateway keeps them in memory. Sessions that began before ``sessions_since`` (ns) have ended."""

    account: int
    name: str
    role: str
    created_at: int
    blocked: bool
    sessions_since: int


class KeyRing:
    """All users, and all API keys that are in force."""

    def __init__(self, history: History, server_key: str) -> None:
        self._history = history
        self._server_key = server_key
        self._found: dict[str, Credential] = {}
        self._users: dict[int, User] = {}
        self._sealed: dict[str, tuple[bytes, bytes]] = {}
        """Each key's secret as it was read, and opened: opening all of them at every load would take long."""
        self._unknown: dict[str, None] = {}
        """Keys that were looked up in vain. Once is enough: nobody knows a key's id before it is made."""
        self._unreadable: set[str] = set()
        self._reading = asyncio.Lock()
        """One read at a time: what was read before a key was ended must not be taken after what was read since."""
        self._loaded = False
        self._second = 0
        self._lookups = 0
        self._log = log.get()

    @property
    def trouble(self) -> str:
        """Why some keys are refused that others may take; "" if none are."""
        if not self._unreadable:
            return ""
        count = len(self._unreadable)
        return f"{count} API keys are of another server key and refused: give all hosts the same MATCHBOX_SERVER_KEY"

    # --- asking ---

    def peek(self, key: str) -> Credential | None:
        """The credential of a key, if it is in memory."""
        return self._found.get(key)

    def peek_user(self, account: int) -> User | None:
        """The user with this account, if they are in memory."""
        return self._users.get(account)

    async def find(self, key: str) -> Credential | None:
        """The credential of a key, None if there is none. Raises ``ApiError`` 503 if only PostgreSQL could tell."""
        known = self._found.get(key)
        if known is None and is_key(key) and self._may_look_up(key):
            await self.refresh(key)
            known = self._found.get(key)
            if known is None:
                self._unknown[key] = None
        return known

    async def find_user(self, account: int) -> User | None:
        """The user with this account, None if there is none. Raises ``ApiError`` 503 if only PostgreSQL could tell."""
        known = self._users.get(account)
        if known is None and self._may_look_up():
            await self.refresh_user(account)
            known = self._users.get(account)
        return known

    def _may_look_up(self, key: str = "") -> bool:
        if not self._loaded:
            raise unavailable(AWAY)
        if key in self._unknown:
            return False
        if len(self._unknown) >= UNKNOWN_MAX:
            self._unknown.clear()
        second = int(time.monotonic())
        if second != self._second:
            self._second, self._lookups = second, 0
        self._lookups += 1
        return self._lookups <= LOOKUPS_A_SECOND

    # --- reading ---

    async def refresh(self, key: str) -> None:
        """Read one key again: it may be new, or revoked. Raises ``ApiError`` 503."""
        async with self._reading:
            rows = await self._history.rows(_in_force(api_keys.c.key == key))
            self._found.pop(key, None)
            self._unknown.pop(key, None)
            self._unreadable.discard(key)
            self._take(rows)

    async def refresh_user(self, account: int) -> None:
        """Read one user and their keys again. Raises ``ApiError`` 503."""
        async with self._reading:
            found = await self._history.rows(_users().where(users.c.account == account))
            rows = await self._history.rows(_in_force(api_keys.c.account == account))
            for key in [one.key for one in self._found.values() if one.account == account]:
                del self._found[key]
            self._users.pop(account, None)
            self._take_users(found)
            self._take(rows)

    async def load(self) -> None:
        """Read all users and keys again. Raises ``ApiError`` 503."""
        async with self._reading:
            found, rows = await self._history.rows(_users()), await self._history.rows(_in_force())
            self._found.clear()
            self._users.clear()
            self._unreadable.clear()
            self._take_users(found)
            self._take(rows)
            self._sealed = {key: pair for key, pair in self._sealed.items() if key in self._found}
            self._loaded = True

    def _take_users(self, rows: Sequence[Row[Any]]) -> None:
        for row in rows:
            blocked = row.blocked_at is not None
            self._users[row.account] = User(
                row.account, row.name, row.role, row.created_at, blocked, row.sessions_since
            )

    def _take(self, rows: Sequence[Row[Any]]) -> None:
        for row in rows:
            try:
                self._found[row.key] = self._credential(row)
            except CorruptState as error:
                self._unreadable.add(row.key)
                self._log.error("An API key cannot be used", key=row.key, error=str(error))

    def _credential(self, row: Row[Any]) -> Credential:
        sealed, secret = self._sealed.get(row.key, (b"", b""))
        if sealed != row.secret:
            sealed = bytes(row.secret)
            secret = open_secret(sealed, self._server_key)
            self._sealed[row.key] = sealed, secret
        scopes = frozenset(row.scopes) & frozenset(scopes_of(row.role))  # a role that was taken takes its scope along
        networks = tuple(ipaddress.ip_network(one) for one in row.allowed_ips)
        blocked = row.blocked_at is not None
        return Credential(row.key, row.account, secret, bytes(row.passphrase_hash), scopes, networks, blocked)


def is_key(text: str) -> bool:
    """Whether this may be the id of a key that we made; nothing else is looked up."""
    return len(text) == KEY_CHARS and text.isascii() and text.isalnum()


def _users() -> Select[Any]:
    return select(
        users.c.account, users.c.name, users.c.role, users.c.created_at, users.c.blocked_at, users.c.sessions_since
    )


def _in_force(*conditions: ColumnElement[bool]) -> Select[Any]:
    names = ("key", "account", "secret", "passphrase_hash", "scopes", "allowed_ips")
    query = select(*(api_keys.c[name] for name in names), users.c.role, users.c.blocked_at)
    query = query.join(users, users.c.account == api_keys.c.account)
    return query.where(api_keys.c.revoked_at.is_(None), *conditions)
