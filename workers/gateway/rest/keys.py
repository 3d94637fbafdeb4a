"""API keys: made, listed and ended by their users, who have to be logged in; no key can make another."""

from typing import Any, cast

import msgspec
from litestar import Response, delete, get, post

from workers.gateway.context import Gateway
from workers.gateway.forms.json_input import decode_object, refuse_unknown, text_field, texts_field
from workers.gateway.rest.account_answers import KeyAnswer, NewKeyAnswer, key_answer, new_key_answer
from workers.gateway.rest.users import SECRET, SIGNED, AnyRequest

_TAGS = ["users"]
_FIELDS = ("scopes", "label", "allowed_ips")


@post("/api-keys", status_code=200, tags=_TAGS, security=SIGNED)
async def create(request: AnyRequest, gateway: Gateway) -> Response[NewKeyAnswer]:
    """Make an API key. Its secret is in this answer and nowhere else."""
    caller, body = await gateway.authenticate_body(request, "view")
    caller.require_session()
    fields = decode_object(body)
    refuse_unknown(fields, _FIELDS, "an API key", ", ".join(_FIELDS))
    scopes, label = sorted(set(texts_field(fields, "scopes"))), text_field(fields, "label")
    allowed_ips = texts_field(fields, "allowed_ips")
    made = await gateway.people.make_key(caller.account, cast("Any", scopes), label, allowed_ips)
    return Response(new_key_answer(made, scopes, label, allowed_ips), headers=SECRET)


@get("/api-keys", tags=_TAGS, security=SIGNED)
async def list_keys(request: AnyRequest, gateway: Gateway) -> list[KeyAnswer]:
    """The caller's API keys, newest first."""
    caller = await gateway.authenticate(request, "view")
    caller.require_session()
    return [key_answer(row) for row in await gateway.people.keys_of(caller.account)]


@delete("/api-keys/{key:str}", status_code=200, media_type="application/json", tags=_TAGS, security=SIGNED)
async def revoke(request: AnyRequest, gateway: Gateway, key: str) -> Response[str]:
    """End an API key at once: it signs nothing more, and its WebSockets are closed. Its orders stay."""
    caller, _ = await gateway.authenticate_body(request, "view")
    caller.require_session()
    await gateway.people.end_key(key, caller.account)
    encoded: Any = msgspec.json.encode(key)
    return Response(encoded, media_type="application/json")


ROUTES = [create, list_keys, revoke]
