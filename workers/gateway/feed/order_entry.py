"""Orders over the WebSocket: each message is a request with the client's own id, answered under it on the same socket.

The ledger gets the requests of a socket in the order in which they came. Their answers are not waited for, so many may
be under way at once, and need not come in that order.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from workers.gateway.context import Gateway
from workers.gateway.errors import ApiError, bad_request, unavailable
from workers.gateway.feed.messages import Message, error, frame
from workers.gateway.feed.session import UNDER_WAY_MAX, Session
from workers.gateway.feed.socket import FeedSocket
from workers.gateway.feed.subscriptions import INVALID, FeedError
from workers.gateway.forms.json_input import is_text, narrowing_field, refuse_unknown, text_field
from workers.gateway.orders import Desk

ID_CHARS_MAX = 128
REFUSED = "Request refused"
_FAULT = ApiError(500, "Internal server error; the request may have been carried out")
Fields = dict[str, object]


class OrderEntry:
    """What one signed-in socket asks of its account's orders."""

    def __init__(self, socket: FeedSocket, gateway: Gateway) -> None:
        self.session = Session(gateway.inbox)
        settings = gateway.settings
        self._socket = socket
        self._desk = Desk(self.session, gateway.replicas, gateway.history, settings.shards, settings.gateways)
        self._placing: dict[str, asyncio.Task[None]] = {}
        """Orders whose placing is under way, by the client's own id."""

    async def receive(self, kind: str, fields: Fields, account: int) -> None:
        """Begin what one message of a user who may trade asks. Raises ``FeedError``, ``ApiError``."""
        number = request_id(fields)
        if self.session.is_full:
            raise unavailable(
                f"{UNDER_WAY_MAX} requests of this connection wait for their answers; this one was not sent"
            )
        asked = {name: value for name, value in fields.items() if name not in ("type", "id")}
        if kind in ("cancel", "amend"):
            await self._wait_placed(asked)
        task = await self.session.start(self._answer(number, ACTIONS[kind](self._desk, account, asked)))
        for own in _client_ids(kind, asked):
            self._note_placing(own, task)

    async def _answer(self, number: str, work: Awaitable[Message]) -> None:
        message: Message | None = None
        try:
            message = await work
            message["id"] = number
        except ApiError as failure:
            message = refused(number, failure)
        finally:
            self._socket.send(frame(message or refused(number, _FAULT)))

    def _note_placing(self, own: str, task: asyncio.Task[None]) -> None:
        if not task.done():
            self._placing[own] = task
            task.add_done_callback(lambda _: self._placing.pop(own, None))

    async def _wait_placed(self, fields: Fields) -> None:
        """Whoever cancels or amends by its own id need not wait for the answer to the order: that is done here."""
        own = fields.get("client_oid")
        task = self._placing.get(own) if isinstance(own, str) else None
        if task is not None:
            await asyncio.wait((task,))


def request_id(fields: Fields) -> str:
    """The client's id for a request. Raises ``FeedError``."""
    number = fields.get("id")
    if is_text(number) and 0 < len(number) <= ID_CHARS_MAX:
        return number
    raise FeedError(INVALID, f"id must be a string of 1 to {ID_CHARS_MAX} characters: the answer carries it")


def refused(number: str, failure: ApiError) -> Message:
    """A request that is not carried out; ``status`` as REST would have answered."""
    return error(REFUSED, str(failure)) | {"status": int(failure.status), "id": number}


def _client_ids(kind: str, fields: Fields) -> list[str]:
    """The ids that the client gives to the orders that it places."""
    if kind not in ("order", "order_list"):
        return []
    parts = fields.get("orders") if kind == "order_list" else [fields]
    found = [one.get("client_oid") for one in parts if isinstance(one, dict)] if isinstance(parts, list) else []
    return [one for one in found if isinstance(one, str)]


# --- the requests ----------------------------------------------------------------------------------


async def place(desk: Desk, account: int, fields: Fields) -> Message:
    """``order``: the fields of ``POST /orders``, but for ``order_type``."""
    return {"type": "order_result", "order": await desk.place(account, _with_type(fields, "order_type"))}


async def place_list(desk: Desk, account: int, fields: Fields) -> Message:
    """``order_list``: the fields of ``POST /order-lists``, but for ``list_type``."""
    answer = await desk.place_list(account, _with_type(fields, "list_type"))
    found: Message = msgspec.to_builtins(answer)
    return found | {"type": "order_list_result", "list_type": answer.type}


async def amend(desk: Desk, account: int, fields: Fields) -> Message:
    """``amend``: the fields of ``PATCH /orders/{id}``, and which order."""
    body = {name: value for name, value in fields.items() if name not in ("order_id", "client_oid")}
    return {"type": "amend_result", "order": await desk.amend(account, _reference(fields), body)}


async def cancel(desk: Desk, account: int, fields: Fields) -> Message:
    """``cancel``: answers the order, which is done."""
    refuse_unknown(fields, ("order_id", "client_oid", "product_id"), "a cancel", "order_id, client_oid, product_id")
    number = await desk.cancel(account, _reference(fields), text_field(fields, "product_id"))
    return {"type": "cancel_result", "order": desk.answer(await desk.find(account, number))}


async def cancel_all(desk: Desk, account: int, fields: Fields) -> Message:
    """``cancel_all``: all open orders of the account, or those of a product and/or side; answers their ids."""
    refuse_unknown(fields, ("product_id", "side"), "a cancel_all", "product_id, side")
    product_id, side = narrowing_field(fields, "product_id"), narrowing_field(fields, "side")
    canceled = await desk.cancel_all(account, product_id, side)
    return {"type": "cancel_all_result", "order_ids": canceled}


ACTIONS: dict[str, Callable[[Desk, int, Fields], Awaitable[Any]]] = {
    "order": place,
    "order_list": place_list,
    "amend": amend,
    "cancel": cancel,
    "cancel_all": cancel_all,
}
CANCELS = frozenset({"cancel", "cancel_all"})


def _with_type(fields: Fields, name: str) -> Fields:
    """The fields as REST has them: there ``type`` is the order's, here it is the message's."""
    body = {one: value for one, value in fields.items() if one != name}
    return body | {"type": fields[name]} if name in fields else body


def _reference(fields: Fields) -> str:
    """Which order is meant. Raises ``ApiError`` 400."""
    number, own = text_field(fields, "order_id"), text_field(fields, "client_oid")
    if bool(number) == bool(own):
        raise bad_request("send order_id or client_oid, and not both: it says which order is meant")
    return number or f"client:{own}"
