"""The feed's side of a connection, without a network: how much it looks at in one go."""

import asyncio

import pytest
import uvicorn
from uvicorn.server import ServerState

from tests.gateway.hostile.raw_socket import FIN, HELLO, PING, TEXT, frame
from workers.gateway.feed.protocol import FRAMES_A_SECOND, FRAMES_BURST_S, SLICE_BYTES, FeedProtocol


class Pipe(asyncio.Transport):
    """A connection without a network: what is written is kept."""

    def __init__(self):
        super().__init__()
        self.written = b""
        self.is_paused = self.is_closed = False

    def get_extra_info(self, name, default=None):
        return default

    def write(self, data):
        self.written += data

    def is_closing(self):
        return self.is_closed

    def pause_reading(self):
        self.is_paused = True

    def resume_reading(self):
        self.is_paused = False

    def close(self):
        self.is_closed = True

    def abort(self):
        self.is_closed = True


async def application(scope, receive, send):
    """Accepts, and asks for nothing more."""
    await receive()
    await send({"type": "websocket.accept"})
    await asyncio.Event().wait()


async def connected():
    config = uvicorn.Config(application, lifespan="off", log_config=None)
    config.load()
    pipe, connection = Pipe(), FeedProtocol(config, ServerState(), {})
    connection.connection_made(pipe)
    connection.data_received(HELLO)
    await asyncio.sleep(0.01)
    assert pipe.written.startswith(b"HTTP/1.1 101")
    pipe.written = b""
    return pipe, connection


@pytest.mark.parametrize("size", [0, 1, 100, 3000])
def test_one_go_is_a_slice_and_nothing_is_lost(size):
    """However much comes at once, it is read a slice at a time, in its order, and no more is taken meanwhile."""
    texts = [str(number).zfill(size)[-size:] if size else "" for number in range(200_000 // (size + 6))]
    whole = b"".join(frame(FIN | TEXT, text.encode()) for text in texts)

    async def scenario():
        pipe, connection = await connected()
        connection.data_received(whole)
        heard = []
        while connection.queue.qsize():
            assert connection.queue.qsize() <= SLICE_BYTES // (size + 6) + 1
            assert pipe.is_paused
            heard.append((await connection.receive())["text"])
        assert heard == texts
        assert not pipe.is_paused
        connection.data_received(frame(FIN | TEXT, b"more"))
        assert (await connection.receive())["text"] == "more"

    asyncio.run(scenario())


def test_pings_are_answered_up_to_a_number():
    """Then the client is closed with 1008, and nothing is written any more."""

    async def scenario():
        pipe, connection = await connected()
        most = FRAMES_A_SECOND * FRAMES_BURST_S
        connection.data_received(frame(FIN | PING, b"x") * most)
        assert pipe.written.count(b"\x8a\x01x") == most
        assert not pipe.is_closed
        connection.data_received(frame(FIN | PING, b"x") * most)
        assert pipe.is_closed
        assert b"Frame rate limit exceeded" in pipe.written
        assert len(pipe.written) < 3 * 1.5 * most + SLICE_BYTES
        assert (await connection.receive())["code"] == 1008

    asyncio.run(scenario())
