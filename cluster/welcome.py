"""Whether the gateway answers, and what a person should try first."""

import asyncio
import contextlib
import shlex
import shutil
import sys
from pathlib import Path

from shared.settings import Settings

ANSWER_S = 2.0
_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  # we ask, we do not listen


def reachable_host(host: str) -> str:
    """A host to connect to for an address to listen on."""
    return _EVERYWHERE.get(host, host)


def address(settings: Settings) -> str:
    """The gateway's URL."""
    host = reachable_host(settings.host)
    return f"http://{f'[{host}]' if ':' in host else host}:{settings.port}"


async def answers(host: str, port: int) -> bool:
    """Whether the gateway answers ``GET /time``."""
    request = f"GET /time HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode()
    try:
        async with asyncio.timeout(ANSWER_S):
            reader, writer = await asyncio.open_connection(reachable_host(host), port)
            try:
                writer.write(request)
                return b" 200 " in await reader.readline()
            finally:
                writer.close()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()
    except (OSError, TimeoutError):
        return False


def program() -> str:
    """How a person calls us: by name if the shell finds it, else as we were called, as in ``.venv/bin/matchbox``."""
    called = Path(sys.argv[0])
    return "matchbox" if shutil.which("matchbox") or called.name != "matchbox" else shlex.quote(str(called))


def welcome(settings: Settings, *, demo: bool, has_instruments: bool) -> str:
    """What ``start`` says once the exchange is open."""
    url = address(settings)
    data = f" --data {shlex.quote(settings.data)}" if settings.data_dir != Settings().data_dir else ""
    matchbox = program()
    lines = [f"Matchbox is open at {url}", ""]
    if demo:
        lines += [f"  watch it     {url}/", f"  the book     curl '{url}/products/BTC-USD/book?level=2'"]
    elif not has_instruments:
        lines += [
            "  It has no instruments yet. Add one:",
            f"               {matchbox} instrument add BTC-USD --tick 0.01 --lot 0.00000001{data}",
        ]
    else:
        lines += [f"  products     curl {url}/products"]
    lines += [
        f"  trade        {matchbox} user create alice{data}",
        f"               {matchbox} deposit alice USD 100000{data}",
        f"               {matchbox} key create alice{data}        then see README: ccxt in four lines",
        f"  processes    {matchbox} status{data}",
        f"  the API      {url}/docs",
        f"  stop         Ctrl-C, or {matchbox} stop{data}",
    ]
    return "\n".join(lines)
