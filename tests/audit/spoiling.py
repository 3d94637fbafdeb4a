"""Ways to spoil a recorded log: one event is changed, dropped or repeated, and length and chain are made to fit."""

from collections.abc import Callable
from typing import Any

import msgspec

from shared.messages import decode_book_entry, decode_ledger_entry, encode
from tests.audit.recorded import Tag


def entries(tag: Tag) -> list[Any]:
    """A log, decoded."""
    decode = decode_book_entry if "{i:" in tag.handler.tag else decode_ledger_entry
    return [decode(payload) for payload in tag.log]


def rewrite(tag: Tag, changed: list[Any]) -> None:
    """Make these entries the log, with the length and chain that they have."""
    tag.log[:] = [encode(entry) for entry in changed]
    tag.restate()


def find(tag: Tag, kind: Any, wanted: Callable[[Any], bool] = lambda _event: True, skip: int = 5) -> tuple[int, int]:
    """Entry and place in it of the ``skip``-th event of a kind."""
    for number, entry in enumerate(entries(tag)):
        for place, event in enumerate(entry.events):
            if isinstance(event, kind) and wanted(event):
                if not skip:
                    return number, place
                skip -= 1
    raise AssertionError(f"no {kind.__name__} to spoil")


def edit(
    tag: Tag, kind: Any, change: Callable[[Any], Any], wanted: Callable[[Any], bool] = lambda _: True, skip: int = 5
) -> None:
    """Replace one event by what ``change`` makes of it (None: drop it; a list: put these there)."""
    log = entries(tag)
    number, place = find(tag, kind, wanted, skip)
    new = change(log[number].events[place])
    log[number].events[place : place + 1] = [] if new is None else new if isinstance(new, list) else [new]
    rewrite(tag, log)


def but(**changes: Any) -> Callable[[Any], Any]:
    """The event with other fields; a function gets the old value."""

    def change(event: Any) -> Any:
        new = {name: value(getattr(event, name)) if callable(value) else value for name, value in changes.items()}
        return msgspec.structs.replace(event, **new)

    return change


def more(value: int) -> int:
    return value + 1


def twice(event: Any) -> list[Any]:
    return [event, event]


def no(_event: Any) -> None:
    return None
