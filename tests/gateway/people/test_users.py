"""Users and sessions against real workers: what a person in a browser can do, and what a page of others cannot."""

import json
import time
from http.cookies import SimpleCookie

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from cluster.commands import worker_command
from shared import keys
from shared.credentials import set_password
from shared.passwords import Hasher
from shared.schema import users
from tests.gateway.browser import PASSWORD, wait_until
from workers.gateway.access.sessions import hash_of

pytestmark = pytest.mark.slow

ORDER = {"product_id": "BTC-USD", "side": "buy", "price": "100.00", "size": "0.01"}


@pytest.fixture
def alice(browser):
    """A person who is logged in."""
    return browser().register()


def cookie_of(answer):
    (found,) = SimpleCookie(answer.headers["Set-Cookie"]).values()
    return found


# --- coming in ---


def test_a_person_registers_logs_in_trades_and_logs_out(cluster, browser):
    """A session does on every private route what a key with all scopes of the user does."""
    alice = browser().register()
    cluster.deposit(alice.account, "USD", "1000")
    me = alice.call("GET", "/users/self").json()
    assert (me["name"], me["role"], me["scopes"]) == (alice.name, "trader", ["view", "trade", "transfer"])
    assert me["session"]["csrf_token"] == alice.csrf
    order = alice.call("POST", "/orders", ORDER).json()
    assert alice.call("GET", f"/orders/{order['id']}").json()["id"] == order["id"]
    assert alice.call("GET", "/accounts").status_code == 200
    assert alice.call("PATCH", f"/orders/{order['id']}", {"price": "99.00"}).json()["price"] == "99.00"
    assert alice.call("DELETE", f"/orders/{order['id']}").json() == order["id"]
    left = alice.call("DELETE", "/sessions")
    assert (left.status_code, left.content) == (204, b"")
    assert cookie_of(left).value == ""
    assert alice.call("GET", "/users/self").status_code == 401


def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites(browser, alice):
    """HttpOnly, SameSite=Strict, for the whole site, with an end; the answer with it is not to be kept."""
    answer = browser().call("POST", "/sessions", {"name": alice.name, "password": PASSWORD})
    cookie = cookie_of(answer)
    assert (cookie["httponly"], cookie["samesite"], cookie["path"]) == (True, "Strict", "/")
    assert (cookie["max-age"], cookie["secure"]) == ("86400", "")
    assert answer.headers["Cache-Control"] == "no-store"
    assert "access-control-allow-origin" not in answer.headers


def test_the_id_is_random_and_kept_as_a_hash(cluster, browser, alice):
    """Two logins have nothing in common, and whoever reads Redis cannot log in with what is there."""
    other = browser().log_in(alice.name)
    assert len({alice.cookie, other.cookie}) == 2
    assert len(alice.cookie) >= 43
    assert cluster.client.exists(keys.session(hash_of(alice.cookie)))
    everything = b" ".join(key + (cluster.client.get(key) or b"") for key in cluster.client.keys("matchbox:session:*"))
    assert alice.cookie.encode() not in everything
    assert alice.csrf.encode() not in everything
    stolen = browser()
    stolen.http.cookies.set(f"matchbox_{cluster.settings.port}", hash_of(alice.cookie))
    assert stolen.call("GET", "/users/self").status_code == 401


@pytest.mark.parametrize(
    ("name", "password"),
    [
        ("alice", "wrong password"),
        ("nobody at all", PASSWORD),
        ("", PASSWORD),
        ("x" * 5000, PASSWORD),
        ("\x00", PASSWORD),
    ],
)
def test_a_wrong_name_and_a_wrong_password_read_alike(browser, name, password):
    """Nobody learns from the answer which names there are."""
    answer = browser().call("POST", "/sessions", {"name": name, "password": password})
    if name:
        assert (answer.status_code, answer.json()) == (401, {"message": "wrong name or password"})
    else:
        assert (answer.status_code, answer.json()) == (400, {"message": "name and password are both needed"})


def test_a_user_without_a_password_cannot_log_in(cluster, browser):
    """Made on the command line, say: no password is not the empty password."""
    user = cluster.user()
    for password in ("", "x", user.name):
        assert browser().call("POST", "/sessions", {"name": user.name, "password": password}).status_code in (400, 401)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"name": "a", "password": "short"}, "at least 8"),
        ({"name": " a", "password": PASSWORD}, "printable"),
        ({"name": "a\nb", "password": PASSWORD}, "printable"),
        ({"name": "x" * 65, "password": PASSWORD}, "1 to 64"),
        ({"name": "a", "password": "x" * 2000}, "at most 1024"),
        ({"name": "a", "password": PASSWORD, "role": "admin"}, 'unknown field "role"'),
        ({"name": "a", "password": PASSWORD, "account": 1}, "unknown field"),
        ({"name": 5, "password": PASSWORD}, "name must be a string"),
        ({"name": "a"}, "both needed"),
        ([], "must be a JSON object"),
    ],
)
def test_nobody_registers_as_what_they_like(browser, body, says):
    """Unusable names and passwords, and roles that are not given out so, are refused."""
    answer = browser().call("POST", "/users", body)
    assert answer.status_code == 400
    assert says in answer.json()["message"]


def test_a_name_is_given_once(browser, alice):
    """And the second one does not get the first one's account."""
    answer = browser().call("POST", "/users", {"name": alice.name, "password": "another password"})
    assert answer.status_code == 400
    assert "exists already" in answer.json()["message"]
    assert browser().call("POST", "/sessions", {"name": alice.name, "password": "another password"}).status_code == 401


def test_stored_passwords_are_argon2id_and_hashed_anew_when_the_settings_change(cluster, browser):
    """The next login brings an old hash to the parameters of now."""
    alice = browser().register()
    outdated = Hasher(cluster.settings.with_changes(argon_time_cost=2)).hash(PASSWORD)
    with cluster.database.begin() as connection:
        set_password(connection, alice.account, outdated)

    def stored():
        with cluster.database.connect() as connection:
            return connection.execute(users.select().where(users.c.account == alice.account)).one().password_hash

    assert stored().startswith("$argon2id$v=19$m=64,t=2,p=1$")
    browser().log_in(alice.name)
    assert stored().startswith("$argon2id$v=19$m=64,t=1,p=1$")
    browser().log_in(alice.name)


# --- guessing ---


def test_the_sixth_guess_is_not_looked_at(cluster, browser, alice):
    """Five attempts a quarter of an hour and address: then even the right password is refused, and says how long."""
    guesser = browser()
    codes = [
        guesser.call("POST", "/sessions", {"name": alice.name, "password": f"guess {n}"}).status_code for n in range(5)
    ]
    assert codes == [401] * 5
    answer = guesser.call("POST", "/sessions", {"name": alice.name, "password": PASSWORD})
    assert answer.status_code == 429
    assert 0 < int(answer.headers["Retry-After"]) <= 900
    assert "too many failed logins" in answer.json()["message"]
    assert alice.call("GET", "/users/self").status_code == 200, "who is in stays in"
    browser().register()  # other names are not concerned


def test_nobody_gets_more_guesses_by_saying_they_are_elsewhere(browser, alice):
    """X-Forwarded-For and its like are not believed: the sixth guess is refused whatever they say."""
    codes = []
    for number in range(6):
        headers = {
            "X-Forwarded-For": f"203.0.113.{number}",
            "X-Real-IP": f"203.0.113.{number}",
            "Forwarded": f"for=203.0.113.{number}",
        }
        body = {"name": alice.name, "password": "a guess"}
        codes.append(browser().call("POST", "/sessions", body, **headers).status_code)
    assert codes == [401] * 5 + [429]


def test_a_login_starts_the_count_anew(browser, alice):
    """Four wrong ones and a right one, again and again."""
    for _ in range(3):
        for number in range(4):
            wrong = {"name": alice.name, "password": f"guess {number}"}
            assert browser().call("POST", "/sessions", wrong).status_code == 401
        browser().log_in(alice.name)


# --- pages of others ---


@pytest.mark.parametrize(
    "origin",
    ["https://evil.example", "http://127.0.0.1:1", "http://localhost", "null", "http://evil.example?{host}", "{host}"],
)
def test_a_foreign_page_changes_nothing(cluster, browser, alice, origin):
    """Not even with the token; another port of this host is another page, though to cookies it is the same site."""
    host = f"{cluster.settings.host}:{cluster.settings.port}"
    alice.page = origin.format(host=host)
    for method, target, body in (
        ("POST", "/orders", ORDER),
        ("DELETE", "/orders", None),
        ("DELETE", "/sessions", None),
    ):
        answer = alice.call(method, target, body)
        assert answer.status_code == 401
        assert "comes from a page of" in answer.json()["message"]
    login = browser(page=alice.page).call("POST", "/sessions", {"name": alice.name, "password": PASSWORD})
    assert login.status_code == 401, "a foreign page cannot log its visitors in either"
    alice.page = cluster.url
    assert alice.call("GET", "/users/self").status_code == 200


@pytest.mark.parametrize("token", ["", "x", "{other}", "{cookie}"])
def test_a_cookie_without_its_token_changes_nothing(browser, alice, token):
    """No token, nonsense, another session's, the cookie itself: 401, and reading goes on."""
    other = browser().log_in(alice.name)
    alice.csrf, right = token.format(other=other.csrf, cookie=alice.cookie), alice.csrf
    for method, target, body in (
        ("POST", "/orders", ORDER),
        ("PATCH", "/orders/6d617463-6862-8000-8000-000000000100", {"price": "1"}),
        ("DELETE", "/orders", None),
        ("POST", "/api-keys", {"scopes": ["view"]}),
        ("DELETE", "/sessions", None),
    ):
        answer = alice.call(method, target, body)
        assert answer.status_code == 401, (method, target)
        assert "X-CSRF-Token" in answer.json()["message"]
    assert alice.call("GET", "/accounts").status_code == 200
    alice.csrf = right
    assert alice.call("DELETE", "/orders").json() == []


def test_a_token_without_a_cookie_is_nothing(alice):
    """The token alone is not a credential."""
    alice.http.cookies.clear()
    answer = alice.call("POST", "/orders", ORDER)
    assert answer.status_code == 401
    assert "CB-ACCESS-KEY" in answer.json()["message"]


def test_a_key_in_the_headers_is_judged_alone(cluster, alice):
    """A valid cookie does not help a wrong signature, and needs no token beside a right one."""
    user = cluster.user(scopes=["view"])
    headers = user.headers("GET", "/users/self")
    assert alice.call("GET", "/users/self", **headers).json()["name"] == user.name
    assert alice.call("GET", "/users/self", **(headers | {"CB-ACCESS-SIGN": "AAAA"})).status_code == 401


# --- fixation, theft, ends ---


def test_nobody_can_choose_a_session_for_somebody_else(cluster, browser, alice):
    """An id that was planted before the login is not taken over, and ends if it was a session."""
    planted = browser().register()
    victim = browser()
    victim.http.cookies.set(f"matchbox_{cluster.settings.port}", planted.cookie)
    answer = victim.call("POST", "/sessions", {"name": alice.name, "password": PASSWORD})
    given = cookie_of(answer).value
    assert given not in (planted.cookie, "")
    assert planted.call("GET", "/users/self").status_code == 401, "the attacker's own session is over"
    made_up = browser()
    made_up.http.cookies.set(f"matchbox_{cluster.settings.port}", "a" * 43)
    made_up.log_in(alice.name)
    stranger = browser()
    stranger.http.cookies.set(f"matchbox_{cluster.settings.port}", "a" * 43)
    assert stranger.call("GET", "/users/self").status_code == 401


def test_two_cookies_at_once_are_nobodys(cluster, browser, alice):
    """Whoever can add a cookie (a neighbouring site) cannot slip their own session in."""
    other, name = browser().register(), f"matchbox_{cluster.settings.port}"
    answer = cluster.http.get("/users/self", headers={"Cookie": f"{name}={other.cookie}; {name}={alice.cookie}"})
    assert answer.status_code == 401
    assert "several cookies" in answer.json()["message"]


def test_a_new_login_ends_the_session_before_it(browser):
    """Of this browser; those of the user's other browsers stay."""
    alice = browser().register()
    elsewhere = browser().log_in(alice.name)
    former = alice.cookie
    alice.log_in(alice.name)
    thief = browser()
    thief.http.headers["Cookie"] = f"matchbox_{alice.cluster.settings.port}={former}"
    assert thief.call("GET", "/users/self").status_code == 401
    assert elsewhere.call("GET", "/users/self").status_code == 200


def test_an_idle_session_ends_and_a_used_one_does_not(cluster, browser):
    """The idle time runs in Redis; a use sets it back."""
    alice = browser().register()
    key = keys.session(hash_of(alice.cookie))
    cluster.client.pexpire(key, 60_000)
    assert alice.call("GET", "/users/self").status_code == 200
    assert cluster.client.ttl(key) > 7000
    cluster.client.pexpire(key, 1)
    time.sleep(0.05)
    answer = alice.call("GET", "/users/self")
    assert (answer.status_code, answer.json()["message"]) == (
        401,
        "the session has ended; log in again by POST /sessions",
    )


def test_a_session_has_an_end_however_it_is_used(cluster, browser):
    """The absolute end stands in the session itself: to keep it alive in Redis does not help."""
    alice = browser().register()
    key = keys.session(hash_of(alice.cookie))
    session = json.loads(cluster.client.get(key))
    assert session["ends"] - session["began"] == 86_400 * 10**9
    cluster.client.set(key, json.dumps(session | {"ends": time.time_ns() + 60 * 10**9}), px=10**6)
    assert alice.call("GET", "/users/self").status_code == 200
    assert cluster.client.pttl(key) <= 10**6
    cluster.client.set(key, json.dumps(session | {"ends": time.time_ns() - 1}), px=10**6)
    assert alice.call("GET", "/users/self").status_code == 401


def test_another_password_ends_all_sessions(cluster, browser):
    """Whoever was in has to log in again, with the new one."""
    alice = browser().register()
    with cluster.database.begin() as connection:
        set_password(connection, alice.account, Hasher(cluster.settings).hash("a new password"))
    cluster.client.publish(keys.KEYS_CHANNEL, keys.user_changed(alice.account))
    wait_until(lambda: alice.call("GET", "/users/self").status_code == 401)
    assert browser().call("POST", "/sessions", {"name": alice.name, "password": PASSWORD}).status_code == 401
    browser().log_in(alice.name, "a new password")


# --- the feed ---


def handshake(cluster, cookie, origin=None):
    return connect(
        cluster.url.replace("http", "ws"),
        additional_headers={"Cookie": f"matchbox_{cluster.settings.port}={cookie}"},
        origin=origin,
        close_timeout=0.2,
    )


def ask_user_channel(socket):
    socket.send(json.dumps({"type": "subscribe", "product_ids": ["BTC-USD"], "channels": ["user"]}))
    return json.loads(socket.recv(timeout=15))


def test_a_page_hears_its_user_without_a_key(cluster, alice):
    """The session of the handshake says who it is."""
    with handshake(cluster, alice.cookie, origin=cluster.url) as socket:
        assert ask_user_channel(socket)["type"] == "subscriptions"
        cluster.deposit(alice.account, "USD", "1000")
        order = alice.call("POST", "/orders", ORDER).json()
        assert json.loads(socket.recv(timeout=15))["order_id"] == order["id"]
    alice.call("DELETE", "/orders")


def test_a_foreign_page_hears_nothing_of_its_visitors(cluster, alice):
    """A WebSocket is open to all origins, with the cookie: who comes from elsewhere is nobody."""
    with handshake(cluster, alice.cookie, origin="http://127.0.0.1:1") as socket:
        answer = ask_user_channel(socket)
        assert (answer["type"], answer["message"]) == ("error", "Authentication Failed")


def test_a_session_that_ends_takes_its_sockets_along(cluster, browser):
    """Logged out, or idle for too long: the feed is closed with 1008. Sockets of others, and unsigned ones, stay."""
    alice, bob = browser().register(), browser().register()
    with (
        handshake(cluster, alice.cookie) as gone,
        handshake(cluster, bob.cookie) as idle,
        connect(cluster.url.replace("http", "ws"), close_timeout=0.2) as anyone,
    ):
        assert {ask_user_channel(one)["type"] for one in (gone, idle)} == {"subscriptions"}
        alice.call("DELETE", "/sessions")
        reason = json.loads(gone.recv(timeout=15))
        assert (reason["type"], reason["reason"]) == ("error", "your session has ended; connect again")
        with pytest.raises(ConnectionClosed) as closed:
            gone.recv(timeout=15)
        assert closed.value.rcvd
        assert closed.value.rcvd.code == 1008
        cluster.client.delete(keys.session(hash_of(bob.cookie)))  # it ran out: nobody announces that
        assert json.loads(idle.recv(timeout=15))["type"] == "error"
        anyone.send(json.dumps({"type": "subscribe", "product_ids": ["BTC-USD"], "channels": ["ticker"]}))
        assert json.loads(anyone.recv(timeout=15))["type"] == "subscriptions"


# --- when it is closed ---


def test_the_two_venues_of_a_host_do_not_log_each_other_out(cluster, alice):
    """Cookies do not tell ports apart, so their name does."""
    assert list(alice.http.cookies) == [f"matchbox_{cluster.settings.port}"]


def test_secrets_are_in_no_log_and_no_argv(cluster, browser):
    """After all sorts of requests, what the processes wrote and were started with has no password, secret or id."""
    password = "unmistakable-password-1"
    alice = browser().register(password=password)
    bot = alice.key(["view", "trade"])
    bot.call("GET", "/accounts")
    headers = bot.headers("GET", "/accounts")
    cluster.http.get("/accounts", headers=headers | {"CB-ACCESS-PASSPHRASE": "unmistakable-passphrase"})
    browser().call("POST", "/sessions", {"name": alice.name, "password": "unmistakable-password-2"})
    browser().call("POST", "/sessions", b'{"name": "a", "password": "unmistakable-password-3"')
    browser().call("POST", "/users", {"name": alice.name, "password": "unmistakable-password-4"})
    with connect(cluster.url.replace("http", "ws"), close_timeout=0.2) as socket:
        socket.send(
            json.dumps({"type": "subscribe", "channels": ["user"], **bot.login(), "passphrase": "unmistakable"})
        )
        socket.recv(timeout=15)
    key = (cluster.settings.data_dir / "server.key").read_text().strip()
    secrets = ["unmistakable", bot.key.secret, bot.key.passphrase, alice.cookie, alice.csrf, key, "$argon2id"]
    logs = "".join(cluster.log(name).read_text(errors="replace") for name in cluster.names)
    commands = [worker_command(cluster.settings, name).arguments for name in cluster.names]
    for secret in secrets:
        assert secret not in logs
        assert not any(secret in str(command) for command in commands)


def test_the_description_says_how_to_come_in(cluster):
    """Every signed route names both ways and its refusals; every body has an example; nothing is a secret there."""
    api = json.loads(cluster.http.get("/openapi.json").text)
    assert set(api["components"]["securitySchemes"]) == {"key", "session"}
    for path, methods in api["paths"].items():
        for method, about in methods.items():
            assert "429" in about["responses"], path
            if "security" in about:
                assert about["security"] == [{"key": []}, {"session": []}]
                assert "401" in about["responses"]
            if method in ("post", "patch"):
                (content,) = about["requestBody"]["content"].values()
                assert content["examples"], path
    wanted = {"/users", "/users/self", "/sessions", "/api-keys", "/api-keys/{key}", "/admin/users", "/admin/halts"}
    assert wanted <= set(api["paths"])
    assert {"200", "204"} & set(api["paths"]["/sessions"]["delete"]["responses"]) == {"204"}
    assert all(about.get("security") for path, one in api["paths"].items() if "admin" in path for about in one.values())
