"""The embedded Valkey and PostgreSQL: private, durable, restartable, and gone when they are stopped."""

import os
import signal
import stat
from functools import partial
from pathlib import Path
from urllib.parse import unquote

import psutil
import psycopg
import pytest
import redis

from cluster import embedded
from cluster.child import Child
from shared.errors import MatchboxError
from shared.settings import Settings
from tests.cluster.conftest import wait_for
from tests.servers import wait_gone

pytestmark = pytest.mark.slow


def answers(server):
    try:
        with redis.Redis.from_url(server.url) as client:
            return client.ping()
    except redis.exceptions.ConnectionError:
        return False


def has_ended(child):
    return child.poll() is not None


def end(child, number=None):
    own = psutil.Process(child.pid).children(recursive=True)  # PostgreSQL's keep its memory until they notice
    if number is None:
        child.stop()
    else:
        os.kill(child.pid, number)
    wait_for(partial(has_ended, child), 20, f"{child.name} ended")
    wait_gone(own)


@pytest.fixture
def run(folder):
    """Starts a server and ends it after the test."""
    made = []

    def start(server):
        made.append(Child(server.name, server.command, folder))
        return made[-1]

    yield start
    for child in made:
        if child.poll() is None:
            end(child)


def start_postgres(run, server):
    command = embedded.initdb(server)
    if command is not None:
        made = Child("initdb", command, server.command.folder.parent)
        wait_for(partial(has_ended, made), 60, "initdb ended")
        assert made.poll() == 0, made.last_words()
        embedded.finish_initdb(server)
    child = run(server)
    wait_for(lambda: embedded.is_ready(server, child.pid), 20, "PostgreSQL accepts connections")
    return child


def test_valkey_keeps_what_it_acknowledged(folder, run):
    """A write that was answered survives kill -9; the configuration is the durable one; a stop removes the socket."""
    server = embedded.valkey(Settings(data=str(folder)))
    first = run(server)
    wait_for(partial(answers, server), 10, "Valkey answers")
    with redis.Redis.from_url(server.url) as client:
        client.set("kept", "1")
        wanted = {"appendonly": "yes", "appendfsync": "always", "maxmemory-policy": "noeviction", "port": "0"}
        assert {name: client.config_get(name)[name] for name in wanted} == wanted
    end(first, signal.SIGKILL)
    second = run(server)
    wait_for(partial(answers, server), 10, "Valkey answers again")
    with redis.Redis.from_url(server.url) as client:
        assert client.get("kept") == b"1"
    end(second)
    server.clean()
    assert not list(folder.rglob("*.sock"))


def test_postgres_survives_kill_9_and_stops_without_trace(folder, run):
    """Committed rows survive kill -9, fsync is on, no port is open, and a stop leaves no socket or pid file."""
    server = embedded.postgres(Settings(data=str(folder)))
    first = start_postgres(run, server)
    with psycopg.connect(server.url) as connection:
        connection.execute("CREATE TABLE kept (n int)")
        connection.execute("INSERT INTO kept VALUES (1)")
        assert connection.execute("SHOW fsync").fetchone() == ("on",)
    assert not [one for one in psutil.Process(first.pid).net_connections("inet") if one.status == "LISTEN"]
    end(first, signal.SIGKILL)
    second = start_postgres(run, embedded.postgres(Settings(data=str(folder))))
    with psycopg.connect(server.url) as connection:
        assert connection.execute("SELECT n FROM kept").fetchone() == (1,)
    end(second)
    server.clean()
    assert not list(folder.rglob(".s.PGSQL*")) + list(folder.rglob("postmaster.pid"))


def test_only_the_owner_reaches_the_sockets(folder):
    """The folders of both sockets admit their owner alone."""
    for make in (embedded.valkey, embedded.postgres):
        server = make(Settings(data=str(folder)))
        assert stat.S_IMODE(server.sockets.stat().st_mode) == 0o700


def test_long_paths_get_a_short_private_socket_folder(folder, run):
    """A data folder whose path is too long for a socket works all the same, and the folder made for it goes away."""
    data = folder / ("a rather long name of a folder/" * 4)
    data.mkdir(parents=True)
    server = embedded.valkey(Settings(data=str(data)))
    assert server.sockets.parent == Path(os.environ.get("TMPDIR", "/tmp"))
    child = run(server)
    wait_for(partial(answers, server), 10, "Valkey answers")
    assert server.sockets == Path(unquote(server.url.removeprefix("unix://"))).parent
    end(child)
    server.clean()
    assert not server.sockets.exists()
    again = embedded.postgres(Settings(data=str(data)))
    end(start_postgres(run, again))
    again.clean()
    assert not again.sockets.exists()


def test_an_interrupted_initdb_is_begun_anew(folder, run):
    """Half-made files of PostgreSQL are thrown away by the next start."""
    server = embedded.postgres(Settings(data=str(folder)))
    draft = folder / "postgres" / "data.new"
    draft.mkdir()
    (draft / "half").write_text("")
    end(start_postgres(run, server))
    assert not draft.exists()


def test_a_stale_pid_file_does_not_stop_postgres(folder, run):
    """After a restart of a container the pid in postmaster.pid may be anybody's: PostgreSQL starts all the same."""
    server = embedded.postgres(Settings(data=str(folder)))
    end(start_postgres(run, server))
    (folder / "postgres" / "data" / "postmaster.pid").write_text(f"{os.getpid()}\n{folder}/postgres/data\n")
    end(start_postgres(run, server))


def test_files_of_another_version_are_refused(folder):
    """Files that this PostgreSQL cannot read are left alone, with a line that says what to do."""
    server = embedded.postgres(Settings(data=str(folder)))
    data = folder / "postgres" / "data"
    data.mkdir()
    (data / "PG_VERSION").write_text("16\n")
    with pytest.raises(MatchboxError, match="is of PostgreSQL 16, not 18"):
        embedded.initdb(server)
