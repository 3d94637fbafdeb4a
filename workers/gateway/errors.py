"""What goes wrong, as clients are told: always ``{"message": ...}``, with the words that ccxt looks for.

Never 403, 405, 409 or 5xx for a user's mistake: ccxt takes those for a fault of the exchange and tries again.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus

from redis.exceptions import RedisError

from shared.errors import InvalidInput, MatchboxError, RejectReason
from shared.messages import Rejected


class ApiError(MatchboxError):
    """An answer other than success: an HTTP status and the message for the client."""

    def __init__(self, status: int, message: str, retry_after_s: int = 0) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after_s = retry_after_s


def bad_request(message: str) -> ApiError:
    """The request cannot be used."""
    return ApiError(HTTPStatus.BAD_REQUEST, message)


def unauthorized(message: str) -> ApiError:
    """Who asks is not known, or may not do this."""
    return ApiError(HTTPStatus.UNAUTHORIZED, message)


def unavailable(message: str) -> ApiError:
    """Something this needs is away; it goes on by itself once that is back."""
    return ApiError(HTTPStatus.SERVICE_UNAVAILABLE, message, retry_after_s=1)


def too_many(message: str, wait_s: int) -> ApiError:
    """More than the client may ask for; it may again in ``wait_s`` seconds."""
    return ApiError(HTTPStatus.TOO_MANY_REQUESTS, message, wait_s)


@contextmanager
def redis_is_away(what: str) -> Iterator[None]:
    """Whatever goes wrong with Redis in here is answered with 503: ``what`` cannot be looked up."""
    try:
        yield
    except (RedisError, OSError) as error:
        raise unavailable(f"{what} cannot be looked up just now: Redis is away; try again") from error


@contextmanager
def refused_input() -> Iterator[None]:
    """What cannot be used is answered with 400 and its own words."""
    try:
        yield
    except InvalidInput as error:
        raise bad_request(str(error)) from None


def order_not_found() -> ApiError:
    """No such order, or somebody else's."""
    return ApiError(HTTPStatus.NOT_FOUND, "order not found")


def order_already_done() -> ApiError:
    """The order was filled or canceled before."""
    return ApiError(HTTPStatus.NOT_FOUND, "Order already done")


def product_not_found(status: int = HTTPStatus.NOT_FOUND) -> ApiError:
    """No such product: 404 where it is part of the path, 400 where it is part of an order."""
    return ApiError(status, "Product not found")


_NOT_FOUND = frozenset({RejectReason.UNKNOWN_ORDER, RejectReason.ORDER_DONE})


def refusal(event: Rejected) -> ApiError:
    """The ledger's refusal as an answer. Its message is in the API's words already."""
    status = HTTPStatus.NOT_FOUND if event.reason in _NOT_FOUND else HTTPStatus.BAD_REQUEST
    return ApiError(status, event.message or event.reason.replace("_", " "))
