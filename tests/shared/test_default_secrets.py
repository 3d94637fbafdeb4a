"""No start with secrets that everybody knows, and no complaint about what needs none."""

import secrets

import pytest

from shared.default_secrets import check_secrets
from shared.errors import InvalidSetting
from shared.settings import Settings

KEY = secrets.token_urlsafe(32)


def settings(tmp_path, **changes):
    return Settings(data=str(tmp_path)).with_changes(**changes)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"redis_url": "unix:///run/valkey.sock", "database_url": "postgresql://postgres@/postgres?host=%2Frun"},
        {"redis_url": "redis://localhost:6379", "database_url": "postgresql://postgres:postgres@127.0.0.1/postgres"},
        {"redis_url": "redis://[::1]:6379/1"},
        {
            "redis_url": "rediss://:Zk3_9fQx@cache.internal:6380/0",
            "database_url": "postgresql://matchbox:Vt8-11aa@db.internal/matchbox",
            "server_key": KEY,
        },
        {"database_url": "postgresql://matchbox@db.internal/matchbox?sslcert=a.pem", "server_key": KEY},
    ],
)
def test_what_may_start(tmp_path, changes):
    """The embedded default, servers of this machine, and others with secrets of their own."""
    check_secrets(settings(tmp_path, **changes))


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"server_key": "change-me-change-me-change-me-change-me"}, "SERVER_KEY"),
        ({"server_key": "CHANGE_THIS_0f8d7a6b5c4e3d2f1a0b9c8d"}, "SERVER_KEY"),
        ({"server_key": "0123456789abcdef0123456789abcdef"}, "SERVER_KEY"),
        ({"server_key": "a" * 40}, "SERVER_KEY"),
        ({"server_key": "abcabcabcabcabcabcabcabcabcabcabcabc"}, "SERVER_KEY"),
        ({"redis_url": "redis://cache.internal:6379"}, "REDIS_URL"),
        ({"redis_url": "redis://10.0.0.5"}, "REDIS_URL"),
        ({"redis_url": "redis://:foobared@10.0.0.5"}, "REDIS_URL"),
        ({"redis_url": "redis://default:Redis@cache.internal"}, "REDIS_URL"),
        ({"redis_url": "redis://:%70assword@cache.internal"}, "REDIS_URL"),
        ({"database_url": "postgresql://postgres:postgres@db.internal/x", "server_key": KEY}, "DATABASE_URL"),
        ({"database_url": "postgresql://me@db.internal/x?password=secret", "server_key": KEY}, "DATABASE_URL"),
        ({"database_url": "postgresql://me:Vt8-11aa@db.internal/x"}, "SERVER_KEY"),
    ],
)
def test_what_may_not(tmp_path, changes, name):
    """The variable is named, and its value is not repeated."""
    with pytest.raises(InvalidSetting, match=f"^MATCHBOX_{name} ") as caught:
        check_secrets(settings(tmp_path, **changes))
    for value in changes.values():
        assert value not in str(caught.value)


def test_a_key_in_the_data_folder_is_a_key(tmp_path):
    """Made there earlier, it is as good as the setting."""
    (tmp_path / "server.key").write_text(KEY)
    check_secrets(settings(tmp_path, database_url="postgresql://me:Vt8-11aa@db.internal/x"))
