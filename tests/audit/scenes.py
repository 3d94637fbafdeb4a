"""Small scenes on one real book, their log, and ways to spoil it that break one rule and nothing else."""

from collections.abc import Callable
from typing import Any

import msgspec

from shared.instrument import make_instrument
from shared.messages import (
    Amend,
    BookEntry,
    Cancel,
    Command,
    Conditions,
    Configure,
    ListKind,
    Match,
    Place,
    PlaceList,
    Side,
    decode_book_entry,
    decode_command,
    encode,
)
from workers.audit.book_checks import BookChecks
from workers.audit.invariants import Findings
from workers.audit.settlement_checks import SettlementChecks
from workers.engine.book import OrderBook

Log = list[BookEntry]


class Scene:
    """What a book does with these commands. Their times are 10, 20, 30 …, unless they say another."""

    def __init__(self, *commands: Command) -> None:
        book = OrderBook()
        self.log: Log = []
        for number, command in enumerate((rules(), *commands), start=1):
            command.time = command.time or 10 * number
            events = book.apply(decode_command(encode(command)))
            entry = BookEntry(f"{{a:0}}:to:BTC-USD {number}-0", book.time, events)
            self.log.append(decode_book_entry(encode(entry)))


def audited(log: Log) -> Findings:
    """The rules of the book alone, over this log; what no ledger accepted does not matter here."""
    findings = Findings()
    checks = BookChecks("BTC-USD", findings, SettlementChecks(Findings()))
    for number, entry in enumerate(log, start=1):
        checks.follow(number, entry)
    return findings


def renumber(log: Log) -> None:
    """Give the events the sequences and trade ids that follow one another."""
    sequence = trade_id = 0
    for entry in log:
        for event in entry.events:
            if isinstance(event, Match):
                trade_id += 1
                event.trade_id = trade_id
            if hasattr(event, "sequence"):
                sequence += 1
                event.sequence = sequence


# --- commands ------------------------------------------------------------------------------------


def rules(**changes: Any) -> Configure:
    """The instrument's rules."""
    return Configure(make_instrument("BTC-USD", "0.01", "0.1", base_scale=1, quote_scale=3, **changes), 0)


def order(side: Side, order_id: int, quantity: int, price: int = 0, account: int = 0, **terms: Any) -> Place:
    """An order of an account of its own, unless one is named; what is no field of an order is a condition."""
    fields = {name: value for name, value in terms.items() if name in Place.__struct_fields__}
    asked = {name: value for name, value in terms.items() if name not in fields}
    conditions = Conditions(**asked) if asked else None
    return Place(
        order_id, account or order_id, 0, side, "limit" if price else "market", price, quantity, maker_fee=1,
        taker_fee=2, conditions=conditions, **fields,
    )  # fmt: skip


def buy(order_id: int, quantity: int, price: int = 0, account: int = 0, **terms: Any) -> Place:
    return order("buy", order_id, quantity, price, account, **terms)


def sell(order_id: int, quantity: int, price: int = 0, account: int = 0, **terms: Any) -> Place:
    return order("sell", order_id, quantity, price, account, **terms)


def cancel(order_id: int) -> Cancel:
    return Cancel(order_id, order_id, 0)


def amend(order_id: int, **changes: Any) -> Amend:
    return Amend(order_id, order_id, 0, request_id="a", **changes)


def linked(kind: ListKind, *orders: Place, first_fill: bool = False) -> PlaceList:
    return PlaceList(orders[0].account, 0, kind, list(orders), first_fill)


# --- ways to spoil a log -------------------------------------------------------------------------

Spoil = Callable[[Log], None]


def find(log: Log, kind: type, order_id: int = 0, nth: int = 0) -> tuple[BookEntry, int]:
    """The entry and place in it of the ``nth`` event of a kind, of an order if one is named."""
    for entry in log:
        for place, event in enumerate(entry.events):
            if isinstance(event, kind) and (not order_id or getattr(event, "order_id", 0) == order_id):
                if not nth:
                    return entry, place
                nth -= 1
    raise AssertionError(f"no {kind.__name__} of order {order_id} to spoil")


def change(kind: type, order_id: int = 0, /, nth: int = 0, **changes: Any) -> Spoil:
    """Other fields for one event; ``conditions`` may be a dict of changes to them."""

    def spoil(log: Log) -> None:
        entry, place = find(log, kind, order_id, nth)
        event: Any = entry.events[place]
        new = dict(changes)
        if isinstance(new.get("conditions"), dict):
            new["conditions"] = msgspec.structs.replace(event.conditions or Conditions(), **new["conditions"])
        entry.events[place] = msgspec.structs.replace(event, **new)

    return spoil


def drop(kind: type, order_id: int = 0, nth: int = 0) -> Spoil:
    """One event never happened."""

    def spoil(log: Log) -> None:
        entry, place = find(log, kind, order_id, nth)
        del entry.events[place]

    return spoil


def move(kind: type, order_id: int, to: int, nth: int = 0) -> Spoil:
    """One event happens at another place of its entry."""

    def spoil(log: Log) -> None:
        entry, place = find(log, kind, order_id, nth)
        entry.events.insert(to, entry.events.pop(place))

    return spoil


def add(number: int, *events: Any) -> Spoil:
    """Events at the end of an entry (-1: the last)."""

    def spoil(log: Log) -> None:
        log[number].events += list(events)

    return spoil


def instead(kind: type, order_id: int, *events: Any, nth: int = 0) -> Spoil:
    """Other events in the place of one."""

    def spoil(log: Log) -> None:
        entry, place = find(log, kind, order_id, nth)
        entry.events[place : place + 1] = events

    return spoil


def at_time(number: int, time: int) -> Spoil:
    """An entry at another time."""

    def spoil(log: Log) -> None:
        log[number].time = time

    return spoil


def all_of(*spoils: Spoil) -> Spoil:
    """One after the other."""

    def spoil(log: Log) -> None:
        for one in spoils:
            one(log)

    return spoil
