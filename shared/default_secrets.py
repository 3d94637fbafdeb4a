"""No cluster starts with a secret that everybody knows.

The embedded servers need none: nobody but their owner reaches their sockets, and the server's key is made at random.
Whoever brings servers of their own on other hosts has to bring secrets along, and not those of the examples.
"""

from urllib.parse import parse_qs, unquote, urlsplit

from shared.errors import InvalidSetting
from shared.settings import PREFIX, Settings

KEY_FILE = "server.key"
KEY_CHARS_DISTINCT = 8
LOCAL = ("", "localhost", "127.0.0.1", "::1")
WELL_KNOWN = frozenset({
    "", "admin", "changeme", "change-me", "default", "example", "foobared", "guest", "matchbox", "pass", "passwd",
    "password", "postgres", "postgresql", "redis", "root", "secret", "test", "user", "valkey", "12345", "123456",
})  # fmt: skip
PLACEHOLDERS = ("change", "default", "example", "matchbox", "password", "placeholder", "secret", "your", "01234567")


def check_secrets(settings: Settings) -> None:
    """Raises ``InvalidSetting`` that names the variable, and not its value."""
    key = settings.server_key
    if key and (len(set(key)) < KEY_CHARS_DISTINCT or any(word in key.lower() for word in PLACEHOLDERS)):
        raise InvalidSetting(
            f"{PREFIX}SERVER_KEY looks like an example's: use random characters, as from "
            "python3 -c 'import secrets; print(secrets.token_urlsafe(32))'"
        )
    _check_url("redis_url", settings.redis_url, needs_password=True)
    _check_url("database_url", settings.database_url, needs_password=False)  # it may have certificates, or a .pgpass
    if not key and not _is_local(settings.database_url) and not (settings.data_dir / KEY_FILE).exists():
        raise InvalidSetting(
            f"{PREFIX}SERVER_KEY is not set: with PostgreSQL on another host it has to be the same on all hosts, "
            "and must not be lost with this data folder"
        )


def _check_url(name: str, url: str, *, needs_password: bool) -> None:
    if _is_local(url):
        return
    parts = urlsplit(url)
    found = [unquote(parts.password)] if parts.password else parse_qs(parts.query).get("password", [])
    if needs_password and not found:
        raise InvalidSetting(f"{PREFIX}{name.upper()} has no password, and the server is on another host: give it one")
    if any(password.lower() in WELL_KNOWN for password in found):
        raise InvalidSetting(f"{PREFIX}{name.upper()} has a password that everybody knows: change it on the server")


def _is_local(url: str) -> bool:
    """Whether only this machine reaches the server: none named, a Unix socket, or a loopback address."""
    parts = urlsplit(url)
    return parts.scheme == "unix" or (parts.hostname or "") in LOCAL
