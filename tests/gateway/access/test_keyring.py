"""Users and keys in memory, against a real PostgreSQL: what is looked up, how often, and that nothing comes back."""

import asyncio
import secrets
from contextlib import asynccontextmanager, contextmanager

import pytest

from shared.connections import open_database, open_database_async
from shared.credentials import create_key, create_user, revoke_key, set_access, set_role
from workers.gateway.access.keyring import LOOKUPS_A_SECOND, KeyRing
from workers.gateway.errors import ApiError
from workers.gateway.history import History

SERVER_KEY = secrets.token_urlsafe(32)


class Watched(History):
    """Counts queries, and can hold one back after it was read."""

    def __init__(self, engine):
        super().__init__(engine)
        self.queries = 0
        self.hold: asyncio.Event | None = None
        self.held = asyncio.Event()

    async def rows(self, *args, **kwargs):
        self.queries += 1
        found = await super().rows(*args, **kwargs)
        if self.hold is not None:
            gate, self.hold = self.hold, None
            self.held.set()
            await gate.wait()
        return found


@pytest.fixture
def database(database_url):
    engine = open_database(database_url)
    yield engine
    engine.dispose()


@asynccontextmanager
async def ring(database_url, *, loaded=True):
    engine = open_database_async(database_url)
    try:
        made = KeyRing(Watched(engine), SERVER_KEY)
        if loaded:
            await made.load()
        yield made, made._history
    finally:
        await engine.dispose()


@contextmanager
def refused(status):
    with pytest.raises(ApiError) as error:
        yield
    assert error.value.status == status


def test_an_unknown_key_is_looked_up_once(database_url):
    """The second time it is refused from memory, like a wrong signature of a known key: as quickly, and as cheaply."""

    async def look():
        async with ring(database_url) as (keys, history):
            before = history.queries
            for _ in range(50):
                assert await keys.find("0" * 32) is None
            assert history.queries - before == 1

    asyncio.run(look())


@pytest.mark.parametrize(
    "key", ["", "x", "0" * 31, "0" * 33, "\x00" * 32, "ü" * 32, "' OR 1=1 --" + "0" * 21, " " * 32]
)
def test_what_is_no_key_is_not_looked_up(database_url, key):
    """PostgreSQL never sees it."""

    async def look():
        async with ring(database_url) as (keys, history):
            before = history.queries
            assert await keys.find(key) is None
            assert history.queries == before

    asyncio.run(look())


def test_a_thousand_unknown_keys_do_not_keep_postgresql_busy(database_url):
    """So many lookups a second, and no more."""

    async def look():
        async with ring(database_url) as (keys, history):
            before, loop = history.queries, asyncio.get_running_loop()
            started = loop.time()
            for number in range(1000):
                assert await keys.find(f"{number:032}") is None
            seconds = int(loop.time() - started) + 2
            assert history.queries - before <= LOOKUPS_A_SECOND * seconds

    asyncio.run(look())


def test_a_new_key_is_found_without_being_announced(database, database_url):
    """Asked for before it was heard of; once it is known, and its user, nothing is looked up."""

    async def look():
        async with ring(database_url) as (keys, history):
            account = create_user(database, "alice")
            made = create_key(database, account, ["view"], SERVER_KEY)
            found = await keys.find(made.key)
            assert (found.account, found.scopes) == (account, {"view"})
            assert (await keys.find_user(account)).name == "alice"
            before = history.queries
            assert await keys.find(made.key) == found
            assert history.queries == before

    asyncio.run(look())


def test_what_was_read_before_a_key_ended_is_not_taken_after_it(database, database_url):
    """A slow read that still saw the key must not bring it back behind the read that saw its end."""

    async def look():
        account = create_user(database, "alice")
        made = create_key(database, account, ["view"], SERVER_KEY)
        async with ring(database_url) as (keys, history):
            slow = history.hold = asyncio.Event()
            old = asyncio.create_task(keys.refresh(made.key))
            await history.held.wait()  # it has read, and is not back yet
            revoke_key(database, made.key)
            new = asyncio.create_task(keys.refresh(made.key))
            await asyncio.sleep(0.1)
            slow.set()
            await asyncio.gather(old, new)
            assert keys.peek(made.key) is None

    asyncio.run(look())


def test_roles_and_blocks_reach_the_keys(database, database_url):
    """The admin scope counts only while the role is there; a blocked user's keys say so; each load is the truth."""

    async def look():
        account = create_user(database, "alice", "admin")
        made = create_key(database, account, ["view", "admin"], SERVER_KEY)
        async with ring(database_url) as (keys, _):
            assert keys.peek(made.key).scopes == {"view", "admin"}
            for read in (lambda: keys.refresh_user(account), lambda: keys.refresh(made.key), keys.load):
                with database.begin() as connection:
                    set_role(connection, account, "trader")
                await read()
                assert keys.peek(made.key).scopes == {"view"}
                with database.begin() as connection:
                    set_role(connection, account, "admin")
                    set_access(connection, account, blocked=True)
                await read()
                assert keys.peek(made.key).blocked
                with database.begin() as connection:
                    set_access(connection, account, blocked=False)
                await read()
                assert (keys.peek(made.key).blocked, keys.peek(made.key).scopes) == (False, {"view", "admin"})

    asyncio.run(look())


def test_before_the_first_load_nobody_is_refused_as_unknown(database_url):
    """503, which clients try again, and not 401."""

    async def look():
        async with ring(database_url, loaded=False) as (keys, _):
            with refused(503):
                await keys.find("0" * 32)
            with refused(503):
                await keys.find_user(1)

    asyncio.run(look())


def test_one_key_of_another_server_key_does_not_hide_the_others(database, database_url):
    """It cannot be used; all others can; and status says so, which tells who gave a host a key of its own."""

    async def look():
        account = create_user(database, "alice")
        lost = create_key(database, account, ["view"], "another server key, of another host")
        good = create_key(database, account, ["view"], SERVER_KEY)
        async with ring(database_url) as (keys, _):
            assert keys.peek(lost.key) is None
            assert keys.peek(good.key) is not None
            assert keys.trouble.startswith("1 API keys are of another server key")
            revoke_key(database, lost.key)
            await keys.load()
            assert not keys.trouble

    asyncio.run(look())
