"""What clients send about products and halts, read: JSON to instruments and targets. Pure. Raises ``ApiError`` 400."""

from typing import Any, cast

import msgspec

from shared.definition import OPEN_MODES, define
from shared.instrument import Instrument, Mode
from workers.gateway.errors import bad_request, refused_input
from workers.gateway.forms.account_bodies import HaltBody, ProductBody
from workers.gateway.forms.json_input import (
    choice_field,
    decimal_field,
    flag_field,
    is_given,
    refuse_unknown,
    text_field,
)

_MODES = (*OPEN_MODES, "halted")
_SCALE_MAX = 18
_RULES = {
    "maker_fee_bps": "maker_fee_bps",
    "taker_fee_bps": "taker_fee_bps",
    "min_size": "base_min_size",
    "max_size": "base_max_size",
    "max_price": "max_price",
    "collar_percent": "collar_percent",
    "price_collar_percent": "price_collar_percent",
}
"""Rules of ``define``, and how the API calls them."""


def read_product(fields: dict[str, object]) -> Instrument:
    """A new product (``ProductBody``)."""
    known = ProductBody.__struct_fields__
    refuse_unknown(fields, known, "a product", ", ".join(known))
    rules: dict[str, Any] = {name: text for name, own in _RULES.items() if (text := decimal_field(fields, own))}
    for name in ("base_scale", "quote_scale"):
        if is_given(fields, name):
            rules[name] = _scale(fields, name)
    mode = choice_field(fields, "mode", OPEN_MODES, "online")
    tick, lot = decimal_field(fields, "quote_increment"), decimal_field(fields, "base_increment")
    with refused_input():
        return define(text_field(fields, "product_id"), tick, lot, **rules, mode=cast("Mode", mode))


def _scale(fields: dict[str, object], name: str) -> int:
    text = decimal_field(fields, name)
    if not (text.isascii() and text.isdigit()) or len(text) > 2 or int(text) > _SCALE_MAX:
        raise bad_request(f'{name} "{text[:40]}" is not a whole number from 0 to {_SCALE_MAX}')
    return int(text)


def read_mode(fields: dict[str, object]) -> Mode:
    """The mode that a product shall have (``ModeBody``)."""
    refuse_unknown(fields, ("mode",), "this request", "mode")
    return cast("Mode", choice_field(fields, "mode", _MODES))


class HaltTarget(msgspec.Struct, frozen=True):
    """What a kill switch is for: one of these is set."""

    everybody: bool = False
    account: int = 0
    product_id: str = ""
    key: str = ""


def read_halt(fields: dict[str, object]) -> tuple[HaltTarget, str]:
    """What a kill switch is for, and its reason (``HaltBody``)."""
    known = HaltBody.__struct_fields__
    refuse_unknown(fields, known, "a halt", ", ".join(known))
    account = fields.get("account")
    if account is not None and (isinstance(account, bool) or not isinstance(account, int) or account < 1):
        raise bad_request("account must be the number of an account, as in 17")
    target = HaltTarget(
        flag_field(fields, "everybody"),
        account or 0,
        text_field(fields, "product_id"),
        text_field(fields, "key"),
    )
    if sum(map(bool, (target.everybody, target.account, target.product_id, target.key))) != 1:
        raise bad_request("say exactly one of everybody, account, product_id and key")
    return target, text_field(fields, "reason")
