"""Users and keys from the command line, in the words a person types, against a running ledger."""

import secrets
from functools import partial

import pytest
from click.testing import CliRunner

from cli import cli
from shared.messages import CancelRequest, OrderRequest
from shared.submit import Refused
from tests.gateway.browser import wait_until
from tests.gateway.conftest import running_cluster
from tests.harness import BTC_USD

pytestmark = pytest.mark.slow
KEY = secrets.token_urlsafe(32)


@pytest.fixture(scope="module")
def cluster(redis_server, database_server):
    """Ledger and engine; the tests share them and bring their own users."""
    workers = ("ledger", "engine")
    yield from running_cluster(redis_server, database_server, [BTC_USD], workers=workers, server_key=KEY)


@pytest.fixture
def matchbox(cluster, monkeypatch):
    """Runs a command; answers what it says, and expects the exit code."""
    for name, value in cluster.settings.environment().items():
        monkeypatch.setenv(name, value)

    def run(*arguments, stdin="", code=0):
        done = CliRunner().invoke(cli, [*arguments], input=stdin)
        assert done.exit_code == code, done.output
        return done.output

    return run


def refusal(cluster, account, number):
    """Why an order cannot be canceled, "" if it can."""
    try:
        cluster.submitter.submit(CancelRequest("c", account, number))
    except Refused as error:
        return str(error)
    return ""


def is_done(cluster, account, number):
    return refusal(cluster, account, number) == "Order already done"


def test_users_are_made_changed_blocked_and_let_in_again(cluster, matchbox):
    """Roles, passwords and blocks; what a block cancels is canceled, and the reason is told."""
    account = int(matchbox("user", "create", "alice").removeprefix("alice has account "))
    made = matchbox("user", "create", "root", "--role", "admin", "--password-stdin", stdin="correct horse battery\n")
    assert "root has account" in made
    assert "correct horse" not in made
    with cluster.database.connect() as connection:
        query = "SELECT name, role, password_hash FROM users WHERE name IN ('alice', 'root') ORDER BY account"
        rows = connection.exec_driver_sql(query).all()
    assert [row[:2] for row in rows] == [("alice", "trader"), ("root", "admin")]
    assert [row[2][:9] for row in rows] == ["", "$argon2id"]
    assert "is an admin now" in matchbox("user", "role", "alice", "admin")
    assert "is a trader now" in matchbox("user", "role", "alice", "trader")
    assert "alice got 1000 USD" in matchbox("deposit", "alice", "USD", "1000")
    order = OrderRequest("o", account, "BTC-USD", "buy", "limit", 100, 1000)
    number = cluster.submitter.submit(order).order_id
    assert "alice is blocked" in matchbox("user", "block", "alice", "--reason", "runaway bot")
    assert "alice  trader  blocked" in matchbox("user", "list")
    with pytest.raises(Refused, match="trading is blocked for this account: runaway bot"):
        cluster.submitter.submit(OrderRequest("p", account, "BTC-USD", "buy", "limit", 100, 1000))
    wait_until(lambda: refusal(cluster, account, number) == "Order already done")
    assert "may come in and trade again" in matchbox("user", "unblock", "alice")
    assert "blocked" not in matchbox("user", "list")
    assert cluster.submitter.submit(OrderRequest("q", account, "BTC-USD", "buy", "limit", 100, 1000)).order_id


def test_the_kill_switches_cancel_what_they_stop(cluster, matchbox):
    """Everybody, an instrument, a key: no order comes through, and those that rested are gone; then all goes on."""
    account = int(matchbox("user", "create", "erin").removeprefix("erin has account "))
    matchbox("deposit", "erin", "USD", "1000")
    key = matchbox("key", "create", "erin").split()[1]
    order = lambda name: OrderRequest(name, account, "BTC-USD", "buy", "limit", 100, 1000)  # noqa: E731
    for on, off, says in (
        (("halt", "--reason", "a fire"), ("resume",), "halted for everyone, under maintenance: a fire"),
        (
            ("instrument", "halt", "BTC-USD", "--cancel", "--reason", "a fork"), ("instrument", "resume", "BTC-USD"),
            "BTC-USD is halted, under maintenance: a fork",
        ),
        (("key", "revoke", key, "--cancel"), (), ""),
    ):  # fmt: skip
        number = cluster.submitter.submit(order(f"before {on}")).order_id
        assert "canceled" in matchbox(*on)
        if says:
            with pytest.raises(Refused, match=says):
                cluster.submitter.submit(order(f"during {on}"))
        wait_until(partial(is_done, cluster, account, number))
        if off:
            matchbox(*off)
        assert cluster.submitter.submit(order(f"after {on}")).order_id
    assert "is revoked, and the orders" in matchbox("key", "revoke", key, "--cancel"), "a cancel may be asked for again"
    assert "does not exist" in matchbox("key", "revoke", "nobody's", "--cancel", code=1)
    matchbox("user", "block", "erin")


def test_what_cannot_be_is_said_in_one_line(matchbox):
    """No password, a short one, nobody of that name, a role or scope that is none."""
    for arguments, stdin, says in (
        (("user", "create", "bob", "--password-stdin"), "", "no password on standard input"),
        (("user", "create", "bob", "--password-stdin"), "short\n", "at least 8"),
        (("user", "block", "nobody"), "", '"nobody" does not exist'),
        (("user", "password", "nobody", "--password-stdin"), "correct horse battery\n", "does not exist"),
    ):
        output = matchbox(*arguments, stdin=stdin, code=1)
        assert says in output
    assert "bob" not in matchbox("user", "list")
    matchbox("user", "create", "bob")
    assert "choose from view, trade, transfer" in matchbox("key", "create", "bob", "--scopes", "admin", code=1)
    assert "allowed address" in matchbox("key", "create", "bob", "--allow-ip", "here", code=1)
    matchbox("user", "create", "x", "--role", "root", code=2)


def test_a_password_is_nothing_for_an_argv(matchbox):
    """There is no option that takes it: whoever lists the processes of the machine would read it."""
    for command in ("create", "password"):
        assert "--password " not in matchbox("user", command, "--help").replace("--password-stdin", "")
    matchbox("user", "create", "carol", "correct horse battery", code=2)


def test_keys_are_bound_and_revoked(cluster, matchbox):
    """With scopes and networks as asked for."""
    matchbox("user", "create", "dave")
    key = matchbox("key", "create", "dave", "--scopes", "view, trade", "--allow-ip", "10.0.0.0/8", "--allow-ip", "::1")
    with cluster.database.connect() as connection:
        (row,) = connection.exec_driver_sql(
            "SELECT key, scopes, allowed_ips FROM api_keys WHERE revoked_at IS NULL"
        ).all()
    assert row[0] in key
    assert (row[1], row[2]) == (["trade", "view"], ["10.0.0.0/8", "::1/128"])
    assert "is revoked" in matchbox("key", "revoke", row[0])
    assert "revoked already" in matchbox("key", "revoke", row[0], code=1)
