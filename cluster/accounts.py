"""Users, test money and API keys from the command line: PostgreSQL for who, the ledger for how much."""

import uuid
from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import Engine, select

from cluster.instruments import listing, shard_count
from shared import keys
from shared.credentials import ApiKey, create_key, find_user, revoke_key, server_key
from shared.errors import InvalidInput
from shared.instrument import decimal_of, money_units, plain
from shared.messages import TransferRequest
from shared.schema import users
from shared.settings import Settings
from shared.submit import Submitter


class User(msgspec.Struct):
    """A user and the account that is theirs."""

    account: int
    name: str
    role: str


def list_users(database: Engine) -> list[User]:
    """All users, the oldest first."""
    with database.connect() as connection:
        rows = connection.execute(select(users).order_by(users.c.account))
        return [User(row.account, row.name, row.role) for row in rows]


def make_key(client: Any, database: Engine, settings: Settings, user: str, scopes: Sequence[Any], label: str) -> ApiKey:
    """An API key for a user. Raises ``InvalidInput`` for an unknown user or scope."""
    account = find_user(database, user)
    made = create_key(database, account, [one.strip() for one in scopes], server_key(settings), label)
    client.publish(keys.KEYS_CHANNEL, made.key)
    return made


def end_key(client: Any, database: Engine, key: str) -> None:
    """Revoke an API key and tell the gateways. Raises ``InvalidInput`` if there is none."""
    revoke_key(database, key)
    client.publish(keys.KEYS_CHANNEL, key)


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
