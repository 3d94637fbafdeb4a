"""What live subscribers get: the JSON of ``<instrument>.live``, ``order.updates`` and ``balance.updates``.

All prices, quantities and amounts are decimal text, times RFC 3339 with microseconds, order ids UUIDs. Pure.
"""

from collections.abc import Iterable

import msgspec

from shared.instants import iso
from shared.instrument import Instrument, money_text, price_text, quantity_text
from shared.messages import Closed, Match, Side
from shared.order_id import to_uuid
from workers.engine.book import OrderBook
from workers.ledger.orders import OpenOrder

DEPTH = 10
"""Price levels of each side in a live update."""


Level = tuple[str, str, int]
"""Price, quantity, number of orders."""


class LiveTrade(msgspec.Struct):
    """A trade. ``side`` is the maker's; in an ``auction`` it says nothing, both orders rested."""

    trade_id: int
    price: str
    quantity: str
    side: str
    time: str
    auction: bool


class LiveAuction(msgspec.Struct):
    """What would trade if the auction ended now; prices and quantities are empty if nobody would.

    ``imbalance`` is what could be bought at that price beyond what could be sold; below 0 the other way round.
    """

    price: str
    quantity: str
    imbalance: str


class LiveUpdate(msgspec.Struct):
    """An instrument now, and its trades since the update before (the newest of them, if they are very many).

    ``price`` is that of the last trade. Prices and quantities are empty where there is none. Of icebergs the book has
    what they show. While the ``mode`` is "auction" the bids may be above the asks, and ``auction`` says what would
    trade; else it is null.
    """

    instrument: str
    sequence: int
    time: str
    price: str
    best_bid: str
    best_bid_quantity: str
    best_ask: str
    best_ask_quantity: str
    bids: list[Level]
    asks: list[Level]
    trades: list[LiveTrade]
    mode: str
    auction: LiveAuction | None


class OrderUpdate(msgspec.Struct):
    """An order as it is now.

    ``status``: pending (accepted; or waits in its list), active (a stop that sleeps), open, done (then with
    ``done_reason``, and ``cause`` where it was not filled or canceled by its owner). It is told when it is accepted,
    falls asleep, comes to rest, is filled, gets smaller, is amended or is done, not when an iceberg shows its next
    part.

    ``stop`` is loss, entry or empty. Of a stop that trails, ``stop_price`` is where it stood then, only while it sleeps
    (empty: nowhere yet); that it moves is not told.
    """

    account: int
    order_id: str
    client_id: str
    instrument: str
    side: str
    order_type: str
    status: str
    done_reason: str
    cause: str
    price: str
    stop: str
    stop_price: str
    quantity: str
    filled: str
    remaining: str
    executed_value: str
    fees: str
    time: str


class BalanceUpdate(msgspec.Struct):
    """A balance as it is now."""

    account: int
    currency: str
    available: str
    held: str


def live_update(instrument: Instrument, book: OrderBook, trades: Iterable[tuple[int, Match]]) -> LiveUpdate:
    """The book now. ``trades``: (time, match) each, the oldest first."""
    bids, asks = _levels(instrument, book, "buy"), _levels(instrument, book, "sell")
    best_bid = bids[0] if bids else ("", "", 0)
    best_ask = asks[0] if asks else ("", "", 0)
    return LiveUpdate(
        instrument=instrument.symbol,
        sequence=book.sequence,
        time=iso(book.time),
        price=last_price(instrument, book),
        best_bid=best_bid[0],
        best_bid_quantity=best_bid[1],
        best_ask=best_ask[0],
        best_ask_quantity=best_ask[1],
        bids=bids,
        asks=asks,
        trades=[_trade(instrument, time, match) for time, match in trades],
        mode=instrument.mode,
        auction=_auction(instrument, book) if instrument.mode == "auction" else None,
    )


def _auction(instrument: Instrument, book: OrderBook) -> LiveAuction:
    found = book.indication()
    if found is None:
        return LiveAuction("", "", "")
    volume, imbalance = (quantity_text(instrument, lots) for lots in (found.volume, found.imbalance))
    return LiveAuction(price_text(instrument, found.price), volume, imbalance)


def last_price(instrument: Instrument, book: OrderBook) -> str:
    """Price of the last trade; empty if there was none."""
    return price_text(instrument, book.last_price) if book.last_price else ""


def order_update(instrument: Instrument, order: OpenOrder, status: str, time: int, stop_price: int = 0) -> OrderUpdate:
    """An order that is not done yet. ``stop_price``: where a stop stands that trails."""
    conditions = order.conditions
    if conditions is not None and conditions.stop_price:
        stop_price = conditions.stop_price
    return OrderUpdate(
        account=order.account,
        order_id=to_uuid(order.order_id),
        client_id=order.client_id,
        instrument=order.instrument,
        side=order.side,
        order_type=order.order_type,
        status=status,
        done_reason="",
        cause="",
        price=price_text(instrument, order.price) if order.price else "",
        stop=conditions.stop if conditions is not None else "",
        stop_price=price_text(instrument, stop_price) if stop_price else "",
        quantity=quantity_text(instrument, order.quantity) if order.quantity else "",
        filled=quantity_text(instrument, order.filled),
        remaining=quantity_text(instrument, order.remaining),
        executed_value=money_text(order.executed_value, instrument.quote_scale),
        fees=money_text(order.fees, instrument.quote_scale),
        time=iso(time),
    )


def done_update(instrument: Instrument, order: OpenOrder, closed: Closed, time: int) -> OrderUpdate:
    """An order that is done."""
    update = order_update(instrument, order, "done", time)
    update.done_reason = closed.reason
    update.cause = closed.cause.value if closed.cause else ""
    update.remaining = quantity_text(instrument, closed.remaining)
    return update


def balance_update(account: int, currency: str, available: int, held: int, scale: int) -> BalanceUpdate:
    """A balance; ``scale``: decimal places of the currency."""
    return BalanceUpdate(account, currency, money_text(available, scale), money_text(held, scale))


def _levels(instrument: Instrument, book: OrderBook, side: Side) -> list[Level]:
    return [
        (price_text(instrument, price), quantity_text(instrument, quantity), count)
        for price, quantity, count in book.levels(side, DEPTH)
    ]


def _trade(instrument: Instrument, time: int, match: Match) -> LiveTrade:
    return LiveTrade(
        match.trade_id,
        price_text(instrument, match.price),
        quantity_text(instrument, match.quantity),
        match.side,
        iso(time),
        match.auction,
    )
