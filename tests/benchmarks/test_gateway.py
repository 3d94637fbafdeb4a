"""The load of the gateway's benchmark: what would make its figures wrong."""

import random

import msgspec
import pytest

from benchmarks.gateway.command import ratios
from benchmarks.gateway.frames import Frames, framed
from benchmarks.gateway.orders import order_fields, order_message
from workers.gateway.feed.messages import frame


@pytest.mark.parametrize("piece", [1, 2, 3, 7, 1000, 10**6])
def test_messages_are_cut_out_of_any_pieces(piece):
    """Whatever pieces the bytes come in, each message comes out once, short, long and very long ones."""
    sent = [{"text": "a" * size} for size in (0, 100, 115, 200, 65_000, 70_000)]
    stream, frames = b"".join(frame(message) for message in sent), Frames()
    found = []
    for start in range(0, len(stream), piece):
        found += [message for _, message in frames.feed(stream[start : start + piece])]
    assert [msgspec.json.decode(message) for message in found] == sent


def test_a_frame_of_the_load_is_one_of_a_client():
    """Servers refuse frames that are not masked."""
    message = order_message(random.Random(1), 7)
    data = framed(message)
    assert data[:2] == bytes((0x81, 0x80 | 126))
    assert data[4:8] == bytes(4)
    assert data[8:] == message
    assert msgspec.json.decode(message)["id"] == "7"


def test_orders_differ_and_some_of_them_trade():
    """Prices of both sides overlap; client ids are unique."""
    chance = random.Random(2)
    orders = [order_fields(chance) for _ in range(500)]
    assert len({one["client_oid"] for one in orders}) == 500
    buys = [float(one["price"]) for one in orders if one["side"] == "buy"]
    sells = [float(one["price"]) for one in orders if one["side"] == "sell"]
    assert len(buys) > 150 < len(sells)
    assert max(buys) > min(sells)


def test_ratios_name_what_they_compare():
    """Only bare applications that were measured are in it."""
    entry = {
        "matchbox, HTTP": {"orders_per_s": 1000},
        "matchbox, WebSocket": {"orders_per_s": 2500},
        "litestar, uvicorn": {"orders_per_s": 1500},
    }
    assert ratios(entry) == {"websocket_to_http": 2.5, "litestar, uvicorn to ours": 1.5}
