"""What all commands of ``matchbox`` share: how errors end them, how tables and JSON are printed, common options."""

import contextlib
from typing import Any

import click
import msgspec
from redis.exceptions import RedisError

from shared.errors import MatchboxError

WIDE = 180
"""Columns of a table that does not go to a terminal."""


class Commands(click.Group):
    """Commands whose expected errors are one line and exit code 1."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except MatchboxError as error:
            raise click.ClickException(str(error)) from error
        except RedisError as error:
            raise click.ClickException(f'Redis does not answer ({error}); see "matchbox status"') from error

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  # click's signature
        """Commands in the order in which they are of use, not by name."""
        return list(self.commands)


def echo(line: str) -> None:
    """Print, also when whoever read our output has gone: the cluster goes on."""
    with contextlib.suppress(BrokenPipeError):
        click.echo(line)


def print_table(table: Any) -> None:
    """Print a rich table: as wide as the terminal, or wide enough if there is none."""
    from rich.console import Console

    console = Console()
    Console(width=None if console.is_terminal else WIDE, highlight=False).print(table)


def print_json(value: Any) -> None:
    """Print as JSON that people can read, too."""
    click.echo(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


data_option = click.option("--data", metavar="DIR", help="Data folder of the cluster [default: .matchbox].")
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
