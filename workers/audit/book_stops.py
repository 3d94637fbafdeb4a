"""Stops: they sleep off the book until a trade passes their stop price, and then come, the oldest first."""

import msgspec

from shared.messages import Activate, Change, Received
from workers.audit.book_state import FollowedBook
from workers.audit.invariants import Invariant
from workers.audit.naive_book import KnownOrder
from workers.audit.naive_waiting import Sleeper

TERMS = (
    "account", "side", "order_type", "price", "quantity", "funds", "time_in_force", "post_only", "stp", "maker_fee",
    "taker_fee", "client_id", "conditions",
)  # fmt: skip
WHOLE = 1_000_000
"""Rates are in parts per million."""


def falls_asleep(book: FollowedBook, order: KnownOrder, event: Activate) -> None:
    """Looks at a stop that is taken up: where it stands is what it asked for, or follows from the last trade."""
    conditions = event.conditions
    book.check(
        Invariant.STOPS, conditions is not None and bool(conditions.stop), "only a stop is activated", order.order_id,
        "received", "activate",
    )  # fmt: skip
    if conditions is None:
        return
    sleeper = Sleeper(order, event.sequence, conditions.stop_price)
    if sleeper.trails and book.last_price:
        sleeper.follow(book.last_price)
    book.check(
        Invariant.STOPS, sleeper.stop_price == event.stop_price, "a stop stands where it was asked to, a trailing one "
        "at its distance from the last trade", order.order_id, sleeper.stop_price, event.stop_price,
    )  # fmt: skip
    sleeper.told = event.stop_price
    book.sleepers.add(sleeper)


def sleeps_first(book: FollowedBook, order: KnownOrder) -> None:
    """Looks at an order that comes to the book and was not there before."""
    conditions = order.terms.conditions
    if conditions is not None and conditions.stop:
        book.violate(
            Invariant.STOPS, "a stop sleeps before it comes", order.order_id, "activate", "received at once"
        )  # fmt: skip


def find_due(book: FollowedBook) -> None:
    """Between two who come: whose condition holds by the last trade is due, while the instrument is online."""
    if book.sleepers.by_id and book.last_price and book.mode == "online":
        book.queue += book.sleepers.due(book.last_price)


def triggers(book: FollowedBook, order: KnownOrder, event: Received) -> None:
    """Looks at a stop that comes."""
    book.findings.checked[Invariant.STOPS] += 1
    sleeper = book.sleepers.by_id[order.order_id]
    book.sleepers.remove(order.order_id)
    if sleeper.is_due:
        if sleeper.trails:
            keeps_to_collar(book, sleeper, event)
        return
    if book.mode != "online":
        book.violate(
            Invariant.STOPS, "stops trigger only while the instrument is online", order.order_id,
            f"it to sleep on in mode {book.mode}", f"it at sequence {event.sequence}",
        )  # fmt: skip
        return
    sign = "<=" if sleeper.is_loss else ">="
    book.violate(
        Invariant.STOPS, "a stop triggers only when the last trade has passed its stop price", order.order_id,
        f"a trade at {sign} {sleeper.stop_price}", f"the last at {book.last_price}",
    )  # fmt: skip


def keeps_to_collar(book: FollowedBook, sleeper: Sleeper, event: Received) -> None:
    """Looks at a trailing stop that comes: its bound is the collar around the trade that woke it, or still better."""
    assert book.instrument is not None
    order, woken_at, width = sleeper.order, sleeper.woken_at, book.instrument.collar
    if order.side == "buy":
        around = (woken_at * (WHOLE + width) + WHOLE - 1) // WHOLE
        bound = min(order.price or around, around)
    else:
        bound = max(order.price, woken_at * (WHOLE - width) // WHOLE, 1)
    book.check(
        Invariant.COLLAR, event.price == bound, "a trailing stop goes at most the collar away from the trade that "
        "wakes it, and not beyond the bound it was placed with", order.order_id, bound, event.price,
    )  # fmt: skip
    order.price = event.price


def oldest_first(book: FollowedBook, order_id: int, before: int) -> None:
    """Looks at a stop that is due, while another one is before it."""
    book.violate(Invariant.STOPS, "stops trigger one by one, the oldest first", order_id, f"order {before} first", "it")


def same_terms(book: FollowedBook, order: KnownOrder, event: Received | Activate) -> None:
    """Looks at an order that waited in the book: it comes with the terms it had."""
    book.findings.checked[Invariant.ACCEPTED] += 1
    sleeper = book.sleepers.by_id.get(order.order_id)
    bound_anew = sleeper is not None and sleeper.trails and sleeper.is_due
    for name in TERMS:
        if name == "price" and bound_anew:
            continue  # see ``keeps_to_collar``
        then, now = getattr(order.terms, name), getattr(event, name)
        if then != now:
            book.violate(
                Invariant.ACCEPTED, "an order that waited comes with the terms it had", order.order_id,
                f"{name} {then}", now,
            )  # fmt: skip


def follows_the_trades(book: FollowedBook, sleeper: Sleeper, event: Change) -> None:
    """Looks at what an amend tells of a stop that trails: its stop price is not to be amended."""
    if sleeper.trails:
        book.check(
            Invariant.STOPS, event.stop_price == sleeper.stop_price, "a trailing stop follows the best trade since",
            event.order_id, sleeper.stop_price, event.stop_price,
        )  # fmt: skip


def stands_elsewhere(book: FollowedBook, sleeper: Sleeper, price: int, quantity: int, stop_price: int) -> None:
    """Follow an amend of a stop that sleeps. It keeps its age; a trailing one's stop price is its own."""
    terms, order = sleeper.order.terms, sleeper.order
    conditions = terms.conditions
    assert conditions is not None
    if not sleeper.trails:
        conditions = msgspec.structs.replace(conditions, stop_price=stop_price)
    order.terms = msgspec.structs.replace(terms, price=price, quantity=quantity, conditions=conditions)
    order.price, order.left = price, quantity
    book.sleepers.add(Sleeper(order, sleeper.age, sleeper.stop_price if sleeper.trails else stop_price, stop_price))
