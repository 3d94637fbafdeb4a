"""What the routes about users, keys and halts answer: the shapes, and how internal things become them. Pure."""

from typing import Any

import msgspec
from msgspec import UNSET, UnsetType
from sqlalchemy import Row

from shared.credentials import ApiKey, scopes_of
from shared.instants import iso
from workers.gateway.access.keyring import User
from workers.gateway.control import Halt
from workers.gateway.render import user_uuid


class UserAnswer(msgspec.Struct):
    """A user. ``account`` is the number of their account, as admins and logs call it."""

    id: str
    account: int
    name: str
    role: str
    created_at: str


class SessionAnswer(msgspec.Struct):
    """A session. ``csrf_token`` goes into the header X-CSRF-Token of every request of it that is no GET."""

    csrf_token: str
    began_at: str
    expires_at: str


class SelfAnswer(UserAnswer):
    """Who asks: the user, what they may do here, and by which session or API key."""

    scopes: list[str]
    session: SessionAnswer | UnsetType = UNSET
    api_key: str | UnsetType = UNSET


class KeyAnswer(msgspec.Struct):
    """An API key. ``allowed_ips``: where it may be used from; none: from anywhere."""

    key: str
    scopes: list[str]
    label: str
    allowed_ips: list[str]
    created_at: str


class NewKeyAnswer(msgspec.Struct):
    """A new API key. Its secret (base64) and passphrase are shown this once."""

    key: str
    secret: str
    passphrase: str
    scopes: list[str]
    label: str
    allowed_ips: list[str]


class AdminUserAnswer(UserAnswer):
    """A user, as admins see them. ``blocked``: may not come in; ``trading_blocked``: why the account may not trade."""

    blocked: bool
    trading_blocked: str | UnsetType = UNSET


class HaltAnswer(msgspec.Struct):
    """A kill switch that is on; DELETE /admin/halts/{id} takes it back."""

    id: str
    reason: str
    since: str | UnsetType = UNSET


def user_fields(user: User) -> dict[str, Any]:
    """What every answer about a user has."""
    return {
        "id": user_uuid(user.account),
        "account": user.account,
        "name": user.name,
        "role": user.role,
        "created_at": iso(user.created_at),
    }


def session_user_answer(user: User, csrf_token: str, began: int, ends: int) -> SelfAnswer:
    """A user with the session that they have."""
    session = SessionAnswer(csrf_token, iso(began), iso(ends))
    return SelfAnswer(**user_fields(user), scopes=list(scopes_of(user.role)), session=session)


def key_answer(row: Row[Any]) -> KeyAnswer:
    """A row of ``api_keys``."""
    return KeyAnswer(row.key, list(row.scopes), row.label, list(row.allowed_ips), iso(row.created_at))


def new_key_answer(made: ApiKey, scopes: list[str], label: str, allowed_ips: list[str]) -> NewKeyAnswer:
    """A key that was just made."""
    return NewKeyAnswer(made.key, made.secret, made.passphrase, scopes, label, allowed_ips)


def halt_answer(halt: Halt) -> HaltAnswer:
    """A kill switch."""
    return HaltAnswer(halt.id, halt.reason, UNSET if halt.time is UNSET else iso(halt.time))
