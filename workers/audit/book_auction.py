"""Call auctions: nothing trades while orders collect; then all that can, at one price."""

from shared.messages import Configured, Match
from workers.audit.book_state import FollowedBook
from workers.audit.book_terms import within_limit
from workers.audit.book_trades import between_two_accounts, follow, is_another
from workers.audit.invariants import Invariant
from workers.audit.naive_auction import Clearing, clearing
from workers.audit.naive_book import KnownOrder

RULE = "an auction trades at the price of most volume, then least left over, then nearest to the last price"
NOBODY = Clearing(0, 0, 0)


def ends(book: FollowedBook, event: Configured) -> None:
    """The mode changes: an auction that ends has to do this."""
    if book.mode == "auction" and event.instrument.mode != "auction":
        found = clearing(book.sides["buy"], book.sides["sell"], book.lists, book.last_price)
        book.clearing, book.is_watched = found or NOBODY, True


def trade(book: FollowedBook, event: Match) -> None:
    """Looks at a trade of an auction, and follows it."""
    seller, buyer = book.orders.get(event.maker_order_id), book.orders.get(event.taker_order_id)
    at_one_price(book, event)
    first_of_both_sides(book, event)
    between_two_accounts(book, event, seller)
    if buyer is None or not buyer.rests or buyer.account != event.taker_account:
        is_another(book, event.taker_order_id, event, f"a buyer of account {event.taker_account}")
    else:
        both_pay_as_makers(book, event, buyer)
        if event.price > buyer.price:
            within_limit(book, buyer, event)
    if seller is not None and event.price < seller.price:
        within_limit(book, seller, event)
    follow(book, event, seller, buyer)


def at_one_price(book: FollowedBook, event: Match) -> None:
    """Looks at a trade of an auction."""
    due = book.clearing
    if due is None or not due.price:
        book.violate(
            Invariant.AUCTION, "an auction trades when it ends, and only where buyers and sellers meet",
            event.maker_order_id, f"no trade {event.trade_id}", f"one at {event.price}",
        )  # fmt: skip
        return
    book.check(
        Invariant.AUCTION, event.price == due.price, RULE, event.maker_order_id,
        f"{due.price} ({due.volume} lots, {due.imbalance} left over)", f"trade {event.trade_id} at {event.price}",
    )  # fmt: skip


def first_of_both_sides(book: FollowedBook, event: Match) -> None:
    """Looks at who trades: the first seller, who counts as the maker, and the first buyer."""
    book.findings.checked[Invariant.PRIORITY] += 1
    for side, order_id in (("sell", event.maker_order_id), ("buy", event.taker_order_id)):
        front = book.sides[side].front()  # type: ignore[index]  # both are sides
        if front is None or front.order_id != order_id:
            book.violate(
                Invariant.PRIORITY, "an auction is between the first of each side", order_id,
                f"{side} order {front.order_id if front else 'of nobody'}", f"trade {event.trade_id}",
            )  # fmt: skip


def both_pay_as_makers(book: FollowedBook, event: Match, buyer: KnownOrder) -> None:
    """Looks at what the buyer, who stands as the taker, pays."""
    book.check(
        Invariant.AUCTION, event.taker_fee == buyer.maker_fee and event.side == "sell",
        "in an auction both sides pay their maker's rate, and the seller stands as the maker", buyer.order_id,
        f"{buyer.maker_fee} ppm of the buyer", f"{event.taker_fee} ppm with a maker who is the {event.side}er",
    )  # fmt: skip


def all_has_traded(book: FollowedBook) -> None:
    """When the auction is over: nobody is left who would trade at its price. What comes now refers to that price."""
    due, book.clearing = book.clearing, None
    if due is None:
        return
    bid, ask = book.sides["buy"].front(), book.sides["sell"].front()
    left = due.price and bid is not None and ask is not None and bid.price >= due.price >= ask.price
    book.check(
        Invariant.AUCTION, not left, "an auction trades all that can trade at its price", bid.order_id if bid else 0,
        f"nobody left at {due.price}",
        f"a bid of {bid.price if bid else 0} and an ask of {ask.price if ask else 0}",
    )  # fmt: skip
    book.reference = book.last_price
