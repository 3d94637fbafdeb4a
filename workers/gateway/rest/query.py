"""Parameters that several routes share."""

from collections.abc import Container, Mapping
from http import HTTPStatus
from typing import Annotated

from litestar.params import Parameter

from workers.gateway.errors import bad_request, product_not_found
from workers.gateway.forms.json_input import decode_object, narrowing_field, refuse_unknown
from workers.gateway.paging import LIMIT_MAX, Page, cursor_of

Limit = Annotated[int, Parameter(ge=1, le=LIMIT_MAX, description="items a page")]
Before = Annotated[str | None, Parameter(description="CB-BEFORE of a page: answer the page of newer items next to it")]
After = Annotated[str | None, Parameter(description="CB-AFTER of a page: answer the page of older items next to it")]
Start = Annotated[str | None, Parameter(description="ISO 8601 or seconds since 1970: nothing older")]
End = Annotated[str | None, Parameter(description="ISO 8601 or seconds since 1970: nothing newer")]
ProductFilter = Annotated[str | None, Parameter(description="only of this product")]

_NARROWING = ("product_id", "side", "profile_id")
"""What a mass cancel may name. There is one profile."""


def page_of(limit: int, before: str | None, after: str | None) -> Page:
    """The page that a query asks for. Raises ``ApiError`` 400."""
    return Page(limit, cursor_of(before, "before"), cursor_of(after, "after"))


def product_of(body: bytes, product_id: str | None) -> str:
    """The product a DELETE names in its query, or in its body as ccxt does (and there as BTC/USD); "" if none.

    Raises ``ApiError`` 400.
    """
    return _one_of(body, "product_id", product_id).replace("/", "-")


def side_of(body: bytes, side: str | None) -> str:
    """The side a DELETE names in its query or body; "" if none. Raises ``ApiError`` 400."""
    return _one_of(body, "side", side)


def _one_of(body: bytes, name: str, asked: str | None) -> str:
    narrowing_field({name: asked}, name)
    named = narrowing_field(decode_object(body), name) if body.strip() else ""
    if asked and named and asked != named:
        raise bad_request(f"{name} of the query and of the body differ")
    return asked or named


def refuse_misread(query: Mapping[str, object], body: bytes) -> None:
    """Raises ``ApiError`` 400 if a mass cancel names what is not understood: it would cancel more than was meant."""
    for fields in (query, decode_object(body) if body.strip() else {}):
        refuse_unknown(fields, _NARROWING, "DELETE /orders", ", ".join(_NARROWING))


def known_product(product_id: str | None, known: Container[str]) -> str:
    """A product to filter by, "" for none. Raises ``ApiError`` 400 if there is no such product."""
    symbol = (product_id or "").replace("/", "-")
    if symbol and symbol not in known:
        raise product_not_found(HTTPStatus.BAD_REQUEST)
    return symbol
