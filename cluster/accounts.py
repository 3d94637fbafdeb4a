"""Users, test money and API keys from the command line: PostgreSQL for who, the ledger for how much."""

import uuid
from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import Engine, select

from cluster import kill_switch
from cluster.instruments import listing, shard_count
from shared import credentials, keys
from shared.credentials import (
    ApiKey,
    Role,
    Scope,
    create_key,
    create_user,
    find_user,
    owner_of,
    revoke_key,
    server_key,
    set_access,
    set_password,
    set_role,
)
from shared.errors import InvalidInput
from shared.instrument import decimal_of, money_units, plain
from shared.messages import TransferRequest
from shared.passwords import Hasher, check_password
from shared.schema import users
from shared.settings import Settings
from shared.submit import Submitter


class User(msgspec.Struct):
    """A user and the account that is theirs."""

    account: int
    name: str
    role: str
    blocked: bool


def list_users(database: Engine) -> list[User]:
    """All users, the oldest first."""
    with database.connect() as connection:
        rows = connection.execute(select(users).order_by(users.c.account))
        return [User(row.account, row.name, row.role, row.blocked_at is not None) for row in rows]


def make_user(client: Any, database: Engine, settings: Settings, name: str, role: Role, password: str) -> int:
    """A new user, who can log in if there is a password; answers the account. Raises ``InvalidInput``."""
    account = create_user(database, name, role, _hashed(settings, password) if password else "")
    _tell(client, account)
    return account


def change_password(client: Any, database: Engine, settings: Settings, user: str, password: str) -> None:
    """Give a user another password, and end their sessions. Raises ``InvalidInput``."""
    account, hashed = find_user(database, user), _hashed(settings, password)
    with database.begin() as connection:
        set_password(connection, account, hashed)
    _tell(client, account)


def _hashed(settings: Settings, password: str) -> str:
    check_password(password)
    return Hasher(settings).hash(password)


def change_role(client: Any, database: Engine, user: str, role: Role) -> None:
    """Make a user a trader or an admin. Raises ``InvalidInput``."""
    account = find_user(database, user)
    with database.begin() as connection:
        set_role(connection, account, role)
    _tell(client, account)


def block(client: Any, database: Engine, user: str, reason: str) -> None:
    """Let a user in no longer, then stop their trading and cancel their orders.

    Raises ``InvalidInput`` if there is none, ``Unavailable`` if the ledger does not answer: do it again then.
    """
    account = find_user(database, user)
    with database.begin() as connection:
        set_access(connection, account, blocked=True)
    _tell(client, account)
    kill_switch.block(client, account, reason)


def unblock(client: Any, database: Engine, user: str) -> None:
    """Let a user trade and come in again. Raises as ``block`` does."""
    account = find_user(database, user)
    kill_switch.unblock(client, account)
    with database.begin() as connection:
        set_access(connection, account, blocked=False)
    _tell(client, account)


def _tell(client: Any, account: int) -> None:
    """Let the gateways know that a user has changed."""
    client.publish(keys.KEYS_CHANNEL, keys.user_changed(account))


def make_key(
    client: Any,
    database: Engine,
    settings: Settings,
    user: str,
    scopes: Sequence[Scope],
    label: str,
    allowed_ips: Sequence[str] = (),
) -> ApiKey:
    """An API key for a user. Raises ``InvalidInput`` for an unknown user, network or scope."""
    account = find_user(database, user)
    made = create_key(database, account, scopes, server_key(settings), label, allowed_ips)
    client.publish(keys.KEYS_CHANNEL, made.key)
    return made


def end_key(client: Any, database: Engine, key: str) -> None:
    """Revoke an API key and tell the gateways. Raises ``InvalidInput`` if there is none."""
    revoke_key(database, key)
    client.publish(keys.KEYS_CHANNEL, key)


def kill_key(client: Any, database: Engine, key: str) -> int:
    """The same, and cancel what its account has open; answers the account. Also of a key that is revoked already.

    Raises ``InvalidInput`` if there never was one, ``Unavailable`` if the ledger does not answer: do it again then.
    """
    account = owner_of(database, key)
    with database.begin() as connection:
        revoked = credentials.end_key(connection, key)
    if revoked:
        client.publish(keys.KEYS_CHANNEL, key)
    kill_switch.cancel_all(client, account)
    return account


def deposit(client: Any, database: Engine, user: str, currency: str, amount: str) -> str:
    """Give a user test money; answers the amount as plain decimal text.

    Raises ``InvalidInput`` for an unknown user or currency or an amount that is none, ``Unavailable`` if the ledger
    does not answer.
    """
    account = find_user(database, user)
    scale = currency_scale(client, currency)
    units = money_units(amount, scale)
    request = TransferRequest(f"deposit-{uuid.uuid4().hex}", account, currency, units)
    Submitter(client, shard_count(client)).submit(request)
    return plain(decimal_of(amount, "amount"))


def currency_scale(client: Any, currency: str) -> int:
    """Decimal places of a currency. Raises ``InvalidInput`` if no instrument uses it."""
    scales: dict[str, int] = {}
    for one in listing(client):
        scales |= {one.base: one.base_scale, one.quote: one.quote_scale}
    if currency not in scales:
        known = ", ".join(sorted(scales)) or "none yet; add an instrument first"
        raise InvalidInput(f'currency "{currency}" is not used by any instrument (there are: {known})')
    return scales[currency]
