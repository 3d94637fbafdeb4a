"""``python -m workers.pusher``, with all settings in the environment."""

import gc
import sys

import uvloop

from shared import log
from shared.errors import MatchboxError
from shared.settings import load_settings
from workers.pusher import process
from workers.runtime import EXIT_ERROR

GARBAGE = 20_000
"""New objects before the collector looks for cycles. At the default, 700, a batch of rows is looked at many times."""


def run() -> None:
    """Run until told to stop. Exit code 3: a reason it could name, the last line on stderr."""
    try:
        settings = load_settings()
        log.configure(settings.log_level, process.NAME)
        gc.set_threshold(GARBAGE)
        uvloop.run(process.main(settings))
    except MatchboxError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(EXIT_ERROR)


if __name__ == "__main__":
    run()
