"""Who asks: HMAC keys in the headers of Coinbase Exchange, verified over the raw bytes of the request.

``CB-ACCESS-SIGN = base64(HMAC-SHA256(secret, timestamp + METHOD + path with query + body))``. A repeated signature is
not refused: ccxt signs identical GETs within a second identically, and orders are protected by their client id.
"""

import base64
import binascii
import hmac
import re
import secrets
from collections.abc import Iterable

import msgspec

from shared.credentials import Scope, passphrase_hash
from workers.gateway.access.address import Network, is_within
from workers.gateway.errors import unauthorized
from workers.gateway.forms.json_input import decimal_field, text_field

WINDOW_S = 30.0
BLOCKED = "this user is blocked; ask who runs this exchange"
WEBSOCKET_PATH = b"/users/self/verify"
_TIMESTAMP = re.compile(r"\d{1,12}(\.\d{1,9})?", re.ASCII)


class Credential(msgspec.Struct, frozen=True):
    """An API key as the gateway keeps it in memory."""

    key: str
    account: int
    secret: bytes
    passphrase_hash: bytes
    scopes: frozenset[str]
    networks: tuple[Network, ...] = ()
    """Where it may be used from; none: from anywhere."""
    blocked: bool = False
    """Whether its user is."""

    def check_use(self, address: str) -> None:
        """Raises ``ApiError`` 401 if whoever has signed with it may not come in, or not from here."""
        if self.blocked:
            raise unauthorized(BLOCKED)
        if self.networks and not is_within(address, self.networks):
            raise unauthorized(f"this API key may not be used from {address or 'here'}")


class Caller(msgspec.Struct, frozen=True):
    """Who asks, and what they may do: by the API key with the id ``key``, or by a session.

    ``session`` is the hash of its id, ``began`` (ns) when it did.
    """

    account: int
    scopes: frozenset[str]
    key: str
    session: str = ""
    began: int = 0

    def require(self, scope: Scope) -> None:
        """Raises ``ApiError`` 401 unless this is allowed. Not 403: ccxt would try that again."""
        if scope in self.scopes:
            return
        held = ", ".join(sorted(self.scopes)) or "none"
        if self.session:
            raise unauthorized(f'you may not do this: it takes the scope "{scope}" (you have: {held})')
        raise unauthorized(f'this API key lacks the scope "{scope}" (it has: {held}); make a key that has it')

    def require_session(self) -> None:
        """Raises ``ApiError`` 401 for an API key: a stolen one must not be able to make others."""
        if not self.session:
            raise unauthorized("this takes a session, not an API key: log in by POST /sessions")


class Claim(msgspec.Struct):
    """What a client says to be who it is: the four headers, or the four fields of a WebSocket message."""

    key: str
    signature: str
    timestamp: str
    passphrase: str


NOBODY = Credential("", 0, secrets.token_bytes(32), b"", frozenset())
"""Stands in for an unknown key, so that refusing one takes the same work as refusing a wrong signature."""


def verify(
    claim: Claim, credential: Credential | None, method: bytes, target: bytes, body: bytes, now_s: float
) -> Caller:
    """The caller behind a claim. ``target`` is the raw path with its query. Raises ``ApiError`` 401."""
    if not _TIMESTAMP.fullmatch(claim.timestamp):
        raise unauthorized("invalid timestamp: send seconds since the epoch, as in 1700000000 or 1700000000.123")
    late_s = now_s - float(claim.timestamp)
    if abs(late_s) > WINDOW_S:
        word = "old" if late_s > 0 else "ahead"
        raise unauthorized(
            f"request timestamp expired: it is {abs(late_s):.0f} s {word}, at most {WINDOW_S:.0f} are allowed"
        )
    known = credential or NOBODY
    digest = hmac.digest(known.secret, b"".join((claim.timestamp.encode(), method, target, body)), "sha256")
    signed = hmac.compare_digest(digest, _signature(claim.signature))
    matches = hmac.compare_digest(passphrase_hash(known.key, claim.passphrase.encode()), known.passphrase_hash)
    if credential is None or not signed:
        raise unauthorized(
            "invalid API key or signature: sign timestamp + method + path with query + body, HMAC-SHA256 "
            "with the base64-decoded secret, in base64"
        )
    if not matches:
        raise unauthorized("invalid passphrase")
    return Caller(credential.account, credential.scopes, credential.key)


def _signature(text: str) -> bytes:
    """The signature's bytes; something that matches nothing if it is not base64."""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""


_HEADERS = {
    b"cb-access-key": "key",
    b"cb-access-sign": "signature",
    b"cb-access-timestamp": "timestamp",
    b"cb-access-passphrase": "passphrase",
}


def signed_headers(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """What a request's headers (names in lower case) have of a claim, by its fields."""
    return {_HEADERS[name]: value.decode("latin-1") for name, value in headers if name in _HEADERS}


def claim_of_headers(found: dict[str, str]) -> Claim:
    """The claim of ``signed_headers``. Raises ``ApiError`` 401 that names what is missing."""
    for header, field in _HEADERS.items():
        if not found.get(field):
            raise unauthorized(
                f"{header.decode().upper()} header is missing: this request must be signed with an API key"
            )
    return Claim(**found)


def claim_of_message(fields: dict[str, object]) -> Claim:
    """The claim in a WebSocket message, whose timestamp is string or number. Raises ``ApiError`` 400 or 401."""
    found = {name: text_field(fields, name) for name in ("key", "signature", "passphrase")}
    found["timestamp"] = decimal_field(fields, "timestamp")
    for name, value in found.items():
        if not value:
            raise unauthorized(f"{name} is missing: sign with key, passphrase, timestamp and signature")
    return Claim(**found)
