"""``python -m workers.demo``: trade on the exchange of the settings in the environment until told to stop."""

import sys

import uvloop

from shared import log
from shared.errors import MatchboxError
from shared.settings import load_settings
from workers.demo import process
from workers.runtime import EXIT_ERROR


def run() -> None:
    """Trade. Exit code 3: a reason it could name, the last line on stderr."""
    try:
        settings = load_settings()
        log.configure(settings.log_level, "demo")
        uvloop.run(process.main(settings))
    except MatchboxError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(EXIT_ERROR)


if __name__ == "__main__":
    run()
