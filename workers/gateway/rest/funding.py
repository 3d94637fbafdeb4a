"""Test money: users give themselves some, and give it back. Coinbase Exchange's routes, wherever it comes from."""

import asyncio
from typing import Any

from litestar import Request, post

from shared.messages import Duplicate, Rejected, TransferRequest
from shared.schema import movements
from workers.gateway.context import Gateway
from workers.gateway.errors import bad_request, refusal, unavailable
from workers.gateway.forms.json_input import decode_object
from workers.gateway.forms.transfer_form import Transfer, deposit_limit, read_transfer
from workers.gateway.paging import Page
from workers.gateway.rest.answers import NewTransferAnswer, new_transfer_answer

_TAGS = ["accounts"]
_SIGNED: list[dict[str, list[str]]] = [{"key": []}]
AnyRequest = Request[Any, Any, Any]
FIRST_POLLS = 20
_POLL_S = 0.1


@post(
    ["/deposits", "/deposits/payment-method", "/deposits/coinbase-account"],
    status_code=200,
    tags=_TAGS,
    security=_SIGNED,
)
async def deposit(request: AnyRequest, gateway: Gateway) -> NewTransferAnswer:
    """Give oneself test money, up to MATCHBOX_MAX_FUNDS of each currency. It can be traded with at once."""
    caller, body = await gateway.authenticate_body(request, "transfer")
    await gateway.desk.catch_up(caller.account)
    scales = gateway.replicas.scales
    wanted = read_transfer(decode_object(body), scales, caller.account)
    most = deposit_limit(gateway.settings.max_funds, scales[wanted.currency])
    return await _move(gateway, caller.account, wanted, wanted.units, most)


@post(
    ["/withdrawals", "/withdrawals/payment-method", "/withdrawals/coinbase-account", "/withdrawals/crypto"],
    status_code=200,
    tags=_TAGS,
    security=_SIGNED,
)
async def withdraw(request: AnyRequest, gateway: Gateway) -> NewTransferAnswer:
    """Give test money back, of what no order holds."""
    caller, body = await gateway.authenticate_body(request, "transfer")
    gateway.replicas.require()
    wanted = read_transfer(decode_object(body), gateway.replicas.scales, caller.account)
    return await _move(gateway, caller.account, wanted, -wanted.units)


async def _move(gateway: Gateway, account: int, wanted: Transfer, amount: int, most: int = 0) -> NewTransferAnswer:
    """Ask the ledger. What was sent before with the same ``idem`` is answered with what was done then."""
    number = wanted.request_id or gateway.inbox.request_id()
    request = TransferRequest(number, account, wanted.currency, amount, most)
    event = await gateway.inbox.ask(gateway.shard(account), request)
    if isinstance(event, Rejected):
        raise refusal(event)
    if isinstance(event, Duplicate) and await _first_amount(gateway, request) != amount:
        raise bad_request("idem was used for another transfer; choose a new one")
    return new_transfer_answer(number, account, wanted.currency, amount, gateway.replicas.scales[wanted.currency])


async def _first_amount(gateway: Gateway, request: TransferRequest) -> int:
    """What the first transfer of this id moved; 0 if another currency. Raises ``ApiError`` 503."""
    for _ in range(FIRST_POLLS):  # PostgreSQL is behind by the pusher's lag
        if found := await gateway.history.transfers(
            request.account, Page(1), movements.c.reference == request.request_id
        ):
            return int(found[0].amount) if found[0].currency == request.currency else 0
        await asyncio.sleep(_POLL_S)
    raise unavailable("this transfer was made before, and PostgreSQL is too far behind to say how; try again")


ROUTES = [deposit, withdraw]
