"""A WebSocket client that keeps what it heard."""

import json
import time
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import msgspec
from websockets.sync.client import connect

from tests.harness import Cluster, Trader


class Client:
    """One connection to the cluster's gateway."""

    def __init__(self, cluster: Cluster, closing: ExitStack, path: str = "/") -> None:
        url = cluster.url.replace("http", "ws") + path
        self.socket = closing.enter_context(connect(url, max_size=None, compression=None, close_timeout=0.2))
        self.heard: list[dict[str, Any]] = []

    def send(self, **fields: Any) -> None:
        """Send a message."""
        self.socket.send(json.dumps(fields))

    def ask(self, **fields: Any) -> dict[str, Any]:
        """Send a request, and wait for its answer or error."""
        self.send(**fields)
        return self.answer(fields["id"])

    def answer(self, number: str) -> dict[str, Any]:
        """The answer or error to a request."""
        while True:
            message = self.hear()
            if message.get("id") == number:
                return message

    def sign_in(self, trader: Trader) -> dict[str, Any]:
        """Authenticate."""
        self.send(type="authenticate", **trader.login())
        return self.until("authenticated")

    def subscribe(self, *channels: str, products: Sequence[str] = ("BTC-USD",), **fields: Any) -> dict[str, Any]:
        """Subscribe, and wait for the answer."""
        self.send(type="subscribe", product_ids=list(products), channels=list(channels), **fields)
        return self.until("subscriptions")

    def hear(self, timeout_s: float = 15.0) -> dict[str, Any]:
        """The next message. Raises ``TimeoutError``."""
        message: dict[str, Any] = msgspec.json.decode(self.socket.recv(timeout=timeout_s))
        self.heard.append(message)
        return message

    def until(self, *types: str, timeout_s: float = 15.0, **wanted: Any) -> dict[str, Any]:
        """The next message of a type, with these fields."""
        end = time.monotonic() + timeout_s
        while True:
            message = self.hear(max(0, end - time.monotonic()))
            if message["type"] in types and wanted.items() <= message.items():
                return message

    def of(self, *types: str) -> list[dict[str, Any]]:
        """What was heard of these types."""
        return [message for message in self.heard if message["type"] in types]
