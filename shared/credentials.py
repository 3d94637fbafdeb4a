"""Users and API keys: made here, kept in PostgreSQL, their secrets encrypted with the server's key.

A secret must be readable to verify an HMAC, so it is encrypted (Fernet), not hashed. A passphrase is only compared,
so it is hashed; it is 128 random bits, which no guessing finds, so the hash need not be slow.

Whoever makes or revokes a key, or changes a user, says so on ``keys.KEYS_CHANNEL``, so that running gateways notice at
once. What takes a connection runs in its transaction, so that the gateway can run it in one of its own.
"""

import base64
import hashlib
import ipaddress
import os
import secrets
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Literal, get_args

import msgspec
from cryptography.fernet import Fernet, InvalidToken
from sqlalchemy import Connection, Engine, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from shared.default_secrets import KEY_FILE
from shared.errors import CorruptState, InvalidInput, InvalidSetting
from shared.schema import api_keys, users
from shared.settings import SERVER_KEY_CHARS_MIN, Settings

Scope = Literal["view", "trade", "transfer", "admin"]
Role = Literal["trader", "admin"]

SCOPES: tuple[Scope, ...] = ("view", "trade", "transfer")
"""What every user may do, and let a key of theirs do. ``admin`` is for the role of that name."""
ROLES: tuple[Role, ...] = get_args(Role)
SECRET_BYTES = 32
NAME_CHARS_MAX = 64
LABEL_CHARS_MAX = 128
NETWORKS_MAX = 32
KEYS_MAX = 100
"""Keys in force that one account may have."""


class ApiKey(msgspec.Struct, frozen=True):
    """What the client gets, once. ``secret`` is base64, as in ``CB-ACCESS-SIGN``'s recipe."""

    key: str
    secret: str
    passphrase: str


def server_key(settings: Settings) -> str:
    """The server's key: the setting, else the file ``<data>/server.key``, made (mode 0600) if absent.

    Raises ``InvalidSetting`` if it is too short to be a secret.
    """
    path = settings.data_dir / KEY_FILE
    text = settings.server_key or _key_from(path)
    if len(text) < SERVER_KEY_CHARS_MIN:
        where = "MATCHBOX_SERVER_KEY" if settings.server_key else str(path)
        raise InvalidSetting(f"{where}: the server key needs at least {SERVER_KEY_CHARS_MIN} random characters")
    return text


def _key_from(path: Path) -> str:
    """The key in the file. A new one is linked into place, so of two processes that start at once one wins."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(secrets.token_urlsafe(32) + "\n")
            file.flush()
            os.fsync(descriptor)
        with suppress(FileExistsError):
            os.link(draft, path)
        draft.unlink()
    return path.read_text(encoding="utf-8").strip()


def scopes_of(role: str) -> tuple[Scope, ...]:
    """All that a user of this role may do."""
    return (*SCOPES, "admin") if role == "admin" else SCOPES


@lru_cache(maxsize=4)
def _cipher(key: str) -> Fernet:
    return Fernet(base64.urlsafe_b64encode(hashlib.sha256(b"matchbox api secrets " + key.encode()).digest()))


def seal_secret(secret: bytes, key: str) -> bytes:
    """A secret, encrypted with the server's key."""
    return _cipher(key).encrypt(secret)


def open_secret(sealed: bytes, key: str) -> bytes:
    """An encrypted secret as raw bytes. Raises ``CorruptState`` if it was encrypted with another server key."""
    try:
        return _cipher(key).decrypt(sealed)
    except InvalidToken:
        raise CorruptState(
            "an API secret was encrypted with another server key; "
            "set MATCHBOX_SERVER_KEY (or the data folder) to the one it was made with, or make new API keys"
        ) from None


def passphrase_hash(key: str, passphrase: bytes) -> bytes:
    """What is stored of a passphrase: a SHA-256, bound to its API key."""
    return hashlib.sha256(key.encode() + b"\x00" + passphrase).digest()


# --- users ---


def create_user(engine: Engine, name: str, role: Role = "trader", password_hash: str = "") -> int:
    """A new user; answers the account. Raises ``InvalidInput`` if the name is unusable or taken."""
    with engine.begin() as connection:
        return insert_user(connection, name, role, password_hash)


def insert_user(connection: Connection, name: str, role: Role = "trader", password_hash: str = "") -> int:
    """The same. Without a password nobody can log in as this user."""
    check_name(name)
    check_role(role)
    row = insert(users).values(name=name, role=role, password_hash=password_hash, created_at=time.time_ns())
    try:
        return int(connection.execute(row.returning(users.c.account)).scalar_one())
    except IntegrityError:
        raise InvalidInput(f'user "{name}" exists already; choose another name') from None


def check_name(name: str) -> None:
    """Raises ``InvalidInput`` if nobody can be called that."""
    if not 0 < len(name) <= NAME_CHARS_MAX or not name.isprintable() or name != name.strip():
        raise InvalidInput(f'user name "{name[:NAME_CHARS_MAX]}": use 1 to {NAME_CHARS_MAX} printable characters')


def check_role(role: str) -> None:
    """Raises ``InvalidInput`` if there is no such role."""
    if role not in ROLES:
        raise InvalidInput(f'role "{role[:40]}": choose one of {", ".join(ROLES)}')


def find_user(engine: Engine, name: str) -> int:
    """The account of a user. Raises ``InvalidInput`` if there is no such user."""
    with engine.connect() as connection:
        account = connection.execute(select(users.c.account).where(users.c.name == name)).scalar()
    if account is None:
        raise InvalidInput(f'user "{name}" does not exist; "matchbox user list" shows who does')
    return int(account)


def set_role(connection: Connection, account: int, role: Role) -> None:
    """Make a user a trader or an admin. Raises ``InvalidInput``."""
    check_role(role)
    _change_user(connection, account, role=role)


def set_access(connection: Connection, account: int, *, blocked: bool) -> None:
    """Block a user, or let them in again: sessions, logins and keys. Raises ``InvalidInput`` if there is none."""
    _change_user(connection, account, blocked_at=time.time_ns() if blocked else None)


def set_password(connection: Connection, account: int, password_hash: str) -> None:
    """Give a user another password, and end their sessions. Raises ``InvalidInput`` if there is none."""
    _change_user(connection, account, password_hash=password_hash, sessions_since=time.time_ns())


def set_password_hash(connection: Connection, account: int, password_hash: str) -> None:
    """The same password, hashed anew. Raises ``InvalidInput`` if there is no such user."""
    _change_user(connection, account, password_hash=password_hash)


def _change_user(connection: Connection, account: int, **values: object) -> None:
    if connection.execute(update(users).where(users.c.account == account).values(**values)).rowcount != 1:
        raise InvalidInput(f"account {account} does not exist")


# --- API keys ---


def create_key(
    engine: Engine,
    account: int,
    scopes: Iterable[Scope],
    server_key: str,
    label: str = "",
    allowed_ips: Iterable[str] = (),
) -> ApiKey:
    """A new API key of an account, with these scopes, to be used from these networks only (none: from anywhere).

    Raises ``InvalidInput`` for an unknown account, network or scope, or one that the user's role does not have.
    """
    with engine.begin() as connection:
        return insert_key(connection, account, scopes, server_key, label, allowed_ips)


def insert_key(
    connection: Connection,
    account: int,
    scopes: Iterable[Scope],
    server_key: str,
    label: str = "",
    allowed_ips: Iterable[str] = (),
) -> ApiKey:
    """The same."""
    # The user's row is locked: two requests at once must not make more keys than there may be.
    role = connection.execute(select(users.c.role).where(users.c.account == account).with_for_update()).scalar()
    if role is None:
        raise InvalidInput(f"account {account} does not exist; create the user first")
    wanted, possible = sorted(set(scopes)), scopes_of(role)
    if not wanted or any(scope not in possible for scope in wanted):
        raise InvalidInput(f'scopes "{",".join(wanted)[:80]}": choose from {", ".join(possible)}')
    if len(label) > LABEL_CHARS_MAX or not label.isprintable():
        raise InvalidInput(f"label: use at most {LABEL_CHARS_MAX} printable characters")
    networks = networks_of(allowed_ips)
    mine = (api_keys.c.account == account, api_keys.c.revoked_at.is_(None))
    if connection.execute(select(func.count()).select_from(api_keys).where(*mine)).scalar_one() >= KEYS_MAX:
        raise InvalidInput(f"account {account} has {KEYS_MAX} API keys already; revoke one first")
    secret = secrets.token_bytes(SECRET_BYTES)
    made = ApiKey(secrets.token_hex(16), base64.b64encode(secret).decode(), secrets.token_hex(16))
    connection.execute(
        insert(api_keys).values(
            key=made.key,
            account=account,
            secret=seal_secret(secret, server_key),
            passphrase_hash=passphrase_hash(made.key, made.passphrase.encode()),
            scopes=wanted,
            label=label,
            created_at=time.time_ns(),
            allowed_ips=networks,
        )
    )
    return made


def networks_of(texts: Iterable[str]) -> Sequence[str]:
    """Addresses and networks (10.0.0.0/8) as networks. Raises ``InvalidInput`` that names the one that is none."""
    found: dict[str, None] = {}
    for text in texts:
        try:
            found[str(ipaddress.ip_network(text, strict=False))] = None
        except ValueError:
            raise InvalidInput(f'allowed address "{text[:60]}": write 192.0.2.7, 10.0.0.0/8 or 2001:db8::/32') from None
    if len(found) > NETWORKS_MAX:
        raise InvalidInput(f"allowed addresses: at most {NETWORKS_MAX}")
    return list(found)


def revoke_key(engine: Engine, key: str) -> None:
    """End an API key. Raises ``InvalidInput`` if there is none, or it was revoked before."""
    with engine.begin() as connection:
        if not end_key(connection, key):
            raise InvalidInput(f'API key "{key}" does not exist or is revoked already')


def owner_of(engine: Engine, key: str) -> int:
    """Whose an API key is, or was. Raises ``InvalidInput`` if there never was one."""
    with engine.connect() as connection:
        account = connection.scalar(select(api_keys.c.account).where(api_keys.c.key == key))
    if account is None:
        raise InvalidInput(f'API key "{key}" does not exist')
    return int(account)


def end_key(connection: Connection, key: str, account: int = 0) -> int:
    """End an API key (of ``account``, if given), and answer whose it was; 0 if there is none in force."""
    row = update(api_keys).where(api_keys.c.key == key, api_keys.c.revoked_at.is_(None))
    if account:
        row = row.where(api_keys.c.account == account)
    found = connection.execute(row.values(revoked_at=time.time_ns()).returning(api_keys.c.account)).scalar()
    return int(found or 0)
