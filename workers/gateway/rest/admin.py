"""What admins do: products, users, and the kill switch. Anybody else gets a 401, as for any scope they lack."""

from typing import Any, cast

from litestar import Response, delete, get, patch, post
from sqlalchemy import Row

from shared import log
from shared.credentials import ROLES, Role
from shared.instants import iso
from workers.gateway import control
from workers.gateway.access.auth import Caller
from workers.gateway.context import Gateway
from workers.gateway.errors import ApiError, bad_request
from workers.gateway.forms.account_form import read_halt, read_mode, read_product
from workers.gateway.forms.json_input import choice_field, decode_object, flag_field, is_given, refuse_unknown
from workers.gateway.paging import row_number
from workers.gateway.products import Product, product_answer, product_answers
from workers.gateway.render import user_uuid
from workers.gateway.rest.account_answers import AdminUserAnswer, HaltAnswer, halt_answer
from workers.gateway.rest.query import After, Before, Limit, page_of
from workers.gateway.rest.users import SIGNED, AnyRequest

_TAGS = ["admin"]


def _note(what: str, caller: Caller, **about: object) -> None:
    """Who did what stays in the log of the gateway; what it did to trading is in the ledgers' logs."""
    log.get().info(what, by_account=caller.account, **about)


# --- products ---


@get("/admin/products", tags=_TAGS, security=SIGNED)
async def list_products(request: AnyRequest, gateway: Gateway) -> list[Product]:
    """All products, with what was delisted."""
    await gateway.authenticate(request, "admin")
    await gateway.control.catch_up()
    return product_answers(gateway.replicas.instruments.values())


@post("/admin/products", status_code=200, tags=_TAGS, security=SIGNED)
async def add_product(request: AnyRequest, gateway: Gateway) -> Product:
    """Add a product; its book starts within moments."""
    caller, body = await gateway.authenticate_body(request, "admin")
    instrument = read_product(decode_object(body))
    await gateway.control.add(instrument)
    _note("A product was added", caller, product=instrument.symbol)
    return product_answer(instrument)


@patch("/admin/products/{product_id:str}", status_code=200, tags=_TAGS, security=SIGNED)
async def change_product(request: AnyRequest, gateway: Gateway, product_id: str) -> Product:
    """Change a product's mode. Resting orders stay; POST /admin/halts cancels them, too."""
    caller, body = await gateway.authenticate_body(request, "admin")
    mode = read_mode(decode_object(body))
    instrument = await gateway.control.set_mode(product_id, mode)
    _note("A product's mode was changed", caller, product=product_id, mode=mode)
    return product_answer(instrument)


# --- users ---


@get("/admin/users", tags=_TAGS, security=SIGNED)
async def list_users(
    request: AnyRequest, gateway: Gateway, limit: Limit = 100, before: Before = None, after: After = None
) -> Response[list[AdminUserAnswer]]:
    """All users, newest first."""
    await gateway.authenticate(request, "admin")
    await gateway.control.catch_up()
    page = page_of(limit, before, after)
    cut = page.cut(await gateway.people.list(page), row_number("account"))
    return Response([_user_answer(gateway, row) for row in cut.items], headers=cut.headers())


@patch("/admin/users/{account:int}", status_code=200, tags=_TAGS, security=SIGNED)
async def change_user(request: AnyRequest, gateway: Gateway, account: int) -> AdminUserAnswer:
    """Change a user's role, or block them: no login, session, key or trading, and their orders are canceled."""
    caller, body = await gateway.authenticate_body(request, "admin")
    fields = decode_object(body)
    refuse_unknown(fields, ("role", "blocked"), "this request", "role and blocked")
    role = cast("Role", choice_field(fields, "role", ROLES)) if is_given(fields, "role") else None
    blocked = flag_field(fields, "blocked") if is_given(fields, "blocked") else None
    if role is None and blocked is None:
        raise bad_request("say what to change: role or blocked")
    gateway.replicas.require()
    if role is not None:
        await gateway.people.set_role(account, role)
    if blocked is not None:
        await gateway.people.set_access(account, blocked=blocked)
        await (gateway.control.block(account, "") if blocked else gateway.control.unblock(account))
    _note("A user was changed", caller, account=account, role=role, blocked=blocked)
    user = await gateway.people.user(account)
    return _admin_answer(gateway, user.account, user.name, user.role, user.created_at, user.blocked)


def _user_answer(gateway: Gateway, row: Row[Any]) -> AdminUserAnswer:
    return _admin_answer(gateway, row.account, row.name, row.role, row.created_at, row.blocked_at is not None)


def _admin_answer(
    gateway: Gateway, account: int, name: str, role: str, created_at: int, blocked: bool
) -> AdminUserAnswer:
    answer = AdminUserAnswer(user_uuid(account), account, name, role, iso(created_at), blocked)
    if refusal := gateway.replicas.ledger(account).blocked(account):
        answer.trading_blocked = refusal.message
    return answer


# --- the kill switch ---


@get("/admin/halts", tags=_TAGS, security=SIGNED)
async def list_halts(request: AnyRequest, gateway: Gateway) -> list[HaltAnswer]:
    """The kill switches that are on."""
    await gateway.authenticate(request, "admin")
    return [halt_answer(one) for one in await gateway.control.halts()]


@post("/admin/halts", status_code=200, tags=_TAGS, security=SIGNED)
async def halt(request: AnyRequest, gateway: Gateway) -> list[HaltAnswer]:
    """Stop trading of everybody, an account, a product or an API key, and cancel their orders. Answers all that is on.

    An API key is revoked, for good, and all orders of its account are canceled: orders do not know their key.
    """
    caller, body = await gateway.authenticate_body(request, "admin")
    target, reason = read_halt(decode_object(body))
    if target.everybody:
        await gateway.control.block_all(reason)
    elif target.account:
        await gateway.people.user(target.account)
        await gateway.control.block(target.account, reason)
    elif target.product_id:
        await gateway.control.halt_product(target.product_id, reason)
    else:
        await gateway.control.cancel_all(await gateway.people.end_key(target.key))
    _note("A kill switch was used", caller, target=repr(target), reason=reason)
    return [halt_answer(one) for one in await gateway.control.halts()]


@delete("/admin/halts/{halt_id:str}", status_code=200, tags=_TAGS, security=SIGNED)
async def lift(request: AnyRequest, gateway: Gateway, halt_id: str) -> list[HaltAnswer]:
    """Take a kill switch back; a product goes online. Answers those that are still on."""
    caller, _ = await gateway.authenticate_body(request, "admin")
    if halt_id not in [one.id for one in await gateway.control.halts()]:
        raise ApiError(404, "no such halt is on; GET /admin/halts lists them")
    kind, _, which = halt_id.partition(":")
    if halt_id == control.ALL:
        await gateway.control.unblock_all()
    elif kind == "account":
        await gateway.control.unblock(int(which))
    else:
        await gateway.control.set_mode(which, "online")
    _note("A kill switch was taken back", caller, target=halt_id)
    return [halt_answer(one) for one in await gateway.control.halts()]


ROUTES = [
    list_products, add_product, change_product, list_users, change_user, list_halts, halt, lift,
]  # fmt: skip
