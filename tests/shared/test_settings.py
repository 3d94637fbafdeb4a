"""Settings: what cannot work is refused before anything starts, by the name of its variable."""

import pytest

from shared.errors import InvalidSetting
from shared.settings import Settings, load_settings, variables


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "0"),
        ("PORT", "http"),
        ("HOST", ""),
        ("DATA", ""),
        ("SHARDS", "1.5"),
        ("DURABILITY", "never"),
        ("MAX_NOTIONAL", "much"),
        ("MAX_NOTIONAL", "-1"),
        ("REDIS_URL", "localhost:6379"),
        ("REDIS_URL", "http://localhost"),
        ("REDIS_URL", "redis://localhost:port"),
        ("REDIS_URL", "redis://localhost:99999"),
        ("DATABASE_URL", "mysql://localhost/db"),
        ("DATABASE_URL", "postgresql:/db"),
        ("SERVER_KEY", "short"),
    ],
)
def test_what_cannot_work_is_refused(name, value):
    """One line that begins with the variable's name."""
    with pytest.raises(InvalidSetting, match=f"^MATCHBOX_{name}.*$"):
        load_settings({f"MATCHBOX_{name}": value}, dotenv=None)


@pytest.mark.parametrize("name", ["REDIS_URL", "DATABASE_URL", "SERVER_KEY"])
def test_secrets_are_not_repeated(name):
    """A value that may hold a password does not appear in the complaint."""
    with pytest.raises(InvalidSetting) as caught:
        load_settings({f"MATCHBOX_{name}": "me:hunter2@there"}, dotenv=None)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["redis://localhost", "rediss://:secret@host:6380/1", "unix:///a/b%20c/valkey.sock", "redis://[::1]:6379"]
)
def test_urls_of_redis(url):
    """The URLs that redis-py understands."""
    assert Settings().with_changes(redis_url=url).redis_url == url


@pytest.mark.parametrize(
    "url",
    ["postgresql://postgres@/postgres?host=%2Fa%2Fb", "postgres://me:secret@host/db", "postgresql+psycopg://host"],
)
def test_urls_of_postgresql(url):
    """The URLs of PostgreSQL, with or without the name of our driver."""
    assert Settings().with_changes(database_url=url).database_url == url


@pytest.mark.parametrize(
    ("variable", "meant"),
    [("MATCHBOX_GATEWAY", "GATEWAYS"), ("MATCHBOX_DURABILTY", "DURABILITY"), ("MATCHBOX_REDISURL", "REDIS_URL")],
)
def test_a_misspelt_setting_is_not_passed_over(variable, meant):
    """Whoever set it would trade without it; what only begins like ours is somebody else's."""
    with pytest.raises(InvalidSetting, match=f"{variable} is no setting: write MATCHBOX_{meant}, or take it away"):
        load_settings({variable: "1"}, None)
    assert load_settings({"MATCHBOX_TEST_FAULT": "1", "MATCHBOXER": "1", "PORT": "1"}, None) == Settings()


def test_every_setting_is_listed():
    """``start --help`` shows each variable, with what it means."""
    assert [name for name, _ in variables()] == list(Settings().environment())
    assert all(len(meaning) > 10 for _, meaning in variables())
