"""``matchbox recover``, ``backup`` and ``restore``: what they ask before they begin."""

import click

from cluster.standing import losses
from shared.connections import connect, open_database
from shared.settings import Settings


def confirm_recovery(settings: Settings, *, is_sure: bool) -> None:
    """Show what Redis has lost, and have a person agree that it is made anew. Raises ``click.Abort``."""
    client, database = connect(settings.redis_url), open_database(settings.database_url)
    try:
        with database.connect() as connection:
            found = losses(client, connection)
    finally:
        client.close()
        database.dispose()
    for one in found:
        click.echo(str(one))
    if not found:
        click.echo("Redis has all that PostgreSQL knows; a recovery would only drop what is on its way.")
    if not is_sure:
        click.confirm("Make ledgers and books in Redis anew from PostgreSQL?", abort=True)
