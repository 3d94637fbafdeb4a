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
    """A level 3 book from the ``full`` channel on top of ``book?level=3``, strict about sequence and priority."""

    def __init__(self, book: dict[str, Any]) -> None:
        self.sequence = book["sequence"]
        self.sides: dict[str, dict[Decimal, list[list[Any]]]] = {"buy": {}, "sell": {}}
        for side, name in (("buy", "bids"), ("sell", "asks")):
            for price, size, order_id in book[name]:
                self.sides[side].setdefault(Decimal(price), []).append([order_id, Decimal(size)])

    def take(self, message: dict[str, Any]) -> None:
        """Follow one message; those the book already has are skipped."""
        if message.get("sequence", 0) <= self.sequence or message["type"] in ("heartbeat", "ticker", "last_match"):
            return
        assert message["sequence"] == self.sequence + 1, f"gap after {self.sequence}: {message}"
        self.sequence += 1
        getattr(self, "_" + message["type"])(message)

    def _received(self, message: dict[str, Any]) -> None:
        pass

    def _open(self, message: dict[str, Any]) -> None:
        level = self.sides[message["side"]].setdefault(Decimal(message["price"]), [])
        level.append([message["order_id"], Decimal(message["remaining_size"])])

    def _match(self, message: dict[str, Any]) -> None:
        side, price = self.sides[message["side"]], Decimal(message["price"])
        first = side[price][0]
        assert first[0] == message["maker_order_id"], "the first in the queue trades first"
        first[1] -= Decimal(message["size"])
        assert first[1] >= 0
        if not first[1]:
            self._drop(side, price, message["maker_order_id"])

    def _change(self, message: dict[str, Any]) -> None:
        if "price" in message and "new_size" in message:
            for order in self.sides[message["side"]].get(Decimal(message["price"]), []):
                if order[0] == message["order_id"]:
                    order[1] = Decimal(message["new_size"])
                    if not order[1]:
                        self._drop(self.sides[message["side"]], Decimal(message["price"]), order[0])
                    return

    def _done(self, message: dict[str, Any]) -> None:
        if "price" in message:
            self._drop(self.sides[message["side"]], Decimal(message["price"]), message["order_id"])

    def _drop(self, side: dict[Decimal, list[list[Any]]], price: Decimal, order_id: str) -> None:
        left = [order for order in side.get(price, []) if order[0] != order_id]
        if left:
            side[price] = left
        else:
            side.pop(price, None)
