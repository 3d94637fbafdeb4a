"""Users and API keys: made here, kept in PostgreSQL, their secrets encrypted with the server's key.

A secret must be readable to verify an HMAC, so it is encrypted (Fernet), not hashed. A passphrase is only compared,
so it is hashed; it is 128 random bits, which no guessing finds, so the hash need not be slow.

Whoever makes or revokes a key publishes its id on ``keys.KEYS_CHANNEL``, so that running gateways notice at once.
"""

import base64
import hashlib
import os
import secrets
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Literal, get_args

import msgspec
from cryptography.fernet import Fernet, InvalidToken
from sqlalchemy import Engine, insert, select, update
from sqlalchemy.exc import IntegrityError

from shared.errors import CorruptState, InvalidInput, InvalidSetting
from shared.schema import api_keys, users
from shared.settings import SERVER_KEY_CHARS_MIN, Settings

Scope = Literal["view", "trade", "transfer"]
Role = Literal["trader", "admin"]

SCOPES: tuple[Scope, ...] = get_args(Scope)
ROLES: tuple[Role, ...] = get_args(Role)
KEY_FILE = "server.key"
SECRET_BYTES = 32
NAME_CHARS_MAX = 64


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


def create_user(engine: Engine, name: str, role: Role = "trader") -> int:
    """A new user; answers the account. Raises ``InvalidInput`` if the name is unusable or taken."""
    if not 0 < len(name) <= NAME_CHARS_MAX or not name.isprintable() or name != name.strip():
        raise InvalidInput(f'user name "{name[:NAME_CHARS_MAX]}": use 1 to {NAME_CHARS_MAX} printable characters')
    if role not in ROLES:
        raise InvalidInput(f'role "{role}": choose one of {", ".join(ROLES)}')
    row = insert(users).values(name=name, role=role, created_at=time.time_ns()).returning(users.c.account)
    try:
        with engine.begin() as connection:
            return int(connection.execute(row).scalar_one())
    except IntegrityError:
        raise InvalidInput(f'user "{name}" exists already; choose another name') from None


def find_user(engine: Engine, name: str) -> int:
    """The account of a user. Raises ``InvalidInput`` if there is no such user."""
    with engine.connect() as connection:
        account = connection.execute(select(users.c.account).where(users.c.name == name)).scalar()
    if account is None:
        raise InvalidInput(f'user "{name}" does not exist; "matchbox user list" shows who does')
    return int(account)


def create_key(engine: Engine, account: int, scopes: Iterable[Scope], server_key: str, label: str = "") -> ApiKey:
    """A new API key of an account, with these scopes. Raises ``InvalidInput`` for an unknown account or scope."""
    wanted = sorted(set(scopes))
    if not wanted or any(scope not in SCOPES for scope in wanted):
        raise InvalidInput(f'scopes "{",".join(wanted)}": choose from {", ".join(SCOPES)}')
    secret = secrets.token_bytes(SECRET_BYTES)
    made = ApiKey(secrets.token_hex(16), base64.b64encode(secret).decode(), secrets.token_hex(16))
    with engine.begin() as connection:
        if not connection.execute(select(users.c.account).where(users.c.account == account)).first():
            raise InvalidInput(f"account {account} does not exist; create the user first")
        connection.execute(
            insert(api_keys).values(
                key=made.key,
                account=account,
                secret=seal_secret(secret, server_key),
                passphrase_hash=passphrase_hash(made.key, made.passphrase.encode()),
                scopes=wanted,
                label=label,
                created_at=time.time_ns(),
            )
        )
    return made


def revoke_key(engine: Engine, key: str) -> None:
    """End an API key. Raises ``InvalidInput`` if there is none, or it was revoked before."""
    row = update(api_keys).where(api_keys.c.key == key, api_keys.c.revoked_at.is_(None))
    with engine.begin() as connection:
        if connection.execute(row.values(revoked_at=time.time_ns())).rowcount != 1:
            raise InvalidInput(f'API key "{key}" does not exist or is revoked already')
