"""The feed's messages that tell where a market stands, and how a message becomes a frame. Pure.

What the books do is told in ``book_events``.
"""

import struct
from typing import Any

import msgspec

from shared.instants import iso
from shared.messages import Side
from workers.gateway.market import Market, Trade

Message = dict[str, Any]
encode = msgspec.json.Encoder().encode

_TEXT_FRAME = 0x81
_OPPOSITE: dict[str, Side] = {"buy": "sell", "sell": "buy"}


def frame(message: Message) -> bytes:
    """A message as a WebSocket text frame, ready for any number of sockets."""
    payload = encode(message)
    size = len(payload)
    if size < 126:
        return struct.pack("!BB", _TEXT_FRAME, size) + payload
    if size < 65536:
        return struct.pack("!BBH", _TEXT_FRAME, 126, size) + payload
    return struct.pack("!BBQ", _TEXT_FRAME, 127, size) + payload


def error(message: str, reason: str) -> Message:
    """Something the client sent cannot be done."""
    return {"type": "error", "message": message, "reason": reason}


# --- the market's state ------------------------------------------------------------------------


def snapshot(market: Market) -> Message:
    """All price levels."""
    texts, book = market.texts, market.book
    bids, asks = (
        [[texts.price(level.price), texts.size(level.quantity)] for level in side.ranked()]
        for side in (book.bids, book.asks)
    )
    return {"type": "snapshot", "product_id": market.symbol, "time": iso(book.time), "bids": bids, "asks": asks}


def l2update(market: Market, touched: list[tuple[Side, int]]) -> Message:
    """What now rests at the touched prices; "0" where nothing does."""
    texts = market.texts
    changes = []
    for side, price in touched:
        quantity = market.level(side, price)
        changes.append([side, texts.price(price), texts.size(quantity) if quantity else "0"])
    return {"type": "l2update", "product_id": market.symbol, "time": iso(market.book.time), "changes": changes}


def last_match(market: Market) -> Message | None:
    """The last trade before the subscription."""
    if not market.trades:
        return None
    trade = market.trades[-1]
    return {
        "type": "last_match",
        "product_id": market.symbol,
        "sequence": market.book.sequence,
        "trade_id": trade.trade_id,
        "side": trade.side,
        "size": market.texts.size(trade.quantity),
        "price": market.texts.price(trade.price),
        "time": iso(trade.time),
    }


def ticker(market: Market, trade: Trade) -> Message:
    """The last trade, the best prices, and the figures of 24 hours. ``side`` is the taker's."""
    texts, stats = market.texts, market.stats(trade.time)
    found: Message = {
        "type": "ticker",
        "product_id": market.symbol,
        "sequence": market.book.sequence,
        "trade_id": trade.trade_id,
        "price": texts.price(trade.price),
        "last_size": texts.size(trade.quantity),
        "side": _OPPOSITE[trade.side],
        "time": iso(trade.time),
        "open_24h": texts.price(stats.open),
        "high_24h": texts.price(stats.high),
        "low_24h": texts.price(stats.low),
        "volume_24h": texts.size(stats.volume),
        "volume_30d": texts.size(stats.volume_month),
    }
    for name, side in (("best_bid", market.book.bids), ("best_ask", market.book.asks)):
        price = side.best()
        found[name] = texts.price(price)
        found[name + "_size"] = texts.size(side.levels[price].quantity if price else 0)
    return found


def heartbeat(market: Market, time: str) -> Message:
    """A sign that the feed is alive, and where it stands."""
    return {
        "type": "heartbeat",
        "product_id": market.symbol,
        "sequence": market.book.sequence,
        "last_trade_id": market.book.trade_id,
        "time": time,
    }
