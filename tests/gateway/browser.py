"""A person in a browser: keeps cookies, says where a request comes from, sends the CSRF token."""

import json
import secrets
import time
from collections.abc import Callable, Sequence
from typing import Any

import httpx

from shared.credentials import ApiKey, Scope
from tests.harness import HTTP_S, Cluster, Trader

PASSWORD = "correct horse battery"


class Browser:
    """One browser, not logged in yet. ``page`` "": of the exchange itself."""

    def __init__(self, cluster: Cluster, page: str = "") -> None:
        self.cluster = cluster
        self.http = httpx.Client(base_url=cluster.url, timeout=HTTP_S)
        self.page = page or cluster.url
        self.csrf = ""
        self.account = 0
        self.name = ""

    def call(self, method: str, target: str, body: Any = None, **headers: str) -> httpx.Response:
        """A request from the page, with what scripts there can know."""
        sent = {"Origin": self.page} if method not in ("GET", "HEAD") else {}
        if self.csrf:
            sent["X-CSRF-Token"] = self.csrf
        sent = {name: value for name, value in (sent | headers).items() if value}
        content = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        return self.http.request(method, target, content=content, headers=sent)

    def register(self, name: str = "", password: str = PASSWORD) -> "Browser":
        """A new user, logged in."""
        self.name = name or f"person-{secrets.token_hex(4)}"
        answer = self.call("POST", "/users", {"name": self.name, "password": password})
        assert answer.status_code == 200, answer.text
        self.account = answer.json()["account"]
        return self.log_in(self.name, password)

    def log_in(self, name: str, password: str = PASSWORD) -> "Browser":
        """Log in, and remember the token."""
        answer = self.call("POST", "/sessions", {"name": name, "password": password})
        assert answer.status_code == 200, answer.text
        self.csrf = answer.json()["session"]["csrf_token"]
        self.account, self.name = answer.json()["account"], name
        return self

    @property
    def cookie(self) -> str:
        """The session's id, which no script can read."""
        return self.http.cookies[f"matchbox_{self.cluster.settings.port}"]

    def key(self, scopes: Sequence[Scope] = ("view", "trade"), **more: Any) -> Trader:
        """A program that uses a new API key of this person."""
        answer = self.call("POST", "/api-keys", {"scopes": list(scopes), **more})
        assert answer.status_code == 200, answer.text
        made = answer.json()
        key = ApiKey(made["key"], made["secret"], made["passphrase"])
        return Trader(self.account, self.name, key, self.cluster.http)

    def close(self) -> None:
        """Close the connections."""
        self.http.close()


def wait_until[T](check: Callable[[], T], timeout_s: float = 15.0) -> T:
    """The first answer that is true."""
    end = time.monotonic() + timeout_s
    while not (found := check()):
        assert time.monotonic() < end, f"not within {timeout_s:g} s: {found}"
        time.sleep(0.02)
    return found
