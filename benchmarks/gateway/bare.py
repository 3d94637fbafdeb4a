"""Bare web applications: POST /orders does one XADD and answers. What a framework and a server cost by themselves.

    python -m benchmarks.gateway.bare NAME PORT REDIS_URL

serves one in this process; ``bare_app`` does that beside. Only those whose packages are installed are measured
("make peers").
"""

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Any

import redis.asyncio

STREAM = "{bench}:bare"
START_S = 20.0
_URL = "BENCH_REDIS_URL"


def client() -> redis.asyncio.Redis:
    """The store, one connection for each request under way, as redis-py does it."""
    return redis.asyncio.Redis.from_url(os.environ[_URL])


def litestar_app() -> Any:
    """Litestar, which the gateway is made with."""
    from litestar import Litestar, Request, post

    store = client()

    @post("/orders", status_code=200)
    async def orders(request: Request[Any, Any, Any]) -> dict[str, str]:
        return {"id": str(await store.xadd(STREAM, {"d": await request.body()}))}

    return Litestar([orders], openapi_config=None, logging_config=None)


def starlette_app() -> Any:
    """Starlette."""
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import JSONResponse
    from starlette.routing import Route

    store = client()

    async def orders(request: Request) -> JSONResponse:
        return JSONResponse({"id": str(await store.xadd(STREAM, {"d": await request.body()}))})

    return Starlette(routes=[Route("/orders", orders, methods=["POST"])])


def fastapi_app() -> Any:
    """FastAPI."""
    from fastapi import FastAPI, Request

    app, store = FastAPI(), client()

    async def orders(request: Request) -> dict[str, str]:
        return {"id": str(await store.xadd(STREAM, {"d": await request.body()}))}

    app.add_api_route("/orders", orders, methods=["POST"])
    return app


APPS: dict[str, Callable[[], Any]] = {"litestar": litestar_app, "starlette": starlette_app, "fastapi": fastapi_app}
BARE = ("litestar, uvicorn", "litestar, granian", "starlette, uvicorn", "fastapi, uvicorn")


def installed() -> list[str]:
    """The names of ``BARE`` whose packages are here."""
    return [name for name in BARE if all(find_spec(package) for package in name.split(", "))]


@contextlib.contextmanager
def bare_app(name: str, redis_url: str, port: int) -> Iterator[int]:
    """One of ``BARE`` in a process of its own; gives its pid. Raises ``SystemExit`` if it does not start."""
    child = subprocess.Popen([sys.executable, "-m", __name__, name, str(port)], env={**os.environ, _URL: redis_url})
    try:
        until = time.monotonic() + START_S
        while not _listens(port):
            if child.poll() is not None or time.monotonic() > until:
                raise SystemExit(f"the bare application {name} did not start")
            time.sleep(0.05)
        yield child.pid
    finally:
        child.terminate()
        child.wait()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def serve(name: str, port: int) -> None:
    """Serve as the gateway does: one worker, httptools or the server's own parser, uvloop, no access log."""
    framework, server = name.split(", ")
    if server == "uvicorn":
        import uvicorn

        uvicorn.run(APPS[framework](), port=port, http="httptools", loop="uvloop", log_level="error", access_log=False)
    else:
        from granian import Granian
        from granian.constants import Interfaces, Loops

        target = f"{__name__}:{framework}_app" if __name__ != "__main__" else f"benchmarks.gateway.bare:{framework}_app"
        Granian(
            target, port=port, interface=Interfaces.ASGI, factory=True, loop=Loops.uvloop, log_enabled=False
        ).serve()


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]))
