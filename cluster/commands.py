"""The command line of each worker. Settings travel in the environment, so no secret stands in an argv."""

import os
import sys
from pathlib import Path

from cluster.child import Command
from cluster.plan import MIGRATIONS
from shared.settings import Settings

ROOT = Path(__file__).parent.parent
EXIT_ROLLED_BACK = 4
"""Exit code of the migrations if Redis has lost what PostgreSQL knows. Here, since alembic takes half a second."""


def worker_command(settings: Settings, name: str) -> Command:
    """How to start ``name``: ``engine:BTC-USD`` -> ``python -m workers.engine BTC-USD``."""
    kind, _, argument = name.partition(":")
    module = "cluster.migrate" if name == MIGRATIONS else f"workers.{kind}"
    return python_command(settings, module, *([argument] if argument else []))


def python_command(settings: Settings, module: str, *arguments: str) -> Command:
    """How to run a module of ours with these settings.

    It runs in the data folder and imports nothing from there (``-P``): a folder named ``shared`` in the place
    where somebody calls matchbox must not be taken for ours.
    """
    environment = os.environ | settings.environment()
    if (ROOT / "pyproject.toml").exists():  # a checkout, perhaps not installed
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    return Command([sys.executable, "-P", "-m", module, *arguments], environment, settings.data_dir)


def log_folder(settings: Settings) -> Path:
    """Where the processes' output goes."""
    return settings.data_dir / "logs"
