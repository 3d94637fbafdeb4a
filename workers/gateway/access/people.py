"""Users and their API keys, as the routes ask for them: register, log in, make and end keys, block.

What is changed is in PostgreSQL when this answers, in force in this process, and announced to the others.
"""

from collections.abc import Sequence
from typing import Any

from redis.exceptions import RedisError
from sqlalchemy import Row, select

from shared import keys, log
from shared.credentials import (
    ApiKey,
    Role,
    Scope,
    check_name,
    end_key,
    insert_key,
    insert_user,
    networks_of,
    set_access,
    set_password_hash,
    set_role,
)
from shared.errors import InvalidInput
from shared.passwords import check_password
from shared.schema import api_keys, users
from workers.gateway.access.attempts import LOGIN, LOGINS, REGISTRATIONS, Attempts
from workers.gateway.access.auth import BLOCKED
from workers.gateway.access.keyring import KeyRing, User
from workers.gateway.access.passwords import Passwords
from workers.gateway.access.watch import Watch
from workers.gateway.errors import ApiError, refused_input, unauthorized
from workers.gateway.history import History
from workers.gateway.paging import Page
from workers.ledger.risk import ACCOUNT_MAX

WRONG = "wrong name or password"


class People:
    """What can be done about users and keys."""

    def __init__(
        self,
        client: Any,
        history: History,
        keyring: KeyRing,
        watch: Watch,
        attempts: Attempts,
        passwords: Passwords,
        server_key: str,
    ) -> None:
        self._client = client
        self._history = history
        self._keyring = keyring
        self._watch = watch
        self._attempts = attempts
        self._passwords = passwords
        self._server_key = server_key

    def close(self) -> None:
        """The process ends."""
        self._passwords.close()

    # --- coming in ---

    async def register(self, name: str, password: str, address: str) -> User:
        """A new user. Raises ``ApiError``: 400 if the name is taken or either is unusable, 429, 503."""
        with refused_input():
            check_name(name)
            check_password(password)
        await self._attempts.count(REGISTRATIONS, address)
        hashed = await self._passwords.hash(password)
        with refused_input():
            account = await self._history.write(insert_user, name, password_hash=hashed)
        await self._announce(keys.user_changed(account))
        return await self.user(account)

    async def log_in(self, name: str, password: str, address: str) -> User:
        """Whose name and password these are. Raises ``ApiError``: 401 if nobody's, 429, 503.

        An unknown name takes as long as a wrong password, and reads alike.
        """
        await self._attempts.count(LOGINS, address)
        await self._attempts.count(LOGIN, name, address)
        query = select(users.c.account, users.c.password_hash, users.c.blocked_at).where(users.c.name == name)
        found = await self._history.rows(query) if _may_be_name(name) else []
        stored = found[0].password_hash if found else ""
        if not await self._passwords.matches(stored, password):
            raise unauthorized(WRONG)
        await self._attempts.forget(LOGIN, name, address)
        await self._attempts.uncount(LOGINS, address)
        if found[0].blocked_at is not None:
            raise unauthorized(BLOCKED)
        if self._passwords.is_outdated(stored):
            await self._history.write(set_password_hash, found[0].account, await self._passwords.hash(password))
        return await self.user(found[0].account)

    async def user(self, account: int) -> User:
        """A user. Raises ``ApiError`` 404."""
        found = await self._keyring.find_user(account) if 0 < account <= ACCOUNT_MAX else None
        if found is None:
            raise ApiError(404, "user not found")
        return found

    # --- keys ---

    async def make_key(self, account: int, scopes: Sequence[Scope], label: str, allowed_ips: Sequence[str]) -> ApiKey:
        """A new key. Raises ``ApiError``: 400 if it cannot be such a one, 503."""
        with refused_input():
            networks_of(allowed_ips)
            made = await self._history.write(insert_key, account, scopes, self._server_key, label, allowed_ips)
        await self._announce(made.key)
        return made

    async def keys_of(self, account: int) -> Sequence[Row[Any]]:
        """The account's keys in force, the newest first. Raises ``ApiError`` 503."""
        columns = (api_keys.c[name] for name in ("key", "scopes", "label", "allowed_ips", "created_at"))
        mine = select(*columns).where(api_keys.c.account == account, api_keys.c.revoked_at.is_(None))
        return await self._history.rows(mine.order_by(api_keys.c.created_at.desc(), api_keys.c.key))

    async def end_key(self, key: str, account: int = 0) -> int:
        """End a key (of ``account``, if given), and answer whose it was. Raises ``ApiError`` 404, also for others'."""
        owner = await self._history.write(end_key, key, account) if key.isascii() and key.isalnum() else 0
        if not owner:
            raise ApiError(404, "API key not found")
        await self._announce(key)
        return owner

    # --- for admins ---

    async def list(self, page: Page) -> Sequence[Row[Any]]:
        """A page of all users, one more than its limit, in the page's direction. Raises ``ApiError`` 503."""
        names = ("account", "name", "role", "created_at", "blocked_at")
        return await self._history.rows(page.select(select(*(users.c[name] for name in names)), users.c.account))

    async def set_role(self, account: int, role: Role) -> None:
        """Make a user a trader or an admin; what their keys and sessions may do follows. Raises ``ApiError``."""
        await self.user(account)
        with refused_input():
            await self._history.write(set_role, account, role)
        await self._announce(keys.user_changed(account))

    async def set_access(self, account: int, *, blocked: bool) -> None:
        """Let a user in no longer, or again: logins, sessions, keys, sockets. Raises ``ApiError``."""
        await self.user(account)
        with refused_input():
            await self._history.write(set_access, account, blocked=blocked)
        await self._announce(keys.user_changed(account))

    async def _announce(self, what: str) -> None:
        """To this process at once, and to the others; who does not hear it finds out at its next look."""
        await self._watch.heed(what)
        try:
            await self._client.publish(keys.KEYS_CHANNEL, what)
        except (RedisError, OSError) as error:
            log.get().warning("A change of users or keys could not be announced", error=str(error))


def _may_be_name(name: str) -> bool:
    """Whether anybody can be called that: other texts need not even be storable."""
    try:
        check_name(name)
    except InvalidInput:
        return False
    return True
