"""Two gateway processes on one port: what is counted, ended or blocked in one holds in the other."""

import contextlib
import json
from functools import partial

import httpx
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from tests.gateway.browser import PASSWORD, Browser, wait_until
from tests.gateway.conftest import running_cluster

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def cluster(redis_server, database_server):
    """Two gateways; who connects anew lands on either."""
    yield from running_cluster(redis_server, database_server, gateways=2)


def anew(cluster, method, target, body=None, **headers):
    """A request by a connection of its own; answers which gateway it met, too."""
    with httpx.Client(base_url=cluster.url, timeout=10) as http:
        met = http.get("/health").json()["gateway"]
        return http.request(method, target, json=body, headers=headers), met


def test_guessing_through_both_is_five_guesses(cluster, browser):
    """A password is guessed by fresh connections, which meet either process: the sixth is refused by both."""
    alice = browser().register()
    found = [anew(cluster, "POST", "/sessions", {"name": alice.name, "password": f"guess {n}"}) for n in range(24)]
    assert {met for _, met in found} == {0, 1}, "chance: both were met"
    assert [answer.status_code for answer, _ in found] == [401] * 5 + [429] * 19
    for _ in range(8):
        answer, _ = anew(cluster, "POST", "/sessions", {"name": alice.name, "password": PASSWORD})
        assert answer.status_code == 429


def test_a_session_is_known_to_both_and_ends_in_both(cluster, browser):
    """Logged in at one it is good at the other; logged out, no connection and no socket of either has it."""
    alice = browser().register()
    cookie = {"Cookie": f"matchbox_{cluster.settings.port}={alice.cookie}"}
    found = [anew(cluster, "GET", "/users/self", **cookie) for _ in range(16)]
    assert {met for _, met in found} == {0, 1}
    assert {answer.status_code for answer, _ in found} == {200}
    with contextlib.ExitStack() as closing:
        feeds = []
        for _ in range(10):
            feed = closing.enter_context(
                connect(cluster.url.replace("http", "ws"), close_timeout=0.2, additional_headers=cookie)
            )
            feed.send(json.dumps({"type": "subscribe", "channels": ["user"]}))
            assert json.loads(feed.recv(timeout=5))["type"] == "subscriptions"
            feeds.append(feed)
        alice.call("DELETE", "/sessions")
        for feed in feeds:
            assert json.loads(feed.recv(timeout=5))["type"] == "error"
            with pytest.raises(ConnectionClosed):
                feed.recv(timeout=5)
    assert {anew(cluster, "GET", "/users/self", **cookie)[0].status_code for _ in range(16)} == {401}


def answers_to(cluster, bot):
    return {anew(cluster, "GET", "/accounts", **bot.headers("GET", "/accounts"))[0].status_code for _ in range(8)}


def is_refused(cluster, bot):
    return answers_to(cluster, bot) == {401}


def test_a_key_works_at_once_everywhere_and_ends_everywhere(cluster, browser):
    """Made through one process, used through both directly after; revoked through one, refused by both."""
    alice = browser().register()
    for _ in range(3):
        bot = alice.key()
        assert answers_to(cluster, bot) == {200}
        alice.call("DELETE", f"/api-keys/{bot.key.key}")
        wait_until(partial(is_refused, cluster, bot), 2.0)


def test_a_new_user_is_known_to_both(cluster):
    """Registered at one, logged in at the other, asked for at either: no 401 in between."""
    for number in range(6):
        person = Browser(cluster)
        name = f"new-{number}"
        assert anew(cluster, "POST", "/users", {"name": name, "password": PASSWORD})[0].status_code == 200
        answer, _ = anew(cluster, "POST", "/sessions", {"name": name, "password": PASSWORD})
        assert answer.status_code == 200
        cookie = answer.headers["Set-Cookie"].partition(";")[0]
        assert {anew(cluster, "GET", "/accounts", Cookie=cookie)[0].status_code for _ in range(4)} == {200}
        person.close()
