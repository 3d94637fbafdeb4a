"""The orders of the load: signed requests, and frames."""

import base64
import hashlib
import hmac
import random
import time
import uuid

import msgspec

from shared.credentials import ApiKey

SYMBOL = "BTC-USD"
MID = 5_000_000
"""In cents."""
REACH = 2000
APART = 1000
"""How far the middles of the buys and of the sells are apart on either side; a sixth of the orders trades at once."""


def order_fields(chance: random.Random) -> dict[str, str]:
    """One limit order near the middle, as JSON fields."""
    side = chance.choice(("buy", "sell"))
    ticks = MID + chance.randrange(-REACH, REACH) + (-APART if side == "buy" else APART)
    return {
        "product_id": SYMBOL,
        "side": side,
        "type": "limit",
        "price": f"{ticks // 100}.{ticks % 100:02}",
        "size": "0.001",
        "client_oid": uuid.uuid4().hex,
    }


def signature(key: ApiKey, stamp: str, request: bytes) -> str:
    """``CB-ACCESS-SIGN`` of a request: its method, path and body."""
    return base64.b64encode(
        hmac.digest(base64.b64decode(key.secret), stamp.encode() + request, hashlib.sha256)
    ).decode()


def post_order(key: ApiKey, chance: random.Random) -> bytes:
    """The bytes of one POST /orders."""
    body, stamp = msgspec.json.encode(order_fields(chance)), f"{time.time():.3f}"
    head = (
        f"POST /orders HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        f"CB-ACCESS-KEY: {key.key}\r\nCB-ACCESS-SIGN: {signature(key, stamp, b'POST/orders' + body)}\r\n"
        f"CB-ACCESS-TIMESTAMP: {stamp}\r\nCB-ACCESS-PASSPHRASE: {key.passphrase}\r\n\r\n"
    )
    return head.encode() + body


def order_message(chance: random.Random, number: int) -> bytes:
    """The same as a message of WebSocket order entry."""
    fields = order_fields(chance)
    return msgspec.json.encode({**fields, "type": "order", "order_type": fields["type"], "id": str(number)})


def sign_in(key: ApiKey) -> bytes:
    """The message that says who a socket is."""
    stamp = f"{time.time():.3f}"
    return msgspec.json.encode(
        {
            "type": "authenticate",
            "key": key.key,
            "passphrase": key.passphrase,
            "timestamp": stamp,
            "signature": signature(key, stamp, b"GET/users/self/verify"),
        }
    )
