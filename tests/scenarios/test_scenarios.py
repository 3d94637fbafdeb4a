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
        limits also: [show <lots>] [min <lots>] [for <lines>]           (iceberg, minimum quantity, GTT)
        any also: stop <price> | take-profit <price> | trail <ticks> | trail <n> bps
    <account> oco|oto|otoco [first-fill]: <order> | <order> [| <order>]
    <account> amend #<order> [price <price>] [quantity <lots>] [stop <price>]
    <account> cancel #<order>
    <account> cancel all [buy|sell]         (account "everyone": of all accounts)
    mode online|post-only|limit-only|cancel-only|halted|delisted|auction [collar <percent>]
    tick                                    (each line is one nanosecond after the one before)
    indication                              (its line: <lots> @ <price>, <lots> over; or "none")
    book                                    (its lines: each level, best ask last, then best bid first; or "empty")

Events::

    received #1
    open #1 sell 5 @ 101
    open #1 sell 2 @ 101, 3 hidden          (an iceberg)
    activate #1 at 95
    match 3 @ 101, maker #1, taker #2       (in an auction: seller #1, buyer #2)
    change #1 5 -> 2                        (or: change #1 funds 500 -> 200)
    amend #1 5 @ 101 -> 2 @ 101             (what is left; of a stop also: , at 95)
    amend refused #1, <cause>
    list placed #1 #2
    ticked
    done #1 filled|canceled|rejected[, 2 left][, cause]
    cancel refused #9
    all canceled, 2 orders
    configured halted

In the picture of a book, ``#1 2`` shows two lots; ``asleep #3 at 95`` is a stop, ``waits #4`` a list's child.
"""

from pathlib import Path

import msgspec
import pytest

from shared.instrument import make_instrument
from shared.messages import (
    Activate,
    AllCanceled,
    Amend,
    AmendRefused,
    Cancel,
    CancelAll,
    CancelRefused,
    Change,
    Conditions,
    Configure,
    Configured,
    Done,
    ListPlaced,
    Match,
    Open,
    Place,
    PlaceList,
    Received,
    Tick,
    Ticked,
)

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
        collar = int(words[3].rstrip("%")) * 10_000 if "collar" in words else 0
        return Configure(msgspec.structs.replace(INSTRUMENT, mode=words[1], price_collar=collar), time)
    if words[0] == "tick":
        return Tick(time)
    account = 0 if words[0] == "everyone" else accounts.setdefault(words[0], len(accounts) + 1)
    if words[1:3] == ["cancel", "all"]:
        return CancelAll(account, time, words[3] if len(words) > 3 else "")
    if words[1].rstrip(":") in ("oco", "oto", "otoco"):
        head, _, tail = line.partition(":")
        orders = [order_of(text.split(), account, time) for text in tail.split("|")]
        return PlaceList(account, time, words[1].rstrip(":"), orders, "first-fill" in head)
    if words[1] == "amend":
        values = dict(zip(words[3::2], map(int, words[4::2]), strict=True))
        values["stop_price"] = values.pop("stop", 0)
        return Amend(int(words[2].removeprefix("#")), account, time, **values)
    order_id = int(words[-1].removeprefix("#"))
    if words[1] == "cancel":
        return Cancel(order_id, account, time)
    return order_of(words[1:], account, time)


def order_of(words, account, time):
    """An order: its side, its terms, and last its number."""
    place = Place(int(words[-1].removeprefix("#")), account, time, words[0], "limit")
    asked: dict = {}
    rest = iter(words[1:-1])
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
        elif word in ("dc", "co", "cn", "cb"):
            place.stp = word
        else:
            asked |= condition_of(word, rest, asked, words[0] == "sell", time)
    if asked.get("expires"):
        place.time_in_force = "GTT"
    place.conditions = Conditions(**asked) if asked else None
    return place


def condition_of(word, rest, asked, sells, time):
    """What only some orders ask for."""
    if word == "bps":
        return {"trail_bps": asked.pop("trail")}
    number = int(next(rest))
    if word == "for":
        return {"expires": time + number}
    if word in ("stop", "take-profit"):
        return {"stop": "loss" if sells == (word == "stop") else "entry", "stop_price": number}
    if word == "trail":
        return {"stop": "loss" if sells else "entry", "trail": number}
    return {{"show": "display_quantity", "min": "min_quantity"}[word]: number}


def text_of(event):
    """The line that what happened to an order is written as."""
    match event:
        case Received():
            return f"received #{event.order_id}"
        case Activate():
            return f"activate #{event.order_id} at {event.stop_price}"
        case Open():
            hidden = f", {event.hidden} hidden" if event.hidden else ""
            return f"open #{event.order_id} {event.side} {event.remaining} @ {event.price}{hidden}"
        case Match():
            maker, taker = ("seller", "buyer") if event.auction else ("maker", "taker")
            trade = f"match {event.quantity} @ {event.price}"
            return f"{trade}, {maker} #{event.maker_order_id}, {taker} #{event.taker_order_id}"
        case Change():
            return change_text(event)
        case Done():
            left = f", {event.remaining} left" if event.remaining else ""
            return f"done #{event.order_id} {event.reason}{left}{f', {event.cause}' if event.cause else ''}"
    return answer_text(event)


def change_text(event):
    """An amend, or what self-trade prevention took."""
    if event.reason == "amend":
        before, after = f"{event.old_quantity} @ {event.old_price}", f"{event.new_quantity} @ {event.price}"
        return f"amend #{event.order_id} {before} -> {after}" + (f", at {event.stop_price}" if event.stop_price else "")
    if event.old_funds:
        return f"change #{event.order_id} funds {event.old_funds} -> {event.new_funds}"
    return f"change #{event.order_id} {event.old_quantity} -> {event.new_quantity}"


def answer_text(event):
    """The line that an answer, which is not public, is written as."""
    match event:
        case AmendRefused():
            return f"amend refused #{event.order_id}, {event.reason}"
        case ListPlaced():
            return " ".join(["list placed", *(f"#{order.order_id}" for order in event.orders)])
        case Ticked():
            return "ticked"
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
    lines += [f"asleep #{one.order.order_id} at {one.stop_price}" for one in book.sleeping()]
    lines += [f"waits #{order.order_id}" for order in book.pending()]
    return lines or ["empty"]


def indication_of(book):
    """What an auction would trade."""
    found = book.indication()
    return [f"{found.volume} @ {found.price}, {found.imbalance} over" if found else "none"]


CASES = [
    pytest.param(case, id=f"{path.stem}: {case.name}")
    for path in sorted(FOLDER.glob("*.txt"))
    for case in cases_of(path.read_text())
]


@pytest.mark.parametrize("case", CASES)
def test_scenario(order_book, case):
    """The book answers each command of the table with exactly the events below it."""
    book = order_book()
    accounts: dict[str, int] = {}
    book.apply(Configure(INSTRUMENT, 1))
    for time, (line, expected) in enumerate(case.steps, 2):
        if line == "book":
            assert picture_of(book) == expected, f"{case.name}: the book"
        elif line == "indication":
            assert indication_of(book) == expected, f"{case.name}: {line}"
        else:
            events = book.apply(command_of(line, accounts, time))
            assert [text_of(event) for event in events] == expected, f"{case.name}: {line}"


def test_every_table_has_cases():
    """No file is skipped by a slip in its format."""
    for path in FOLDER.glob("*.txt"):
        cases = cases_of(path.read_text())
        assert cases, path.name
        assert all(case.steps and all(lines for _, lines in case.steps) for case in cases), path.name
