"""Orders that belong together: what a fill, the trigger or the end of one does to the others."""

from shared.messages import Done, ListPlaced
from workers.audit.book_state import FollowedBook
from workers.audit.invariants import Invariant
from workers.audit.naive_book import KnownOrder

ENDS = "one leg's fill, trigger or end cancels the other in the same entry"
LEGS = {"oco": 0, "oto": 1, "otoco": 1}
"""Where the legs of a list begin."""


def taken_up(book: FollowedBook, event: ListPlaced) -> None:
    """Looks at a list that is taken up, and says who of it is due at once."""
    ids = [order.order_id for order in event.orders]
    legs = event.orders[LEGS[event.kind] :]
    shape = len(legs) == (1 if event.kind == "oto" else 2) and len({leg.side for leg in legs}) == 1
    shape = shape and {order.account for order in event.orders} == {event.account} and len(set(ids)) == len(ids)
    book.check(
        Invariant.LISTS, shape, "a list has the orders of its kind, of one account, its legs on one side",
        ids[0] if ids else 0, f"an {event.kind} of account {event.account}", f"orders {ids}",
    )  # fmt: skip
    if ids:
        book.lists.add(event.kind, ids, event.first_fill)
        book.queue += ids if event.kind == "oco" else ids[:1]


def filled(book: FollowedBook, order_id: int) -> None:
    """A trade of an order that belongs to a list."""
    found = book.lists.of_order[order_id]
    if found.parent != order_id:
        owe(book, order_id)
    elif found.first_fill:
        call(book, order_id)


def owe(book: FollowedBook, order_id: int) -> None:
    """From here on the rivals of an order have to be canceled."""
    for rival in book.lists.rivals(order_id):
        book.lists.owed.setdefault(rival, order_id)


def call(book: FollowedBook, parent: int) -> None:
    """The parent's fill makes its children due."""
    found = book.lists.of_order[parent]
    if not found.is_due:
        found.is_due = True
        book.queue += found.legs


def shrinks(book: FollowedBook, order_id: int) -> None:
    """Self-trade prevention took some of an order: a parent will not be filled whole, its children never go live."""
    found = book.lists.of_order.get(order_id)
    if found is not None and found.parent == order_id:
        found.shrunk = True


def ended(book: FollowedBook, order: KnownOrder, event: Done, is_linked: bool) -> None:
    """The end of an order that belongs to a list. One that is canceled for another's sake asks for nothing itself."""
    order_id = order.order_id
    found = book.lists.of_order[order_id]
    if is_linked:
        if order_id not in book.lists.owed:
            book.lists.early[order_id] = book.lists.rivals(order_id)
    elif found.parent != order_id:
        owe(book, order_id)
    elif event.reason == "filled" and not found.shrunk:
        call(book, order_id)
    elif not found.is_due:
        book.lists.owed.update(dict.fromkeys(found.legs, order_id))
    book.lists.leave(order_id)


def is_of_list(book: FollowedBook, order: KnownOrder) -> None:
    """Looks at an order that is said to be canceled for another one's sake."""
    book.check(
        Invariant.LISTS, order.order_id in book.lists.of_order or order.order_id in book.lists.owed,
        "only what belongs to a list is canceled for another order's sake", order.order_id, "no such end",
        "cause linked_order",
    )  # fmt: skip


def rivals_are_gone(book: FollowedBook) -> None:
    """Before the next trade, the next who comes, and the end of the entry."""
    for order_id, because in book.lists.owed.items():
        if order_id in book.orders:
            book.violate(Invariant.LISTS, ENDS, order_id, f"its end because of order {because}", "that it goes on")
    book.lists.owed.clear()


def reason_follows(book: FollowedBook, coming: int = 0) -> None:
    """Who was canceled for another's sake before anything happened to that one: its trigger has to be next."""
    for order_id, rivals in book.lists.early.items():
        book.check(
            Invariant.LISTS, coming in rivals, ENDS, order_id, "its end only if its rival is filled, triggers or ends",
            "no such thing",
        )  # fmt: skip
    book.lists.early.clear()


def goes_live(book: FollowedBook, order: KnownOrder, is_due: bool) -> None:
    """Looks at an order that waited for its list."""
    book.check(
        Invariant.LISTS, is_due, "a child goes live only when all of its parent is filled", order.order_id,
        "it to wait", "it on the book",
    )  # fmt: skip
    book.lists.go_live(order.order_id)


def refused_together(book: FollowedBook, causes: list[str]) -> None:
    """Looks at the orders that an entry refuses: one is refused with its list only if another one is for itself."""
    book.check(
        Invariant.LISTS, any(cause != "list_refused" for cause in causes), "a list is refused for what one of its "
        "orders is refused for", 0, "a cause of its own for one of them", f"causes {causes}",
    )  # fmt: skip
