"""JSON from clients: strict, and without a float: a number with a point or an exponent stays the text it was."""

import json
from collections.abc import Callable, Container, Mapping
from typing import TypeGuard

import msgspec

from shared.errors import InvalidInput
from workers.gateway.errors import bad_request


class Number(str):
    """The literal text of a JSON number that is not a whole number."""

    __slots__ = ()


_decode = msgspec.json.Decoder(float_hook=Number).decode


def decode_object(body: bytes | str, what: str = "the request body") -> dict[str, object]:
    """A JSON object that has each field once. Raises ``ApiError`` 400 that says what is wrong with it."""
    try:
        value = _decode(body)
        if isinstance(value, dict):
            _refuse_twins(body if isinstance(body, str) else body.decode(), len(value), what)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise bad_request(f"{what} is not valid JSON: {error}") from None
    except (RecursionError, ValueError) as error:  # too deep; whole numbers of thousands of digits
        raise bad_request(f"{what} is not usable JSON: {str(error)[:100]}") from None
    if not isinstance(value, dict):
        raise bad_request(f"{what} must be a JSON object, not {_kind(value)}")
    return value


def _refuse_twins(text: str, count: int, what: str) -> None:
    """Raises ``ApiError`` 400 if an object says a field twice: which of the two counts is everybody's guess.

    To look takes longer than to read. It is spared if there are as many colons as fields in the outer object.
    """
    if text.count(":") != count:
        json.loads(text, object_pairs_hook=lambda pairs: _check_fields(pairs, what), parse_int=str, parse_float=str)


def _check_fields(pairs: list[tuple[str, object]], what: str) -> None:
    seen: set[str] = set()
    for name, _ in pairs:
        if name in seen:
            raise bad_request(f'{what} has the field "{name[:40]}" twice')
        seen.add(name)


def decimal_field(fields: dict[str, object], name: str) -> str:
    """A number given as JSON string or number, as text; "" if absent. Raises ``ApiError`` 400."""
    value = fields.get(name)
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise bad_request(f'{name} must be a decimal number, as in "100.25", not {_kind(value)}')
    return value if isinstance(value, str) else str(value)


def is_text(value: object) -> TypeGuard[str]:
    """Whether a JSON value is a string, and no number that stayed the text it was."""
    return isinstance(value, str) and not isinstance(value, Number)


def text_field(fields: dict[str, object], name: str) -> str:
    """A string; "" if absent. Raises ``ApiError`` 400."""
    value = fields.get(name)
    if value is None:
        return ""
    if not is_text(value):
        raise bad_request(f"{name} must be a string, not {_kind(value)}")
    return value


def narrowing_field(fields: dict[str, object], name: str) -> str:
    """A string that narrows down what a request is about; "" if absent. Raises ``ApiError`` 400.

    An empty one is refused: it may be a mistake for one that says something, and would do more than was meant.
    """
    value = text_field(fields, name)
    if fields.get(name) == "":
        raise bad_request(f'{name} is "": say which, or leave it out to mean all')
    return value


def choice_field(fields: dict[str, object], name: str, choices: tuple[str, ...], default: str = "") -> str:
    """One of ``choices``; ``default`` if absent. Raises ``ApiError`` 400 that lists them."""
    value = text_field(fields, name)
    if not value:
        if default:
            return default
        raise bad_request(f"{name} is missing: send one of {', '.join(choices)}")
    if value not in choices:
        raise bad_request(f'{name} "{value[:40]}" is not one of {", ".join(choices)}')
    return value


def amount_field(fields: dict[str, object], name: str, units: Callable[[str], int]) -> int:
    """A decimal number in the ``units`` that its text makes; 0 if absent. Raises ``ApiError`` 400."""
    text = decimal_field(fields, name)
    if not text:
        return 0
    try:
        return units(text)
    except InvalidInput as error:
        raise bad_request(str(error)) from None


def whole_field(fields: dict[str, object], name: str, most: int) -> int:
    """A whole number from 1 to ``most``, as JSON string or number; 0 if absent. Raises ``ApiError`` 400."""
    text = decimal_field(fields, name)
    if not text:
        return 0
    if not (text.isascii() and text.isdigit()) or len(text) > len(str(most)) or not 1 <= int(text) <= most:
        raise bad_request(f'{name} "{text[:40]}" is not a whole number from 1 to {most}')
    return int(text)


def texts_field(fields: dict[str, object], name: str) -> list[str]:
    """An array of strings; empty if absent. Raises ``ApiError`` 400."""
    value = fields.get(name)
    if value is None:
        return []
    if not isinstance(value, list) or not all(is_text(one) for one in value):
        raise bad_request(f"{name} must be an array of strings")
    return value


def is_given(fields: dict[str, object], name: str) -> bool:
    """Whether a field says anything: null and "" say nothing."""
    return fields.get(name) not in (None, "")


def refuse_unknown(fields: Mapping[str, object], known: Container[str], what: str, names: str) -> None:
    """What is not understood is refused, not ignored. Raises ``ApiError`` 400; ``names`` says what there is."""
    for name, value in fields.items():
        if value is not None and name not in known:
            raise bad_request(f'unknown field "{name[:40]}"; {what} has {names}')


def flag_field(fields: dict[str, object], name: str) -> bool:
    """A boolean; false if absent. Raises ``ApiError`` 400."""
    value = fields.get(name)
    if value is None or isinstance(value, bool):
        return bool(value)
    raise bad_request(f"{name} must be true or false, not {_kind(value)}")


def _kind(value: object) -> str:
    """What a JSON value is, in JSON's words."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Number | int):
        return "a number"
    names = {str: "a string", list: "an array", dict: "an object", type(None): "null"}
    return names.get(type(value), type(value).__name__)
