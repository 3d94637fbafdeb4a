"""Users and their sessions: register, log in, log out, who am I."""

from typing import Any

from litestar import Request, Response, delete, get, post

from workers.gateway.access.sessions import check_origin, csrf_token
from workers.gateway.context import Gateway, read_body
from workers.gateway.errors import bad_request
from workers.gateway.forms.json_input import decode_object, refuse_unknown, text_field
from workers.gateway.rest.account_answers import SelfAnswer, UserAnswer, session_user_answer, user_fields

_TAGS = ["users"]
SIGNED: list[dict[str, list[str]]] = [{"key": []}]
SECRET = {"Cache-Control": "no-store"}
"""Of answers that nobody should keep."""
AnyRequest = Request[Any, Any, Any]


async def _name_and_password(request: AnyRequest) -> tuple[str, str]:
    fields = decode_object(await read_body(request))
    refuse_unknown(fields, ("name", "password"), "this request", "name and password")
    name, password = text_field(fields, "name"), text_field(fields, "password")
    if not name or not password:
        raise bad_request("name and password are both needed")
    return name, password


@post("/users", status_code=200, tags=_TAGS)
async def register(request: AnyRequest, gateway: Gateway) -> UserAnswer:
    """Make a user of one's own, where the exchange lets anybody. Then log in by POST /sessions."""
    gateway.gate.count(request.scope)
    if gateway.settings.registration != "open":
        raise bad_request("registration is closed; ask who runs this exchange for a user")
    name, password = await _name_and_password(request)
    user = await gateway.people.register(name, password, gateway.gate.neighbourhood_of(request.scope))
    return UserAnswer(**user_fields(user))


@post("/sessions", status_code=200, tags=_TAGS)
async def log_in(request: AnyRequest, gateway: Gateway) -> Response[SelfAnswer]:
    """Log in. The session comes as a cookie that scripts cannot read; the one that the browser had before ends.

    After five wrong passwords for a name within 15 minutes, the sixth login from there is answered with 429.
    """
    gateway.gate.count(request.scope)
    headers = request.scope["headers"]
    check_origin(headers)
    name, password = await _name_and_password(request)
    user = await gateway.people.log_in(name, password, gateway.gate.neighbourhood_of(request.scope))
    for former in gateway.sessions.ids_of(headers):
        await gateway.sessions.end(former)
    session_id, session = await gateway.sessions.open(user.account)
    answer = session_user_answer(user, csrf_token(session_id), session.began, session.ends)
    return Response(answer, headers=SECRET | {"Set-Cookie": gateway.sessions.set_cookie(request.scope, session_id)})


@delete("/sessions", tags=_TAGS, security=SIGNED)
async def log_out(request: AnyRequest, gateway: Gateway) -> Response[None]:
    """End the session, at once and everywhere: its WebSockets are closed, too."""
    caller, _ = await gateway.authenticate_body(request, "view")
    caller.require_session()
    await gateway.sessions.end(gateway.sessions.id_of(request.scope["headers"]))
    return Response(None, status_code=204, headers={"Set-Cookie": gateway.sessions.set_cookie(request.scope, "")})


@get("/users/self", tags=_TAGS, security=SIGNED)
async def who_am_i(request: AnyRequest, gateway: Gateway) -> Response[SelfAnswer]:
    """Who asks, and what they may do; with a session, its csrf_token."""
    caller = await gateway.authenticate(request, "view")
    user = await gateway.people.user(caller.account)
    if caller.session:
        token = csrf_token(gateway.sessions.id_of(request.scope["headers"]))
        answer = session_user_answer(user, token, caller.began, gateway.sessions.end_of(caller.began))
    else:
        answer = SelfAnswer(**user_fields(user), scopes=sorted(caller.scopes), api_key=caller.key)
    return Response(answer, headers=SECRET)


ROUTES = [register, log_in, log_out, who_am_i]
