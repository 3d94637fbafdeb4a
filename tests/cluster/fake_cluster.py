"""A real supervisor over real servers and fake workers: ``python -m tests.cluster.fake_cluster``.

Settings come from the environment; the workers look into ``<data>/moods`` how to misbehave.
``--impatient``: pauses between restarts are short.
"""

import asyncio
import sys
from pathlib import Path

from cluster import plan
from cluster.child import Command
from cluster.commands import worker_command
from cluster.supervisor import Supervisor
from shared.errors import MatchboxError
from shared.settings import Settings, load_settings

FAKE = Path(__file__).with_name("fake_worker.py")


def fake_command(settings: Settings, name: str) -> Command:
    """A fake worker in place of ``name``; migrations are real, but in the tests' own PostgreSQL, which has had them."""
    real = worker_command(settings, name)
    if name == plan.MIGRATIONS:
        return NO_MIGRATIONS if load_settings().database_url else real
    arguments = [sys.executable, "-S", "-E", str(FAKE), name, str(settings.data_dir / "moods")]
    return Command(arguments, real.environment, real.folder)


NO_MIGRATIONS = Command([sys.executable, "-S", "-E", "-c", "pass"], {}, FAKE.parent)


def say(line: str) -> None:
    """Print at once: a test reads it."""
    print(line, flush=True)


def main() -> None:
    """Supervise until told to stop."""
    if "--impatient" in sys.argv:  # ten exits in a row take half a minute otherwise
        plan.PAUSE_S = 0.001
    supervisor = Supervisor(
        load_settings(),
        demo="--demo" in sys.argv,
        report=say,
        on_ready=lambda *_: say("open"),
        command_of=fake_command,
    )
    try:
        asyncio.run(supervisor.run())
    except MatchboxError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
