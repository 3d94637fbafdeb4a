"""A real supervisor over workers that only beat: they start in a twentieth of the time, and it cannot tell."""

import asyncio
import sys

import msgspec

from cluster.child import Command
from cluster.plan import MIGRATIONS
from cluster.supervisor import Supervisor
from shared.errors import MatchboxError
from shared.settings import Settings, load_settings
from tests.cluster.fake_cluster import fake_command


def _command(settings: Settings, name: str) -> Command:
    command = fake_command(settings, name)
    if name == MIGRATIONS:  # the tables are there
        return msgspec.structs.replace(command, arguments=[sys.executable, "-S", "-E", "-c", "pass"])
    return command


def main() -> None:
    """Supervise until told to stop."""
    supervisor = Supervisor(
        load_settings(), demo=False, report=print, on_ready=lambda *_: print("open", flush=True), command_of=_command
    )
    try:
        asyncio.run(supervisor.run())
    except MatchboxError as error:
        sys.exit(f"error: {error}")
