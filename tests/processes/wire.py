"""A network between a host and a server, which can be cut: nothing passes, and nobody is told.

As when packets get lost: connections stay open, new ones are not answered, and what was on its way arrives when the
network is back, however late. On 127.0.0.1, in a thread of the tests.
"""

import asyncio
import contextlib
import threading

CHUNK = 1 << 16


class Wire:
    """Leads from ``port`` to the unix socket ``path``."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._loop = asyncio.new_event_loop()
        self._whole = asyncio.Event()
        self._whole.set()
        self._ends: set[asyncio.Task[None]] = set()
        self._server = self._loop.run_until_complete(asyncio.start_server(self._connect, "127.0.0.1", 0))
        self.port: int = self._server.sockets[0].getsockname()[1]
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def cut(self) -> None:
        """From now on nothing passes."""
        self._loop.call_soon_threadsafe(self._whole.clear)

    def mend(self) -> None:
        """All passes again, what was held up first."""
        self._loop.call_soon_threadsafe(self._whole.set)

    def close(self) -> None:
        """End all connections."""
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _close(self) -> None:
        self._server.close()
        for one in self._ends:
            one.cancel()
        await asyncio.gather(*self._ends, return_exceptions=True)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._ends.add(task)
        try:
            await self._whole.wait()
            far_reader, far_writer = await asyncio.open_unix_connection(self._path)
            with contextlib.closing(far_writer):
                await asyncio.gather(self._pass_on(reader, far_writer), self._pass_on(far_reader, writer))
        except (OSError, asyncio.CancelledError):
            pass  # one end is gone, and so is the other; or this wire is: streams complain of a task that was canceled
        finally:
            writer.close()
            self._ends.discard(task)

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(CHUNK):
            await self._whole.wait()
            writer.write(data)
            await writer.drain()
        await self._whole.wait()
        writer.close()
