"""What clients send about users, keys, transfers, products and halts, for the API's description."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from shared.credentials import KEYS_MAX, LABEL_CHARS_MAX, NAME_CHARS_MAX, NETWORKS_MAX
from shared.passwords import CHARS_MIN
from workers.gateway.forms.order_bodies import Decimal


def _said(description: str, *examples: object) -> Meta:
    return Meta(description=description, examples=list(examples) or None)


class UserBody(msgspec.Struct):
    """A new user, or who logs in."""

    name: Annotated[str, _said(f"1 to {NAME_CHARS_MAX} printable characters", "alice")]
    password: Annotated[str, _said(f"at least {CHARS_MIN} characters, whichever", "correct horse battery")]


class KeyBody(msgspec.Struct):
    """A new API key. An account has at most {KEYS_MAX}."""

    scopes: Annotated[
        list[Literal["view", "trade", "transfer", "admin"]],
        _said("what it may do; admin only if its user is one", ["view", "trade"]),
    ]
    label: Annotated[str, _said(f"a name for people, at most {LABEL_CHARS_MAX} characters", "my bot")] = ""
    allowed_ips: Annotated[
        list[str],
        _said(
            f"addresses or networks it may be used from, at most {NETWORKS_MAX}; none: from anywhere", ["10.0.0.0/8"]
        ),
    ] = []


KeyBody.__doc__ = (KeyBody.__doc__ or "").format(KEYS_MAX=KEYS_MAX)


class TransferBody(msgspec.Struct):
    """A deposit or withdrawal of test money. Where it comes from or goes to is taken, and of no consequence."""

    currency: Annotated[str, _said("one of GET /currencies", "USD")]
    amount: Annotated[Decimal, _said("above 0", "100.00")]
    idem: Annotated[
        str | None,
        _said("an id of the client's, at most 64 letters, digits and . _ : -; sent again, nothing more is moved"),
    ] = None
    payment_method_id: Any = None
    coinbase_account_id: Any = None
    crypto_address: Any = None
    destination_tag: Any = None
    no_destination_tag: Any = None
    network: Any = None
    profile_id: Any = None
    two_factor_code: Any = None
    nonce: Any = None


class ProductBody(msgspec.Struct):
    """A new product."""

    product_id: Annotated[str, _said("base and quote currency, in capitals", "ACME-EUR")]
    quote_increment: Annotated[Decimal, _said("smallest step of the price", "0.05")]
    base_increment: Annotated[Decimal, _said("smallest step of the size", "0.001")]
    maker_fee_bps: Annotated[Decimal, _said("fee of the resting side, in basis points", "0")] = "0"
    taker_fee_bps: Annotated[Decimal, _said("fee of the arriving side, in basis points", "2.5")] = "0"
    base_min_size: Annotated[Decimal | None, _said("smallest order; if absent, one base_increment")] = None
    base_max_size: Annotated[Decimal | None, _said("largest order")] = None
    max_price: Annotated[Decimal | None, _said("highest price")] = None
    collar_percent: Annotated[Decimal, _said("how far from the last trade a market order goes", "10")] = "10"
    price_collar_percent: Annotated[
        Decimal, _said("how far from the last trade any order may trade; 0: as far as it likes", "0")
    ] = "0"
    base_scale: Annotated[int, _said("decimal places of the base currency")] = 10
    quote_scale: Annotated[int, _said("decimal places of the quote currency")] = 10
    mode: Annotated[Literal["online", "post-only", "limit-only", "cancel-only", "auction"], _said("how it opens")] = (
        "online"
    )


class ModeBody(msgspec.Struct):
    """What a product takes from now on."""

    mode: Annotated[
        Literal["online", "post-only", "limit-only", "cancel-only", "auction", "halted"],
        _said(
            "online: every order; post-only, limit-only, cancel-only: as they say; auction: orders collect, and "
            "leaving the mode trades them at one price; halted: nothing. Cancels always go through",
            "cancel-only",
        ),
    ]


class UserChangeBody(msgspec.Struct):
    """What changes about a user; what is absent stays."""

    role: Annotated[Literal["trader", "admin"] | None, _said("admin: may use /admin", "trader")] = None
    blocked: Annotated[
        bool | None,
        _said("true: no login, session, key or trading any more, and open orders are canceled; false: all again"),
    ] = None


class HaltBody(msgspec.Struct):
    """A kill switch: exactly one of everybody, account, product_id and key."""

    everybody: Annotated[bool | None, _said("true: nobody trades any more; all orders are canceled")] = None
    account: Annotated[int | None, _said("this account trades no more; its orders are canceled", 17)] = None
    product_id: Annotated[
        str | None, _said("this product is halted; everybody's orders on it are canceled", "BTC-USD")
    ] = None
    key: Annotated[
        str | None, _said("this API key is revoked, for good, and all orders of its account are canceled")
    ] = None
    reason: Annotated[
        str,
        _said(
            "why, at most 128 characters, also for those whom it hits; of a key only in the gateway's log",
            "runaway bot",
        ),
    ] = ""


EXAMPLES: dict[type, dict[str, dict[str, object]]] = {
    UserBody: {"alice": {"name": "alice", "password": "correct horse battery"}},
    KeyBody: {"for a bot": {"scopes": ["view", "trade"], "label": "my bot"}},
    TransferBody: {"one time": {"currency": "USD", "amount": "100.00"}},
    ProductBody: {
        "a share": {
            "product_id": "ACME-EUR", "quote_increment": "0.05", "base_increment": "1", "taker_fee_bps": "2.5",
        }
    },
    ModeBody: {"cancel only": {"mode": "cancel-only"}},
    UserChangeBody: {"block": {"blocked": True}},
    HaltBody: {"one product": {"product_id": "BTC-USD", "reason": "drill"}},
}  # fmt: skip
