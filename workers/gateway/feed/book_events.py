"""What the books do, in Coinbase Exchange's words. Pure: an event and the book as it finds it in, dictionaries out.

Of each event there is what everybody may know and what its owner hears. What everybody hears names no account and no
client id, and of an iceberg only what it shows: sizes are then those of the shown part. The owner hears the whole
sizes, who it is, its own id, and on a match exactly one of ``maker_fee_rate`` and ``taker_fee_rate``: clients tell by
it which side of the trade is theirs.
"""

from collections.abc import Callable
from typing import Any

from shared.instants import SECOND_NS
from shared.messages import (
    Activate,
    AmendRefused,
    BookEvent,
    Change,
    Done,
    ListPlaced,
    Match,
    Open,
    Place,
    Received,
)
from shared.order_id import to_uuid
from workers.engine.book import OrderBook
from workers.gateway.feed.messages import Message
from workers.gateway.render import Texts, decimal_text, rate_text, user_uuid

_CHANGE_REASONS = {"stp": "STP", "amend": "modify_order"}
_MICROSECONDS = 6


def public(event: BookEvent, book: OrderBook, texts: Texts, time: str) -> Message | None:
    """What everybody hears of an event that is not folded yet; None if it is nobody else's business."""
    kind = event.__class__
    word = _WORDS.get(kind)
    if word is None:
        return None
    found: Message = {
        "type": word[0],
        "product_id": texts.symbol,
        "sequence": event.sequence,  # type: ignore[union-attr]  # those in the table have one
        "time": time,
        **word[1](event, book, texts),
    }
    if kind in _SHOWN and (sizes := _SHOWN[kind](event, book)):
        found |= {name: texts.size(lots) for name, lots in sizes.items()}
    return found


# --- the words -----------------------------------------------------------------------------------


def received(event: Received, _: OrderBook, texts: Texts) -> Message:
    """The book has taken the order up, or a stop has triggered."""
    found: Message = {"order_id": to_uuid(event.order_id), "order_type": event.order_type, "side": event.side}
    if event.order_type == "limit":
        found["price"] = texts.price(event.price)
    return found | _aim(event, texts)


def activate(event: Activate, book: OrderBook, texts: Texts) -> Message:
    """A stop is taken up, and sleeps off the book. A trailing one's stop price is where it stands now."""
    assert event.conditions is not None
    found: Message = {
        "timestamp": decimal_text(book.time * 10**_MICROSECONDS // SECOND_NS, _MICROSECONDS),
        "order_id": to_uuid(event.order_id),
        "stop_type": event.conditions.stop,
        "side": event.side,
        "private": False,
    }
    if event.stop_price:
        found["stop_price"] = texts.price(event.stop_price)
    return found | _aim(event, texts)


def opened(event: Open, _: OrderBook, texts: Texts) -> Message:
    """The order rests at the back of its price level: a new one, the next part of an iceberg, or an amended one."""
    return {
        "order_id": to_uuid(event.order_id),
        "side": event.side,
        "price": texts.price(event.price),
        "remaining_size": texts.size(event.remaining),
    }


def match(event: Match, _: OrderBook, texts: Texts) -> Message:
    """A trade. In an auction both orders rested, and the seller stands as the maker."""
    found: Message = {
        "trade_id": event.trade_id,
        "maker_order_id": to_uuid(event.maker_order_id),
        "taker_order_id": to_uuid(event.taker_order_id),
        "side": event.side,
        "size": texts.size(event.quantity),
        "price": texts.price(event.price),
    }
    if event.auction:
        found["auction"] = True
    return found


def change(event: Change, book: OrderBook, texts: Texts) -> Message:
    """An order got smaller without a trade, or was amended."""
    found: Message = {"order_id": to_uuid(event.order_id), "side": event.side, "reason": _CHANGE_REASONS[event.reason]}
    sleeping = book.stops.orders.get(event.order_id)
    if sleeping is not None:
        if event.stop_price:
            found["old_stop_price"] = texts.price(sleeping.stop_price)
            found["new_stop_price"] = texts.price(event.stop_price)
    elif event.price:
        found["price"] = texts.price(event.old_price or event.price)
        if event.reason == "amend":
            found |= _prices(event, texts)
    if event.old_funds:
        found |= {"old_funds": texts.quote(event.old_funds), "new_funds": texts.quote(event.new_funds)}
    else:
        found |= {"old_size": texts.size(event.old_quantity), "new_size": texts.size(event.new_quantity)}
    return found


def done(event: Done, _: OrderBook, texts: Texts) -> Message:
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


def _prices(event: Change, texts: Texts) -> Message:
    return {"old_price": texts.price(event.old_price), "new_price": texts.price(event.price)}


def _aim(order: Received | Activate | Place, texts: Texts) -> Message:
    """What an order wants to trade."""
    return {"size": texts.size(order.quantity)} if order.quantity else {"funds": texts.quote(order.funds)}


_WORDS: dict[type, tuple[str, Callable[[Any, OrderBook, Texts], Message]]] = {
    Received: ("received", received),
    Activate: ("activate", activate),
    Open: ("open", opened),
    Match: ("match", match),
    Change: ("change", change),
    Done: ("done", done),
}
PUBLIC_TYPES = tuple(word for word, _ in _WORDS.values())


# --- what everybody may know of an iceberg ---------------------------------------------------------


Sizes = dict[str, int]
"""In lots: what differs from the whole sizes, because an iceberg does not show them."""


def _shown_first(event: Received | Activate, _: OrderBook) -> Sizes:
    if event.conditions is None or not event.conditions.display_quantity:
        return {}
    return {"size": event.conditions.display_quantity}


def _shown_change(event: Change, book: OrderBook) -> Sizes:
    display = _display_of(event.order_id, book)
    if not display:
        return {}
    resting = book.find(event.order_id)
    before = resting.remaining if resting else min(event.old_quantity, display)
    stays = event.price == (event.old_price or event.price) and event.new_quantity <= event.old_quantity
    return {"old_size": before, "new_size": min(event.new_quantity, before if resting and stays else display)}


def _shown_done(event: Done, book: OrderBook) -> Sizes:
    display = _display_of(event.order_id, book) if event.remaining else 0
    if not display:
        return {}
    resting = book.find(event.order_id)
    return {"remaining_size": resting.remaining if resting else min(event.remaining, display)}


_SHOWN: dict[type, Callable[[Any, OrderBook], Sizes]] = {
    Received: _shown_first,
    Activate: _shown_first,
    Change: _shown_change,
    Done: _shown_done,
}


def _display_of(order_id: int, book: OrderBook) -> int:
    """How much an order shows at a time, wherever the book has it; 0: all of it."""
    sleeping = book.stops.orders.get(order_id)
    order = book.find(order_id) or book.lists.pending.get(order_id) or (sleeping and sleeping.order) or book.arriving
    if order is None or order.order_id != order_id or order.conditions is None:
        return 0
    return order.conditions.display_quantity


# --- what the owner hears --------------------------------------------------------------------------


def accounts_of(event: BookEvent) -> tuple[int, ...]:
    """Whom a book's event concerns."""
    if isinstance(event, Match):
        return (event.maker_account, event.taker_account)
    return (getattr(event, "account", 0),)


def private(event: BookEvent, message: Message, account: int, book: OrderBook, texts: Texts) -> Message:
    """The public message as its owner hears it: it has all fields of that."""
    whole = _WORDS[event.__class__][1](event, book, texts)
    found = message | whole | _own(event, book, texts) | _user(account)
    if isinstance(event, Match):
        user, role = found["user_id"], "maker" if event.maker_account == account else "taker"
        rate = event.maker_fee if role == "maker" else event.taker_fee
        found |= {f"{role}_user_id": user, f"{role}_profile_id": user, f"{role}_fee_rate": rate_text(rate)}
    return found


def _own(event: BookEvent, book: OrderBook, texts: Texts) -> Message:
    """What of an order is its owner's business alone, but for the sizes of an iceberg."""
    if isinstance(event, Received):
        return _terms(event, texts)
    if isinstance(event, Activate):
        return _terms(event, texts) | {"private": True}
    if isinstance(event, Open) and event.hidden:
        return {"hidden_size": texts.size(event.hidden)}
    if isinstance(event, Change):
        sleeping = book.stops.orders.get(event.order_id)
        if sleeping is not None and sleeping.order.order_type == "limit":  # a market stop's price is its bound
            return _prices(event, texts)
    return {}


def private_only(event: BookEvent, texts: Texts, time: str) -> list[Message]:
    """What only the owner hears, and what has no sequence therefore."""
    if isinstance(event, AmendRefused):
        head = {"type": "amend_refused", "product_id": texts.symbol, "time": time, "order_id": to_uuid(event.order_id)}
        return [head | {"reason": event.reason.value} | _user(event.account)]
    if isinstance(event, ListPlaced) and event.kind != "oco":
        parent, *children = event.orders
        about = {"list_type": event.kind, "parent_order_id": to_uuid(parent.order_id)}
        return [_pending(child, texts, time) | about | _user(event.account) for child in children]
    return []


def _pending(order: Place, texts: Texts, time: str) -> Message:
    """An order of a list that waits for its parent."""
    found: Message = {
        "type": "pending",
        "product_id": texts.symbol,
        "time": time,
        "order_id": to_uuid(order.order_id),
        "side": order.side,
    }
    if order.conditions is not None and order.conditions.stop:
        found["stop_type"] = order.conditions.stop
        if order.conditions.stop_price:
            found["stop_price"] = texts.price(order.conditions.stop_price)
    return found | _aim(order, texts) | _terms(order, texts)


def _terms(order: Received | Activate | Place, texts: Texts) -> Message:
    found: Message = {"order_type": order.order_type}
    if order.order_type == "limit":
        found["price"] = texts.price(order.price)
    if order.client_id:
        found["client_oid"] = order.client_id
    conditions = order.conditions
    if conditions is not None:
        if conditions.display_quantity:
            found["display_size"] = texts.size(conditions.display_quantity)
        if conditions.trail:
            found["trail_price"] = texts.price(conditions.trail)
        if conditions.trail_bps:
            found["trail_bps"] = conditions.trail_bps
    return found


def _user(account: int) -> Message:
    user = user_uuid(account)
    return {"user_id": user, "profile_id": user}
