"""``python -m workers.engine SYMBOL``: own the order book of one instrument until told to stop."""

import sys

from workers.engine.process import EngineHandler
from workers.runtime import run_worker


def main() -> None:
    """Run the book named on the command line."""
    if len(sys.argv) != 2:
        sys.exit("usage: python -m workers.engine SYMBOL")
    symbol = sys.argv[1]
    run_worker(f"engine:{symbol}", lambda settings: EngineHandler(settings, symbol))


if __name__ == "__main__":
    main()
