"""Accounts: balances, holds and fees from memory; statements, transfers and fills from PostgreSQL."""

from typing import Annotated, Any

from litestar import Request, Response, get
from litestar.params import Parameter
from sqlalchemy import ColumnElement, Row

from shared.errors import InvalidInput
from shared.instants import iso
from shared.order_id import from_uuid, to_uuid
from shared.schema import fills as fills_table
from shared.schema import movements
from workers.gateway.context import Gateway
from workers.gateway.errors import ApiError, bad_request
from workers.gateway.forms.times import end_ns, time_ns
from workers.gateway.paging import Page, row_number
from workers.gateway.render import account_uuid, decimal_text, rate_text, user_uuid
from workers.gateway.rest.answers import (
    AccountAnswer,
    FeesAnswer,
    FillAnswer,
    HoldAnswer,
    LedgerAnswer,
    LedgerDetails,
    ProductFees,
    ProfileAnswer,
    TransferAnswer,
    account_answer,
    fill_answer,
    profile_answer,
)
from workers.gateway.rest.query import After, Before, End, Limit, ProductFilter, Start, known_product, page_of
from workers.ledger.accounts import Balance
from workers.ledger.orders import OpenOrder

_NOTHING = Balance()
_TAGS = ["accounts"]
_SIGNED: list[dict[str, list[str]]] = [{"key": []}]
AnyRequest = Request[Any, Any, Any]
TransferType = Annotated[str | None, Parameter(description="deposit or withdraw")]


@get("/accounts", tags=_TAGS, security=_SIGNED)
async def accounts(request: AnyRequest, gateway: Gateway) -> list[AccountAnswer]:
    """The caller's balance in every currency, zeros included."""
    caller = await gateway.authenticate(request, "view")
    await gateway.desk.catch_up(caller.account)
    balances = gateway.replicas.ledger(caller.account).balances(caller.account)
    scales = gateway.replicas.scales
    return [
        account_answer(caller.account, currency, scales[currency], balances.get(currency, _NOTHING))
        for currency in sorted(scales)
    ]


@get("/accounts/{account_id:str}", tags=_TAGS, security=_SIGNED)
async def account(request: AnyRequest, gateway: Gateway, account_id: str) -> AccountAnswer:
    """The caller's balance in one currency."""
    caller = await gateway.authenticate(request, "view")
    currency = _currency(gateway, caller.account, account_id)
    await gateway.desk.catch_up(caller.account)
    balances = gateway.replicas.ledger(caller.account).balances(caller.account)
    return account_answer(caller.account, currency, gateway.replicas.scales[currency], balances.get(currency, _NOTHING))


def _currency(gateway: Gateway, account_number: int, account_id: str) -> str:
    """The currency of one of the caller's accounts. Raises ``ApiError`` 404, also for somebody else's."""
    gateway.replicas.require()
    for currency in gateway.replicas.scales:
        if account_uuid(account_number, currency) == account_id:
            return currency
    raise ApiError(404, "account not found")


@get("/accounts/{account_id:str}/ledger", tags=_TAGS, security=_SIGNED)
async def ledger(
    request: AnyRequest,
    gateway: Gateway,
    account_id: str,
    start_date: Start = None,
    end_date: End = None,
    limit: Limit = 100,
    before: Before = None,
    after: After = None,
) -> Response[list[LedgerAnswer]]:
    """Every change of a balance, newest first, with the balance it led to."""
    caller = await gateway.authenticate(request, "view")
    currency = _currency(gateway, caller.account, account_id)
    scale = gateway.replicas.scales[currency]
    page = page_of(limit, before, after)
    conditions = _between(movements.c.time, start_date, end_date)
    found = await gateway.history.statement(caller.account, currency, page, *conditions)
    cut = page.cut(found, lambda pair: int(pair[0].movement_id))
    answers = [
        LedgerAnswer(
            id=str(row.movement_id),
            amount=decimal_text(row.amount, scale),
            balance=decimal_text(balance, scale),
            created_at=iso(row.time),
            type=row.kind,
            details=_details(row.kind, row.reference),
        )
        for row, balance in cut.items
    ]
    return Response(answers, headers=cut.headers())


def _details(kind: str, reference: str) -> LedgerDetails:
    """What a movement's reference says: a transfer's request, or instrument:trade:order."""
    if kind == "transfer":
        return LedgerDetails(transfer_id=reference)
    product_id, trade_id, order_id = reference.split(":")
    return LedgerDetails(product_id=product_id, trade_id=trade_id, order_id=to_uuid(int(order_id)))


@get("/accounts/{account_id:str}/holds", tags=_TAGS, security=_SIGNED)
async def holds(
    request: AnyRequest,
    gateway: Gateway,
    account_id: str,
    limit: Limit = 100,
    before: Before = None,
    after: After = None,
) -> Response[list[HoldAnswer]]:
    """What the open orders hold of a balance, newest first."""
    caller = await gateway.authenticate(request, "view")
    currency = _currency(gateway, caller.account, account_id)
    scale, page = gateway.replicas.scales[currency], page_of(limit, before, after)
    await gateway.desk.catch_up(caller.account)
    found = [
        order
        for order in gateway.replicas.ledger(caller.account).open_orders(caller.account)
        if order.hold and currency == _held_currency(order) and page.holds(order.order_id)
    ]
    if not page.ascending:
        found.reverse()
    cut = page.cut(found[: page.limit + 1], lambda order: order.order_id)
    answers = []
    for order in cut.items:
        number = to_uuid(order.order_id)
        answers.append(
            HoldAnswer(number, account_id, iso(order.time), decimal_text(order.hold, scale), "order", number)
        )
    return Response(answers, headers=cut.headers())


def _held_currency(order: OpenOrder) -> str:
    base, _, quote = order.instrument.partition("-")
    return quote if order.side == "buy" else base


@get("/accounts/{account_id:str}/transfers", tags=_TAGS, security=_SIGNED)
async def account_transfers(
    request: AnyRequest,
    gateway: Gateway,
    account_id: str,
    type: TransferType = None,  # noqa: A002  # the dialect's name
    limit: Limit = 100,
    before: Before = None,
    after: After = None,
) -> Response[list[TransferAnswer]]:
    """Deposits and withdrawals of one currency, newest first."""
    caller = await gateway.authenticate(request, "view")
    currency = _currency(gateway, caller.account, account_id)
    conditions = [movements.c.currency == currency, *_of_type(type)]
    return await _transfers(gateway, caller.account, limit, before, after, *conditions)


@get("/transfers", tags=_TAGS, security=_SIGNED)
async def transfers(
    request: AnyRequest,
    gateway: Gateway,
    type: TransferType = None,  # noqa: A002  # the dialect's name
    limit: Limit = 100,
    before: Before = None,
    after: After = None,
) -> Response[list[TransferAnswer]]:
    """Deposits and withdrawals, newest first."""
    caller = await gateway.authenticate(request, "view")
    return await _transfers(gateway, caller.account, limit, before, after, *_of_type(type))


def _of_type(word: str | None) -> list[ColumnElement[bool]]:
    if word not in (None, "deposit", "withdraw"):
        raise bad_request(f'type "{word[:40]}" is not one of deposit, withdraw')
    if word is None:
        return []
    return [movements.c.amount > 0 if word == "deposit" else movements.c.amount < 0]


@get("/transfers/{transfer_id:str}", tags=_TAGS, security=_SIGNED)
async def transfer(request: AnyRequest, gateway: Gateway, transfer_id: str) -> TransferAnswer:
    """One deposit or withdrawal."""
    caller = await gateway.authenticate(request, "view")
    gateway.replicas.require()
    is_text = transfer_id.isprintable()  # PostgreSQL takes no U+0000
    mine = movements.c.reference == transfer_id
    found = await gateway.history.transfers(caller.account, Page(1), mine) if is_text else []
    if not found:
        raise ApiError(404, "NotFound")
    return _transfer_answer(gateway, found[0])


async def _transfers(
    gateway: Gateway,
    account_number: int,
    limit: int,
    before: str | None,
    after: str | None,
    *conditions: ColumnElement[bool],
) -> Response[list[TransferAnswer]]:
    gateway.replicas.require()
    page = page_of(limit, before, after)
    cut = page.cut(await gateway.history.transfers(account_number, page, *conditions), row_number("movement_id"))
    return Response([_transfer_answer(gateway, row) for row in cut.items], headers=cut.headers())


def _transfer_answer(gateway: Gateway, row: Row[Any]) -> TransferAnswer:
    return TransferAnswer(
        id=row.reference,
        type="deposit" if row.amount > 0 else "withdraw",
        created_at=iso(row.time),
        completed_at=iso(row.time),
        account_id=account_uuid(row.account, row.currency),
        user_id=user_uuid(row.account),
        amount=decimal_text(abs(row.amount), gateway.replicas.scales[row.currency]),
        currency=row.currency,
        details={},
    )


@get("/fills", tags=_TAGS, security=_SIGNED)
async def fills(
    request: AnyRequest,
    gateway: Gateway,
    order_id: Annotated[str | None, Parameter(description="only of this order")] = None,
    product_id: ProductFilter = None,
    start_date: Start = None,
    end_date: End = None,
    limit: Limit = 100,
    before: Before = None,
    after: After = None,
) -> Response[list[FillAnswer]]:
    """The caller's side of its trades, newest first."""
    caller = await gateway.authenticate(request, "view")
    gateway.replicas.require()
    page = page_of(limit, before, after)
    conditions = _between(fills_table.c.time, start_date, end_date)
    if order_id:
        try:
            conditions.append(fills_table.c.order_id == from_uuid(order_id))
        except InvalidInput as error:
            raise bad_request(str(error)) from None
    if symbol := known_product(product_id, gateway.replicas.instruments):
        conditions.append(fills_table.c.instrument == symbol)
    cut = page.cut(await gateway.history.fills(caller.account, page, *conditions), row_number("fill_id"))
    answers = [fill_answer(row, gateway.replicas.texts(row.instrument)) for row in cut.items]
    return Response(answers, headers=cut.headers())


def _between(column: ColumnElement[int], start: str | None, end: str | None) -> list[ColumnElement[bool]]:
    since, until = time_ns(start, "start_date"), end_ns(end, "end_date")
    conditions: list[ColumnElement[bool]] = []
    if since is not None:
        conditions.append(column >= since)
    if until is not None:
        conditions.append(column <= until)
    return conditions


@get("/fees", tags=_TAGS, security=_SIGNED)
async def fees(request: AnyRequest, gateway: Gateway) -> FeesAnswer:
    """The caller's fee rates: the highest of all products, and those of each."""
    await gateway.authenticate(request, "view")
    gateway.replicas.require()
    found = gateway.replicas.instruments.values()
    return FeesAnswer(
        maker_fee_rate=rate_text(max((one.maker_fee for one in found), default=0)),
        taker_fee_rate=rate_text(max((one.taker_fee for one in found), default=0)),
        products={one.symbol: ProductFees(rate_text(one.maker_fee), rate_text(one.taker_fee)) for one in found},
    )


@get("/profiles", tags=_TAGS, security=_SIGNED)
async def profiles(request: AnyRequest, gateway: Gateway) -> list[ProfileAnswer]:
    """The caller's profiles: there is one a user."""
    caller = await gateway.authenticate(request, "view")
    return [profile_answer(caller.account)]


@get("/profiles/{profile_id:str}", tags=_TAGS, security=_SIGNED)
async def profile(request: AnyRequest, gateway: Gateway, profile_id: str) -> ProfileAnswer:
    """The caller's profile."""
    caller = await gateway.authenticate(request, "view")
    if profile_id != user_uuid(caller.account):
        raise ApiError(404, "NotFound")
    return profile_answer(caller.account)


ROUTES = [
    accounts, account, ledger, holds, account_transfers, transfers, transfer, fills, fees, profiles, profile,
]  # fmt: skip
