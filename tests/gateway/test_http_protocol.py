"""What a request may be before it is one: bounded in bytes and in time."""

import asyncio
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import uvicorn
from uvicorn.server import ServerState

from workers.gateway.http_protocol import ARRIVAL_S, HEAD_BYTES_MAX, BoundedHttp, close_late

ROOT = Path(__file__).parents[2]


def talk(cluster, *parts, pause_s=0.0):
    """Send bytes, and read until the other side hangs up or has answered."""
    with socket.create_connection((cluster.settings.host, cluster.settings.port), timeout=5) as raw:
        try:
            for part in parts:
                raw.sendall(part)
                time.sleep(pause_s)
            return raw.recv(65536)
        except ConnectionError:  # it hung up while we still talked
            return b""


@pytest.mark.slow
@pytest.mark.parametrize("size", [HEAD_BYTES_MAX + 200_000, 8 * 1024 * 1024])
@pytest.mark.parametrize("shape", [b"X-Long: %b\r\n", b"GET /%b HTTP/1.1\r\n"])
def test_a_head_without_end_is_cut_off(cluster, size, shape):
    """One endless header, or an endless path: refused while it comes, and not kept."""
    start = b"" if shape.startswith(b"GET") else b"GET /time HTTP/1.1\r\nHost: x\r\n"
    answer = talk(cluster, start + shape.replace(b"%b", b"x" * size))
    assert answer[:12] in (b"HTTP/1.1 431", b"")
    assert cluster.http.get("/time").status_code == 200


@pytest.mark.slow
def test_many_headers_are_one_long_head(cluster):
    """Each is short; together they are too long."""
    lines = [b"GET /time HTTP/1.1\r\nHost: x\r\n", *(b"X-%d: %b\r\n" % (n, b"y" * 1000) for n in range(400))]
    assert talk(cluster, *lines, pause_s=0.0005)[:12] in (b"HTTP/1.1 431", b"")


@pytest.mark.slow
def test_a_usual_head_in_pieces_is_a_request(cluster):
    """Byte by byte, if need be; and a connection may be used for many."""
    request = b"GET /time HTTP/1.1\r\nHost: x\r\nX-Some: " + b"y" * 8000 + b"\r\n\r\n"
    for parts in ([request], [request[n : n + 100] for n in range(0, len(request), 100)]):
        assert talk(cluster, *parts)[:15] == b"HTTP/1.1 200 OK"
    for _ in range(300):  # more than the bound, all together
        assert cluster.http.get("/time", headers={"X-Some": "y" * 500}).status_code == 200


class Pipe(asyncio.Transport):
    """A connection without a network: what is written is kept."""

    def __init__(self):
        super().__init__()
        self.aborted = False

    def get_extra_info(self, name, default=None):
        return default

    def write(self, data):
        pass

    def is_closing(self):
        return self.aborted

    def pause_reading(self):
        pass

    def resume_reading(self):
        pass

    def close(self):
        pass

    def abort(self):
        self.aborted = True


async def application(scope, receive, send):
    """Hears the request out and answers."""
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b""})


def connected():
    config = uvicorn.Config(application, http=BoundedHttp, lifespan="off", log_config=None)
    config.load()
    pipe, connection = Pipe(), BoundedHttp(config, ServerState(), {})
    connection.connection_made(pipe)
    return pipe, connection


HEAD = b"POST /orders HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n"


@pytest.mark.parametrize(
    ("parts", "waits"),
    [
        ([], True),
        ([HEAD[:5]], True),
        ([HEAD[:-2]], True),
        ([HEAD], True),
        ([HEAD, b"12345"], True),
        ([HEAD, b"12345", b"67890"], False),
        ([HEAD + b"1234567890"], False),
        ([HEAD + b"1234567890" + HEAD], True),
        ([HEAD + b"1234567890", HEAD[:9]], True),
    ],
)
def test_whoever_does_not_come_to_the_point_is_hung_up_on(parts, waits):
    """Silent, with half a head or half a body: so long and no longer. Between two requests there is more time."""

    async def talk_slowly():
        pipe, connection = connected()
        for part in parts:
            connection.data_received(part)
            await asyncio.sleep(0.01)
        now = time.monotonic()
        close_late({connection}, now + ARRIVAL_S - 1)
        assert not pipe.aborted
        close_late({connection}, now + ARRIVAL_S + 1)
        assert pipe.aborted is waits

    asyncio.run(talk_slowly())


def test_a_gateway_may_open_as_many_files_as_its_limits_promise():
    """Started with few, as most systems do, it asks for more; never for more than it may have."""
    script = (
        "import resource\n"
        "from workers.gateway.process import OTHER_FILES, raise_file_limit\n"
        "hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]\n"
        "for sockets in (100, 0, 10**9):\n"
        "    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))\n"
        "    raise_file_limit(sockets)\n"
        "    print(resource.getrlimit(resource.RLIMIT_NOFILE)[0] == min(hard, sockets + OTHER_FILES))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True"] * 3
