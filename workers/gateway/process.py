"""A gateway process: its socket, the tasks beside the server, its beat, and how it stops."""

import asyncio
import contextlib
import resource
import signal
import socket
import time
from collections.abc import Iterator
from typing import Any

import uvicorn
from redis.exceptions import RedisError

from shared import log
from shared.beat import BEAT_S, beat_of, show_beat
from shared.connections import connect_async, open_database_async
from shared.credentials import server_key
from shared.default_secrets import check_secrets
from shared.errors import InvalidSetting
from shared.settings import Settings
from workers.gateway import figures
from workers.gateway.app import create_app, create_gateway
from workers.gateway.context import Gateway
from workers.gateway.feed.protocol import FeedProtocol
from workers.gateway.http_protocol import BoundedHttp, close_late

BACKLOG = 2048
PING_S = 5.0
PONG_S = 20.0
MESSAGE_MAX = 64 * 1024
KEEP_ALIVE_S = 75
HANG_UP_S = 5.0
OTHER_FILES = 2000
"""Connections of HTTP clients, of servers, and whatever else is open."""
DRAIN_S = 3
"""How long requests under way may take once the process is told to stop."""
OPEN_POLLS = 500
"""How often one of several gateways looks whether it knows the exchange, before it takes connections in any case and
says what is missing."""
POLL_S = 0.02


class Server(uvicorn.Server):
    """uvicorn, but signals are ours: it would die of the signal in the end, and we promise exit code 0."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave them alone."""
        yield


def raise_file_limit(sockets: int) -> None:
    """Let this process have so many sockets open, as far as the system lets us: often it begins with 1024 files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = sockets + OTHER_FILES if hard == resource.RLIM_INFINITY else min(hard, sockets + OTHER_FILES)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def listen(settings: Settings) -> socket.socket:
    """The socket. Several gateways share the port; one alone finds out if somebody has it, and takes connections.

    Raises ``InvalidSetting``.
    """
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if settings.gateways > 1:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        listener.bind((settings.host, settings.port))
    except OSError as error:
        listener.close()
        raise InvalidSetting(
            f"MATCHBOX_PORT={settings.port}: cannot listen on {settings.host}:{settings.port} ({error.strerror}); "
            "choose another with --port"
        ) from None
    if settings.gateways == 1:
        listener.listen(BACKLOG)
    listener.setblocking(False)
    return listener


async def main(number: int, settings: Settings) -> None:
    """Serve until told to stop. Raises ``MatchboxError``."""
    for name, url in (("MATCHBOX_REDIS_URL", settings.redis_url), ("MATCHBOX_DATABASE_URL", settings.database_url)):
        if not url:
            raise InvalidSetting(f'{name} is not set; "matchbox start" sets it for the processes it starts')
    check_secrets(settings)
    raise_file_limit(settings.sockets_max)
    listener = listen(settings)
    client, engine = connect_async(settings.redis_url), open_database_async(settings.database_url)
    gateway = create_gateway(number, settings, client, engine, server_key(settings))
    config = uvicorn.Config(
        create_app(gateway),
        http=BoundedHttp,
        ws=FeedProtocol,
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        ws_max_size=MESSAGE_MAX,
        ws_ping_interval=PING_S,
        ws_ping_timeout=PONG_S,
        ws_per_message_deflate=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=DRAIN_S,
    )
    server = Server(config)
    loop = asyncio.get_running_loop()
    for number_of_signal in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number_of_signal, setattr, server, "should_exit", True)
    try:
        await _run(server, listener, gateway, client)
    finally:
        gateway.people.close()
        await client.aclose()
        await engine.dispose()


async def _run(server: Server, listener: socket.socket, gateway: Gateway, client: Any) -> None:
    """The server and the tasks beside it. If one of those fails, the server drains and the failure is raised."""
    log.get().info("Listening", host=gateway.settings.host, port=gateway.settings.port)
    tasks = [
        asyncio.create_task(coroutine)
        for coroutine in (
            gateway.replicas.follow_forever(),
            gateway.replicas.books.complete_forever(),
            gateway.replicas.books.retry_forever(),
            gateway.watch.follow_forever(),
            gateway.watch.look_forever(),
            gateway.sockets.relieve_forever(),
            gateway.backpressure.relieve_forever(),
            gateway.inbox.send_forever(),
            gateway.inbox.expire_forever(),
            gateway.hub.tell_forever(),
            gateway.cancel_on_disconnect.keep_for_others_forever(),
            beat_forever(gateway, client, server),
            hang_up_forever(server),
        )
    ]
    serving = asyncio.create_task(serve(server, listener, gateway))
    await asyncio.wait([serving, *tasks], return_when=asyncio.FIRST_COMPLETED)
    failed = [task for task in tasks if task.done()]
    server.should_exit = True
    await serving
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for task in failed:
        task.result()
    log.get().info("Stopped")


async def serve(server: Server, listener: socket.socket, gateway: Gateway) -> None:
    """Take connections until told to stop; beside other gateways only when this one knows what they know.

    Until then the kernel gives all connections to the others.
    """
    if gateway.settings.gateways > 1:
        for _ in range(OPEN_POLLS):
            if server.should_exit or not gateway.replicas.trouble:
                break
            await asyncio.sleep(POLL_S)
    if not server.should_exit:
        await server.serve(sockets=[listener])


async def hang_up_forever(server: Server) -> None:
    """Look now and then for requests that do not arrive."""
    while True:
        await asyncio.sleep(HANG_UP_S)
        close_late(server.server_state.connections, time.monotonic())


async def beat_forever(gateway: Gateway, client: Any, server: Server) -> None:
    """Show a sign of life each second, for as long as Redis takes it."""
    while True:
        replicas = gateway.replicas
        troubled = replicas, replicas.markets, gateway.backpressure, gateway.history, gateway.watch
        with contextlib.suppress(RedisError, OSError):  # who follows the logs says so
            await replicas.measure()
            await gateway.backpressure.measure()
            figures.LAG.set(replicas.lag)
            figures.WAITING.set(gateway.inbox.waiting)
            state = "running" if server.started and not replicas.trouble else "starting"
            error = "; ".join(filter(None, (one.trouble for one in troubled)))
            beat = beat_of(state, sum(replicas.positions.values()), replicas.lag, error)
            await show_beat(client, f"gateway:{gateway.number}", beat)
        await asyncio.sleep(BEAT_S)
