"""A listener of the feed that writes down what it hears, and books rebuilt from that as clients do it."""

from decimal import Decimal
from typing import Any

import msgspec

from workers.gateway.feed.socket import FeedSocket


class Ear(FeedSocket):
    """A socket without a socket."""

    def __init__(self, account: int = 0) -> None:
        self.account = account
        self.heard: list[dict[str, Any]] = []
        self.frames: list[bytes] = []
        self.closed = 0

    def send(self, data: bytes) -> None:
        """Decode one unmasked text frame."""
        assert data[0] == 0x81
        skip = {126: 4, 127: 10}.get(data[1], 2)
        length = data[1] if skip == 2 else int.from_bytes(data[2:skip])
        assert len(data) == skip + length
        self.frames.append(data)
        self.heard.append(msgspec.json.decode(data[skip:]))

    def close(self, code: int, reason: str) -> None:
        """Note the code."""
        self.closed = code

    def of(self, *types: str) -> list[dict[str, Any]]:
        """What was heard of these types."""
        return [message for message in self.heard if message["type"] in types]


class Levels:
    """A level 2 book from ``snapshot`` and ``l2update``."""

    def __init__(self) -> None:
        self.sides: dict[str, dict[Decimal, Decimal]] = {}

    def take(self, message: dict[str, Any]) -> None:
        """Follow one message."""
        if message["type"] == "snapshot":
            self.sides = {
                side: {Decimal(price): Decimal(size) for price, size in message[name]}
                for side, name in (("buy", "bids"), ("sell", "asks"))
            }
        elif message["type"] == "l2update":
            for side, price, size in message["changes"]:
                if Decimal(size):
                    self.sides[side][Decimal(price)] = Decimal(size)
                else:
                    self.sides[side].pop(Decimal(price), None)


class Orders:
    """A level 3 book from the ``full`` channel on top of ``book?level=3``, strict about sequence and priority.

    It follows the rules of the API's page and nothing else; a queue is a list of [order id, shown size].
    """

    def __init__(self, book: dict[str, Any]) -> None:
        self.sequence = book["sequence"]
        self.sides: dict[str, dict[Decimal, list[list[Any]]]] = {"buy": {}, "sell": {}}
        self.places: dict[str, tuple[str, Decimal]] = {}
        for side, name in (("buy", "bids"), ("sell", "asks")):
            for price, size, order_id in book[name]:
                self._rest(order_id, side, Decimal(price), Decimal(size))

    def take(self, message: dict[str, Any]) -> None:
        """Follow one message; those the book already has are skipped."""
        if message.get("sequence", 0) <= self.sequence or message["type"] in ("heartbeat", "ticker", "last_match"):
            return
        assert message["sequence"] == self.sequence + 1, f"gap after {self.sequence}: {message}"
        self.sequence += 1
        getattr(self, "_" + message["type"])(message)

    def _received(self, message: dict[str, Any]) -> None:
        pass

    _activate = _received

    def _open(self, message: dict[str, Any]) -> None:
        self._drop(message["order_id"])
        size = Decimal(message["remaining_size"])
        self._rest(message["order_id"], message["side"], Decimal(message["price"]), size)

    def _match(self, message: dict[str, Any]) -> None:
        rested = ["maker_order_id", "taker_order_id"] if message.get("auction") else ["maker_order_id"]
        for name in rested:
            first = self._queue(message[name])[0]
            assert first[0] == message[name], "the first in the queue trades first"
            first[1] -= Decimal(message["size"])
            assert first[1] >= 0
            if not first[1]:
                self._drop(first[0])

    def _change(self, message: dict[str, Any]) -> None:
        if message["order_id"] not in self.places or "new_size" not in message:
            return
        old, new = Decimal(message["old_size"]), Decimal(message["new_size"])
        if message["reason"] == "modify_order" and (message["old_price"] != message["new_price"] or new > old):
            self._drop(message["order_id"])
            return
        order = next(one for one in self._queue(message["order_id"]) if one[0] == message["order_id"])
        order[1] = min(order[1], new)

    def _done(self, message: dict[str, Any]) -> None:
        self._drop(message["order_id"])

    def _rest(self, order_id: str, side: str, price: Decimal, size: Decimal) -> None:
        self.places[order_id] = side, price
        self.sides[side].setdefault(price, []).append([order_id, size])

    def _queue(self, order_id: str) -> list[list[Any]]:
        side, price = self.places[order_id]
        return self.sides[side][price]

    def _drop(self, order_id: str) -> None:
        if order_id in self.places:
            queue = self._queue(order_id)
            side, price = self.places.pop(order_id)
            queue[:] = [order for order in queue if order[0] != order_id]
            if not queue:
                del self.sides[side][price]
