"""Users and API keys: secrets readable with the server's key alone, each shown once."""

import base64
import multiprocessing
import stat
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.exc import DataError

from shared.connections import open_database
from shared.credentials import (
    create_key,
    create_user,
    find_user,
    insert_user,
    networks_of,
    open_secret,
    passphrase_hash,
    revoke_key,
    server_key,
    set_access,
    set_password,
    set_role,
)
from shared.default_secrets import KEY_FILE
from shared.errors import CorruptState, InvalidInput
from shared.schema import api_keys
from shared.settings import Settings

KEY = "k" * 43


@pytest.fixture
def database(database_url):
    """An empty database."""
    engine = open_database(database_url)
    yield engine
    engine.dispose()


def test_the_server_key_is_made_once_and_nobody_else_reads_it(tmp_path):
    """Absent, it is made with mode 0600; from then on it is that one; the setting wins over the file."""
    settings = Settings(data=str(tmp_path / "new"))
    first = server_key(settings)
    path = tmp_path / "new" / KEY_FILE
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert server_key(settings) == first == path.read_text().strip()
    assert [one.name for one in path.parent.iterdir()] == [KEY_FILE]
    assert server_key(Settings(data=str(tmp_path), server_key=KEY)) == KEY


def test_processes_that_start_at_once_get_one_server_key(tmp_path):
    """Of many that find no key, one makes it and all use it."""
    settings = Settings(data=str(tmp_path))
    with multiprocessing.get_context("forkserver").Pool(4) as pool:
        assert len(set(pool.map(server_key, [settings] * 16))) == 1


def test_a_key_is_stored_so_that_only_the_server_key_opens_it(database):
    """The row has neither secret nor passphrase in the clear; another server key says what to do."""
    account = create_user(database, "alice")
    made = create_key(database, account, ["view", "trade"], KEY, "bot")
    with database.connect() as connection:
        row = connection.execute(select(api_keys)).one()
    assert (row.key, row.account, row.scopes, row.label) == (made.key, account, ["trade", "view"], "bot")
    secret = base64.b64decode(made.secret)
    assert len(secret) == 32
    assert secret not in row.secret
    assert open_secret(row.secret, KEY) == secret
    assert row.passphrase_hash == passphrase_hash(made.key, made.passphrase.encode())
    with pytest.raises(CorruptState, match="MATCHBOX_SERVER_KEY"):
        open_secret(row.secret, "x" * 43)


def test_users_have_accounts_from_1_on_and_names_of_their_own(database):
    """Account 0 is the fees'; a taken or unusable name is refused, and says so."""
    assert [create_user(database, name) for name in ("alice", "bob")] == [1, 2]
    assert find_user(database, "bob") == 2
    for name, says in (("alice", "exists already"), ("", "printable"), (" x", "printable"), ("a\nb", "printable")):
        with pytest.raises(InvalidInput, match=says):
            create_user(database, name)
    with pytest.raises(InvalidInput, match="does not exist"):
        find_user(database, "carol")
    with pytest.raises(InvalidInput, match="choose one of trader, admin"):
        create_user(database, "carol", "king")  # type: ignore[arg-type]


def test_keys_need_a_user_and_a_scope_and_end_once(database):
    """Unknown accounts, scopes and keys are refused; a key is revoked once."""
    account = create_user(database, "alice")
    for number, scopes, says in ((99, ["view"], "does not exist"), (account, [], "choose from"), (account, ["x"], "x")):
        with pytest.raises(InvalidInput, match=says):
            create_key(database, number, scopes, KEY)  # type: ignore[arg-type]
    made = create_key(database, account, ["view"], KEY)
    revoke_key(database, made.key)
    with pytest.raises(InvalidInput, match="revoked already"):
        revoke_key(database, made.key)


@pytest.mark.parametrize("role", ["trader", "admin"])
def test_a_key_gets_no_scope_that_its_users_role_has_not(database, role):
    """The admin scope is for admins, and for nobody by another spelling."""
    account = create_user(database, "alice", role)
    create_key(database, account, ["view", "trade", "transfer"], KEY)
    wrong: tuple[Any, ...] = (["Admin"], ["admin "], ["view,admin"], ["root"], [""])
    for scopes in wrong:
        with pytest.raises(InvalidInput, match="choose from"):
            create_key(database, account, scopes, KEY)
    if role == "admin":
        create_key(database, account, ["admin"], KEY)
    else:
        with pytest.raises(InvalidInput, match='scopes "admin": choose from view, trade, transfer'):
            create_key(database, account, ["admin"], KEY)


def test_errors_of_the_database_do_not_repeat_what_was_to_be_stored(database):
    """A statement that fails is logged; the secrets in it are not."""
    with pytest.raises(DataError) as error, database.begin() as connection:
        insert_user(connection, "mallory", password_hash="unmistakable\x00hash")
    assert "unmistakable" not in str(error.value)
    create_user(database, "alice", password_hash="unmistakable")
    with pytest.raises(InvalidInput) as taken:
        create_user(database, "alice", password_hash="unmistakable")
    assert "unmistakable" not in str(taken.value) + str(taken.value.__context__)


def test_changes_of_nobody_are_refused(database):
    """An account that does not exist is not made by being changed."""
    for change in (
        lambda connection: set_role(connection, 99, "admin"),
        lambda connection: set_access(connection, 99, blocked=True),
        lambda connection: set_password(connection, 99, "x"),
    ):
        with pytest.raises(InvalidInput, match="account 99 does not exist"), database.begin() as connection:
            change(connection)
    account = create_user(database, "alice")
    with pytest.raises(InvalidInput, match="role"), database.begin() as connection:
        set_role(connection, account, "root")  # type: ignore[arg-type]  # what a caller might send


@pytest.mark.parametrize(
    ("texts", "networks"),
    [
        ([], []),
        (["192.0.2.7"], ["192.0.2.7/32"]),
        (["10.1.2.3/8", "10.0.0.0/8"], ["10.0.0.0/8"]),
        (["2001:DB8::1/32", "::1"], ["2001:db8::/32", "::1/128"]),
    ],
)
def test_networks_have_one_text(texts, networks):
    """However they were written; the same twice is one."""
    assert networks_of(texts) == networks
