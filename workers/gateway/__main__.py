"""``python -m workers.gateway N``: gateway process N, with all settings in the environment."""

import gc
import sys

import uvloop

from shared import log
from shared.errors import MatchboxError
from shared.settings import load_settings
from workers.gateway import process
from workers.runtime import EXIT_ERROR

GARBAGE = 20_000
"""New objects before the collector looks for cycles. At the default, 700, what is under way is looked at many times."""


def run() -> None:
    """Serve until told to stop. Exit code 3: a reason it could name, the last line on stderr."""
    if len(sys.argv) != 2 or not sys.argv[1].isdecimal():
        sys.exit("usage: python -m workers.gateway NUMBER")
    number = int(sys.argv[1])
    try:
        settings = load_settings()
        log.configure(settings.log_level, f"gateway:{number}")
        gc.set_threshold(GARBAGE)
        uvloop.run(process.main(number, settings))
    except MatchboxError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(EXIT_ERROR)


if __name__ == "__main__":
    run()
