"""What every route needs: the parts of one gateway process, and who asks."""

import time
from typing import Any

import msgspec
from litestar import Request

from shared import keys
from shared.credentials import Scope
from shared.messages import CancelAllRequest, CancelRequest, LedgerEvent, OrderRequest, Rejected, TransferRequest
from shared.settings import Settings
from workers.gateway.auth import Caller, claim_of_headers, verify
from workers.gateway.errors import refusal
from workers.gateway.feed.hub import Hub
from workers.gateway.history import History
from workers.gateway.inbox import Inbox
from workers.gateway.keyring import KeyRing
from workers.gateway.replicas import Replicas

AccountRequest = OrderRequest | CancelRequest | CancelAllRequest | TransferRequest


class Gateway(msgspec.Struct, frozen=True):
    """One gateway process."""

    number: int
    settings: Settings
    inbox: Inbox
    hub: Hub
    history: History
    keyring: KeyRing
    replicas: Replicas

    def shard(self, account: int) -> int:
        """The shard that keeps an account."""
        return keys.shard_of(account, self.settings.shards)

    async def ask(self, request: AccountRequest) -> LedgerEvent:
        """Send a request to its account's ledger and wait for the answer. Raises ``ApiError``: refused, or 503."""
        event = await self.inbox.ask(self.shard(request.account), request)
        if isinstance(event, Rejected):
            raise refusal(event)
        return event

    async def authenticate(self, request: Request[Any, Any, Any], scope: Scope) -> Caller:
        """Who signed the request. Raises ``ApiError`` 401 if nobody did, or may not do this."""
        claim = claim_of_headers(request.scope["headers"])
        body = await request.body()
        credential = await self.keyring.find(claim.key)
        caller = verify(claim, credential, request.method.encode(), target_of(request), body, time.time())
        caller.require(scope)
        return caller


def target_of(request: Request[Any, Any, Any]) -> bytes:
    """The request's path and query, byte for byte as the client sent them."""
    path, query = request.scope["raw_path"], request.scope["query_string"]
    return path + b"?" + query if query else path
