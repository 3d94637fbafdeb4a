"""``python -m workers.ledger SHARD``: the process that owns one account shard."""

import sys

from shared.errors import InvalidSetting
from shared.settings import Settings
from workers.ledger.process import LedgerHandler
from workers.runtime import run_worker


def main() -> None:
    """Serve the shard named on the command line until told to stop."""
    shard = sys.argv[1] if len(sys.argv) == 2 else ""

    def make_handler(settings: Settings) -> LedgerHandler:
        if not shard.isascii() or not shard.isdigit() or int(shard) >= settings.shards:
            raise InvalidSetting(f'shard "{shard}": write a number below MATCHBOX_SHARDS={settings.shards}')
        return LedgerHandler(settings, int(shard))

    run_worker(f"ledger:{shard}", make_handler)


if __name__ == "__main__":
    main()
