"""``matchbox user …`` and ``matchbox key …``: wiring only; what the commands do is in ``accounts.py``."""

import sys
from typing import TYPE_CHECKING, Any

import click

from cluster.session import Session
from cluster.terminal import Commands, data_option, json_option, print_json
from cluster.welcome import address
from shared.errors import InvalidInput

if TYPE_CHECKING:  # with it would come SQLAlchemy, which takes longer to load than most commands take
    from shared.credentials import Role

ROLES = ("trader", "admin")

password_option = click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")


def _password() -> str:
    """The first line of standard input: what stands in an argv, everybody on the machine can read."""
    line = sys.stdin.readline().removesuffix("\n").removesuffix("\r")
    if not line:
        raise InvalidInput(
            "no password on standard input; write it there, as in: matchbox user … --password-stdin < file"
        )
    return line


# --- users ---


@click.group(cls=Commands)
def user() -> None:
    """Make, list, change and block users."""


@user.command(name="create")
@click.argument("name")
@click.option("--role", type=click.Choice(ROLES), default="trader", show_default=True, help="admin: may use /admin.")
@password_option
@data_option
def create_user(name: str, role: "Role", password_stdin: bool, data: str | None) -> None:
    """Make a user. Without a password they cannot log in, only use API keys."""
    from cluster import accounts

    session = Session(data)
    password = _password() if password_stdin else ""
    with session.database() as database:
        account = accounts.make_user(session.redis, database, session.settings, name, role, password)
    click.echo(f"{name} has account {account}")


@user.command(name="list")
@data_option
@json_option
def list_users(data: str | None, as_json: bool) -> None:
    """List the users."""
    from cluster.accounts import list_users as found_in

    with Session(data).database() as database:
        users = found_in(database)
    if as_json:
        print_json(users)
        return
    for one in users:
        click.echo(f"{one.account:>6}  {one.name}  {one.role}{'  blocked' if one.blocked else ''}")


@user.command(name="password")
@click.argument("name", metavar="USER")
@click.option("--password-stdin", is_flag=True, required=True, help="Read the password from standard input.")
@data_option
def set_password(name: str, password_stdin: bool, data: str | None) -> None:  # noqa: ARG001  # it has to be said
    """Give USER another password. Their sessions end."""
    from cluster import accounts

    session = Session(data)
    password = _password()
    with session.database() as database:
        accounts.change_password(session.redis, database, session.settings, name, password)
    click.echo(f"{name} has a new password")


@user.command(name="role")
@click.argument("name", metavar="USER")
@click.argument("role", type=click.Choice(ROLES))
@data_option
def set_role(name: str, role: "Role", data: str | None) -> None:
    """Make USER a trader or an admin."""
    from cluster import accounts

    session = Session(data)
    with session.database() as database:
        accounts.change_role(session.redis, database, name, role)
    click.echo(f"{name} is {'an' if role == 'admin' else 'a'} {role} now")


@user.command()
@click.argument("name", metavar="USER")
@click.option("--reason", default="", help="What they are told when they try to trade.")
@data_option
def block(name: str, reason: str, data: str | None) -> None:
    """Let USER in no longer, stop their trading, and cancel their orders."""
    from cluster import accounts

    session = Session(data)
    with session.database() as database:
        accounts.block(session.redis, database, name, reason)
    click.echo(f'{name} is blocked; "matchbox user unblock {name}" lets them in again')


@user.command()
@click.argument("name", metavar="USER")
@data_option
def unblock(name: str, data: str | None) -> None:
    """Let USER in and trade again."""
    from cluster import accounts

    session = Session(data)
    with session.database() as database:
        accounts.unblock(session.redis, database, name)
    click.echo(f"{name} may come in and trade again")


# --- keys ---


@click.group(cls=Commands)
def key() -> None:
    """Make and revoke API keys."""


@key.command(name="create")
@click.argument("name", metavar="USER")
@click.option("--scopes", default="view,trade", show_default=True, help="What it may do: view, trade, transfer, admin.")
@click.option("--label", default="", help="A name for people.")
@click.option("--allow-ip", multiple=True, help="An address or network it may be used from [default: any].")
@data_option
def create_key(name: str, scopes: str, label: str, allow_ip: tuple[str, ...], data: str | None) -> None:
    """Make an API key for USER. Its secret is shown once."""
    from cluster import accounts

    session = Session(data)
    settings = session.settings_with_server_key()
    wanted: list[Any] = [one.strip() for one in scopes.split(",")]
    with session.database() as database:
        made = accounts.make_key(session.redis, database, settings, name, wanted, label, allow_ip)
    click.echo(f"key         {made.key}\nsecret      {made.secret}\npassphrase  {made.passphrase}")
    click.echo(f"\nThe secret is not shown again. The API is at {address(settings)}", err=True)


@key.command()
@click.argument("key_id", metavar="KEY")
@click.option("--cancel", is_flag=True, help="Cancel all orders of its account, too: orders do not know their key.")
@data_option
def revoke(key_id: str, cancel: bool, data: str | None) -> None:
    """End an API key at once."""
    from cluster import accounts

    session = Session(data)
    with session.database() as database:
        if cancel:
            account = accounts.kill_key(session.redis, database, key_id)
            click.echo(f"{key_id} is revoked, and the orders of account {account} are being canceled")
        else:
            accounts.end_key(session.redis, database, key_id)
            click.echo(f"{key_id} is revoked")
