"""Passwords: argon2id with the settings' parameters, and nothing to learn from how long a refusal takes."""

import pytest
from argon2 import extract_parameters
from argon2.low_level import Type

from shared.errors import InvalidInput
from shared.passwords import Hasher, check_password
from shared.settings import Settings

TINY = Settings(argon_time_cost=1, argon_memory_cost=64, argon_parallelism=1)


@pytest.fixture(scope="module")
def hasher():
    return Hasher(TINY)


@pytest.mark.parametrize("password", ["correct horse battery", "ü" * 8, "\x00" * 8, "\ud800" * 8, "x" * 1024])
def test_the_password_matches_and_no_other_does(hasher, password):
    """Whatever characters it is made of, to the last one."""
    stored = hasher.hash(password)
    assert password not in stored
    assert hasher.matches(stored, password)
    for other in (password + "x", password[:-1], "", password.swapcase() if password.isascii() else "x"):
        if other != password:
            assert not hasher.matches(stored, other)


def test_one_password_is_never_stored_alike(hasher):
    """Each hash has a salt of its own."""
    assert hasher.hash("correct horse") != hasher.hash("correct horse")


def test_it_does_not_matter_how_an_umlaut_was_typed(hasher):
    """One character, or two that look the same."""
    assert hasher.matches(hasher.hash("caf\u00e9 con leche"), "cafe\u0301 con leche")


@pytest.mark.parametrize("stored", ["", "nonsense", "$argon2id$v=19$m=64,t=1,p=1$AAAA", "$2b$12$abc"])
def test_what_is_no_hash_matches_nothing(hasher, stored):
    """No user, no password, something else's hash: not even the empty password, and no exception."""
    for password in ("", "x", stored):
        assert not hasher.matches(stored, password)


def test_nobodys_hash_costs_what_a_real_one_does():
    """An unknown user is verified with the very parameters of a known one, and never matches."""
    for settings in (TINY, Settings()):
        hasher = Hasher(settings)
        assert not hasher.matches(hasher._nobodys, "")
        found = extract_parameters(hasher._nobodys)
        assert (found.time_cost, found.memory_cost, found.parallelism, found.type, found.hash_len, found.salt_len) == (
            settings.argon_time_cost, settings.argon_memory_cost, settings.argon_parallelism, Type.ID, 32, 16,
        )  # fmt: skip


def test_the_defaults_are_what_they_should_be():
    """64 MiB, three passes, four lanes, for real: once."""
    hasher = Hasher(Settings())
    stored = hasher.hash("correct horse battery")
    assert stored.startswith("$argon2id$v=19$m=65536,t=3,p=4$")
    assert hasher.matches(stored, "correct horse battery")
    assert not Hasher(TINY).matches(stored, "another password")


def test_hashes_of_other_parameters_still_match_and_are_known_to_be_old(hasher):
    """Changing the settings locks nobody out."""
    old = Hasher(TINY.with_changes(argon_time_cost=2)).hash("correct horse")
    assert hasher.matches(old, "correct horse")
    assert hasher.is_outdated(old)
    assert not hasher.is_outdated(hasher.hash("correct horse"))


@pytest.mark.parametrize("password", ["", "seven 7", "x" * 1025, "ü" * 600])
def test_what_is_no_password(password):
    """Too short to be one, or too long to be typed."""
    with pytest.raises(InvalidInput, match="password: "):
        check_password(password)
