"""What a request may be before it is one: bounded in time, as in bytes (test_bad_input.py)."""

import asyncio
import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
import uvicorn
from uvicorn.server import ServerState

from workers.gateway.http_protocol import ARRIVAL_S, BoundedHttp, close_late

ROOT = Path(__file__).parents[2]


class Pipe(asyncio.Transport):
    """A connection without a network: what is written is kept."""

    def __init__(self):
        super().__init__()
        self.aborted = False
        self.written = b""

    def get_extra_info(self, name, default=None):
        return default

    def write(self, data):
        self.written += data

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


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x00\xa5",
        b"GET /orders/\x00 HTTP/1.1\r\n\r\n",
        b"POST /orders HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST /orders HTTP/1.1\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ],
)
def test_what_is_no_http_hears_so_in_json(sent):
    """Every error is a JSON object with a message, also one that no route has seen; the connection ends."""

    async def send():
        pipe, connection = connected()
        connection.data_received(sent)
        return pipe.written

    head, _, body = asyncio.run(send()).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert b"content-type: application/json" in head
    assert b"connection: close" in head
    assert json.loads(body) == {"message": "Invalid HTTP request received."}


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
