"""How orders become accepted: one by one, or all of a list or none."""

from itertools import pairwise

from shared.instrument import Instrument
from shared.messages import (
    Accepted,
    Command,
    Duplicate,
    LedgerEvent,
    ListKind,
    OrderListRequest,
    OrderRequest,
    Place,
    PlaceList,
    Rejected,
    Side,
)
from shared.order_id import order_id
from workers.ledger import risk
from workers.ledger.conditions import check_conditions
from workers.ledger.holds import brings
from workers.ledger.orders import IdKind
from workers.ledger.risk import Refusal, Terms, invalid
from workers.ledger.settlement import hold_currency
from workers.ledger.state import LedgerState

Sent = list[tuple[str, Command]]
"""Commands for books: (symbol, command) each."""

ORDERS: dict[ListKind, int] = {"oco": 2, "oto": 2, "otoco": 3}


def rejected(request_id: str, account: int, refusal: Refusal, client_id: str = "") -> Rejected:
    """A refusal as the answer to a request. An account number that no account can have is not logged."""
    account = account if 0 <= account <= risk.ACCOUNT_MAX else 0
    return Rejected(request_id, account, refusal.reason, refusal.message, client_id)


def accept(
    request: OrderRequest, instrument: Instrument, number: int, terms: Terms, now: int
) -> tuple[Accepted, Place]:
    """A checked order for the log and for the book."""
    hold, price, quantity, funds = terms
    account, maker_fee, taker_fee = request.account, instrument.maker_fee, instrument.taker_fee
    accepted = Accepted(
        request.request_id, account, number, instrument.symbol, request.side, request.order_type, hold, price, quantity,
        funds, request.time_in_force, request.post_only, request.stp, maker_fee, taker_fee, request.client_id,
        request.funds, request.conditions,
    )  # fmt: skip
    place = Place(
        number, account, now, request.side, request.order_type, price, quantity, funds, request.time_in_force,
        request.post_only, request.stp, maker_fee, taker_fee, request.client_id, request.conditions,
    )  # fmt: skip
    return accepted, place


# --- lists ---------------------------------------------------------------------------------------


def decide_list(ledger: LedgerState, request: OrderListRequest) -> tuple[list[LedgerEvent], Sent]:
    """One ``Accepted`` for each order, or a ``Duplicate`` for each of a repeated list, or one refusal for all."""
    refusal = risk.check_sender(request.account, ledger.shard, ledger.shards) or _check_shape(request)
    if refusal is not None:
        return [rejected(request.request_id, request.account, refusal)], []
    firsts = [ledger.orders.first(one.account, *_id_of(one)) for one in request.orders]
    if None not in firsts:
        legs = zip(request.orders, firsts, strict=True)
        return [Duplicate(one.request_id, one.account, first or 0) for one, first in legs], []
    found = (
        _decide_new(ledger, request)
        if firsts == [None] * len(firsts)
        else invalid("an order of the list was placed before")
    )
    if isinstance(found, Refusal):
        return [rejected(request.request_id, request.account, found)], []
    places = [place for _, place in found]
    command = PlaceList(request.account, ledger.time, request.kind, places, request.first_fill)
    return [accepted for accepted, _ in found], [(request.instrument, command)]


def _id_of(one: OrderRequest) -> tuple[IdKind, str]:
    return ("c", one.client_id) if one.client_id else ("r", one.request_id)


def rivals_of(kind: ListKind) -> tuple[int, ...]:
    """Which orders of a list cancel each other."""
    return {"oco": (0, 1), "oto": (), "otoco": (1, 2)}[kind]


def _check_shape(request: OrderListRequest) -> Refusal | None:
    """Whether these orders can be such a list at all."""
    orders, kind = request.orders, request.kind
    if refusal := risk.check_ids(request.request_id):
        return refusal
    if len(orders) != ORDERS[kind]:
        return invalid(f"a list of kind {kind} has {ORDERS[kind]} orders, not {len(orders)}")
    for at, one in enumerate(orders, 1):
        if refusal := risk.check_ids(one.request_id, one.client_id):
            return _of(at, refusal)
        if (one.account, one.instrument) != (request.account, request.instrument):
            return _of(at, invalid("it must be of the list's account and product"))
        if at - 1 in rivals_of(kind) and not _can_wait(one):
            return _of(at, invalid("of two that cancel each other none can be market, IOC, FOK or with min_size"))
    if len({_id_of(one) for one in orders}) != len(orders):
        return invalid("the orders of a list need ids of their own")
    if any(orders[one].side != orders[other].side for one, other in pairwise(rivals_of(kind))):
        return invalid("two orders that cancel each other must be on the same side")
    return None


def _can_wait(one: OrderRequest) -> bool:
    """A stop sleeps first; else an order that acts only as it arrives would end itself and its rival at once."""
    conditions = one.conditions
    if conditions is not None and conditions.stop:
        return True
    at_once = one.order_type == "market" or one.time_in_force in ("IOC", "FOK")
    return not at_once and (conditions is None or not conditions.min_quantity)


def _of(at: int, refusal: Refusal) -> Refusal:
    return Refusal(refusal.reason, f"order {at} of the list: {refusal.message}")


def _decide_new(ledger: LedgerState, request: OrderListRequest) -> list[tuple[Accepted, Place]] | Refusal:
    """All orders, each held for out of what those before it left.

    A rival is held for out of what the other holds, too, and what waits behind a parent out of what that brings
    (holds.py, laws 3 and 4).
    """
    if refusal := ledger.blocked(request.account):
        return refusal
    instrument = ledger.instruments.get(request.instrument)
    if instrument is None:
        return risk.PRODUCT_NOT_FOUND
    rivals = rivals_of(request.kind)
    numbers = [order_id(ledger.count + at, ledger.shard) for at in range(1, len(request.orders) + 1)]
    used = {instrument.base: 0, instrument.quote: 0}
    brought = {instrument.base: 0, instrument.quote: 0}
    found: list[tuple[Accepted, Place]] = []
    for at, one in enumerate(request.orders):
        currency = hold_currency(one.side, instrument.symbol)
        first = found[rivals[0]][0] if rivals and at == rivals[1] else None
        shared = first.hold + first.due if first is not None else 0
        free = ledger.accounts.balance(one.account, currency).available - used[currency]
        waits = request.kind != "oco" and at > 0
        terms = _terms(ledger, one, instrument, at, free + shared + brought[currency], waits)
        if isinstance(terms, Refusal):
            return _of(at + 1, terms)
        needs = max(0, terms.hold - shared)
        due = min(needs, brought[currency])
        brought[currency] -= due
        used[currency] += needs - due
        accepted, place = accept(one, instrument, numbers[at], terms._replace(hold=needs - due), ledger.time)
        accepted.due, accepted.parent = due, numbers[0] if due else 0
        accepted.rival = numbers[sum(rivals) - at] if at in rivals else 0
        found.append((accepted, place))
        if at == 0 and request.kind != "oco" and not request.first_fill:
            brought[hold_currency(_other(one.side), instrument.symbol)] = _brings(accepted, instrument)
    return found


def _other(side: Side) -> Side:
    return "sell" if side == "buy" else "buy"


def _brings(parent: Accepted, instrument: Instrument) -> int:
    """What is sure to be there when the parent is filled; by funds, one cannot know how much that will be."""
    if parent.specified_funds:
        return 0
    rate = max(parent.maker_fee, parent.taker_fee)
    return brings(parent.side, instrument, parent.price, parent.quantity, rate)


def _terms(
    ledger: LedgerState, one: OrderRequest, instrument: Instrument, at: int, available: int, waits: bool
) -> Terms | Refusal:
    """As for an order of its own. The mode matters to one that waits only when it goes live: the book sees to that."""
    if waits and instrument.mode != "online":
        instrument = instrument.in_mode("online")
    last_price = ledger.last_prices.get(instrument.symbol, 0)
    refusal = risk.check_order(one, instrument, len(ledger.orders.of(one.account)) + at, ledger.limits)
    if refusal is None and one.conditions is not None:
        refusal = check_conditions(one, instrument, ledger.time, 0 if waits else last_price)
    if refusal is not None:
        return refusal
    return risk.terms_of(one, instrument, available, last_price, ledger.limits)
