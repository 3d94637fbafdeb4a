"""The OpenAPI document: Litestar derives it from the routes; here it learns our errors, bodies and signatures."""

from functools import cache
from typing import Any

import msgspec
from litestar import Litestar
from litestar.di import Provide
from litestar.openapi.config import OpenAPIConfig

from workers.gateway.book_answer import BookAnswer
from workers.gateway.feed.description import FEED
from workers.gateway.forms import account_bodies, order_bodies
from workers.gateway.forms.account_bodies import (
    HaltBody,
    KeyBody,
    ModeBody,
    ProductBody,
    TransferBody,
    UserBody,
    UserChangeBody,
)
from workers.gateway.forms.order_bodies import AmendBody, OrderBody, OrderListBody
from workers.gateway.order_answer import OrderAnswer, OrderListAnswer
from workers.gateway.products import Product
from workers.gateway.rest.answers import ErrorAnswer

VERSION = "0.1.0"
ABOUT = """\
Coinbase Exchange's REST and WebSocket dialect. Amounts are decimal strings; times are ISO 8601 in UTC.

Signed routes carry CB-ACCESS-KEY, CB-ACCESS-PASSPHRASE, CB-ACCESS-TIMESTAMP (seconds, at most 30 s off) and
CB-ACCESS-SIGN = base64(HMAC-SHA256(base64-decoded secret, timestamp + METHOD + path with query + body)).

Pages of this host may use a session in place of a signature: POST /users, POST /sessions, and the cookie does the rest.
What is no GET needs the header X-CSRF-Token then, too: csrf_token of POST /sessions or GET /users/self.

Every error is {"message": "..."}. 400: the request cannot be used; 401: the signature, or what you may not do;
404: no such order, product or account of yours; 413: more than 64 KiB; 429: too many requests, wait Retry-After
seconds; 503: something is away, try again.

Beyond the dialect, and in its style: take-profit (stop with the other direction), trailing stops, icebergs, min_size,
PATCH /orders/{id} to amend, POST /order-lists, DELETE /orders by side, call auctions;
orders over the WebSocket, and cancel on disconnect.

"""

_ERRORS = {
    "400": "the request cannot be used; the message says why",
    "401": "not signed, wrongly signed, no session, or not allowed to do this",
    "404": "there is no such thing, or it is not yours",
    "413": "the body is larger than 64 KiB",
    "429": "too many requests; the header Retry-After says after how many seconds to go on",
    "503": "something is away; it goes on by itself, try again",
}
_TRANSFERS = (
    "/deposits", "/deposits/payment-method", "/deposits/coinbase-account",
    "/withdrawals", "/withdrawals/payment-method", "/withdrawals/coinbase-account", "/withdrawals/crypto",
)  # fmt: skip
_BODIES: dict[tuple[str, str], type] = {
    ("/orders", "post"): OrderBody,
    ("/orders/{order_id}", "patch"): AmendBody,
    ("/order-lists", "post"): OrderListBody,
    ("/users", "post"): UserBody,
    ("/sessions", "post"): UserBody,
    ("/api-keys", "post"): KeyBody,
    **{(path, "post"): TransferBody for path in _TRANSFERS},
    ("/admin/products", "post"): ProductBody,
    ("/admin/products/{product_id}", "patch"): ModeBody,
    ("/admin/users/{account}", "patch"): UserChangeBody,
    ("/admin/halts", "post"): HaltBody,
}
_KEY = {"type": "apiKey", "in": "header", "name": "CB-ACCESS-KEY", "description": "a signature, as above"}
_SESSION = {"type": "apiKey", "in": "cookie", "name": "matchbox_8000", "description": "matchbox_ and the port"}
_LOGIN = ("/sessions", "post")
"""Unsigned, and yet a 401 is possible."""
_ANSWERS = (BookAnswer, OrderAnswer, OrderListAnswer, Product)
"""Answers of which msgspec tells more than Litestar: what each field means."""


@cache
def openapi(routes: tuple[Any, ...]) -> bytes:
    """The document for these routes, as JSON. Built at the first request: it takes a moment, and few ask."""
    config = OpenAPIConfig(title="Matchbox", version=VERSION, description=ABOUT + FEED, use_handler_docstrings=True)
    known = {"gateway": Provide(lambda: None, sync_to_thread=False)}  # so that it is not taken for a parameter
    app = Litestar(list(routes), dependencies=known, openapi_config=config, logging_config=None)
    api: dict[str, Any] = app.openapi_schema.to_schema()
    types = [ErrorAnswer, *_BODIES.values(), *_ANSWERS]
    refs, schemas = msgspec.json.schema_components(types, ref_template="#/components/schemas/{name}")
    of_type = dict(zip(types, refs, strict=True))
    for taken in {kind.__name__ for kind in _BODIES.values()}:
        _say_what_is_taken(schemas[taken])
    components = api.setdefault("components", {})
    components.setdefault("schemas", {}).update(schemas)
    components["securitySchemes"] = {"key": _KEY, "session": _SESSION}
    for path, methods in api["paths"].items():
        for method, operation in methods.items():
            if signed := bool(operation.get("security")):
                operation["security"] = [{"key": []}, {"session": []}]
            _describe(operation, signed=signed or (path, method) == _LOGIN, error=of_type[ErrorAnswer])
            if body := _BODIES.get((path, method)):
                operation["requestBody"] = {
                    "required": True,
                    "content": {"application/json": {"schema": of_type[body], "examples": _examples(body)}},
                }
    return msgspec.json.encode(api)


def _say_what_is_taken(schema: dict[str, Any]) -> None:
    """What the types cannot: no fields but these, null is as good as nothing, a decimal may be a number."""
    schema["additionalProperties"] = False
    for name, about in schema["properties"].items():
        types = about.get("anyOf", [about])
        for one in types:
            if one.get("format") == "decimal":
                one["type"] = ["string", "number"]
        if name not in schema["required"] and {"type": "null"} not in types:
            kept = {key: about.pop(key) for key in ("description", "examples", "default") if key in about}
            schema["properties"][name] = kept | ({"anyOf": [about, {"type": "null"}]} if about else {})


def _examples(body: type) -> dict[str, Any]:
    known = order_bodies.EXAMPLES | account_bodies.EXAMPLES
    return {name: {"summary": name, "value": value} for name, value in known[body].items()}


def _describe(operation: dict[str, Any], *, signed: bool, error: dict[str, Any]) -> None:
    """Replace the framework's errors by ours."""
    answers = operation["responses"] = {
        status: answer for status, answer in operation["responses"].items() if status.startswith("2")
    }
    for status, why in _ERRORS.items():
        if status != "401" or signed:
            answers[status] = {"description": why, "content": {"application/json": {"schema": error}}}
