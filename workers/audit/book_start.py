"""Where an audit begins behind a snapshot: what the book is there."""

from shared.messages import Received
from workers.audit.book_state import FollowedBook
from workers.audit.naive_book import KnownOrder, Terms
from workers.audit.naive_waiting import KnownList, Sleeper
from workers.engine.book import OrderBook


def restore(followed: FollowedBook, book: OrderBook) -> None:
    """Take over the state of a book that was loaded from its snapshot."""
    followed.time = book.time
    followed.sequence, followed.trade_id, followed.last_price = book.sequence, book.trade_id, book.last_price
    if book.instrument is not None:
        followed.configure(book.instrument)
    _restore_resting(followed, book)
    for sleeping in book.sleeping():
        order = _known(followed, sleeping.order)
        followed.sleepers.add(Sleeper(order, sleeping.age, sleeping.stop_price))
    for pending in book.pending():
        followed.lists.waiting.add(_known(followed, pending).order_id)
    for found in book.lists.all():
        followed.lists.restore(
            KnownList(found.parent, list(found.legs), found.waiting, found.first_fill, shrunk=found.shrunk)
        )
    followed.is_watched = bool(followed.sleepers.by_id or followed.lists.of_order or followed.lists.waiting)


def _restore_resting(followed: FollowedBook, book: OrderBook) -> None:
    for side, resting in followed.sides.items():
        for one in book.resting(side):
            expires = one.conditions is not None and one.conditions.expires
            terms = Received(
                0, one.order_id, one.account, side, "limit", one.price, one.quantity, 0, "GTT" if expires else "GTC",
                one.post_only, one.stp, one.maker_fee, one.taker_fee, "", one.conditions,
            )  # fmt: skip
            order = _known(followed, terms)
            order.left, order.shown = one.left(), one.remaining
            resting.append(order)


def _known(followed: FollowedBook, terms: Terms) -> KnownOrder:
    order = KnownOrder(terms, terms.order_id, terms.account, terms.side, terms.price, terms.quantity, terms.maker_fee)
    followed.orders[order.order_id] = order
    followed.deadlines.add(order)
    return order
