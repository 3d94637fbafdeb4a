"""``python -m workers.engine SYMBOL``: own the order book of one instrument until told to stop."""

import sys

from shared import log
from shared.settings import Settings
from workers.engine.process import EngineHandler
from workers.runtime import run_worker


def make_handler(settings: Settings, symbol: str) -> EngineHandler:
    """The handler of a book, and a line in the log that says which core runs."""
    handler = EngineHandler(settings, symbol)
    log.get().info("order book", core=handler.book.core)
    return handler


def main() -> None:
    """Run the book named on the command line."""
    if len(sys.argv) != 2:
        sys.exit("usage: python -m workers.engine SYMBOL")
    symbol = sys.argv[1]
    run_worker(f"engine:{symbol}", lambda settings: make_handler(settings, symbol))


if __name__ == "__main__":
    main()
