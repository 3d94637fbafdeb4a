"""A book as bytes and back. The same state gives the same bytes."""

import msgspec

from shared.errors import CorruptState
from shared.instrument import Instrument
from shared.messages import Place
from workers.engine.levels import RestingOrder
from workers.engine.lists import OrderList
from workers.engine.state import BookState
from workers.engine.stops import SleepingOrder

FORMAT = 2
"""Raised when an older program could not read it, or when a field of an older one changes its meaning."""


class Snapshot(msgspec.Struct, gc=False):
    """All of a book between two commands. ``bids`` and ``asks`` in priority order, the others as they came.

    Format 1 had nothing but plain orders, and did not know what was filled of them: to it a rest is a whole order.
    """

    format: int
    sequence: int
    trade_id: int
    time: int
    last_price: int
    instrument: Instrument | None
    bids: list[RestingOrder]
    asks: list[RestingOrder]
    sleeping: list[SleepingOrder] = []
    lists: list[OrderList] = []
    pending: list[Place] = []


class _Header(msgspec.Struct):
    format: int


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Snapshot).decode
_decode_header = msgspec.json.Decoder(_Header).decode


def dump(book: BookState) -> bytes:
    """The state as JSON, about 40 bytes an order."""
    assert book.arriving is None, "a book is dumped between entries, not inside one"
    assert not book.refreshing, "a book is dumped between entries, not inside one"
    return _encode(
        Snapshot(
            FORMAT, book.sequence, book.trade_id, book.time, book.last_price, book.instrument,
            list(book.bids.living()), list(book.asks.living()), list(book.stops.orders.values()),
            book.lists.all(), list(book.lists.pending.values()),
        )
    )  # fmt: skip


def load(book: BookState, content: bytes) -> None:
    """Fill an empty book from a dump. Raises ``CorruptState`` for anything else."""
    try:
        found = _decode_header(content).format
        if found not in (1, FORMAT):
            raise CorruptState(f"order book snapshot has format {found}, this program reads {FORMAT}: use its program")
        snapshot = _decode(content)
    except msgspec.MsgspecError as error:
        raise CorruptState(f"order book snapshot is unreadable ({error}): load an older one") from error
    book.sequence, book.trade_id = snapshot.sequence, snapshot.trade_id
    book.time, book.last_price = snapshot.time, snapshot.last_price
    if snapshot.instrument is not None:
        book.configure(snapshot.instrument)
    for order in (*snapshot.bids, *snapshot.asks):
        if snapshot.format == 1:
            order.quantity = order.remaining
        book.rest(order)
    for sleeping in snapshot.sleeping:
        book.sleep(sleeping)
    for linked in snapshot.lists:
        book.restore_list(linked)
    for pending in snapshot.pending:
        book.wait(pending)
