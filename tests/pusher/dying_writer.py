"""A writer that kills its own process at a named point: ``python -m tests.pusher.dying_writer POINT COUNT``.

It dies the ``COUNT``-th time it comes to ``POINT``; the servers are in the environment, as for the pusher itself.
"""

import asyncio
import os
import signal
import sys

from shared.connections import connect_async, open_database_async
from shared.settings import load_settings
from workers.pusher.logs import Logs
from workers.pusher.writer import Writer

POINTS = ("read", "folded", "moved", "rows written", "committed", "published")


class DyingLogs(Logs):
    """Its writer dies where it is told to."""

    def __init__(self, client, settings, writer):
        super().__init__(client, settings)
        self._writer = writer

    async def read(self, behind, positions, halted):
        found = await super().read(behind, positions, halted)
        if found:
            self._writer.reach("read")
        return found

    async def publish(self, positions):
        await super().publish(positions)
        if self._writer.written:
            self._writer.reach("published")


class DyingWriter(Writer):
    """Dies where it is told to."""

    point = ""
    left = 0

    def __init__(self, client, database, settings):
        super().__init__(client, database, settings)
        self._logs = DyingLogs(client, settings, self)

    def reach(self, point):
        """Die here, if it is time."""
        if point == self.point:
            self.left -= 1
            if not self.left:
                os.kill(os.getpid(), signal.SIGKILL)

    async def _fold(self, found, halted):
        folded = await super()._fold(found, halted)
        if found:
            self.reach("folded")
        return folded

    async def _move(self, connection, batch):
        await super()._move(connection, batch)
        self.reach("moved")

    async def _write_rows(self, connection, ledger, book):
        await super()._write_rows(connection, ledger, book)
        self.reach("rows written")

    async def _commit(self, batch, ledger, book):
        await super()._commit(batch, ledger, book)
        self.reach("committed")


async def write_until_dead(point, count):
    """Write until dead, or until nothing is left."""
    settings = load_settings(dotenv=None)
    writer = DyingWriter(connect_async(settings.redis_url), open_database_async(settings.database_url), settings)
    writer.point, writer.left = point, count
    while await writer.write():
        pass


def main():
    """As the command line says."""
    asyncio.run(write_until_dead(sys.argv[1], int(sys.argv[2])))


if __name__ == "__main__":
    main()
