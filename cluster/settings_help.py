"""The help of ``start``: after its options, every setting."""

import click

from shared.settings import variables


class SettingsCommand(click.Command):
    """A command whose help ends with the variables of all settings."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write them."""
        super().format_epilog(ctx, formatter)
        with formatter.section("Settings, in the environment or in .env"):
            formatter.write_dl(variables())
