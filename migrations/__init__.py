"""The tables of PostgreSQL, version by version (alembic): ``command.upgrade(config(url), "head")``.

Works from an installed package, without an ``alembic.ini``.
"""

from pathlib import Path

from alembic import command
from alembic.config import Config

from shared.connections import database_url


def config(url: str) -> Config:
    """Alembic's configuration for the database at ``url``."""
    made = Config()
    made.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    made.set_main_option("sqlalchemy.url", database_url(url).replace("%", "%%"))
    return made


def upgrade(url: str) -> None:
    """Bring the database to the newest version. Several processes may ask at once: one works, the others wait.

    Raises ``sqlalchemy.exc.OperationalError`` if the database does not answer.
    """
    command.upgrade(config(url), "head")
