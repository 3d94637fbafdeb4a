"""The feed's messages, in Coinbase Exchange's words. Pure: a book's event and its texts in, a dictionary out.

Public messages tell nothing of accounts. A user's own carry who they are, their client id, and on a match exactly one
of ``maker_fee_rate`` and ``taker_fee_rate``: clients tell by it which side of the trade is theirs.
"""

import struct
from collections.abc import Callable
from typing import Any

import msgspec

from shared.messages import BookEvent, Change, Done, Match, Open, Received, Side
from shared.order_id import to_uuid
from workers.gateway.market import Market, Trade
from workers.gateway.render import Texts, iso, rate_text, user_uuid

Message = dict[str, Any]
encode = msgspec.json.Encoder().encode

_TEXT_FRAME = 0x81
_OPPOSITE: dict[str, Side] = {"buy": "sell", "sell": "buy"}
_CHANGE_REASONS = {"stp": "STP", "amend": "modify_order"}


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


# --- the book's events -------------------------------------------------------------------------


def received(event: Received, texts: Texts) -> Message:
    """The book has taken the order up."""
    found: Message = {"order_id": to_uuid(event.order_id), "order_type": event.order_type, "side": event.side}
    if event.order_type == "limit":
        found["price"] = texts.price(event.price)
    if event.quantity:
        found["size"] = texts.size(event.quantity)
    else:
        found["funds"] = texts.quote(event.funds)
    return found


def opened(event: Open, texts: Texts) -> Message:
    """The order rests."""
    return {
        "order_id": to_uuid(event.order_id),
        "side": event.side,
        "price": texts.price(event.price),
        "remaining_size": texts.size(event.remaining),
    }


def match(event: Match, texts: Texts) -> Message:
    """A trade."""
    return {
        "trade_id": event.trade_id,
        "maker_order_id": to_uuid(event.maker_order_id),
        "taker_order_id": to_uuid(event.taker_order_id),
        "side": event.side,
        "size": texts.size(event.quantity),
        "price": texts.price(event.price),
    }


def change(event: Change, texts: Texts) -> Message:
    """An order got smaller without a trade, or was amended."""
    found: Message = {"order_id": to_uuid(event.order_id), "side": event.side, "reason": _CHANGE_REASONS[event.reason]}
    if event.price:
        found["price"] = texts.price(event.price)
    if event.old_funds:
        found |= {"old_funds": texts.quote(event.old_funds), "new_funds": texts.quote(event.new_funds)}
    else:
        found |= {"old_size": texts.size(event.old_quantity), "new_size": texts.size(event.new_quantity)}
    return found


def done(event: Done, texts: Texts) -> Message:
    """The order is done. What the book refused counts as canceled, with a reject_reason: clients know two reasons."""
    found: Message = {
        "order_id": to_uuid(event.order_id),
        "side": event.side,
        "reason": "filled" if event.reason == "filled" else "canceled",
        "remaining_size": texts.size(event.remaining),
    }
    if event.price:
        found["price"] = texts.price(event.price)
    if event.cause is not None:
        found["reject_reason"] = event.cause.value
    return found


_WORDS: dict[type, tuple[str, Callable[[Any, Texts], Message]]] = {
    Received: ("received", received),
    Open: ("open", opened),
    Match: ("match", match),
    Change: ("change", change),
    Done: ("done", done),
}


def of_event(event: BookEvent, texts: Texts, time: str) -> Message | None:
    """The public message of a book's event; None for those that are nobody else's business."""
    word = _WORDS.get(event.__class__)
    if word is None:
        return None
    return {
        "type": word[0],
        "product_id": texts.symbol,
        "sequence": event.sequence,  # type: ignore[union-attr]  # those in the table have one
        "time": time,
        **word[1](event, texts),
    }


def private(message: Message, event: BookEvent, account: int) -> Message:
    """The same for the account it concerns."""
    user = user_uuid(account)
    found = message | {"user_id": user, "profile_id": user}
    if isinstance(event, Match):
        role = "maker" if event.maker_account == account else "taker"
        rate = event.maker_fee if role == "maker" else event.taker_fee
        found |= {f"{role}_user_id": user, f"{role}_profile_id": user, f"{role}_fee_rate": rate_text(rate)}
    elif isinstance(event, Received) and event.client_id:
        found["client_oid"] = event.client_id
    return found


def accounts_of(event: BookEvent) -> tuple[int, ...]:
    """Whom a book's event concerns."""
    if isinstance(event, Match):
        return (event.maker_account, event.taker_account)
    return (getattr(event, "account", 0),)


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
