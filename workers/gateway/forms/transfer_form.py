"""What a client says about a deposit or withdrawal, read and checked. Pure. Raises ``ApiError`` 400."""

import re
from collections.abc import Mapping

import msgspec

from shared.instrument import MONEY_MAX, decimal_of, money_units
from workers.gateway.errors import bad_request
from workers.gateway.forms.account_bodies import TransferBody
from workers.gateway.forms.json_input import amount_field, refuse_unknown, text_field

IDEM_CHARS_MAX = 64
_IDEM = re.compile(r"[A-Za-z0-9._:-]*", re.ASCII)
_KNOWN = TransferBody.__struct_fields__


class Transfer(msgspec.Struct, frozen=True):
    """So many smallest units of a currency; ``request_id`` is made of the client's own id of it, or ""."""

    currency: str
    units: int
    request_id: str


def read_transfer(fields: dict[str, object], scales: Mapping[str, int], account: int) -> Transfer:
    """A transfer (``TransferBody``). Where test money comes from or goes to is nobody's business."""
    refuse_unknown(fields, _KNOWN, "a transfer", ", ".join(_KNOWN))
    currency = text_field(fields, "currency")
    scale = scales.get(currency)
    if scale is None:
        raise bad_request(f'currency "{currency[:40]}" is none of {", ".join(sorted(scales))}')
    units = amount_field(fields, "amount", lambda text: money_units(text, scale))
    if not units:
        raise bad_request('amount is missing: send a decimal number, as in "100.25"')
    idem = text_field(fields, "idem")
    if len(idem) > IDEM_CHARS_MAX or not _IDEM.fullmatch(idem):
        raise bad_request(f"idem: use at most {IDEM_CHARS_MAX} letters, digits and . _ : -")
    return Transfer(currency, units, f"idem-{account}-{idem}" if idem else "")


def deposit_limit(max_funds: str, scale: int) -> int:
    """The balance that users may bring themselves to, in units of a currency with ``scale`` decimals.

    All accounts together can have so much of a currency and no more: nobody shall take all of it.
    """
    most = min(MONEY_MAX, int(decimal_of(max_funds, "max_funds").scaleb(scale)))
    if not most:
        raise bad_request("deposits are closed; ask who runs this exchange for test money")
    return most
