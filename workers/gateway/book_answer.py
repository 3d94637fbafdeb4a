"""An order book as clients see it: what is shown of it, and in an auction what that would trade. Pure."""

from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

from shared.instants import iso
from shared.messages import Side
from shared.order_id import to_uuid
from workers.engine.book import OrderBook
from workers.gateway.render import Texts

Row = tuple[str, str, int | str]


class AuctionAnswer(msgspec.Struct):
    """What the auction would trade if it ended now."""

    open_price: Annotated[str, Meta(description="the one price of all its trades; 0 if there would be none")]
    open_size: Annotated[str, Meta(description="what would be traded, in the base currency")]
    imbalance: Annotated[
        str, Meta(description="what would be bought less what would be sold at that price or better, if all could be")
    ]
    can_open: Annotated[str, Meta(description="yes, or no if nothing would trade")]
    auction_state: Annotated[str, Meta(description="collection: orders come in")]
    time: str


class BookAnswer(msgspec.Struct):
    """An order book, best first: rows of price, size, and number of orders (levels 1, 2) or order id (level 3).

    Of an iceberg, only the part that shows is in it.
    """

    sequence: Annotated[int, Meta(description="of the last event in it, as on the feed")]
    bids: list[Row]
    asks: list[Row]
    time: str
    auction_mode: Annotated[bool, Meta(description="orders are collected for an auction: bids and asks may overlap")]
    auction: AuctionAnswer | UnsetType = UNSET


def book_answer(book: OrderBook, texts: Texts, level: int) -> BookAnswer:
    """A book: 1 best prices, 2 price levels, 3 single orders."""
    collects = book.instrument is not None and book.instrument.mode == "auction"
    answer = BookAnswer(
        sequence=book.sequence,
        bids=_rows(book, texts, "buy", level),
        asks=_rows(book, texts, "sell", level),
        time=iso(book.time),
        auction_mode=collects,
    )
    if collects:
        answer.auction = auction_answer(book, texts)
    return answer


def auction_answer(book: OrderBook, texts: Texts) -> AuctionAnswer:
    """What a book that collects orders would trade."""
    found = book.indication()
    price, volume, imbalance = (found.price, found.volume, found.imbalance) if found is not None else (0, 0, 0)
    return AuctionAnswer(
        open_price=texts.price(price),
        open_size=texts.size(volume),
        imbalance=texts.size(imbalance),
        can_open="yes" if found is not None else "no",
        auction_state="collection",
        time=iso(book.time),
    )


def _rows(book: OrderBook, texts: Texts, side: Side, level: int) -> list[Row]:
    price, size = texts.price, texts.size
    if level == 3:
        orders = book.resting(side)
        return [(price(order.price), size(order.remaining), to_uuid(order.order_id)) for order in orders]
    levels = book.levels(side, 1 if level == 1 else 0)
    return [(price(at), size(quantity), count) for at, quantity, count in levels]
