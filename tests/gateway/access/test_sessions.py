"""The cookie of a session, as it is sent: over TLS only, where there is any."""

from typing import Any

import pytest

from shared.settings import Settings
from workers.gateway.access.sessions import Sessions

ID = "s" * 43


@pytest.mark.parametrize(
    ("scheme", "forwarded", "proxied", "is_secure"),
    [
        ("http", "", False, False),
        ("https", "", False, True),
        ("http", "https", False, False),
        ("http", "https", True, True),
        ("http", "", True, True),
        ("http", "http", True, False),
        ("http", "https, http", True, False),
        ("http", "http, https", True, True),
    ],
)
def test_a_cookie_that_came_by_tls_goes_by_tls_only(scheme, forwarded, proxied, is_secure):
    """Secure behind TLS, ours or a proxy's; nobody without that proxy can say so, and only its own word counts."""
    scope: dict[str, Any] = {"scheme": scheme, "headers": [(b"x-forwarded-proto", forwarded.encode())]}
    if not forwarded:
        scope["headers"] = []
    sessions = Sessions(None, Settings(proxied=proxied))
    for cookie in (sessions.set_cookie(scope, ID), sessions.set_cookie(scope, "")):
        assert ("; Secure" in cookie) is is_secure
        assert "; HttpOnly; SameSite=Strict" in cookie


def test_a_cookie_that_is_taken_away_has_no_value_and_no_time_left():
    """So that a browser forgets it at once."""
    sessions = Sessions(None, Settings(port=8123))
    cookie = sessions.set_cookie({"scheme": "http", "headers": []}, "")
    assert cookie.startswith("matchbox_8123=; Path=/; Max-Age=0;")
