"""Runs the tables in this folder: commands, and what the book must answer, as a trader would write them down.

Format of ``*.txt``::

    # a remark
    == Name of a case; each begins with an empty book, online, one quote unit for a tick x lot
    ann sell 5 @ 101 #1
        received #1
        open #1 sell 5 @ 101
    bob buy 3 @ 102 ioc #2
        received #2
        match 3 @ 101, maker #1, taker #2
        done #2 filled
    book
        sell 101: #1 2

A line at the margin is a command, the indented lines under it are its events, all of them and in order.

Commands::

    <account> buy|sell <lots> @ <price> [ioc|fok] [post-only] [dc|co|cn|cb] #<order>
    <account> buy|sell [<lots>] market [funds <units>] [worst <price>] [fok] [dc|co|cn|cb] #<order>
    <account> cancel #<order>
    <account> cancel all [buy|sell]         (account "everyone": of all accounts)
    mode online|post-only|limit-only|cancel-only|halted|delisted
    book                                    (its lines: each level, best ask last, then best bid first; or "empty")

Events::

    received #1
    open #1 sell 5 @ 101
    match 3 @ 101, maker #1, taker #2
    change #1 5 -> 2                        (or: change #1 funds 500 -> 200)
    done #1 filled|canceled|rejected[, 2 left][, cause]
    cancel refused #9
    all canceled, 2 orders
    configured halted
"""

from pathlib import Path

import msgspec
import pytest

from shared.instrument import make_instrument
from shared.messages import (
    AllCanceled,
    Cancel,
    CancelAll,
    CancelRefused,
    Change,
    Configure,
    Configured,
    Done,
    Match,
    Open,
    Place,
    Received,
)
from workers.engine.book import OrderBook

INSTRUMENT = make_instrument("BTC-USD", "1", "1", base_scale=0, quote_scale=0)
FOLDER = Path(__file__).parent


class Case(msgspec.Struct):
    """A named list of (command line, its expected lines)."""

    name: str
    steps: list[tuple[str, list[str]]] = msgspec.field(default_factory=list)


def cases_of(text):
    """The cases of one file."""
    cases = []
    for line in text.splitlines():
        content = line.partition("# ")[0].strip()
        if not content:
            continue
        if content.startswith("== "):
            cases.append(Case(content[3:]))
        elif line[0] == " ":
            cases[-1].steps[-1][1].append(" ".join(content.split()))
        else:
            cases[-1].steps.append((content, []))
    return cases


def command_of(line, accounts, time):
    """The command a line stands for."""
    words = line.split()
    if words[0] == "mode":
        return Configure(msgspec.structs.replace(INSTRUMENT, mode=words[1]), time)
    account = 0 if words[0] == "everyone" else accounts.setdefault(words[0], len(accounts) + 1)
    if words[1:3] == ["cancel", "all"]:
        return CancelAll(account, time, words[3] if len(words) > 3 else "")
    order_id = int(words.pop().removeprefix("#"))
    if words[1] == "cancel":
        return Cancel(order_id, account, time)
    place = Place(order_id, account, time, words[1], "limit")
    rest = iter(words[2:])
    for word in rest:
        if word.isdigit():
            place.quantity = int(word)
        elif word == "market":
            place.order_type = "market"
        elif word in ("@", "worst"):
            place.price = int(next(rest))
        elif word == "funds":
            place.funds = int(next(rest))
        elif word in ("ioc", "fok", "gtt"):
            place.time_in_force = word.upper()
        elif word == "post-only":
            place.post_only = True
        else:
            assert word in ("dc", "co", "cn", "cb"), f"{word} in: {line}"
            place.stp = word
    return place


def text_of(event):
    """The line an event is written as."""
    match event:
        case Received():
            return f"received #{event.order_id}"
        case Open():
            return f"open #{event.order_id} {event.side} {event.remaining} @ {event.price}"
        case Match():
            return (
                f"match {event.quantity} @ {event.price}, maker #{event.maker_order_id}, taker #{event.taker_order_id}"
            )
        case Change(old_funds=0):
            return f"change #{event.order_id} {event.old_quantity} -> {event.new_quantity}"
        case Change():
            return f"change #{event.order_id} funds {event.old_funds} -> {event.new_funds}"
        case Done():
            left = f", {event.remaining} left" if event.remaining else ""
            return f"done #{event.order_id} {event.reason}{left}{f', {event.cause}' if event.cause else ''}"
        case CancelRefused():
            return f"cancel refused #{event.order_id}"
        case AllCanceled():
            return f"all canceled, {event.count} orders"
        case Configured():
            return f"configured {event.instrument.mode}"


def picture_of(book):
    """The book's levels, the worst ask first, as on a screen."""
    lines: list[str] = []
    for side in ("sell", "buy"):
        levels: dict[int, str] = {}
        for order in book.resting(side):
            known = levels.get(order.price, f"{side} {order.price}:")
            levels[order.price] = f"{known} #{order.order_id} {order.remaining}"
        found = list(levels.values())
        lines += reversed(found) if side == "sell" else found
    return lines or ["empty"]


CASES = [
    pytest.param(case, id=f"{path.stem}: {case.name}")
    for path in sorted(FOLDER.glob("*.txt"))
    for case in cases_of(path.read_text())
]


@pytest.mark.parametrize("case", CASES)
def test_scenario(case):
    """The book answers each command of the table with exactly the events below it."""
    book = OrderBook()
    accounts: dict[str, int] = {}
    book.apply(Configure(INSTRUMENT, 1))
    for time, (line, expected) in enumerate(case.steps, 2):
        if line == "book":
            assert picture_of(book) == expected, f"{case.name}: the book"
        else:
            events = book.apply(command_of(line, accounts, time))
            assert [text_of(event) for event in events] == expected, f"{case.name}: {line}"


def test_every_table_has_cases():
    """No file is skipped by a slip in its format."""
    for path in FOLDER.glob("*.txt"):
        cases = cases_of(path.read_text())
        assert cases, path.name
        assert all(case.steps and all(lines for _, lines in case.steps) for case in cases), path.name
