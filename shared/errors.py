"""The one error root, and the one list of reasons for which an order or request is refused."""

from enum import StrEnum


class MatchboxError(Exception):
    """Root of every error Matchbox raises on purpose. Its text names the thing, the value and the next step."""


class InvalidInput(MatchboxError):
    """A value from outside cannot be used: wrong shape, precision, range or name."""


class InvalidSetting(MatchboxError):
    """A setting cannot be used; the text names the variable, the value and what is allowed."""


class Unavailable(MatchboxError):
    """A server (Redis, PostgreSQL) or the cluster is not there, or does not answer."""


class CorruptState(MatchboxError):
    """A log, snapshot or table contradicts itself. Nothing goes on until a person has looked."""


def first_line(error: BaseException | None) -> str:
    """What an error says, short enough for a sentence of ours: its first line, else the name of its type."""
    return str(error).strip().partition("\n")[0] or type(error).__name__


class RejectReason(StrEnum):
    """Why a request, or an accepted order, was refused. On the wire as its value."""

    INSUFFICIENT_FUNDS = "insufficient_funds"
    UNKNOWN_INSTRUMENT = "unknown_instrument"
    UNKNOWN_ORDER = "unknown_order"
    UNKNOWN_CURRENCY = "unknown_currency"
    ORDER_DONE = "order_done"
    INVALID_ORDER = "invalid_order"
    PRICE_OUT_OF_RANGE = "price_out_of_range"
    QUANTITY_TOO_SMALL = "quantity_too_small"
    QUANTITY_TOO_LARGE = "quantity_too_large"
    NOTIONAL_TOO_LARGE = "notional_too_large"
    TOO_MANY_OPEN_ORDERS = "too_many_open_orders"
    NO_REFERENCE_PRICE = "no_reference_price"
    HALTED = "halted"
    BLOCKED = "blocked"
    CANCEL_ONLY = "cancel_only"
    POST_ONLY_MODE = "post_only_mode"
    LIMIT_ONLY_MODE = "limit_only_mode"
    POST_ONLY = "post_only"
    FILL_OR_KILL = "fill_or_kill"
    IMMEDIATE_OR_CANCEL = "immediate_or_cancel"
    NO_LIQUIDITY = "no_liquidity"
    SELF_TRADE = "self_trade"
    EXPIRED = "expired"
    MINIMUM_QUANTITY = "minimum_quantity"
    PRICE_COLLAR = "price_collar"
    AUCTION_MODE = "auction_mode"
    LINKED_ORDER = "linked_order"
    LIST_REFUSED = "list_refused"
    CURRENCY_SCALE = "currency_scale"
    LIMIT_EXCEEDED = "limit_exceeded"
