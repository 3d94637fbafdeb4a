"""What a command of the CLI holds while it talks to a running cluster: its settings, Redis and PostgreSQL."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from cluster.record import attach, read_record
from shared.connections import connect, open_database
from shared.errors import InvalidSetting, Unavailable, first_line
from shared.settings import Settings, load_settings

if TYPE_CHECKING:
    from sqlalchemy import Engine


def settings_with(**changes: Any) -> Settings:
    """Settings from the environment and ``.env``, under what the command line says.

    The data folder is absolute: the processes of the cluster run in it, and would look for a relative one there.
    """
    settings = load_settings().with_changes(**changes)
    return settings.with_changes(data=str(settings.data_dir))


class Session:
    """A running cluster, found by its data folder or by the URLs in the settings."""

    def __init__(self, data: str | None) -> None:
        self.settings = attach(settings_with(data=data))
        self.redis = connect(self.settings.redis_url)

    @contextmanager
    def database(self) -> Iterator["Engine"]:
        """The cluster's PostgreSQL. Raises ``Unavailable`` if it is unknown, away or not set up."""
        from sqlalchemy.exc import OperationalError, ProgrammingError

        if not self.settings.database_url:
            raise Unavailable("set MATCHBOX_DATABASE_URL, or name the cluster's data folder with --data on its host")
        engine = open_database(self.settings.database_url)
        try:
            yield engine
        except OperationalError as error:
            reason = first_line(error.orig)
            raise Unavailable(f'PostgreSQL does not answer ({reason}); see "matchbox status"') from error
        except ProgrammingError as error:
            reason = first_line(error.orig)
            raise Unavailable(
                f"PostgreSQL is not set up for this version ({reason}); start the cluster first"
            ) from error
        finally:
            engine.dispose()

    def settings_with_server_key(self) -> Settings:
        """Settings by which the cluster's server key is found. Raises ``InvalidSetting`` if it cannot be known here.

        A key made up here would encrypt secrets that the gateways cannot read.
        """
        folder = self.settings.data_dir
        if not self.settings.server_key and not (folder / "server.key").exists() and read_record(folder) is None:
            raise InvalidSetting(
                "MATCHBOX_SERVER_KEY: set it to the cluster's own, or name the cluster's data folder with --data"
            )
        return self.settings
