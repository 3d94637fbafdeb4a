"""A client of the public API: signed REST requests and the WebSocket feed, as any bot would speak them."""

import base64
import hmac
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import msgspec
from websockets.asyncio.client import ClientConnection, connect

from shared.credentials import ApiKey
from shared.errors import MatchboxError
from shared.settings import Settings

VERIFY_PATH = "/users/self/verify"
MESSAGE_MAX = 4 * 1024 * 1024


class Declined(MatchboxError):
    """The exchange has refused a request; its text is the exchange's. ``status`` is HTTP's."""

    def __init__(self, status: int, message: str, retry_after_s: int = 0) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after_s = retry_after_s


class Away(MatchboxError):
    """The exchange did not answer, or could not: try again later."""


def address(settings: Settings) -> str:
    """Host and port of the gateway, as seen from this machine."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(settings.host, settings.host)  # noqa: S104
    return f"[{host}]:{settings.port}" if ":" in host else f"{host}:{settings.port}"


class ApiClient:
    """One user of the API. Several may share the connections of ``http``."""

    def __init__(self, http: httpx.AsyncClient, where: str, key: ApiKey) -> None:
        self._http = http
        self._where = where
        self._key = key
        self._secret = base64.b64decode(key.secret)

    def _sign(self, text: str) -> tuple[str, str]:
        timestamp = f"{time.time():.3f}"
        digest = hmac.digest(self._secret, (timestamp + text).encode(), "sha256")
        return timestamp, base64.b64encode(digest).decode()

    async def request(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """The decoded answer. Raises ``Declined`` for a refusal, ``Away`` if there is no answer or a fault."""
        content = msgspec.json.encode(body) if body is not None else b""
        timestamp, signature = self._sign(method + path + content.decode())
        headers = {
            "CB-ACCESS-KEY": self._key.key,
            "CB-ACCESS-SIGN": signature,
            "CB-ACCESS-TIMESTAMP": timestamp,
            "CB-ACCESS-PASSPHRASE": self._key.passphrase,
            "Content-Type": "application/json",
        }
        try:
            answer = await self._http.request(method, f"http://{self._where}{path}", content=content, headers=headers)
            found = msgspec.json.decode(answer.content)
        except (httpx.HTTPError, msgspec.DecodeError) as error:
            raise Away(f"{method} {path}: {type(error).__name__} {error}".strip()) from error
        if answer.status_code < 400:
            return found
        message = str(found.get("message", "")) if isinstance(found, dict) else ""
        if answer.status_code >= 500:
            raise Away(f"{method} {path}: {answer.status_code} {message}")
        wait_s = answer.headers.get("Retry-After", "0")
        raise Declined(answer.status_code, message, int(wait_s) if wait_s.isdecimal() else 1)

    @asynccontextmanager
    async def feed(self, products: list[str], channels: list[str]) -> AsyncIterator[ClientConnection]:
        """A subscribed WebSocket. Raises ``OSError``, ``websockets.WebSocketException`` or ``TimeoutError``."""
        async with connect(f"ws://{self._where}/ws", max_size=MESSAGE_MAX, compression=None, proxy=None) as socket:
            timestamp, signature = self._sign("GET" + VERIFY_PATH)
            wanted = {
                "type": "subscribe",
                "product_ids": products,
                "channels": channels,
                "key": self._key.key,
                "passphrase": self._key.passphrase,
                "timestamp": timestamp,
                "signature": signature,
            }
            await socket.send(msgspec.json.encode(wanted).decode())
            yield socket
